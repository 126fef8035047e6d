/* SPDX-License-Identifier: MIT */
#include "config/options.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/container.h"
#include "base/nearest.h"
#include "base/network.h"
#include "base/number.h"
#include "base/text.h"
#include "config/channel_rules.h"

#define OPTION_STATIC_DIR SLUICE_STATIC_DIR /* by the build */
#define RELOAD OPTION_RELOAD
#define RESTART OPTION_RESTART
#define CHANNEL OPTION_CHANNEL

#define OPTION_ROW(kind, name, field, preset, least, most, flags, argument, help)                            \
    {name, kind, offsetof(struct options, field), preset, least, most, flags, argument, help},
#define ROW_STRING(...) OPTION_ROW(OPTION_STRING, __VA_ARGS__)
#define ROW_STRINGS(...) OPTION_ROW(OPTION_STRINGS, __VA_ARGS__)
#define ROW_BOOLEAN(...) OPTION_ROW(OPTION_BOOLEAN, __VA_ARGS__)
#define ROW_CHOICE(...) OPTION_ROW(OPTION_CHOICE, __VA_ARGS__)
#define ROW_SET(...) OPTION_ROW(OPTION_SET, __VA_ARGS__)
#define ROW_INTEGER(...) OPTION_ROW(OPTION_INTEGER, __VA_ARGS__)
#define ROW_BYTES(...) OPTION_ROW(OPTION_BYTES, __VA_ARGS__)
#define ROW_DURATION(...) OPTION_ROW(OPTION_DURATION, __VA_ARGS__)

const struct option_row option_rows[] = {
    OPTION_TABLE(ROW_STRING, ROW_STRINGS, ROW_BOOLEAN, ROW_CHOICE, ROW_INTEGER, ROW_BYTES, ROW_DURATION)
        CHANNEL_OPTION_TABLE(ROW_BOOLEAN, ROW_CHOICE, ROW_SET, ROW_INTEGER, ROW_BYTES, ROW_DURATION)};
const size_t option_count = ARRAY_LENGTH(option_rows);

/* What the row's kind says. */
static void *option_field(const struct options *options, const struct option_row *row)
{
    return (char *)(uintptr_t)options + row->offset;
}

const struct option_row *option_find(const char *name, size_t len)
{
    for (size_t i = 0; i < option_count; i++)
        if (strlen(option_rows[i].name) == len && memcmp(option_rows[i].name, name, len) == 0)
            return &option_rows[i];
    return NULL;
}

const char *option_suggest(const char *name)
{
    struct nearest nearest = {.wanted = name};
    for (size_t i = 0; i < option_count; i++)
        nearest_offer(&nearest, option_rows[i].name);
    return nearest.word;
}

void option_clear(struct options *options, const struct option_row *row)
{
    if (row->kind != OPTION_STRINGS)
        return;
    struct string_list *list = option_field(options, row);
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct string_list){0};
}

const struct string_list *option_items(const struct options *options, const struct option_row *row)
{
    return row->kind == OPTION_STRINGS ? option_field(options, row) : NULL;
}

static int option_append(struct options *options, const struct option_row *row, const char *text, char *fault)
{
    struct string_list *list = option_field(options, row);
    if (list->count >= row->most) {
        snprintf(fault, OPTION_FAULT_MAX, "can be given at most %llu times", (unsigned long long)row->most);
        return -EINVAL;
    }
    char **items = realloc(list->items, (list->count + 1) * sizeof(*items));
    if (!items)
        return -ENOMEM;
    list->items = items;
    items[list->count] = strdup(text);
    if (!items[list->count])
        return -ENOMEM;
    list->count++;
    return 0;
}

static int option_set_string(struct options *options, const struct option_row *row, const char *text,
                             char *fault)
{
    if (strlen(text) < row->least || strlen(text) > row->most) {
        snprintf(fault, OPTION_FAULT_MAX, "must have %llu to %llu bytes", (unsigned long long)row->least,
                 (unsigned long long)row->most);
        return -EINVAL;
    }
    char **field = option_field(options, row);
    char *copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    free(*field);
    *field = copy;
    return 0;
}

