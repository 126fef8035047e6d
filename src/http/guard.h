/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_HTTP_GUARD_H
#define SLUICE_HTTP_GUARD_H

/* The one place that refuses what libmicrohttpd lets pass (section 4 of the architecture) and other servers
 * on the way may read differently: RFC 9112, sections 3.2, 5.1 and 6.
 */

#include <stdbool.h>
#include <stdint.h>

#include "http/exchange.h"

struct guard_verdict {
    enum error_code error; /* ERROR_NONE: it may be handled */
    bool must_close;       /* where the request ends is in doubt */
    bool has_body;
    uint64_t content_length; /* 0 when chunked or without a body */
    enum http_method method; /* 0 when it is none that is known */
};

/* On the first call for each request; `exchange` has its target and path. */
struct guard_verdict guard_check(struct exchange *exchange, const char *method, const char *version);

#endif
