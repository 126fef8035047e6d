/* SPDX-License-Identifier: MIT */
#include "auth/jwks.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/json_object.h"

__attribute__((format(printf, 2, 3))) static int jwks_fail(char *fault, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fault, JWKS_FAULT_MAX, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

static int jwks_parse_keys(struct verifier *verifiers, size_t *count, size_t most, struct text keys,
                           char *fault)
{
    char why[VERIFIER_FAULT_MAX];
    struct json_walk walk;
    unsigned number = 1;
    int err = 0;
    for (json_walk_begin(&walk, keys); !err && json_walk_next(&walk); number++) {
        struct verifier verifier;
        err = verifier_init_jwk(&verifier, walk.value, why);
        if (err == -EINVAL)
            (void)jwks_fail(fault, "key %u %s", number, why);
        if (err == -ENOTSUP)
            err = 0;
        else if (!err && *count < most)
            verifiers[(*count)++] = verifier;
        else if (!err) {
            verifier_deinit(&verifier);
            err = jwks_fail(fault, "has more than %zu keys, with those of jwt-key", most);
        }
    }
    return err;
}

int jwks_parse(struct verifier *verifiers, size_t *count, size_t most, struct text file,
               char fault[JWKS_FAULT_MAX])
{
    static const char *const names[] = {"keys", NULL};
    char why[JSON_FAULT_MAX];
    struct json_object object;
    struct text value;
    size_t before = *count;
    if (json_scan(&value, file.bytes, file.len, why))
        return jwks_fail(fault, "is not JSON: %s", why);
    int err = json_check_names(value);
    if (err)
        return err == -ENOMEM ? err : jwks_fail(fault, "has a member twice, or a number that is too large");
    json_object_read(&object, value, names);
    struct text keys = object.values[0];
    bool has_keys = object.is_object && keys.bytes && keys.bytes[0] == '[';
    json_object_deinit(&object);
    if (!has_keys)
        return jwks_fail(fault, "must be an object with an array \"keys\"");
    err = jwks_parse_keys(verifiers, count, most, keys, fault);
    if (!err && *count == before)
        err = jwks_fail(fault, "has no key that verifies %s", algorithm_names);
    return err;
}
