/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_SHARD_SWAP_H
#define SLUICE_SHARD_SWAP_H

/* What lies behind a descriptor that libmicrohttpd owns is exchanged under its hands (dup2), because it reads
 * as much as its buffer takes, also of the next request, and closes what it has:
 *
 * - to feed it one request head and no byte more, the descriptor leads to that head while it reads;
 * - to part it from a connection that goes on, the descriptor leads to a socket whose peer has gone.
 *
 * Each shard has one; none of this needs a new descriptor, so it works when the process has none left. At no
 * time may the descriptor be in an epoll of libmicrohttpd's. On the shard's thread.
 */

#include <stdbool.h>
#include <stddef.h>

struct swap {
    int feed[2]; /* a pair of sockets: what is written to the first is read from the second, head by head */
    int dead;    /* a socket whose peer has gone */
    int saved;   /* where a connection's socket is kept meanwhile; when all is at rest, the same as feed[1] */
    bool has_saved; /* `saved` leads to the socket of a connection still */
    int fed_fd;     /* the descriptor that is being fed; -1 when none is */
};

/* Returns 0 or -errno. */
int swap_init(struct swap *swap);
void swap_deinit(struct swap *swap);

/* Who reads from `fd` now reads these bytes, until swap_end_feed. Returns 0, or -errno, and then the feed has
 * to be cancelled. */
int swap_feed(struct swap *swap, int fd, const char *bytes, size_t len);

/* `fd` leads to its socket again. Nothing when none is fed. */
void swap_end_feed(struct swap *swap);

/* Lets go of the socket that was fed last: before the turn is over, so that its end is its end. */
void swap_rest(struct swap *swap);

/* swap_end_feed, and what has not been read is dropped. */
void swap_cancel_feed(struct swap *swap);

/* Who reads from `fd` now sees its end. The socket is closed, or with `is_saved` can be had by swap_take. */
void swap_part(struct swap *swap, int fd, bool is_saved);

/* A new descriptor for the socket that was saved, or -errno; it is not saved any more. */
int swap_take(struct swap *swap);

#endif
