/* SPDX-License-Identifier: MIT */
#pragma once

/* The porch: where who comes to a listener with TLS waits until the handshake is done, and then goes on to
 * whoever takes the listener's connections. It has head-timeout for it. Handshakes are the dearest work there
 * is: in each turn of the loop they get a little of its time, so that a flood of them delays nobody else's
 * messages. On the shard's thread.
 */

#include "base/list.h"
#include "base/timer.h"
#include "shard/listener.h"

struct shard;

struct porch {
    struct shard *shard;
    struct list visitors;  /* in the order of their deadlines */
    struct list ready;     /* those who may go on */
    struct timer deadline; /* of the first */
};

void porch_init(struct porch *porch, struct shard *shard);

/* Takes a connection that has been accepted and counted. Returns ERROR_NONE, or why it has to be refused:
 * then nothing has been taken. */
enum error_code porch_take(struct listener *listener, const struct arrival *arrival);

/* Goes on with handshakes, for a while. */
void porch_run(struct porch *porch);

static inline bool porch_has_to_run(const struct porch *porch)
{
    return !list_is_empty(&porch->ready);
}

/* Lets everybody go. */
void porch_shut(struct porch *porch);

/* Tells a peer that it is refused before there is a session, which costs nothing, and ends writing. */
void porch_write_alert(int fd);
