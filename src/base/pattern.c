/* SPDX-License-Identifier: MIT */
#include "base/pattern.h"

static bool pattern_is_allowed(unsigned char byte)
{
    if ((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9'))
        return true;
    return byte != 0 && strchr("-_.~:@!$'()*+,;=", byte) != NULL;
}

struct text pattern_cut_segment(struct text *rest)
{
    const char *slash = memchr(rest->bytes, '/', rest->len);
    size_t len = slash ? (size_t)(slash - rest->bytes) : rest->len;
    struct text segment = {rest->bytes, len};
    *rest = slash ? text_behind(*rest, len + 1) : (struct text){0};
    return segment;
}

enum pattern_segment pattern_segment_kind(struct text segment)
{
    return text_is(segment, "*") ? PATTERN_ONE : text_is(segment, "**") ? PATTERN_REST : PATTERN_LITERAL;
}

static const char *pattern_segment_fault(struct text segment)
{
    for (size_t i = 0; i < segment.len; i++)
        if (!pattern_is_allowed((unsigned char)segment.bytes[i]))
            return "is made of A-Z a-z 0-9 - _ . ~ : @ ! $ ' ( ) * + , ; = and /";
    if (segment.len == 0 || text_is(segment, ".") || text_is(segment, ".."))
        return "has no empty, '.' or '..' segment between its slashes";
    return NULL;
}

static const char *pattern_length_fault(size_t len)
{
    return len == 0 ? "must not be empty" : len > PATTERN_MAX ? "has at most 255 bytes" : NULL;
}

const char *pattern_name_fault(struct text name)
{
    const char *fault = pattern_length_fault(name.len);
    for (struct text rest = name; !fault && rest.bytes;) {
        struct text segment = pattern_cut_segment(&rest);
        fault = pattern_segment_fault(segment);
        if (!fault && pattern_segment_kind(segment) != PATTERN_LITERAL)
            fault = "has no '*' or '**' segment between its slashes: these stand for names in patterns";
    }
    return fault;
}

const char *pattern_fault(struct text pattern)
{
    const char *fault = pattern_length_fault(pattern.len);
    for (struct text rest = pattern; !fault && rest.bytes;) {
        struct text segment = pattern_cut_segment(&rest);
        enum pattern_segment kind = pattern_segment_kind(segment);
        fault = pattern_segment_fault(segment);
        if (!fault && kind == PATTERN_REST && rest.bytes)
            fault = "has '**' as its last segment only";
        if (!fault && kind == PATTERN_LITERAL && memchr(segment.bytes, '*', segment.len))
            fault = "has '*' as a whole segment only, or '**' as the last one";
    }
    return fault;
}

bool pattern_matches(struct text pattern, struct text name)
{
    if (pattern_hides(name) && !pattern_hides(pattern))
        return false;
    while (pattern.bytes && name.bytes) {
        struct text wanted = pattern_cut_segment(&pattern);
        enum pattern_segment kind = pattern_segment_kind(wanted);
        if (kind == PATTERN_REST)
            return true;
        struct text segment = pattern_cut_segment(&name);
        if (kind == PATTERN_LITERAL && !text_equals(wanted, segment))
            return false;
    }
    return !pattern.bytes && !name.bytes;
}

int pattern_compare(struct text a, struct text b)
{
    while (a.bytes && b.bytes) {
        struct text mine = pattern_cut_segment(&a);
        struct text other = pattern_cut_segment(&b);
        int order = (int)pattern_segment_kind(mine) - (int)pattern_segment_kind(other);
        if (!order)
            order = text_compare(mine, other);
        if (order)
            return order;
    }
    return (a.bytes != NULL) - (b.bytes != NULL);
}
