/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include <stdint.h>
#include <unistr.h>

size_t text_index(struct text text, const char *const *words, size_t count)
{
    const char first = text.len > 0 ? text.bytes[0] : '\0';
    for (size_t i = 0; i < count && words[i]; i++)
        if (words[i][0] == first && text_is(text, words[i]))
            return i;
    return count;
}

static bool text_is_space(char byte)
{
    return byte == ' ' || byte == '\t';
}

struct text text_trim(struct text text)
{
    for (; text.len > 0 && text_is_space(text.bytes[0]); text.bytes++)
        text.len--;
    while (text.len > 0 && text_is_space(text.bytes[text.len - 1]))
        text.len--;
    return text;
}

struct text text_cut(struct text *rest, char mark)
{
    const char *end = memchr(rest->bytes, mark, rest->len);
    struct text part = {rest->bytes, end ? (size_t)(end - rest->bytes) : rest->len};
    *rest = text_behind(*rest, end ? part.len + 1 : part.len);
    return text_trim(part);
}

/* Eight bytes at once. */
#define TEXT_EACH 0x0101010101010101u
#define TEXT_HIGH_BITS (TEXT_EACH * 0x80u)

static bool text_is_ascii(uint64_t word)
{
    return !(word & TEXT_HIGH_BITS);
}

/* From 0x20 to 0x7e: one below makes a high bit by what it borrows, 0x7f by what it carries. */
static bool text_is_printable(uint64_t word)
{
    return !((word | (word - TEXT_EACH * 0x20u) | (word + TEXT_EACH)) & TEXT_HIGH_BITS);
}

/* The bytes at the beginning that are in words which are so. */
static inline size_t text_count_words(const char *text, size_t len, bool (*is_so)(uint64_t word))
{
    size_t at = 0;
    uint64_t word;
    for (; len - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, text + at, sizeof(word));
        if (!is_so(word))
            break;
    }
    return at;
}

size_t text_count_printable(const char *text, size_t len)
{
    return text_count_words(text, len, text_is_printable);
}

bool text_is_utf8(const char *text, size_t len, size_t *bad)
{
    size_t begin = text_count_words(text, len, text_is_ascii);
    const uint8_t *at = u8_check((const uint8_t *)text + begin, len - begin);
    if (at && bad)
        *bad = (size_t)((const char *)at - text);
    return !at;
}
