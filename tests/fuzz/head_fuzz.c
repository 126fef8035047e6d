/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is passed on is a head again, which needs no more memory and says the same. */
static void check_fed(const struct door_head *head)
{
    char *fed = malloc(head->fed_len + DOOR_FED_MORE);
    struct door_head again = {.fed = fed};
    if (!fed)
        return;
    head_inspect(head->fed, head->fed_len, &again);
    if (again.len != head->fed_len || again.pool_bytes != head->pool_bytes ||
        again.framing.is_kept != head->framing.is_kept || again.framing.body_len ||
        again.framing.is_chunked || memchr(head->fed, '\0', head->fed_len) ||
        head->pool_bytes * 2 < head->fed_len * 5 - 5)
        abort();
    free(fed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *fed = malloc(size + DOOR_FED_MORE);
    struct door_head head = {.fed = fed};
    if (!fed)
        return 0;
    head_inspect((const char *)data, size, &head);
    if (head.len > size || (head.len > 0 && head.error != ERROR_NONE) ||
        (head.len > 0 && head.pool_bytes == 0))
        abort();
    if (head.len > 0)
        check_fed(&head);
    free(fed);
    return 0;
}
