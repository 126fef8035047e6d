/* SPDX-License-Identifier: MIT */
#include "server/listening.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "auth/keys.h"
#include "base/log.h"
#include "server/activation.h"
#include "server/inheritance.h"
#include "shard/proxies.h"
#include "shard/tls.h"

/* A certificate that ends within this is warned of. */
#define LISTENING_CERTIFICATE_LEFT_S (14 * 86400)

static bool listening_is_unix(const struct listening *listening)
{
    return listening->address.storage.ss_family == AF_UNIX;
}

static const char *listening_path(const struct listening *listening)
{
    return listening->declaration.entrance.path;
}

/* Options. */

static int listening_parse(struct listening *listening, const char *text, const char **why,
                           char fault[DECLARATION_FAULT_MAX])
{
    struct entrance *entrance = &listening->declaration.entrance;
    *why = fault;
    int err = listening->is_tcp ? declaration_parse(&listening->declaration, text, fault)
                                : entrance_parse(entrance, text, fault);
    return err ? err : entrance_look_up(entrance, &listening->address, why);
}

/* Reads the certificate, if there is one. */
static int listening_read_tls(const struct listening *listening, struct tls_identity **identity,
                              char fault[LISTENING_FAULT_MAX])
{
    const struct entrance *entrance = &listening->declaration.entrance;
    struct tls_files files = entrance->tls;
    char why[TLS_FAULT_MAX];
    files.protocol = listening->is_tcp ? "sluice" : "http/1.1";
    int err = files.cert ? tls_identity_new(identity, &files, why) : 0;
    if (err)
        snprintf(fault, LISTENING_FAULT_MAX, "%s = '%.200s …': %.700s", listening->option, entrance->address,
                 why);
    return err;
}

static void listening_warn_of_end(const struct listening *listening)
{
    char text[LISTENING_TEXT_MAX];
    int64_t left_s = listening->identity ? (int64_t)tls_identity_ends(listening->identity) - time(NULL) : 0;
    if (!listening->identity || left_s > LISTENING_CERTIFICATE_LEFT_S)
        return;
    listening_format(listening, text);
    log_event(LOG_WARN, left_s > 0 ? "certificate-ends" : "certificate-over",
              LOG_TEXT(listening->option, text), LOG_TEXT("file", listening->declaration.entrance.tls.cert),
              LOG_NUMBER("days", left_s > 0 ? (uint64_t)left_s / 86400 : 0),
              LOG_TEXT("action", "put a new one in its place and send SIGHUP"));
}

struct listening_kind {
    const char *option;
    bool is_tcp;
    bool is_admin;
};

static int listenings_parse_list(struct listenings *listenings, const struct listening_kind *kind,
                                 const struct string_list *texts, char fault[LISTENING_FAULT_MAX])
{
    for (size_t i = 0; i < texts->count; i++) {
        char room[DECLARATION_FAULT_MAX];
        const char *why;
        struct listening *listening = &listenings->items[listenings->count++];
        listening->option = kind->option;
        listening->is_tcp = kind->is_tcp;
        int err = listening_parse(listening, texts->items[i], &why, room);
        if (err) {
            snprintf(fault, LISTENING_FAULT_MAX, "%s = '%.300s': %s", kind->option, texts->items[i], why);
            return err;
        }
        err = listening_read_tls(listening, &listening->identity, fault);
        if (err)
            return err;
        listening->declaration.entrance.is_admin = kind->is_admin;
        listening->declaration.entrance.is_http = !kind->is_tcp;
    }
    return 0;
}

static struct listening *listenings_find_unpassed(struct listenings *listenings, const char *option)
{
    for (size_t i = 0; i < listenings->count; i++)
        if (!listenings->items[i].is_passed && strcmp(listenings->items[i].option, option) == 0)
            return &listenings->items[i];
    return NULL;
}

static int listening_add_fd(struct listening *listening, int fd)
{
    int *fds = realloc(listening->fds, (listening->fd_count + 1) * sizeof(*fds));
    if (!fds)
        return -ENOMEM;
    listening->fds = fds;
    listening->fds[listening->fd_count++] = fd;
    return 0;
}

