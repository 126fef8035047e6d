/* SPDX-License-Identifier: MIT */
#include "base/table.h"

#include <sodium.h>

static unsigned char table_key[crypto_shorthash_KEYBYTES];

void table_key_init(void)
{
    randombytes_buf(table_key, sizeof(table_key));
}

uint64_t table_hash(const void *bytes, size_t len)
{
    uint64_t hash;
    crypto_shorthash((unsigned char *)&hash, bytes, len, table_key);
    return hash;
}
