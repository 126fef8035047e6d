/* SPDX-License-Identifier: MIT */
#pragma once

/* The keys in force: those that tokens are signed with (options jwt-key and jwt-jwks) and publisher keys
 * (publish-keys). One immutable snapshot, counted atomically: any thread. Loaded at the start and at each
 * SIGHUP. */

#include <stdbool.h>
#include <stddef.h>

#include "config/options.h"

#define AUTH_FAULT_MAX 1024u
#define AUTH_VERIFIERS_MAX 128u

struct auth_keys;
struct grant;
struct publishers;
struct verifier;

/* Reads every file that the options name; main thread. Warns in the log of files that others may read.
 * Returns 0, -ENOMEM or -EINVAL, each with `fault` a sentence that begins with the option's name. */
int auth_keys_load(struct auth_keys **keys, const struct options *options, char fault[AUTH_FAULT_MAX]);

struct auth_keys *auth_keys_ref(struct auth_keys *keys);
void auth_keys_unref(struct auth_keys *keys); /* NULL is allowed */

/* Whether the options name any key or file of keys, and be it an empty one: then channels without a rule want
 * a token, and /api an admin. */
bool auth_keys_are_configured(const struct options *options);

/* The same of the options that these were loaded by. */
bool auth_keys_are_there(const struct auth_keys *keys);

/* Whether the key that made the grant is still among them, or no key made it (a certificate's); what hangs on
 * the grant ends when it is not. */
bool auth_keys_hold(const struct auth_keys *keys, const struct grant *grant);

/* The keys of tokens, by index; NULL behind the last one. */
const struct verifier *auth_keys_verifier(const struct auth_keys *keys, size_t index);

const struct publishers *auth_keys_publishers(const struct auth_keys *keys);