/* Takes a socket that is bound already. */
static int listening_pass(struct listening *listening, int fd, char fault[LISTENING_FAULT_MAX])
{
    int err = activation_take(fd, &listening->address, fault);
    if (!err)
        err = listening_add_fd(listening, fd);
    listening->is_passed = true;
    return err;
}

/* Sockets of the process whose place this one takes: by how the address is written, then by what it is. */
static int listenings_inherit(struct listenings *listenings, char fault[LISTENING_FAULT_MAX])
{
    int err = 0;
    for (unsigned round = 0; round < 2; round++)
        for (size_t i = 0; !err && listenings->inheritance && i < listenings->count; i++) {
            struct listening *listening = &listenings->items[i];
            struct heirloom *heirloom = NULL;
            if (!listening->is_passed)
                heirloom = inheritance_claim(listenings->inheritance, round == 0 ? listening->option : NULL,
                                             listening->declaration.entrance.address, &listening->address);
            for (size_t j = 0; !err && heirloom && j < heirloom->fd_count; j++)
                err = listening_pass(listening, heirloom->fds[j], fault);
            listening->has_file = listening->has_file || (heirloom && heirloom->has_file);
            listening->has_ancestor = listening->has_ancestor || heirloom;
            if (heirloom)
                listening->ancestor = heirloom->place;
        }
    return err;
}

/* Sockets that the service manager has bound. */
static int listenings_adopt(struct listenings *listenings, char fault[LISTENING_FAULT_MAX])
{
    static_assert(ACTIVATION_FAULT_MAX <= LISTENING_FAULT_MAX, "a fault of passed sockets fits");
    struct activation activation;
    int err = activation_read(&activation, fault);
    for (size_t i = 0; !err && i < activation.count; i++) {
        const char *name = activation.names[i];
        struct listening *listening = listenings_find_unpassed(listenings, name);
        if (!listening) {
            snprintf(fault, LISTENING_FAULT_MAX,
                     "the service manager passes more sockets named '%s' than the option of that name has "
                     "addresses; FileDescriptorName= of a socket unit names the option",
                     name);
            return -EINVAL;
        }
        err = listening_pass(listening, ACTIVATION_FD_FIRST + (int)i, fault);
    }
    return err;
}

/* With keys only those channels are open to everybody whose rules say so. */
int listenings_check_exposure(const struct listenings *listenings, const struct options *options,
                              char fault[LISTENING_FAULT_MAX])
{
    char text[LISTENING_TEXT_MAX];
    bool is_guarded = options->anonymous || auth_keys_are_configured(options);
    for (size_t i = 0; !is_guarded && i < listenings->count; i++) {
        const struct listening *listening = &listenings->items[i];
        if (listening_is_unix(listening) || address_is_loopback(&listening->address))
            continue;
        listening_format(listening, text);
        snprintf(
            fault, LISTENING_FAULT_MAX,
            "refusing to listen on %s: anybody who reaches this address could read and publish on every "
            "channel. Configure keys (jwt-key, jwt-jwks, publish-keys: docs/AUTH.md), listen on 127.0.0.1 "
            "behind a proxy that decides who may, or add --anonymous if that is what you want.",
            text);
        return -EACCES;
    }
    return 0;
}

/* A header that nobody is believed for would have every connection refused. */
static int listenings_check_proxies(const struct listenings *listenings, const struct options *options,
                                    char fault[LISTENING_FAULT_MAX])
{
    for (size_t i = 0; i < listenings->count; i++) {
        const struct listening *listening = &listenings->items[i];
        bool is_local = listening_is_unix(listening) || address_is_loopback(&listening->address);
        if (!listening->declaration.entrance.has_proxy_header || is_local || proxies_are_elsewhere(options))
            continue;
        snprintf(
            fault, LISTENING_FAULT_MAX,
            "%s = %.300s: proxy-protocol=yes needs trusted-proxies, because whoever reaches this address "
            "could say that he is somebody else; name the addresses of your proxies there",
            listening->option, listening->declaration.entrance.address);
        return -EINVAL;
    }
    return 0;
}

