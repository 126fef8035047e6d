/* SPDX-License-Identifier: MIT */
#include "server/feeds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FEEDS_BACKLOG 4096

int feeds_parse(struct feeds *feeds, const struct string_list *declarations, char fault[FEEDS_FAULT_MAX])
{
    char why[DECLARATION_FAULT_MAX];
    feeds->listeners = calloc(declarations->count + 1, sizeof(*feeds->listeners));
    if (!feeds->listeners)
        return -ENOMEM;
    feeds->count = declarations->count;
    for (size_t i = 0; i < declarations->count; i++) {
        struct feed_listener *listener = &feeds->listeners[i];
        int err = declaration_parse(&listener->declaration, declarations->items[i], why);
        listener->is_parsed = err == 0;
        const char *text = err ? NULL : listener->declaration.address;
        const char *address_fault = why;
        if (text && !listener->declaration.path)
            err = address_parse(&listener->address, text, &address_fault);
        if (err) {
            snprintf(fault, FEEDS_FAULT_MAX, "tcp = '%.300s': %s", declarations->items[i], address_fault);
            return err;
        }
    }
    return 0;
}

/* A socket file that nobody listens on any more is in the way of the next one that does. */
static int feeds_remove_stale(const struct sockaddr_un *address)
{
    struct stat status;
    if (lstat(address->sun_path, &status))
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int err = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? EADDRINUSE : errno;
    close(fd);
    if (err != ECONNREFUSED)
        return err == EADDRINUSE || err == EAGAIN ? -EADDRINUSE : -err;
    return unlink(address->sun_path) == 0 ? 0 : -errno;
}

/* Nobody connects before the socket listens, and by then it has its mode. */
static int feeds_bind_unix(struct feed_listener *listener)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, listener->declaration.path, sizeof(address.sun_path) - 1);
    int err = feeds_remove_stale(&address);
    if (err)
        return err;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address))) {
        err = -errno;
        close(fd);
        return err;
    }
    listener->is_bound = true;
    if (chmod(address.sun_path, listener->declaration.mode) || listen(fd, FEEDS_BACKLOG)) {
        err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

/* The first socket is bound without sharing the address, so that a second server on it is told. */
static int feeds_bind_first(struct feed_listener *listener)
{
    struct address *address = &listener->address;
    if (listener->declaration.path)
        return feeds_bind_unix(listener);
    int fd = door_bind(address, false);
    if (fd < 0)
        return fd;
    address->len = sizeof(address->storage);
    int err = getsockname(fd, (struct sockaddr *)&address->storage, &address->len) ? -errno : 0;
    close(fd);
    return err ? err : door_bind(address, true);
}

static int feeds_listen_one(struct feed_listener *listener, const struct shard_group *group)
{
    int err = 0;
    int fd = feeds_bind_first(listener);
    for (unsigned i = 0; !err && i < group->count; i++) {
        /* Shards share one listening socket of a Unix address, and have one each of any other. */
        if (i > 0)
            fd = listener->declaration.path ? fcntl(fd, F_DUPFD_CLOEXEC, 0)
                                            : door_bind(&listener->address, true);
        if (fd < 0)
            return fd < -1 ? fd : -errno;
        err = stream_table_listen(&group->shards[i].streams, fd, &connection_listener_ops,
                                  &listener->declaration, connection_tick_ms(&listener->declaration));
        if (err)
            close(fd);
    }
    return err;
}

int feeds_listen(struct feeds *feeds, const struct shard_group *group, bool is_anonymous,
                 char fault[FEEDS_FAULT_MAX])
{
    for (size_t i = 0; i < feeds->count; i++) {
        struct feed_listener *listener = &feeds->listeners[i];
        const char *text = listener->declaration.address;
        if (!listener->declaration.path && !is_anonymous && !address_is_loopback(&listener->address)) {
            snprintf(fault, FEEDS_FAULT_MAX,
                     "refusing to listen on %.200s: anybody who reaches this address could read and publish. "
                     "Listen on 127.0.0.1, or add --anonymous if that is what you want.",
                     text);
            return -EACCES;
        }
        int err = feeds_listen_one(listener, group);
        if (err) {
            snprintf(fault, FEEDS_FAULT_MAX, "tcp %.200s: %s", text,
                     err == -EADDRINUSE ? "another process listens there; stop it or choose another address"
                     : err == -EEXIST   ? "there is a file of that name, which is not a socket"
                                        : strerror(-err));
            return err;
        }
    }
    return 0;
}

void feeds_format_address(const struct feed_listener *listener, char *to, size_t size)
{
    char text[ADDRESS_TEXT_MAX];
    if (listener->declaration.path) {
        snprintf(to, size, "%s", listener->declaration.address);
        return;
    }
    address_format(&listener->address, text);
    snprintf(to, size, "%s", text);
}

void feeds_close(struct feeds *feeds)
{
    for (size_t i = 0; i < feeds->count; i++) {
        struct feed_listener *listener = &feeds->listeners[i];
        if (listener->is_bound)
            unlink(listener->declaration.path);
        if (listener->is_parsed)
            declaration_deinit(&listener->declaration);
    }
    free(feeds->listeners);
    *feeds = (struct feeds){0};
}
