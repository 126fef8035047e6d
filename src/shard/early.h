/* SPDX-License-Identifier: MIT */
#pragma once

/* What has been taken from a client's socket and nobody has read yet: the beginning of its next head, or what
 * came together with a later head. On the thread of the shard that has the client; goes over to another as a
 * value.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "shard/memory_share.h"
#include "tables/errors.h"

struct shard;

/* All zeros is empty. */
struct early {
    char *bytes;
    uint32_t at;
    uint32_t len; /* from there on */
    struct memory_share share;
};

static inline struct text early_text(const struct early *early)
{
    return (struct text){early->len > 0 ? early->bytes + early->at : "", early->len};
}

/* Keeps a copy of these bytes in place of what was kept, of which they may be a part. Returns ERROR_NONE, or
 * ERROR_OUT_OF_MEMORY or ERROR_CONNECTION_MEMORY: then nothing is kept any more. */
enum error_code early_keep(struct early *early, struct shard *shard, const char *bytes, size_t len);

/* Takes up to `len` bytes out, to nowhere when `to` is NULL. Returns how many. */
size_t early_read(struct early *early, struct shard *shard, char *to, size_t len);

void early_drop(struct early *early, struct shard *shard);
