/* SPDX-License-Identifier: MIT */
#include "shard/early.h"

#include <stdlib.h>
#include <string.h>

void early_drop(struct early *early, struct shard *shard)
{
    free(early->bytes);
    (void)memory_share_set(&early->share, shard, 0); /* less always fits */
    *early = (struct early){0};
}

enum error_code early_keep(struct early *early, struct shard *shard, const char *bytes, size_t len)
{
    enum error_code error = ERROR_NONE;
    char *kept = NULL;
    if (!memory_share_set(&early->share, shard, len))
        error = ERROR_CONNECTION_MEMORY;
    else if (len > 0 && !(kept = malloc(len)))
        error = ERROR_OUT_OF_MEMORY;
    if (kept)
        memcpy(kept, bytes, len);
    free(early->bytes);
    early->bytes = kept;
    early->at = 0;
    early->len = kept ? (uint32_t)len : 0;
    if (error != ERROR_NONE)
        early_drop(early, shard);
    return error;
}

size_t early_read(struct early *early, struct shard *shard, char *to, size_t len)
{
    size_t taken = early->len < len ? early->len : len;
    if (to)
        memcpy(to, early->bytes + early->at, taken);
    early->at += (uint32_t)taken;
    early->len -= (uint32_t)taken;
    if (early->len == 0)
        early_drop(early, shard);
    return taken;
}