static int option_set_boolean(struct options *options, const struct option_row *row, const char *text,
                              char *fault)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"yes", true}, {"no", false},  {"true", true}, {"false", false},
                 {"on", true},  {"off", false}, {"1", true},    {"0", false}};
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (strcasecmp(words[i].word, text) == 0) {
            *(bool *)option_field(options, row) = words[i].value;
            return 0;
        }
    }
    snprintf(fault, OPTION_FAULT_MAX, "must be yes or no");
    return -EINVAL;
}

/* The words of a choice or a set stand in the row's argument, separated by '|'. Returns -EINVAL when it is
 * none of them. */
static int option_find_word(const struct option_row *row, struct text text, unsigned *index)
{
    unsigned at = 0;
    for (struct text rest = text_of(row->argument); rest.len > 0; at++) {
        struct text word = text_cut(&rest, '|');
        if (text.len == word.len && strncasecmp(word.bytes, text.bytes, word.len) == 0) {
            *index = at;
            return 0;
        }
    }
    return -EINVAL;
}

static struct text option_word(const struct option_row *row, unsigned index)
{
    struct text rest = text_of(row->argument);
    struct text word = text_cut(&rest, '|');
    for (unsigned i = 0; i < index; i++)
        word = text_cut(&rest, '|');
    return word;
}

static int option_set_choice(struct options *options, const struct option_row *row, const char *text,
                             char *fault)
{
    if (option_find_word(row, text_of(text), option_field(options, row)) == 0)
        return 0;
    snprintf(fault, OPTION_FAULT_MAX, "must be one of %s", row->argument);
    return -EINVAL;
}

static int option_set_set(struct options *options, const struct option_row *row, const char *text,
                          char *fault)
{
    unsigned set = 0;
    struct text rest = text_of(text);
    for (bool is_more = true; is_more;) {
        unsigned index;
        is_more = text_contains(rest, ",");
        if (option_find_word(row, text_cut(&rest, ','), &index)) {
            snprintf(fault, OPTION_FAULT_MAX, "must be of %s, several separated by commas", row->argument);
            return -EINVAL;
        }
        set |= 1u << index;
    }
    unsigned alone = set & (unsigned)row->least;
    if (alone && set != alone) {
        struct text word = option_word(row, (unsigned)__builtin_ctz(alone));
        snprintf(fault, OPTION_FAULT_MAX, "has '%.*s', which stands alone", (int)word.len, word.bytes);
        return -EINVAL;
    }
    *(unsigned *)option_field(options, row) = set;
    return 0;
}

static void option_format_number(const struct option_row *row, uint64_t value, char *to, size_t size)
{
    static const struct {
        enum option_kind kind;
        uint64_t factor;
        const char *unit;
    } units[] = {
        {OPTION_BYTES, 1u << 30, "GiB"},  {OPTION_BYTES, 1u << 20, "MiB"}, {OPTION_BYTES, 1u << 10, "KiB"},
        {OPTION_DURATION, 86400000, "d"}, {OPTION_DURATION, 3600000, "h"}, {OPTION_DURATION, 60000, "m"},
        {OPTION_DURATION, 1000, "s"},     {OPTION_DURATION, 1, "ms"},
    };
    for (size_t i = 0; value > 0 && i < ARRAY_LENGTH(units); i++) {
        if (units[i].kind == row->kind && value % units[i].factor == 0) {
            snprintf(to, size, "%llu%s", (unsigned long long)(value / units[i].factor), units[i].unit);
            return;
        }
    }
    snprintf(to, size, "%llu", (unsigned long long)value);
}

void option_format_range(const struct option_row *row, char range[OPTION_RANGE_MAX])
{
    char least[32];
    char most[32];
    range[0] = '\0';
    if (row->kind != OPTION_INTEGER && row->kind != OPTION_BYTES && row->kind != OPTION_DURATION)
        return;
    option_format_number(row, row->least, least, sizeof(least));
    option_format_number(row, row->most, most, sizeof(most));
    snprintf(range, OPTION_RANGE_MAX, "%s to %s", least, most);
}

