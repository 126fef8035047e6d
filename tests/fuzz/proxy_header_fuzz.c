/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "shard/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever more comes behind a whole header, it stays what it is; and fewer bytes are never enough. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct proxy_header header;
    struct proxy_header again;
    int err = proxy_header_parse(&header, bytes, size);
    if (err == -EAGAIN && size >= PROXY_HEADER_MAX)
        abort();
    if (err)
        return 0;
    if (header.len == 0 || header.len > size || header.len > PROXY_HEADER_MAX ||
        header.has_address != (header.address.len > 0))
        abort();
    if (proxy_header_parse(&again, bytes, header.len) || again.len != header.len ||
        proxy_header_parse(&again, bytes, header.len - 1) != -EAGAIN)
        abort();
    return 0;
}
