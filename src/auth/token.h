/* SPDX-License-Identifier: MIT */
#pragma once

/* Tokens: JSON Web Tokens in compact form (RFC 7519, RFC 7515) and publisher keys (NAME.SECRET). Any thread.
 *
 * A token is nothing but bytes until its signature is known to be right, by a key of which our own
 * configuration says what algorithm it is for. What its header says of keys (jwk, jku, x5c, x5u) is not
 * looked at. */

#include <stdint.h>

#include "auth/grant.h"
#include "auth/keys.h"
#include "auth/revoked.h"
#include "base/text.h"
#include "tables/errors.h"

#define TOKEN_MAX 8192u /* bytes, before anything is decoded */
#define TOKEN_LEEWAY_MS 30000
#define TOKEN_KEYS_TRIED_MAX 8u /* of as many as are for its algorithm and key id */

/* Verifies a token or publisher key, hostile, on the wall clock `now_ms`, and makes its grant, of which the
 * caller has one reference. Returns ERROR_NONE, or why not, a row with status 401 (or ERROR_OUT_OF_MEMORY)
 * with `fault` a sentence without control characters; the grant is then NULL. `revoked` may be NULL. Where no
 * keys are there, nothing is right; ask only where some are. */
enum error_code token_verify(struct grant **grant, const struct auth_keys *keys,
                             const struct options *options, const struct revoked *revoked, struct text token,
                             int64_t now_ms, char fault[AUTH_FAULT_MAX]);
