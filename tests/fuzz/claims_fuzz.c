/* SPDX-License-Identifier: MIT */
#include "auth/claims.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_check_patterns(const struct grant_patterns *patterns)
{
    if (patterns->count > CLAIM_PATTERNS_MAX)
        abort();
    for (size_t i = 0; i < patterns->count; i++)
        if (pattern_fault(patterns->items[i]))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct options *options;
    const int64_t now_ms = INT64_C(1800000000000);
    char fault[AUTH_FAULT_MAX];
    struct grant *grant;
    if (!options)
        options = options_new();
    enum error_code error =
        claims_judge(&grant, (struct text){(const char *)data, size}, options, now_ms, fault);
    if ((error == ERROR_NONE) != (grant != NULL))
        abort();
    if (!grant)
        return 0;
    if (grant->expires_ms <= now_ms || grant->issued_ms > now_ms + 30000)
        abort();
    fuzz_check_patterns(&grant->subscribe);
    fuzz_check_patterns(&grant->publish);
    grant_unref(grant);
    return 0;
}
