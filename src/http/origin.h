/* SPDX-License-Identifier: MIT */
#pragma once

/* Whose pages may publish and read: the server's own and those in `allowed-origins` (docs/PROTOCOL.md, RFC
 * 6454, the Fetch standard). On the shard's thread.
 */

#include "http/exchange.h"

/* Judges the Origin header; remembered in the exchange. */
void origin_judge(struct exchange *exchange);

/* Whether the page that asks is the server's own, or its origin is listed as it is: not for all being
 * allowed.
 */
bool origin_is_trusted(const struct exchange *exchange);

/* Adds Vary and, for an allowed origin, the CORS headers. */
void origin_add_headers(const struct exchange *exchange, struct MHD_Response *response);

/* Adds the fields that a page may send, for an answer to OPTIONS. */
void origin_add_allowed_headers(const struct exchange *exchange, struct MHD_Response *response);

/* Lets only the pages that may publish show this page in a frame (CSP 3, frame-ancestors): what it sends
 * comes from the server's own origin. Nothing is added when everybody may. */
void origin_add_frame_policy(const struct exchange *exchange, struct MHD_Response *response);

/* Answers 403 when a foreign page asks for a change. Returns whether it did. */
bool origin_refuses_change(struct exchange *exchange);
