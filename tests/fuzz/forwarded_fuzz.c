/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "http/forwarded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *trusted[] = {"local", "10.0.0.0/8", "fd00::/8"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *head = (const char *)data;
    for (unsigned header = 0; header < 2; header++) {
        const struct options options = {.trusted_proxies = {trusted, 3}, .forwarded_header = header};
        struct address address = {.storage.ss_family = AF_UNIX};
        forwarded_find_asker(&options, head, size, &address);
        if (address.storage.ss_family != AF_UNIX && address.len == 0)
            abort();
    }
    struct text value = forwarded_parameter((struct text){head, size}, "proto");
    if (value.bytes && (value.bytes < head || value.bytes + value.len > head + size))
        abort();
    return 0;
}
