/* SPDX-License-Identifier: MIT */
#pragma once

/* Which query parameters a request may have. On the shard's thread. */

#include "http/exchange.h"

struct query_rules {
    const char *doing;           /* what the request does: publishing, receiving */
    const char *const *names;    /* the parameters that it takes; ends with NULL */
    const char *const *harmless; /* what clients add that nobody reads, beside all that begin with `_`; ends
                                    with NULL. NULL: there is nothing of that kind. */
};

/* Answers a request with a parameter that is not taken: what it says would be lost without a word. Returns
 * whether it did. */
bool query_refuses(struct exchange *exchange, const struct query_rules *rules);
