/* SPDX-License-Identifier: MIT */
#pragma once

/* Publisher keys: NAME.SECRET, for applications that do not want tokens. The file `publish-keys` has a line
 * NAME:HASH for each, from which the secret cannot be found. Immutable once parsed; any thread. */

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

#define PUBLISHER_NAME_MAX 64u
#define PUBLISHER_SECRET_BYTES 32u
#define PUBLISHER_SECRET_TEXT 43u /* in base64url */
#define PUBLISHER_KEY_MAX (PUBLISHER_NAME_MAX + 1 + PUBLISHER_SECRET_TEXT)
#define PUBLISHER_SALT_BYTES 16u
#define PUBLISHER_HASH_BYTES 32u
#define PUBLISHER_HASH_TEXT 64u /* salt and hash in base64url */
#define PUBLISHER_LINE_MAX (PUBLISHER_NAME_MAX + 1 + PUBLISHER_HASH_TEXT)
#define PUBLISHERS_MAX 10000u
#define PUBLISHERS_FAULT_MAX 256u

struct publisher {
    char name[PUBLISHER_NAME_MAX + 1];
    unsigned char salt[PUBLISHER_SALT_BYTES];
    unsigned char hash[PUBLISHER_HASH_BYTES];
};

struct publishers {
    size_t count;
    struct publisher *items; /* by name */
};

/* Whether it may be a key's name: 1 to 64 of A-Z a-z 0-9 - and _. */
bool publisher_name_is_valid(struct text name);

/* Parses a file: lines NAME:HASH, empty ones and ones that begin with #. Returns 0, -ENOMEM or -EINVAL, with
 * `fault` the end of a sentence that begins with the file; it repeats no hash. */
int publishers_parse(struct publishers *publishers, struct text file, char fault[PUBLISHERS_FAULT_MAX]);
void publishers_deinit(struct publishers *publishers);

/* The one of that name; NULL when there is none. */
const struct publisher *publishers_find(const struct publishers *publishers, struct text name);

/* Whether the secret, hostile, is the publisher's. Takes as long for a wrong one as for the right one. */
bool publisher_verify(const struct publisher *publisher, struct text secret);

/* Makes a key at random for a valid name: the key itself and its line, both terminated. */
void publisher_make(struct text name, char key[PUBLISHER_KEY_MAX + 1], char line[PUBLISHER_LINE_MAX + 1]);
