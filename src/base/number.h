/* SPDX-License-Identifier: MIT */
#pragma once

/* Numbers in text, parsed strictly: no sign, no space, nothing left over. On an error the value is left as it
 * was. Any thread. */

#include <stddef.h>
#include <stdint.h>

/* Decimal digits. Returns 0, -EINVAL when it is not that, -ERANGE over 64 bits. */
int number_parse_u64(uint64_t *value, const char *text, size_t len);

/* The value of a hexadecimal digit in any case; -1 when it is none. */
int number_parse_hex_digit(char digit);

/* Digits and a unit in any case: none or B, KiB, MiB, GiB (k, m, g for short). Returns as number_parse_u64.
 */
int number_parse_bytes(uint64_t *value, const char *text, size_t len);

/* Digits and a unit in any case: ms, s (also without), m, h, d; seconds may have up to three decimals.
 * Returns as number_parse_u64. */
int number_parse_duration_ms(uint64_t *value_ms, const char *text, size_t len);

/* Writes decimal digits, not terminated, at most 20. Returns how many. */
size_t number_format_u64(char *to, uint64_t value);

static inline uint64_t number_greater(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}
