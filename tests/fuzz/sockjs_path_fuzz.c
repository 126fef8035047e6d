/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "transport/sockjs/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct session_path path;
    const struct text text = {(const char *)data, size};
    if (session_path_parse(&path, text) &&
        (path.session.len == 0 || path.session.len > SESSION_ID_MAX ||
         path.prefix_len >= sizeof(path.prefix) || memchr(path.session.bytes, '/', path.session.len) ||
         memchr(path.session.bytes, '.', path.session.len) || path.session.bytes < text.bytes ||
         path.session.bytes + path.session.len > text.bytes + text.len || path.carrier >= CARRIER_COUNT ||
         strlen(path.prefix) != path.prefix_len))
        abort();
    if (path_is_iframe(text) && memchr(data, '/', size))
        abort();
    return 0;
}
