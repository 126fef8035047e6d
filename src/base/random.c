/* SPDX-License-Identifier: MIT */
#include "base/random.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>

/* One system call brings so many numbers. */
#define RANDOM_BLOCK 64u

static _Thread_local struct {
    unsigned left;
    uint64_t numbers[RANDOM_BLOCK];
} random_block;

/* In a child, which must not go on with its parent's numbers. */
static void random_forget(void)
{
    random_block.left = 0;
}

int random_init(void)
{
    return sodium_init() < 0 ? -EIO : -pthread_atfork(NULL, NULL, random_forget);
}

uint64_t random_next(void)
{
    if (random_block.left == 0) {
        randombytes_buf(random_block.numbers, sizeof(random_block.numbers));
        random_block.left = RANDOM_BLOCK;
    }
    return random_block.numbers[--random_block.left];
}

uint64_t random_below(uint64_t below)
{
    return (uint64_t)((unsigned __int128)random_next() * below >> 64);
}

uint64_t random_jitter(uint64_t value)
{
    return value + random_below(value + 1);
}

void random_word(char *to, size_t len)
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    for (size_t i = 0; i < len; i++)
        to[i] = alphabet[random_below(sizeof(alphabet) - 1)];
    to[len] = '\0';
}
