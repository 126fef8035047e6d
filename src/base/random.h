/* SPDX-License-Identifier: MIT */
#pragma once

/* Unpredictable numbers through libsodium. Any thread; each takes them from the kernel in blocks of its own.
 */

#include <stddef.h>
#include <stdint.h>

/* Prepares the library; once, before any thread starts. Returns 0 or -errno. */
int random_init(void);

uint64_t random_next(void);

/* Writes `len` digits of Crockford's base32, terminated. */
void random_word(char *to, size_t len);

/* A number from 0 to `below` - 1; 0 when `below` is 0. */
uint64_t random_below(uint64_t below);

/* `value` and up to as much again, so that many who wait for it do not all come at once. */
uint64_t random_jitter(uint64_t value);
