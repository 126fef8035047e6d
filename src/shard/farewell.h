/* SPDX-License-Identifier: MIT */
#pragma once

/* Farewells: sockets whose peers have been told everything, and may go on sending for a while: closing with
 * unread bytes would reset the connection, and what was written last with it. What comes is dropped. They are
 * not counted among the connections. What is owed to them still (shard/socket.h) they get, however slowly
 * they read. On the shard's thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/timer.h"

struct shard;

struct farewell_table {
    struct shard *shard;
    struct list sockets; /* those that have waited longest first */
    uint64_t count;
    struct timer timer; /* of the first */
};

void farewell_table_init(struct farewell_table *table, struct shard *shard);

/* The last that a peer is told: what it takes of it, then that it was all. */
void farewell_tell(int fd, const char *text, size_t len);

/* Takes a socket that nobody watches, and closes it when its peer has ended, has sent too much, or has had
 * time to read, and is owed nothing. When there are too many, it closes the one that has waited longest. */
void farewell_begin(struct farewell_table *table, int fd);

/* Closes it now, without what has come already, and without what it still owes. */
void farewell_close(int fd);

/* Closes all. */
void farewell_table_cut(struct farewell_table *table);