int listenings_parse(struct listenings *listenings, const struct options *options,
                     char fault[LISTENING_FAULT_MAX])
{
    const struct listening_kind http = {.option = "http"};
    const struct listening_kind admin = {.option = "admin", .is_admin = true};
    const struct listening_kind tcp = {.option = "tcp", .is_tcp = true};
    listenings->items =
        calloc(options->http.count + options->admin.count + options->tcp.count, sizeof(*listenings->items));
    if (!listenings->items) {
        snprintf(fault, LISTENING_FAULT_MAX, "no memory");
        return -ENOMEM;
    }
    int err = listenings_parse_list(listenings, &http, &options->http, fault);
    if (!err)
        err = listenings_parse_list(listenings, &admin, &options->admin, fault);
    if (!err)
        err = listenings_parse_list(listenings, &tcp, &options->tcp, fault);
    if (!err)
        err = listenings_inherit(listenings, fault);
    if (!err)
        err = listenings_adopt(listenings, fault);
    if (!err)
        err = listenings_check_proxies(listenings, options, fault);
    return err ? err : listenings_check_exposure(listenings, options, fault);
}

/* Sockets. */

static int listening_bind(const struct address *address, bool is_shared)
{
    const int on = 1;
    const int off = 0;
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (address->storage.ss_family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address->storage.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (is_shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&address->storage, address->len) == 0)
        return fd;
    int err = -errno;
    close(fd);
    return err;
}

/* A socket file that nobody listens on any more is in the way of the next one that does. */
static int listening_remove_stale(const struct listening *listening)
{
    struct stat status;
    if (lstat(listening_path(listening), &status))
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const struct sockaddr *address = (const struct sockaddr *)&listening->address.storage;
    int err = connect(fd, address, listening->address.len) == 0 ? EADDRINUSE : errno;
    close(fd);
    if (err != ECONNREFUSED)
        return err == EADDRINUSE || err == EAGAIN ? -EADDRINUSE : -err;
    return unlink(listening_path(listening)) == 0 ? 0 : -errno;
}

/* Nobody connects before the socket listens, and by then it has its mode. */
static int listening_bind_unix(struct listening *listening)
{
    int err = listening_remove_stale(listening);
    int fd = err ? err : listening_bind(&listening->address, false);
    if (fd < 0)
        return fd;
    listening->has_file = true;
    if (chmod(listening_path(listening), listening->declaration.entrance.mode) == 0)
        return fd;
    err = -errno;
    close(fd);
    return err;
}

/* The first socket is bound without sharing the address, so that a second server on it is told; then all
 * shards share it. */
static int listening_bind_first(struct listening *listening)
{
    struct address *address = &listening->address;
    if (listening_is_unix(listening))
        return listening_bind_unix(listening);
    int fd = listening_bind(address, false);
    if (fd < 0)
        return fd;
    address->len = sizeof(address->storage);
    int err = getsockname(fd, (struct sockaddr *)&address->storage, &address->len) ? -errno : 0;
    close(fd);
    return err ? err : listening_bind(address, true);
}

/* Shards share the listening sockets of a Unix address and those that were passed, and have one each of any
 * other. */
static int listening_find_fd(struct listening *listening, unsigned shard)
{
    bool is_shared = listening_is_unix(listening) || listening->is_passed;
    if (listening->is_passed && shard < listening->fd_count)
        return listening->fds[shard];
    if (is_shared && listening->fd_count > 0) {
        int fd = fcntl(listening->fds[shard % listening->fd_count], F_DUPFD_CLOEXEC, 0);
        return fd < 0 ? -errno : fd;
    }
    int fd = listening->fd_count == 0 ? listening_bind_first(listening)
                                      : listening_bind(&listening->address, true);
    int err = fd < 0 ? fd : listening_add_fd(listening, fd);
    if (err && fd >= 0)
        close(fd);
    return err ? err : fd;
}

