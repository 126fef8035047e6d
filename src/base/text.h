/* SPDX-License-Identifier: MIT */
#pragma once

/* Text that stands somewhere else: a span of it, borrowed and not terminated. Pure; hostile input; any
 * thread. */

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct text {
    const char *bytes; /* NULL when it is not there */
    size_t len;
};

static inline struct text text_of(const char *terminated)
{
    return (struct text){terminated, terminated ? strlen(terminated) : 0};
}

static inline bool text_equals(struct text a, struct text b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.bytes, b.bytes, a.len) == 0);
}

static inline bool text_is(struct text text, const char *word)
{
    return text_equals(text, text_of(word));
}

/* The same in any case. */
static inline bool text_equals_word(struct text a, struct text b)
{
    return a.len == b.len && strncasecmp(a.bytes, b.bytes, a.len) == 0;
}

static inline bool text_is_word(struct text text, const char *word)
{
    return text_equals_word(text, text_of(word));
}

static inline bool text_begins(struct text text, const char *prefix)
{
    return text.len >= strlen(prefix) && memcmp(text.bytes, prefix, strlen(prefix)) == 0;
}

/* The same in any case. */
static inline bool text_begins_word(struct text text, const char *prefix)
{
    return text.len >= strlen(prefix) && strncasecmp(text.bytes, prefix, strlen(prefix)) == 0;
}

static inline bool text_contains(struct text text, const char *part)
{
    return memmem(text.bytes, text.len, part, strlen(part)) != NULL;
}

static inline bool text_ends(struct text text, const char *suffix)
{
    size_t len = strlen(suffix);
    return text.len >= len && memcmp(text.bytes + text.len - len, suffix, len) == 0;
}

/* What stands behind the first `len` bytes, which are there. */
static inline struct text text_behind(struct text text, size_t len)
{
    return (struct text){text.bytes + len, text.len - len};
}

/* Orders by bytes, the shorter first where one begins as the other: below 0 when `a` comes first, 0 when they
 * are the same. */
static inline int text_compare(struct text a, struct text b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.bytes, b.bytes, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* The index of the word that it is; `count` when it is none of those up to there or to a NULL. */
size_t text_index(struct text text, const char *const *words, size_t count);

/* Without spaces and tabs at both ends. */
struct text text_trim(struct text text);

/* Cuts off what stands before the next `mark`, or all, trimmed; the mark goes too. */
struct text text_cut(struct text *rest, char mark);

/* How many bytes at the beginning are surely 0x20 to 0x7e, found faster than by looking at each; up to seven
 * of those behind them, and what follows one that is not, may be too. */
size_t text_count_printable(const char *text, size_t len);

/* Whether it is UTF-8 (RFC 3629); *bad, unless NULL, is the index of the first byte that is not. */
bool text_is_utf8(const char *text, size_t len, size_t *bad);
