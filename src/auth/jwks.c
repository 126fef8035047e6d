/* SPDX-License-Identifier: MIT */
#include "auth/jwks.h"

#include <errno.h>

#include "auth/fault.h"
#include "base/json_object.h"

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
            (void)auth_fail(fault, JWKS_FAULT_MAX, "key %u %s", number, why);
        if (err == -ENOTSUP)
            err = 0;
        else if (!err && *count < most)
            verifiers[(*count)++] = verifier;
        else if (!err) {
            verifier_deinit(&verifier);
            err = auth_fail(fault, JWKS_FAULT_MAX, "has more than %zu keys, with those of jwt-key", most);
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
        return auth_fail(fault, JWKS_FAULT_MAX, "is not JSON: %s", why);
    int err = json_check_names(value);
    if (err)
        return err == -ENOMEM
                   ? err
                   : auth_fail(fault, JWKS_FAULT_MAX, "has a member twice, or a number that is too large");
    json_object_read(&object, value, names);
    struct text keys = object.values[0];
    bool has_keys = object.is_object && keys.bytes && keys.bytes[0] == '[';
    json_object_deinit(&object);
    if (!has_keys)
        return auth_fail(fault, JWKS_FAULT_MAX, "must be an object with an array \"keys\"");
    err = jwks_parse_keys(verifiers, count, most, keys, fault);
    if (!err && *count == before)
        err = auth_fail(fault, JWKS_FAULT_MAX, "has no key that verifies %s", algorithm_names);
    return err;
}
