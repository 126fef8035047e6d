/* SPDX-License-Identifier: MIT */
#include "base/json_scan.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistr.h>

#include "base/number.h"

/* In each step `at` moves behind what was recognised; when it is not what is allowed there, it stays and
 * `fault` says what was expected. */
struct json_reading {
    const char *at;
    const char *end;
    const char *fault;
};

static bool scan_fail(struct json_reading *scan, const char *fault)
{
    scan->fault = scan->at == scan->end ? "the text ends too early" : fault;
    return false;
}

static bool scan_is_at(const struct json_reading *scan, char byte)
{
    return scan->at < scan->end && *scan->at == byte;
}

static bool scan_skip(struct json_reading *scan, char byte)
{
    if (!scan_is_at(scan, byte))
        return false;
    scan->at++;
    return true;
}

static void scan_space(struct json_reading *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t'))
        scan->at++;
}

/* The high bit of each of eight bytes that is a quote, a backslash, a control character or not ASCII, and
 * perhaps of some behind the first such one, where a subtraction borrows. */
static uint64_t scan_find_special(uint64_t bytes)
{
    const uint64_t ones = UINT64_MAX / 255;
    uint64_t quote = bytes ^ (ones * '"');
    uint64_t backslash = bytes ^ (ones * '\\');
    return ((quote - ones) | (backslash - ones) | (bytes - ones * 0x20) | bytes) & (ones * 0x80);
}

static void scan_plain(struct json_reading *scan)
{
    uint64_t bytes;
    while (scan->end - scan->at >= (ptrdiff_t)sizeof(bytes)) {
        memcpy(&bytes, scan->at, sizeof(bytes));
        uint64_t special = scan_find_special(le64toh(bytes));
        if (special) {
            scan->at += __builtin_ctzll(special) / 8;
            return;
        }
        scan->at += sizeof(bytes);
    }
}

/* The code unit of \uXXXX; a negative number when it is none. */
static int scan_code_unit(struct json_reading *scan)
{
    int unit = 0;
    if (scan->end - scan->at < 6 || scan->at[0] != '\\' || scan->at[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int digit = number_parse_hex_digit(scan->at[i]);
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    scan->at += 6;
    return unit;
}

static bool scan_escape(struct json_reading *scan)
{
    if (scan->end - scan->at >= 2 && scan->at[1] != 'u') {
        if (!memchr("\"\\/bfnrt", scan->at[1], 8))
            return scan_fail(scan, "there is no such escape");
        scan->at += 2;
        return true;
    }
    const char *begin = scan->at;
    int unit = scan_code_unit(scan);
    if (unit >= 0 && (unit < 0xd800 || unit > 0xdfff))
        return true;
    int low = unit >= 0xd800 && unit <= 0xdbff ? scan_code_unit(scan) : -1;
    if (low >= 0xdc00 && low <= 0xdfff)
        return true;
    scan->at = begin;
    return scan_fail(scan, unit < 0 ? "\\u wants four hexadecimal digits" : "half of a surrogate pair");
}

static bool scan_string(struct json_reading *scan)
{
    if (!scan_skip(scan, '"'))
        return scan_fail(scan, "a string is expected");
    for (;;) {
        scan_plain(scan);
        if (scan->at == scan->end)
            return scan_fail(scan, NULL);
        unsigned char byte = (unsigned char)*scan->at;
        int len = 1;
        if (byte == '"') {
            scan->at++;
            return true;
        }
        if (byte < 0x20)
            return scan_fail(scan, "a control character in a string must be escaped");
        if (byte >= 0x80 && (len = u8_mblen((const uint8_t *)scan->at, (size_t)(scan->end - scan->at))) <= 0)
            return scan_fail(scan, "the text is not UTF-8");
        if (byte != '\\')
            scan->at += len;
        else if (!scan_escape(scan))
            return false;
    }
}

static bool scan_digits(struct json_reading *scan)
{
    const char *begin = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
        scan->at++;
    return scan->at > begin || scan_fail(scan, "a digit is expected");
}

static bool scan_number(struct json_reading *scan)
{
    (void)scan_skip(scan, '-'); /* may be there */
    if (!scan_skip(scan, '0') && !scan_digits(scan))
        return false;
    if (scan_skip(scan, '.') && !scan_digits(scan))
        return false;
    if (scan_skip(scan, 'e') || scan_skip(scan, 'E')) {
        if (!scan_skip(scan, '+'))
            (void)scan_skip(scan, '-'); /* may be there */
        return scan_digits(scan);
    }
    return true;
}

static bool scan_word(struct json_reading *scan)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t len = strlen(words[i]);
        if ((size_t)(scan->end - scan->at) >= len && memcmp(scan->at, words[i], len) == 0) {
            scan->at += len;
            return true;
        }
    }
    return scan_fail(scan, "a value is expected");
}

