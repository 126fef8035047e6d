/* SPDX-License-Identifier: MIT */
#include "server/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/number.h"

/* What systemd calls a socket without FileDescriptorName=: after its unit, or where there is none. */
static bool activation_is_unnamed(const char *name)
{
    static const char ending[] = ".socket";
    size_t len = strlen(name);
    return len == 0 || strcmp(name, "unknown") == 0 ||
           (len >= strlen(ending) && strcmp(name + len - strlen(ending), ending) == 0);
}

static int activation_fail(const char *what, char fault[ACTIVATION_FAULT_MAX])
{
    snprintf(fault, ACTIVATION_FAULT_MAX, "%s", what);
    return -EINVAL;
}

/* Separated by colons, one a socket. */
static int activation_parse_names(struct activation *activation, const char *names,
                                  char fault[ACTIVATION_FAULT_MAX])
{
    for (size_t i = 0; i < activation->count; i++) {
        size_t len = strcspn(names, ":");
        if (len >= ACTIVATION_NAME_MAX)
            return activation_fail("LISTEN_FDNAMES has a name of more than 63 bytes", fault);
        memcpy(activation->names[i], names, len);
        activation->names[i][len] = '\0';
        if (activation_is_unnamed(activation->names[i]))
            snprintf(activation->names[i], ACTIVATION_NAME_MAX, "http");
        names += len;
        names += *names == ':';
    }
    return *names ? activation_fail("LISTEN_FDNAMES names more sockets than LISTEN_FDS counts", fault) : 0;
}

int activation_parse(struct activation *activation, long own_pid, const char *pid, const char *count,
                     const char *names, char fault[ACTIVATION_FAULT_MAX])
{
    uint64_t number;
    activation->count = 0;
    if (!pid || !count)
        return 0;
    if (number_parse_u64(&number, pid, strlen(pid)))
        return activation_fail("LISTEN_PID is no number", fault);
    if (number != (uint64_t)own_pid)
        return 0;
    if (number_parse_u64(&number, count, strlen(count)) || number > ACTIVATION_SOCKETS_MAX)
        return activation_fail("LISTEN_FDS is no number from 0 to 64", fault);
    activation->count = (size_t)number;
    return activation_parse_names(activation, names ? names : "", fault);
}

int activation_read(struct activation *activation, char fault[ACTIVATION_FAULT_MAX])
{
    return activation_parse(activation, getpid(), getenv("LISTEN_PID"), getenv("LISTEN_FDS"),
                            getenv("LISTEN_FDNAMES"), fault);
}

static bool activation_has(int fd, int option, int wanted)
{
    int value = 0;
    socklen_t len = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 && value == wanted;
}

int activation_take(int fd, struct address *address, char fault[ACTIVATION_FAULT_MAX])
{
    int flags = fcntl(fd, F_GETFL);
    *address = (struct address){.len = sizeof(address->storage)};
    if (flags < 0 || !activation_has(fd, SO_TYPE, SOCK_STREAM) || !activation_has(fd, SO_ACCEPTCONN, 1) ||
        getsockname(fd, (struct sockaddr *)&address->storage, &address->len)) {
        snprintf(
            fault, ACTIVATION_FAULT_MAX,
            "descriptor %d that the service manager passes is no stream socket that listens; a socket unit "
            "says ListenStream= and Accept=no",
            fd);
        return -EINVAL;
    }
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC)) {
        snprintf(fault, ACTIVATION_FAULT_MAX, "descriptor %d: %s", fd, strerror(errno));
        return -errno;
    }
    return 0;
}
