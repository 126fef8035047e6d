/* SPDX-License-Identifier: MIT */
#pragma once

/* The keys in force: what tokens are signed with (options jwt-key and jwt-jwks) and publisher keys
 * (publish-keys). One immutable snapshot, counted atomically: any thread. Loaded at the start and at each
 * SIGHUP. */

#include <stdbool.h>

#include "config/options.h"

#define AUTH_FAULT_MAX 1024u

struct auth_keys;

/* Reads every file that the options name; main thread. Warns in the log of files that others may read.
 * Returns 0, -ENOMEM or -EINVAL, each with `fault` a sentence that begins with the option's name. */
int auth_keys_load(struct auth_keys **keys, const struct options *options, char fault[AUTH_FAULT_MAX]);

struct auth_keys *auth_keys_ref(struct auth_keys *keys);
void auth_keys_unref(struct auth_keys *keys); /* NULL is allowed */

/* Whether any key is configured: then channels without a rule want a token, and /api an admin. */
bool auth_keys_are_there(const struct auth_keys *keys);