static bool scan_scalar(struct json_reading *scan)
{
    if (scan_is_at(scan, '"'))
        return scan_string(scan);
    if (scan->at < scan->end && (*scan->at == '-' || (*scan->at >= '0' && *scan->at <= '9')))
        return scan_number(scan);
    return scan_word(scan);
}

/* A name of `*len` bytes and its colon, up to the value. */
static bool scan_name(struct json_reading *scan, size_t *len)
{
    const char *begin = scan->at;
    if (!scan_string(scan))
        return false;
    *len = (size_t)(scan->at - begin);
    scan_space(scan);
    if (!scan_skip(scan, ':'))
        return scan_fail(scan, "a colon is expected");
    scan_space(scan);
    return true;
}

/* What stands behind a value, up to the next one. Returns false without a fault when all are closed. */
static bool scan_behind_value(struct json_reading *scan, const char *closers, unsigned *depth)
{
    size_t name_len;
    while (*depth > 0) {
        char closer = closers[*depth - 1];
        scan_space(scan);
        if (scan_skip(scan, ',')) {
            scan_space(scan);
            return closer == ']' || scan_name(scan, &name_len);
        }
        if (!scan_skip(scan, closer))
            return scan_fail(scan, closer == ']' ? "a comma or ] is expected" : "a comma or } is expected");
        --*depth;
    }
    return false;
}

/* Returns false with a fault, or with `*is_empty` false when the container that was opened has something in
 * it, before which the scan then stands. */
static bool scan_open(struct json_reading *scan, char closer, bool *is_empty)
{
    size_t name_len;
    scan->at++;
    scan_space(scan);
    *is_empty = scan_skip(scan, closer);
    return *is_empty || closer == ']' || scan_name(scan, &name_len);
}

/* One value without the space around it. An own stack of closing brackets bounds what deep nesting costs. */
static bool scan_value(struct json_reading *scan)
{
    char closers[JSON_DEPTH_MAX];
    unsigned depth = 0;
    bool is_complete;
    do {
        if (depth == JSON_DEPTH_MAX)
            return scan_fail(scan, "values are nested too deeply");
        if (scan_is_at(scan, '{') || scan_is_at(scan, '[')) {
            char closer = *scan->at == '{' ? '}' : ']';
            if (!scan_open(scan, closer, &is_complete))
                return false;
            closers[depth] = closer;
            depth += !is_complete;
        } else {
            is_complete = scan_scalar(scan);
            if (!is_complete)
                return false;
        }
    } while (!is_complete || scan_behind_value(scan, closers, &depth));
    return !scan->fault;
}

/* Columns count characters, not bytes. */
static void scan_format_fault(const struct json_reading *scan, const char *text, char fault[JSON_FAULT_MAX])
{
    unsigned line = 1;
    unsigned column = 1;
    for (; text < scan->at; text++) {
        bool is_line_end = *text == '\n';
        line += is_line_end;
        column = is_line_end ? 1 : column + ((*text & 0xc0) != 0x80);
    }
    snprintf(fault, JSON_FAULT_MAX, "line %u, column %u: %s", line, column, scan->fault);
}

int json_scan(struct text *value, const char *text, size_t len, char fault[JSON_FAULT_MAX])
{
    struct json_reading scan = {.at = text, .end = text + len};
    scan_space(&scan);
    value->bytes = scan.at;
    if (scan_value(&scan)) {
        value->len = (size_t)(scan.at - value->bytes);
        scan_space(&scan);
        if (scan.at == scan.end)
            return 0;
        (void)scan_fail(&scan, "something stands behind the value");
    }
    scan_format_fault(&scan, text, fault);
    return -EINVAL;
}

void json_walk_begin(struct json_walk *walk, struct text container)
{
    *walk = (struct json_walk){.at = container.bytes, .end = container.bytes + container.len};
}

/* What json_scan has accepted is scanned once more, so nothing fails but at the closing bracket and behind
 * it, where nothing begins. */
bool json_walk_next(struct json_walk *walk)
{
    struct json_reading scan = {.at = walk->at + 1, .end = walk->end};
    scan_space(&scan);
    walk->name.bytes = scan.at;
    if (walk->end[-1] == '}' && !scan_name(&scan, &walk->name.len))
        return false;
    walk->value.bytes = scan.at;
    if (!scan_value(&scan))
        return false;
    walk->value.len = (size_t)(scan.at - walk->value.bytes);
    scan_space(&scan);
    walk->at = scan.at;
    return true;
}
