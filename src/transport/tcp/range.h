/* SPDX-License-Identifier: MIT */
#pragma once

/* XRANGE and XREAD: a part of a channel's log gathered into one answer. */

#include "transport/tcp/connection.h"

struct range;

/* Takes what there is. Returns whether that was all: the answer is in the wait's text. */
bool range_gather(struct tcp_subscription *subscription);

void range_free(struct range *range, struct shard *shard);
