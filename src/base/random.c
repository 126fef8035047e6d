/* SPDX-License-Identifier: MIT */
#include "base/random.h"

#include <errno.h>
#include <sodium.h>

int random_init(void)
{
    return sodium_init() < 0 ? -EIO : 0;
}

uint64_t random_below(uint64_t below)
{
    return randombytes_uniform(below > UINT32_MAX ? UINT32_MAX : (uint32_t)below);
}

uint64_t random_jitter(uint64_t value)
{
    return value + random_below(value + 1);
}