static int option_set_number(struct options *options, const struct option_row *row, const char *text,
                             char *fault)
{
    static const char *const forms[] = {
        [OPTION_INTEGER] = "a whole number",
        [OPTION_BYTES] = "a number of bytes (or with KiB, MiB, GiB)",
        [OPTION_DURATION] = "a number of seconds (or with ms, s, m, h, d)",
    };
    uint64_t value = 0;
    int err = row->kind == OPTION_INTEGER ? number_parse_u64(&value, text, strlen(text))
              : row->kind == OPTION_BYTES ? number_parse_bytes(&value, text, strlen(text))
                                          : number_parse_duration_ms(&value, text, strlen(text));
    if (err || value < row->least || value > row->most) {
        char range[OPTION_RANGE_MAX];
        option_format_range(row, range);
        snprintf(fault, OPTION_FAULT_MAX, "must be %s from %s", forms[row->kind], range);
        return -EINVAL;
    }
    *(uint64_t *)option_field(options, row) = value;
    return 0;
}

/* Checks beyond the kind's own, for values whose form the kind does not tell. */

static int option_check_origin(const char *text, char *fault)
{
    const char *host = strncmp(text, "http://", 7) == 0    ? text + 7
                       : strncmp(text, "https://", 8) == 0 ? text + 8
                                                           : NULL;
    if (strcmp(text, "*") == 0 || strcmp(text, "null") == 0 || (host && *host && !strpbrk(host, "/?#* ")))
        return 0;
    snprintf(fault, OPTION_FAULT_MAX,
             "must be *, null or an origin as https://host[:port], without a path or a * in it");
    return -EINVAL;
}

/* It is told as it is, in header fields and in JSON. */
static int option_check_alternative(const char *text, char *fault)
{
    const char *host = strncmp(text, "http://", 7) == 0    ? text + 7
                       : strncmp(text, "https://", 8) == 0 ? text + 8
                                                           : NULL;
    size_t len = strlen(text);
    bool is_plain = host && *host && text[len - 1] != '/' && *host != '/' && len < 256;
    for (const char *c = text; is_plain && *c; c++)
        is_plain = *c > ' ' && *c < 0x7f && !strchr("\"\\,<>?#", *c);
    if (is_plain)
        return 0;
    snprintf(fault, OPTION_FAULT_MAX,
             "must be a URL as https://host[:port], without a query or a / at its end");
    return -EINVAL;
}

static int option_check_host(const char *text, char *fault)
{
    bool has_brackets = text[0] == '[' && text[strlen(text) - 1] == ']';
    if (*text && strlen(text) < 256 && !strpbrk(text, "/?#@ ") && (has_brackets || !strchr(text, ':')))
        return 0;
    snprintf(fault, OPTION_FAULT_MAX,
             "must be a host name or address without a port, an IPv6 address in "
             "brackets, or *");
    return -EINVAL;
}

static int option_check_proxy(const char *text, char *fault)
{
    struct network network;
    const char *why;
    if (strcmp(text, OPTION_LOCAL) == 0 || network_parse(&network, text, &why) == 0)
        return 0;
    snprintf(fault, OPTION_FAULT_MAX, "%s, or " OPTION_LOCAL, why);
    return -EINVAL;
}

/* No channel's name has a space: whoever writes one means several names. */
static int option_check_bridged(const char *text, char *fault)
{
    if (!strpbrk(text, " \t"))
        return 0;
    snprintf(fault, OPTION_FAULT_MAX, "must be one name or pattern; repeat the option for more");
    return -EINVAL;
}

static int option_check(const struct option_row *row, const char *text, char *fault)
{
    static const struct {
        const char *name;
        int (*check)(const char *text, char *fault);
    } checks[] = {
        {"allowed-origins", option_check_origin},   {"redis-subscribe", option_check_bridged},
        {"trusted-proxies", option_check_proxy},    {"allowed-hosts", option_check_host},
        {"alternatives", option_check_alternative},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(checks); i++)
        if (strcmp(checks[i].name, row->name) == 0)
            return checks[i].check(text, fault);
    return 0;
}

