/* SPDX-License-Identifier: MIT */
/* Numbers, addresses, networks, channel names, base64 and percent escapes: the first byte chooses. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/base64.h"
#include "base/network.h"
#include "base/number.h"
#include "base/percent.h"
#include "core/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_percent(const char *text, size_t len)
{
    char *to = malloc(len + 1);
    size_t out;
    if (to && percent_decode(to, &out, text, len) == 0 && out > len)
        abort();
    free(to);
}

/* For URLs there is one way to write each: what is read is written so again. */
static void fuzz_base64(const char *text, size_t len)
{
    char *bytes = malloc(len + 1);
    char *again = malloc(base64_url_size(len) + 1);
    size_t out;
    if (bytes && base64_decode(bytes, &out, text, len) == 0 && out > len)
        abort();
    if (bytes && again && base64_url_decode(bytes, &out, text, len) == 0) {
        if (out > len || base64_url_size(out) != len)
            abort();
        base64_url_encode(again, bytes, out);
        if (memcmp(again, text, len) != 0)
            abort();
    }
    free(bytes);
    free(again);
}

/* Whatever has an address is in its network, and in that of all. */
static void fuzz_network(const char *text, size_t len)
{
    struct network network;
    struct network all;
    struct address address;
    const char *why = NULL;
    char *copy = strndup(text, len);
    if (copy && network_parse(&network, copy, &why) && !why)
        abort();
    if (network_parse(&all, "::/0", &why))
        abort();
    if (network_read_address(&address, (struct text){text, len}) == 0 && !network_contains(&all, &address))
        abort();
    free(copy);
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
    switch (data[0] % 4) {
    case 0:
        fuzz_address(text, len);
        break;
    case 1:
        fuzz_percent(text, len);
        break;
    case 2:
        fuzz_base64(text, len);
        break;
    default:
        fuzz_network(text, len);
    }
    return 0;
}
