/* SPDX-License-Identifier: MIT */
#pragma once

/* What a process takes over that takes the place of another (docs/SERVICE.md, "Upgrade"): the sockets it
 * listens on, and what its broker keeps. The other one is server/succession. Main thread, before any shard
 * runs; it waits.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/address.h"
#include "base/buf.h"
#include "core/broker.h"
#include "core/handover.h"

#define INHERITANCE_FAULT_MAX 512u

/* The sockets of one address of the other process. */
struct heirloom {
    size_t place;  /* its number there */
    char *option;  /* that named it */
    char *written; /* the address as it was written */
    struct address address;
    bool has_file; /* the file of a Unix socket is to be removed by who listens there last */
    bool is_claimed;
    size_t fd_count;
    int *fds;
};

struct inheritance {
    int fd;         /* to the other process; -1 when there is none, or it is gone */
    bool is_server; /* this process is the server now: connections come */
    struct buf in;
    size_t used; /* of that */
    struct buf_of_fds {
        size_t count;
        int items[256];
    } fds; /* that have come, and of which no record has told yet */
    size_t count;
    struct heirloom *heirlooms;
};

/* Takes over a socket to the other process, and waits for its listening sockets; with -1 there is none, and
 * nothing happens here nor below. Returns 0, or -errno with `fault` a sentence. */
int inheritance_begin(struct inheritance *inheritance, int fd, char fault[INHERITANCE_FAULT_MAX]);

/* The sockets of an address, which are the caller's from then on: by option and as it is written; or with
 * `option` NULL by the address itself. NULL when there are none. */
struct heirloom *inheritance_claim(struct inheritance *inheritance, const char *option, const char *written,
                                   const struct address *address);

/* Everything else is there: has the other process stop accepting, takes what its broker keeps, and becomes
 * the server. What cannot be taken is logged, and not there then. Returns 0, or -errno with `fault` when the
 * other process goes on. */
int inheritance_enter(struct inheritance *inheritance, struct broker *broker,
                      char fault[INHERITANCE_FAULT_MAX]);

/* Closes what nobody has claimed, and frees. Call once this process is the server, or never will be
 * (`is_server`). As the server it still gets connections from the other one. */
void inheritance_end(struct inheritance *inheritance, bool is_server);

/* A connection of the other process, between two requests. */
struct inherited_client {
    int fd;
    size_t place; /* of its listener there */
    bool is_kept;
    struct text address;
    struct text early; /* what has been read of it; both are good until the next call */
};

/* Takes the next one that has come, which is the caller's. Returns whether there is one; the descriptor is -1
 * once none will come any more. */
bool inheritance_take_client(struct inheritance *inheritance, struct inherited_client *client);
