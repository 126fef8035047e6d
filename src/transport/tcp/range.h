/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_TRANSPORT_TCP_RANGE_H
#define SLUICE_TRANSPORT_TCP_RANGE_H

/* XRANGE and XREAD: a part of a channel's log gathered into one answer. */

#include <stdbool.h>
#include <stdint.h>

#include "transport/tcp/commands.h"
#include "transport/tcp/connection.h"

struct range;

/* `XRANGE channel start end [COUNT n]` and `XREAD [COUNT n] [BLOCK ms] STREAMS channel id`: answered when it
 * is gathered. */
void range_run_xrange(struct connection *connection, const struct text *arguments, unsigned count);
void range_run_xread(struct connection *connection, const struct text *arguments, unsigned count);

/* Takes what there is. Returns whether that was all: the answer is in the wait's text. */
bool range_gather(struct tcp_subscription *subscription);

void range_free(struct range *range, struct shard *shard);

#endif
