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

static void glob_set_bit(uint64_t bits[GLOB_WORDS], size_t index)
{
    bits[index / 64] |= (uint64_t)1 << index % 64;
}

void glob_compile(struct glob *glob, const char *pattern, size_t len)
{
    size_t size;
    *glob = (struct glob){.count = 0};
    for (size_t at = 0; at < len; at += size) {
        size = 1;
        if (pattern[at] == '*') {
            glob_set_bit(glob->stars, glob->count);
            continue;
        }
        for (unsigned byte = 0; byte < 256; byte++)
            if (glob_takes(pattern + at, len - at, (char)byte, &size))
                glob_set_bit(glob->takes[byte], glob->count);
        glob->count++;
    }
}

/* Goes on from all places that the text so far may lead to. Returns whether there are any. */
static bool glob_step(const struct glob *glob, uint64_t places[GLOB_WORDS], unsigned char byte)
{
    const uint64_t *takes = glob->takes[byte];
    uint64_t carry = 0;
    uint64_t any = 0;
    for (unsigned i = 0; i < GLOB_WORDS; i++) {
        uint64_t taken = places[i] & takes[i];
        places[i] = (places[i] & glob->stars[i]) | taken << 1 | carry;
        carry = taken >> 63;
        any |= places[i];
    }
    return any != 0;
}

bool glob_matches(const struct glob *glob, const char *text, size_t len)
{
    uint64_t places[GLOB_WORDS] = {1};
    bool goes_on = true;
    for (size_t i = 0; goes_on && i < len; i++)
        goes_on = glob_step(glob, places, (unsigned char)text[i]);
    return goes_on && places[glob->count / 64] >> glob->count % 64 & 1;
}