static int listening_give(struct listening *listening, struct shard *shard, int fd)
{
    struct declaration *declaration = &listening->declaration;
    /* No browser sends a proxy's header, or connects to a Unix socket. */
    declaration->entrance.is_for_browsers_here = !declaration->entrance.has_proxy_header &&
                                                 !listening_is_unix(listening) &&
                                                 address_is_loopback(&listening->address);
    const struct entrance *entrance = &declaration->entrance;
    if (!listening->is_tcp)
        return listener_add(&shard->listeners, fd, &door_listener_ops, entrance, NULL, listening->identity);
    stream_table_tick(&shard->streams, connection_tick_ms(declaration, shard->options));
    return listener_add(&shard->listeners, fd, &connection_listener_ops, entrance, declaration,
                        listening->identity);
}

/* Where more sockets were passed than there are shards, some have several: each is accepted from, or who
 * waits there would wait for ever. */
static int listening_open(struct listening *listening, const struct shard_group *group)
{
    int err = 0;
    for (unsigned i = 0; !err && (i < group->count || (listening->is_passed && i < listening->fd_count));
         i++) {
        int fd = listening_find_fd(listening, i);
        if (fd < 0)
            return fd;
        err = listening_give(listening, &group->shards[i % group->count], fd);
        if (err)
            close(fd);
    }
    return err;
}

int listenings_open(struct listenings *listenings, const struct shard_group *group,
                    char fault[LISTENING_FAULT_MAX])
{
    int err = 0;
    for (size_t i = 0; !err && i < listenings->count; i++) {
        struct listening *listening = &listenings->items[i];
        char text[LISTENING_TEXT_MAX];
        listening_format(listening, text);
        err = listening_open(listening, group);
        listening_warn_of_end(listening);
        if (err)
            snprintf(fault, LISTENING_FAULT_MAX, "%s %s: %s", listening->option, text,
                     err == -EADDRINUSE ? "another process listens there; stop it or choose another address"
                     : err == -EEXIST   ? "there is a file of that name, which is not a socket"
                                        : strerror(-err));
    }
    return err;
}

const struct listening *listenings_find_heir(const struct listenings *listenings, size_t ancestor)
{
    for (size_t i = 0; i < listenings->count; i++)
        if (listenings->items[i].has_ancestor && listenings->items[i].ancestor == ancestor)
            return &listenings->items[i];
    return NULL;
}

int listenings_read_again(struct listenings *listenings, char fault[LISTENING_FAULT_MAX])
{
    int err = 0;
    for (size_t i = 0; !err && i < listenings->count; i++) {
        struct listening *listening = &listenings->items[i];
        tls_identity_unref(listening->renewed);
        listening->renewed = NULL;
        err = listening_read_tls(listening, &listening->renewed, fault);
    }
    return err;
}

int listenings_renew(struct listenings *listenings, const struct shard_group *group)
{
    int err = 0;
    for (size_t i = 0; i < listenings->count; i++) {
        struct listening *listening = &listenings->items[i];
        if (!listening->renewed)
            continue;
        tls_identity_unref(listening->identity);
        listening->identity = listening->renewed;
        listening->renewed = NULL;
        listening_warn_of_end(listening);
        for (unsigned j = 0; !err && j < group->count; j++)
            err = shard_renew(&group->shards[j], &listening->declaration.entrance, listening->identity);
    }
    return err;
}

void listening_format(const struct listening *listening, char text[LISTENING_TEXT_MAX])
{
    if (listening_is_unix(listening) && listening->is_passed)
        snprintf(text, LISTENING_TEXT_MAX, "unix:%s",
                 ((const struct sockaddr_un *)&listening->address.storage)->sun_path);
    else if (listening_is_unix(listening))
        snprintf(text, LISTENING_TEXT_MAX, "%s", listening->declaration.entrance.address);
    else
        address_format(&listening->address, text);
}

void listenings_leave_files(struct listenings *listenings)
{
    for (size_t i = 0; i < listenings->count; i++)
        listenings->items[i].has_file = false;
}

void listenings_close(struct listenings *listenings)
{
    for (size_t i = 0; i < listenings->count; i++) {
        struct listening *listening = &listenings->items[i];
        if (listening->has_file)
            unlink(listening_path(listening));
        declaration_deinit(&listening->declaration);
        tls_identity_unref(listening->identity);
        tls_identity_unref(listening->renewed);
        free(listening->fds);
    }
    free(listenings->items);
    *listenings = (struct listenings){0};
}
