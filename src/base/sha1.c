/* SPDX-License-Identifier: MIT */
#include "base/sha1.h"

#include <assert.h>
#include <string.h>

#define SHA1_BLOCK 64u
#define SHA1_ROUNDS 80u
/* The length stands in the last bytes of the last block. */
#define SHA1_LENGTH_BYTES 8u

static uint32_t sha1_rotate(uint32_t word, unsigned by)
{
    return word << by | word >> (32 - by);
}

/* Section 4.1.1. */
static uint32_t sha1_mix(unsigned round, uint32_t x, uint32_t y, uint32_t z)
{
    switch (round / 20) {
    case 0:
        return (x & y) ^ (~x & z);
    case 2:
        return (x & y) ^ (x & z) ^ (y & z);
    default:
        return x ^ y ^ z;
    }
}

/* Section 6.1.2. */
static void sha1_add_block(uint32_t state[5], const uint8_t *block)
{
    static const uint32_t constants[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t schedule[SHA1_ROUNDS];
    uint32_t work[5];
    for (unsigned i = 0; i < 16; i++)
        schedule[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
                      (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (unsigned i = 16; i < SHA1_ROUNDS; i++)
        schedule[i] = sha1_rotate(schedule[i - 3] ^ schedule[i - 8] ^ schedule[i - 14] ^ schedule[i - 16], 1);
    memcpy(work, state, sizeof(work));
    for (unsigned i = 0; i < SHA1_ROUNDS; i++) {
        uint32_t next = sha1_rotate(work[0], 5) + sha1_mix(i, work[1], work[2], work[3]) + work[4] +
                        constants[i / 20] + schedule[i];
        work[4] = work[3];
        work[3] = work[2];
        work[2] = sha1_rotate(work[1], 30);
        work[1] = work[0];
        work[0] = next;
    }
    for (unsigned i = 0; i < 5; i++)
        state[i] += work[i];
}

void sha1_digest(uint8_t digest[SHA1_SIZE], const void *bytes, size_t len)
{
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t padded[2 * SHA1_BLOCK] = {0};
    size_t size = len + 1 + SHA1_LENGTH_BYTES <= SHA1_BLOCK ? SHA1_BLOCK : 2 * SHA1_BLOCK;
    assert(len <= SHA1_MOST);
    memcpy(padded, bytes, len);
    padded[len] = 0x80;
    padded[size - 2] = (uint8_t)(len * 8 >> 8);
    padded[size - 1] = (uint8_t)(len * 8);
    for (size_t at = 0; at < size; at += SHA1_BLOCK)
        sha1_add_block(state, padded + at);
    for (unsigned i = 0; i < SHA1_SIZE; i++)
        digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}
