/* SPDX-License-Identifier: MIT */
#pragma once

/* The options as the program uses them: an immutable snapshot with a reference count, because shards on other
 * threads keep one over a reload. The fields come from tables/options.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tables/options.h"

struct string_list {
    char **items;
    size_t count;
};

struct channel_rules;

struct options {
    _Atomic unsigned references; /* first */
    struct channel_rules *rules; /* the file's sections, compiled; NULL when it has none */
#define OPTION_STRING_FIELD(name, field, ...) char *field;
#define OPTION_STRINGS_FIELD(name, field, ...) struct string_list field;
#define OPTION_BOOLEAN_FIELD(name, field, ...) bool field;
#define OPTION_CHOICE_FIELD(name, field, ...) unsigned field; /* index of the word in the row's argument */
#define OPTION_NUMBER_FIELD(name, field, ...) uint64_t field;
#define OPTION_SET_FIELD(name, field, ...) unsigned field; /* bit N: the word N of the row's argument */
    OPTION_TABLE(OPTION_STRING_FIELD, OPTION_STRINGS_FIELD, OPTION_BOOLEAN_FIELD, OPTION_CHOICE_FIELD,
                 OPTION_NUMBER_FIELD, OPTION_NUMBER_FIELD, OPTION_NUMBER_FIELD)
    /* What holds for channels of which no section says another thing: config/channel_options.h. */
    CHANNEL_OPTION_TABLE(OPTION_BOOLEAN_FIELD, OPTION_CHOICE_FIELD, OPTION_SET_FIELD, OPTION_NUMBER_FIELD,
                         OPTION_NUMBER_FIELD, OPTION_NUMBER_FIELD)
#undef OPTION_STRING_FIELD
#undef OPTION_STRINGS_FIELD
#undef OPTION_BOOLEAN_FIELD
#undef OPTION_CHOICE_FIELD
#undef OPTION_SET_FIELD
#undef OPTION_NUMBER_FIELD
};

enum option_kind {
    OPTION_STRING,
    OPTION_STRINGS,
    OPTION_BOOLEAN,
    OPTION_CHOICE,
    OPTION_SET,
    OPTION_INTEGER,
    OPTION_BYTES,
    OPTION_DURATION,
};

enum option_flags { OPTION_RESTART, OPTION_RELOAD, OPTION_CHANNEL };

/* A row of the table. */
struct option_row {
    const char *name;
    enum option_kind kind;
    size_t offset; /* in struct options */
    const char *preset;
    uint64_t least;
    uint64_t most;
    enum option_flags flags;
    const char *argument;
    const char *help;
};

extern const struct option_row option_rows[];
extern const size_t option_count;

/* Of `trusted-proxies`: those on this machine, by loopback addresses and Unix sockets. */
#define OPTION_LOCAL "local"

#define OPTION_FAULT_MAX 512u
#define OPTION_RANGE_MAX 80u

/* All presets, one reference; NULL when memory is out. */
struct options *options_new(void);
struct options *options_ref(struct options *options);
void options_unref(struct options *options);

/* The row of that name; NULL when there is none. */
const struct option_row *option_find(const char *name, size_t len);

/* The name most like an unknown one; NULL when none is near. */
const char *option_suggest(const char *name);

/* Empties a repeatable option, so that a stronger source replaces a weaker one; leaves other kinds alone. */
void option_clear(struct options *options, const struct option_row *row);

/* Sets from text, or appends to a repeatable one; empty text adds nothing to one that may be empty. Before
 * the options are shared. Returns 0, -ENOMEM, or -EINVAL with `fault` the end of a sentence that says what is
 * allowed. */
int option_set(struct options *options, const struct option_row *row, const char *text,
               char fault[OPTION_FAULT_MAX]);

/* What separates the values of a repeatable option in the environment, any number of these: a semicolon where
 * values have commas and spaces in them. */
const char *option_separators(const struct option_row *row);

/* The value as text that option_set takes; items of a repeatable option joined as the environment takes them.
 * Returns malloc'd text or NULL. */
char *option_format(const struct options *options, const struct option_row *row);

/* What a number may be, as "1s to 5m"; empty for other kinds. */
void option_format_range(const struct option_row *row, char range[OPTION_RANGE_MAX]);

/* The items of a repeatable option; NULL for other kinds. */
const struct string_list *option_items(const struct options *options, const struct option_row *row);

/* Copies one option from another snapshot. Returns 0 or -ENOMEM. */
int option_copy(struct options *to, const struct options *from, const struct option_row *row);

bool option_equals(const struct options *a, const struct options *b, const struct option_row *row);
