/* SPDX-License-Identifier: MIT */
#include "base/number.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/container.h"

struct number_unit {
    const char *name;
    uint64_t factor;
};

int number_parse_u64(uint64_t *value, const char *text, size_t len)
{
    uint64_t sum = 0;
    bool is_over = false;
    if (len == 0)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -EINVAL;
        is_over = is_over || __builtin_mul_overflow(sum, 10u, &sum) ||
                  __builtin_add_overflow(sum, (uint64_t)(text[i] - '0'), &sum);
    }
    if (is_over)
        return -ERANGE;
    *value = sum;
    return 0;
}

int number_parse_hex_digit(char digit)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *at = memchr(digits, digit, sizeof(digits) - 1);
    return at ? (int)(at - digits) % 16 : -1;
}

static int number_parse_with_unit(uint64_t *value, const char *text, size_t len,
                                  const struct number_unit *units, size_t count)
{
    size_t digits = 0;
    while (digits < len && text[digits] >= '0' && text[digits] <= '9')
        digits++;
    uint64_t sum;
    int err = number_parse_u64(&sum, text, digits);
    if (err)
        return err;
    for (size_t i = 0; i < count; i++) {
        if (strlen(units[i].name) == len - digits &&
            strncasecmp(units[i].name, text + digits, len - digits) == 0) {
            if (__builtin_mul_overflow(sum, units[i].factor, &sum))
                return -ERANGE;
            *value = sum;
            return 0;
        }
    }
    return -EINVAL;
}

int number_parse_bytes(uint64_t *value, const char *text, size_t len)
{
    static const struct number_unit units[] = {
        {"", 1},           {"B", 1},        {"KiB", 1u << 10}, {"k", 1u << 10},
        {"MiB", 1u << 20}, {"m", 1u << 20}, {"GiB", 1u << 30}, {"g", 1u << 30},
    };
    return number_parse_with_unit(value, text, len, units, ARRAY_LENGTH(units));
}

int number_parse_duration_ms(uint64_t *value_ms, const char *text, size_t len)
{
    static const struct number_unit units[] = {
        {"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
    };
    /* "0.5" and "2.5s" are what people write in tests and in a hurry: one fraction of a second is understood.
     */
    const char *dot = memchr(text, '.', len);
    if (dot) {
        size_t tail = (size_t)(text + len - dot) - 1;
        if (tail > 0 && (dot[tail] == 's' || dot[tail] == 'S'))
            tail--;
        uint64_t whole;
        uint64_t fraction;
        if (tail == 0 || tail > 3 || number_parse_u64(&whole, text, (size_t)(dot - text)) ||
            number_parse_u64(&fraction, dot + 1, tail))
            return -EINVAL;
        for (; tail < 3; tail++)
            fraction *= 10;
        if (__builtin_mul_overflow(whole, 1000u, &whole) || __builtin_add_overflow(whole, fraction, &whole))
            return -ERANGE;
        *value_ms = whole;
        return 0;
    }
    return number_parse_with_unit(value_ms, text, len, units, ARRAY_LENGTH(units));
}

size_t number_format_u64(char *to, uint64_t value)
{
    char digits[20];
    size_t len = 0;
    do {
        digits[len++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < len; i++)
        to[i] = digits[len - 1 - i];
    return len;
}