int option_set(struct options *options, const struct option_row *row, const char *text,
               char fault[OPTION_FAULT_MAX])
{
    if (row->kind == OPTION_STRINGS && row->least == 0 && !*text)
        return 0;
    int err = option_check(row, text, fault);
    if (err)
        return err;
    switch (row->kind) {
    case OPTION_STRING:
        return option_set_string(options, row, text, fault);
    case OPTION_STRINGS:
        return option_append(options, row, text, fault);
    case OPTION_BOOLEAN:
        return option_set_boolean(options, row, text, fault);
    case OPTION_CHOICE:
        return option_set_choice(options, row, text, fault);
    case OPTION_SET:
        return option_set_set(options, row, text, fault);
    case OPTION_INTEGER:
    case OPTION_BYTES:
    case OPTION_DURATION:
        return option_set_number(options, row, text, fault);
    }
    return -EINVAL;
}

const char *option_separators(const struct option_row *row)
{
    return row->argument && strchr(row->argument, '=') ? ";" : ", ";
}

static char *option_format_strings(const struct option_row *row, const struct string_list *list)
{
    const char *separator = option_separators(row);
    size_t size = 1;
    for (size_t i = 0; i < list->count; i++)
        size += strlen(list->items[i]) + 2;
    char *text = malloc(size);
    if (!text)
        return NULL;
    char *to = text;
    *to = '\0';
    for (size_t i = 0; i < list->count; i++)
        to += sprintf(to, "%s%s", i > 0 ? separator : "", list->items[i]);
    return text;
}

static char *option_format_set(const struct option_row *row, unsigned set)
{
    char *text = calloc(1, strlen(row->argument) + 1);
    char *to = text;
    for (unsigned i = 0; text && set >> i; i++) {
        struct text word = option_word(row, i);
        if (set >> i & 1)
            to += sprintf(to, "%s%.*s", to > text ? "," : "", (int)word.len, word.bytes);
    }
    return text;
}

char *option_format(const struct options *options, const struct option_row *row)
{
    const void *field = option_field(options, row);
    char number[32];
    switch (row->kind) {
    case OPTION_STRING:
        return strdup(*(char *const *)field);
    case OPTION_STRINGS:
        return option_format_strings(row, field);
    case OPTION_BOOLEAN:
        return strdup(*(const bool *)field ? "yes" : "no");
    case OPTION_CHOICE: {
        struct text word = option_word(row, *(const unsigned *)field);
        return strndup(word.bytes, word.len);
    }
    case OPTION_SET:
        return option_format_set(row, *(const unsigned *)field);
    case OPTION_INTEGER:
    case OPTION_BYTES:
    case OPTION_DURATION:
        option_format_number(row, *(const uint64_t *)field, number, sizeof(number));
        return strdup(number);
    }
    return NULL;
}

int option_copy(struct options *to, const struct options *from, const struct option_row *row)
{
    char fault[OPTION_FAULT_MAX];
    if (row->kind == OPTION_STRINGS) {
        const struct string_list *list = option_field(from, row);
        option_clear(to, row);
        for (size_t i = 0; i < list->count; i++)
            if (option_append(to, row, list->items[i], fault))
                return -ENOMEM;
        return 0;
    }
    char *text = option_format(from, row);
    int err = text ? option_set(to, row, text, fault) : -ENOMEM;
    free(text);
    return err ? -ENOMEM : 0;
}

bool option_equals(const struct options *a, const struct options *b, const struct option_row *row)
{
    char *text_a = option_format(a, row);
    char *text_b = option_format(b, row);
    bool is_equal = text_a && text_b && strcmp(text_a, text_b) == 0;
    free(text_a);
    free(text_b);
    return is_equal;
}

struct options *options_new(void)
{
    struct options *options = calloc(1, sizeof(*options));
    char fault[OPTION_FAULT_MAX];
    if (!options)
        return NULL;
    atomic_init(&options->references, 1);
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_rows[i];
        if (row->kind == OPTION_STRINGS && !row->preset[0])
            continue;
        if (option_set(options, row, row->preset, fault)) {
            options_unref(options);
            return NULL;
        }
    }
    return options;
}

struct options *options_ref(struct options *options)
{
    atomic_fetch_add_explicit(&options->references, 1, memory_order_relaxed);
    return options;
}

void options_unref(struct options *options)
{
    if (!options || atomic_fetch_sub_explicit(&options->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < option_count; i++) {
        option_clear(options, &option_rows[i]);
        if (option_rows[i].kind == OPTION_STRING)
            free(*(char **)option_field(options, &option_rows[i]));
    }
    channel_rules_free(options->rules);
    free(options);
}
