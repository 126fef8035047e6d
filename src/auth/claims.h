/* SPDX-License-Identifier: MIT */
#pragma once

/* What a token claims (RFC 7519, section 4), once its signature is known to be right. Any thread. */

#include <stdint.h>

#include "auth/grant.h"
#include "auth/keys.h"
#include "base/text.h"
#include "tables/errors.h"

#define CLAIM_TEXT_MAX 255u         /* bytes of sub and of jti */
#define CLAIM_AUDIENCES_MAX 64u     /* of one token */
#define CLAIM_PATTERNS_MAX 256u     /* of each right */
#define CLAIM_TIME_MAX 253402300799 /* seconds: the year 9999 */

/* Judges the claims, any bytes, against the options (jwt-audience, jwt-issuer) and the wall clock and makes
 * the grant of them, of which the caller has one reference. Returns as token_verify; the grant is NULL when
 * it is refused. */
enum error_code claims_judge(struct grant **grant, struct text claims, const struct options *options,
                             int64_t now_ms, char fault[AUTH_FAULT_MAX]);
