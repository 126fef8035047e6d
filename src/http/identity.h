/* SPDX-License-Identifier: MIT */
#pragma once

/* Who asks: the token of a request, looked for in `Authorization: Bearer`, then in the query parameter
 * `token`, then in the cookie `sluice_token`, and judged once (docs/AUTH.md). The grant is the exchange's. A
 * server without keys judges none. On the shard's thread.
 */

#include "auth/access.h"
#include "http/exchange.h"

/* Whether the request may do that with a channel, whose name is valid; for ACCESS_ADMIN none is named.
 * Returns ERROR_NONE, or why not, with `fault` a sentence. A bad token is refused even where nobody needs
 * one, unless it came in the cookie. */
enum error_code identity_check(struct exchange *exchange, enum access_verb verb, struct text channel,
                               char fault[AUTH_FAULT_MAX]);

/* The same, and answers why not. Returns whether it did. */
bool identity_refuses(struct exchange *exchange, enum access_verb verb, struct text channel);

/* Answers a bad token, for who asks for each of many things. Returns whether it did. */
bool identity_refuses_token(struct exchange *exchange);

/* Whether the client has said nothing that counts, so that it may still say it where the transport allows. */
bool identity_is_open(const struct exchange *exchange);

/* Adds what RFC 6750, section 3, wants of a refusal; nothing for an error that has nothing to do with tokens.
 */
void identity_add_challenge(struct MHD_Response *response, enum error_code error);
