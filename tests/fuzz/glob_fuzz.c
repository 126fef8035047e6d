/* SPDX-License-Identifier: MIT */
/* The first byte is the pattern's length. What has no set and no backslash in it is held against a matcher
 * that tries every way. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "transport/tcp/glob.h"

#define FUZZ_PATTERN_MAX 12u
#define FUZZ_TEXT_MAX 24u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool fuzz_matches(const char *pattern, size_t pattern_len, const char *text, size_t len)
{
    if (pattern_len == 0)
        return len == 0;
    if (pattern[0] == '*')
        return fuzz_matches(pattern + 1, pattern_len - 1, text, len) ||
               (len > 0 && fuzz_matches(pattern, pattern_len, text + 1, len - 1));
    return len > 0 && (pattern[0] == '?' || pattern[0] == text[0]) &&
           fuzz_matches(pattern + 1, pattern_len - 1, text + 1, len - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || data[0] > size - 1)
        return 0;
    const size_t pattern_len = data[0];
    const size_t len = size - 1 - pattern_len;
    /* Copies, so that a byte beyond either is noticed. */
    char *pattern = malloc(pattern_len + 1);
    char *text = malloc(len + 1);
    if (pattern && text) {
        pattern = realloc(memcpy(pattern, data + 1, pattern_len), pattern_len > 0 ? pattern_len : 1);
        text = realloc(memcpy(text, data + 1 + pattern_len, len), len > 0 ? len : 1);
    }
    if (pattern && text) {
        struct glob glob;
        glob_compile(&glob, pattern, pattern_len);
        bool found = glob_matches(&glob, text, len);
        bool is_simple = pattern_len <= FUZZ_PATTERN_MAX && len <= FUZZ_TEXT_MAX &&
                         !memchr(pattern, '[', pattern_len) && !memchr(pattern, '\\', pattern_len);
        if (is_simple && found != fuzz_matches(pattern, pattern_len, text, len))
            abort();
    }
    free(pattern);
    free(text);
    return 0;
}
