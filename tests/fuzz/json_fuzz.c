/* SPDX-License-Identifier: MIT */
/* The scanner of JSON against jansson: they accept the same texts, and what the scanner's spans are put
 * together to is what jansson reads. */

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"

#define FUZZ_SIZE_MAX 65536u /* taking a deep text apart costs its depth times its length */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_expect(int is_true)
{
    if (!is_true)
        abort();
}

static json_t *fuzz_load(struct text text, json_error_t *error)
{
    return json_loadb(text.bytes, text.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL,
                      error);
}

/* A tree out of spans. Of members of the same name the last one counts, as for jansson. */
static json_t *fuzz_build(struct text span)
{
    struct json_walk walk;
    json_error_t error;
    fuzz_expect(span.len > 0);
    if (span.bytes[0] != '{' && span.bytes[0] != '[')
        return fuzz_load(span, &error);
    json_t *container = span.bytes[0] == '{' ? json_object() : json_array();
    for (json_walk_begin(&walk, span); json_walk_next(&walk);) {
        json_t *value = fuzz_build(walk.value);
        if (span.bytes[0] == '[') {
            fuzz_expect(json_array_append_new(container, value) == 0);
            continue;
        }
        json_t *name = fuzz_load(walk.name, &error);
        fuzz_expect(json_object_set_new(container, json_string_value(name), value) == 0);
        json_decref(name);
    }
    return container;
}

/* What the grammar allows and a tree cannot hold. */
static int fuzz_is_beyond_a_tree(const json_error_t *error)
{
    return json_error_code(error) == json_error_numeric_overflow ||
           json_error_code(error) == json_error_null_byte_in_key;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct text text = {(const char *)data, size};
    char fault[JSON_FAULT_MAX];
    struct text value;
    json_error_t error;
    if (size > FUZZ_SIZE_MAX)
        return 0;
    int err = json_scan(&value, text.bytes, text.len, fault);
    if (size > 0 && memchr(data, '\0', size)) {
        fuzz_expect(err != 0); /* jansson takes a NUL between values for the end of the text */
        return 0;
    }
    json_t *tree = fuzz_load(text, &error);
    if (!tree && fuzz_is_beyond_a_tree(&error))
        return 0;
    fuzz_expect((err == 0) == (tree != NULL));
    if (tree) {
        json_t *built = fuzz_build(value);
        fuzz_expect(json_equal(tree, built));
        json_decref(built);
    }
    json_decref(tree);
    return 0;
}
