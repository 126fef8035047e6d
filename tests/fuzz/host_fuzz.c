/* SPDX-License-Identifier: MIT */
/* Host, as a browser says it, held against what an operator has listed. The first byte is the length of the
 * one; what follows is the other. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_expect(bool is_true)
{
    if (!is_true)
        abort();
}

/* Of its own size, so that a byte beyond it is noticed. */
static char *fuzz_copy(const uint8_t *bytes, size_t len)
{
    char *copy = strndup((const char *)bytes, len);
    fuzz_expect(copy);
    return copy;
}

static void fuzz_judge(const char *authority, char *listed)
{
    const struct entrance here = {.is_for_browsers_here = true};
    const struct entrance elsewhere = {.is_for_browsers_here = false};
    const struct options none = {.allowed_hosts = {NULL, 0}};
    const struct options host = {.allowed_hosts = {&listed, 1}};
    const struct options origin = {.allowed_origins = {&listed, 1}};
    bool is_listed = host_is_listed(authority, &host);
    fuzz_expect(!host_is_listed(authority, &none));
    fuzz_expect(!host_is_loopback(authority) || host_is_address(authority));
    if (!*authority)
        return;
    fuzz_expect(host_is_ours(authority, &elsewhere, &none));
    fuzz_expect(host_is_ours(authority, &here, &none) == host_is_loopback(authority));
    fuzz_expect(host_is_ours(authority, &here, &host) == (is_listed || host_is_loopback(authority)));
    fuzz_expect(host_is_ours(authority, &elsewhere, &host) == is_listed);
    fuzz_expect(!host_is_listed(authority, &origin) || strstr(listed, "://"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || data[0] > size - 1)
        return 0;
    char *authority = fuzz_copy(data + 1, data[0]);
    char *listed = fuzz_copy(data + 1 + data[0], size - 1 - data[0]);
    fuzz_judge(authority, listed);
    free(authority);
    free(listed);
    return 0;
}
