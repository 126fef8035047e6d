/* SPDX-License-Identifier: MIT */
#include "transport/tcp/glob.h"

/* A set at the pattern's begin; `*size` is how many bytes it takes. One that is not closed ends with the
 * pattern. */
static bool glob_set_has(const char *set, size_t len, char byte, size_t *size)
{
    const unsigned char wanted = (unsigned char)byte;
    bool is_negated = len > 1 && set[1] == '^';
    bool is_in = false;
    size_t at = is_negated ? 2 : 1;
    while (at < len && set[at] != ']') {
        bool is_escaped = set[at] == '\\' && at + 1 < len;
        at += is_escaped;
        unsigned char first = (unsigned char)set[at++];
        unsigned char last = first;
        if (!is_escaped && at + 1 < len && set[at] == '-') {
            last = (unsigned char)set[at + 1];
            at += 2;
        }
        is_in =
            is_in || (first <= last ? first <= wanted && wanted <= last : last <= wanted && wanted <= first);
    }
    *size = at < len ? at + 1 : len;
    return is_in != is_negated;
}

/* Whether a byte is what stands at the pattern's begin, which takes `*size` bytes. */
static bool glob_takes(const char *pattern, size_t len, char byte, size_t *size)
{
    *size = 1;
    if (pattern[0] == '?')
        return true;
    if (pattern[0] == '[')
        return glob_set_has(pattern, len, byte, size);
    if (pattern[0] == '\\' && len > 1) {
        *size = 2;
        return pattern[1] == byte;
    }
    return pattern[0] == byte;
}

/* What follows a star is tried at each place in turn. An earlier star need not be tried again: whatever it
 * could take as well, the later one can. */
bool glob_matches(const char *pattern, size_t pattern_len, const char *text, size_t len)
{
    size_t in = 0;
    size_t at = 0;
    size_t after_star = 0; /* 0 before the first star */
    size_t star_at = 0;
    while (at < len) {
        size_t size;
        if (in < pattern_len && pattern[in] == '*') {
            after_star = ++in;
            star_at = at;
        } else if (in < pattern_len && glob_takes(pattern + in, pattern_len - in, text[at], &size)) {
            in += size;
            at++;
        } else if (after_star > 0) {
            in = after_star;
            at = ++star_at;
        } else {
            return false;
        }
    }
    while (in < pattern_len && pattern[in] == '*')
        in++;
    return in == pattern_len;
}
