/* SPDX-License-Identifier: MIT */
#pragma once

/* Sockets that the service manager has bound and passes on (sd_listen_fds(3)): descriptors from 3 on, counted
 * by LISTEN_FDS and named by LISTEN_FDNAMES, for the process LISTEN_PID. Main thread.
 */

#include <stddef.h>

#include "base/address.h"

#define ACTIVATION_FD_FIRST 3
#define ACTIVATION_SOCKETS_MAX 64u
#define ACTIVATION_NAME_MAX 64u
#define ACTIVATION_FAULT_MAX 256u

struct activation {
    size_t count;
    /* Of the socket at ACTIVATION_FD_FIRST + index: the option that listens on it. Unnamed ones are `http`.
     */
    char names[ACTIVATION_SOCKETS_MAX][ACTIVATION_NAME_MAX];
};

/* Reads the values of LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES; any may be NULL. What is for another process
 * than `own_pid` counts as none. Returns 0, or -EINVAL with `fault` a sentence. */
int activation_parse(struct activation *activation, long own_pid, const char *pid, const char *count,
                     const char *names, char fault[ACTIVATION_FAULT_MAX]);

/* The same of the environment. */
int activation_read(struct activation *activation, char fault[ACTIVATION_FAULT_MAX]);

/* Makes a passed socket one of ours: closed in other programs, not blocking. Returns 0 with its address, or
 * -EINVAL with `fault` a sentence when it is no stream socket that listens. */
int activation_take(int fd, struct address *address, char fault[ACTIVATION_FAULT_MAX]);
