/* SPDX-License-Identifier: MIT */
/* JSON as a script: whatever is published, nothing in it ends the script or a line, and it means the same. */

#include <ctype.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "render/script.h"

#define FUZZ_SIZE_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_expect(int is_true)
{
    if (!is_true)
        abort();
}

static json_t *fuzz_load(struct text text)
{
    json_error_t error;
    return json_loadb(text.bytes, text.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL,
                      &error);
}

/* Of what JSON.parse gets, the string that it is given has to be the value, byte for byte. */
static void fuzz_compare(struct text script, struct text value)
{
    static const char call[] = "JSON.parse(";
    if (text_begins(script, call)) {
        json_t *string = fuzz_load((struct text){script.bytes + strlen(call), script.len - strlen(call) - 1});
        fuzz_expect(string && json_string_length(string) == value.len);
        fuzz_expect(memcmp(json_string_value(string), value.bytes, value.len) == 0);
        json_decref(string);
        return;
    }
    fuzz_expect(!text_contains(script, "__proto__"));
    json_t *before = fuzz_load(value);
    json_t *after = fuzz_load(script);
    fuzz_expect((before != NULL) == (after != NULL));
    fuzz_expect(!before || json_equal(before, after));
    json_decref(before);
    json_decref(after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const forbidden[] = {"</", "<!", "\xe2\x80\xa8", "\xe2\x80\xa9"};
    const struct text text = {(const char *)data, size};
    char fault[JSON_FAULT_MAX];
    struct text value;
    struct buf script = {0};
    if (script_callback_is_valid(text))
        for (size_t i = 0; i < size; i++)
            fuzz_expect(isalnum(data[i]) || data[i] == '_' || data[i] == '.');
    if (size > FUZZ_SIZE_MAX || json_scan(&value, text.bytes, text.len, fault))
        return 0;
    script_append_value(&script, value.bytes, value.len);
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
        fuzz_expect(!text_contains((struct text){script.bytes, script.len}, forbidden[i]));
    fuzz_compare((struct text){script.bytes, script.len}, value);
    buf_deinit(&script);
    return 0;
}
