/* SPDX-License-Identifier: MIT */
#pragma once

/* The body of a request, read from the socket as it is wanted and not a byte beyond its end, where the next
 * request begins. On the shard's thread.
 */

#include "http/exchange.h"

enum upload_progress {
    UPLOAD_WHOLE,
    UPLOAD_MORE,      /* the rest has not come yet */
    UPLOAD_ENDED,     /* the peer has ended before it was whole */
    UPLOAD_MALFORMED, /* its chunks are */
    UPLOAD_TOO_LARGE, /* over the exchange's limit */
    UPLOAD_NO_MEMORY, /* connection-memory has no room for what has come */
};

/* Reads what is there. A body that an error is to be the answer to is dropped. */
enum upload_progress upload_read(struct exchange *exchange);
