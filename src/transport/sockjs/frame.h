/* SPDX-License-Identifier: MIT */
#pragma once

/* The frames that a SockJS client receives, and how each carrier puts them. Bytes out; any thread. */

#include "base/buf.h"
#include "tables/closes.h"
#include "transport/sockjs/path.h"

struct shard;

#define FRAME_OPEN "o"
#define FRAME_HEARTBEAT "h"

/* What stands first in a stream. `callback` is valid; NULL for carriers that need none. */
void sockjs_frame_append_prelude(struct buf *to, enum carrier carrier, const char *callback);

/* Appends a frame as its carrier puts it. */
void sockjs_frame_append(struct buf *to, enum carrier carrier, const char *callback, struct text frame);

/* Appends c[CODE,"REASON"]; on the shard's thread. */
void sockjs_frame_append_close(struct buf *to, enum close_reason reason, const struct shard *shard);
