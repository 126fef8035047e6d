/* SPDX-License-Identifier: MIT */
#pragma once

/* An epoch names one log of one channel: 12 characters of lower-case Crockford base32, the first
 * EPOCH_NAME_LEN from a fixed-key hash of the channel's name (the same on every node and for ever), the rest
 * random.
 *
 * A value type; any thread.
 */

#include <stdbool.h>
#include <stddef.h>

#define EPOCH_LEN 12u
#define EPOCH_NAME_LEN 5u

struct epoch {
    char text[EPOCH_LEN]; /* not terminated */
};

/* A new epoch for the channel. */
struct epoch epoch_new(const char *name, size_t name_len);

/* The part that comes from the channel's name; the random part is zeros. */
struct epoch epoch_of_name(const char *name, size_t name_len);

/* Takes EPOCH_LEN bytes. Returns 0, or -EINVAL when one is not of the alphabet. */
int epoch_parse(struct epoch *epoch, const char *text);

/* Whether the random part is zeros: it is what epoch_of_name makes, and no log's. */
bool epoch_is_of_name(const struct epoch *epoch);

bool epoch_equals(const struct epoch *a, const struct epoch *b);
bool epoch_has_same_name(const struct epoch *a, const struct epoch *b);
