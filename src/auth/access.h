/* SPDX-License-Identifier: MIT */
#pragma once

/* Who may do what: the rules of a channel against a grant. Any thread. */

#include "auth/grant.h"
#include "auth/keys.h"
#include "base/text.h"
#include "config/options.h"
#include "tables/errors.h"

enum access_verb { ACCESS_SUBSCRIBE, ACCESS_PUBLISH, ACCESS_ADMIN };

/* `grant` may be NULL: nobody has said who he is. `channel` is a valid channel name; without meaning for
 * ACCESS_ADMIN. Returns ERROR_NONE, ERROR_NO_TOKEN (401), ERROR_FORBIDDEN_CHANNEL (403; the sentence names
 * the right and the channel) or ERROR_FORBIDDEN_ADMIN (403), with `fault` a sentence. Does not look at the
 * clock or at revocations: what has ended is for whoever holds the grant. */
enum error_code access_check(const struct grant *grant, const struct auth_keys *keys,
                             const struct options *options, enum access_verb verb, struct text channel,
                             char fault[AUTH_FAULT_MAX]);
