/* SPDX-License-Identifier: MIT */
#pragma once

/* Values of options that are made of several: a word, then key=value pairs, separated by blanks. Pure; any
 * thread.
 */

#include <stdbool.h>
#include <stddef.h>

#define PAIRS_FAULT_MAX 512u

/* What is being read. */
struct pairs {
    void *context; /* of who reads */
    char *fault;   /* room for PAIRS_FAULT_MAX bytes */
    unsigned seen; /* a bit for each row of the keys */
};

struct pairs_key {
    const char *name;
    /* Returns 0, -ENOMEM, or what pairs_fail does. */
    int (*set)(struct pairs *pairs, const char *value);
};

struct pairs_form {
    const char *noun;    /* of the first word, as in "after the NOUN come ..." */
    const char *missing; /* what is said when there is none */
    int (*set_first)(struct pairs *pairs, const char *word);
    const struct pairs_key *keys; /* at most 32 */
    size_t key_count;
    int (*check)(struct pairs *pairs); /* everything has been read */
};

/* Reads the text. Returns 0, -ENOMEM, or -EINVAL with `fault` a sentence. */
int pairs_parse(void *context, const char *text, const struct pairs_form *form, char fault[PAIRS_FAULT_MAX]);

/* Writes the fault, in the manner of printf. Returns -EINVAL. */
__attribute__((format(printf, 2, 3))) int pairs_fail(struct pairs *pairs, const char *format, ...);

/* For a value that is yes or no; returns as pairs_key.set. */
int pairs_read_boolean(struct pairs *pairs, bool *to, const char *name, const char *value);
