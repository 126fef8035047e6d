/* SPDX-License-Identifier: MIT */
/* Numbers, addresses, channel names and percent escapes: the first byte chooses. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/number.h"
#include "core/names.h"
#include "base/percent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_percent(const char *text, size_t len)
{
    char *to = malloc(len + 1);
    size_t out;
    if (to && percent_decode(to, &out, text, len) == 0 && out > len)
        abort();
    free(to);
}

static void fuzz_address(const char *text, size_t len)
{
    struct address address;
    const char *why = NULL;
    /* Names would be looked up. */
    char *copy = len < 64 && !memchr(text, '\0', len) ? strndup(text, len) : NULL;
    if (copy && strspn(copy, "0123456789.:[]abcdefABCDEF") == len && (copy[0] == '[' || copy[0] == ':'))
        (void)address_parse(&address, copy, &why);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t value;
    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    size_t len = size - 1;
    (void)number_parse_u64(&value, text, len);
    (void)number_parse_bytes(&value, text, len);
    (void)number_parse_duration_ms(&value, text, len);
    (void)channel_name_fault(text, len);
    if (data[0] & 1)
        fuzz_percent(text, len);
    else
        fuzz_address(text, len);
    return 0;
}
