/* SPDX-License-Identifier: MIT */
/* The first byte is the first pattern's length; what follows is a name, and a second pattern. What may be
 * known without the matcher is held against it. */

#include <stdint.h>
#include <stdlib.h>

#include "base/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of its own, so that a byte beyond it is noticed. */
static struct text fuzz_copy(const uint8_t *data, size_t len)
{
    char *copy = malloc(len > 0 ? len : 1);
    if (!copy)
        abort();
    return (struct text){memcpy(copy, data, len), len};
}

static size_t fuzz_count_segments(struct text text)
{
    size_t count = 1;
    for (size_t i = 0; i < text.len; i++)
        count += text.bytes[i] == '/';
    return count;
}

static void fuzz_match(struct text pattern, struct text name)
{
    bool ends_in_rest = text_ends(pattern, "**");
    bool is_match = pattern_matches(pattern, name);
    size_t wanted = fuzz_count_segments(pattern);
    size_t there = fuzz_count_segments(name);
    if (is_match && (ends_in_rest ? there < wanted : there != wanted))
        abort();
    if (!text_contains(pattern, "*") && is_match != text_equals(pattern, name))
        abort();
    if (!pattern_matches(text_of("**"), name) || !pattern_matches(name, name))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || data[0] > size - 1)
        return 0;
    struct text a = fuzz_copy(data + 1, data[0]);
    struct text b = fuzz_copy(data + 1 + data[0], size - 1 - data[0]);
    bool are_patterns = !pattern_fault(a) && !pattern_fault(b);
    if (!pattern_fault(a) && !pattern_name_fault(b))
        fuzz_match(a, b);
    if (are_patterns && (pattern_compare(a, b) < 0) != (pattern_compare(b, a) > 0))
        abort();
    if (are_patterns && (pattern_compare(a, b) == 0) != text_equals(a, b))
        abort();
    if (!pattern_name_fault(a) && pattern_fault(a) && !text_contains(a, "*"))
        abort();
    free((char *)(uintptr_t)a.bytes);
    free((char *)(uintptr_t)b.bytes);
    return 0;
}
