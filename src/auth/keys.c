/* SPDX-License-Identifier: MIT */
#include "auth/keys.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "auth/fault.h"
#include "auth/grant.h"
#include "auth/jwks.h"
#include "auth/key_file.h"
#include "auth/publishers.h"
#include "auth/verifier.h"

#define SHOWN_PATH_MAX 256

struct auth_keys {
    _Atomic unsigned references;
    bool are_configured;
    struct publishers publishers;
    size_t count;
    struct verifier verifiers[AUTH_VERIFIERS_MAX];
};

static struct text keys_text(const struct key_file *file)
{
    return (struct text){file->bytes.len > 0 ? file->bytes.bytes : "", file->bytes.len};
}

static int keys_load_declared(struct auth_keys *keys, const char *item, char *fault)
{
    char why[VERIFIER_FAULT_MAX] = "there is no memory for its key";
    struct verifier_declaration declaration;
    struct key_file file;
    if (verifier_declaration_parse(&declaration, text_of(item), why))
        return auth_fail(fault, AUTH_FAULT_MAX, "jwt-key = '%.*s' %s", SHOWN_PATH_MAX, item, why);
    int err = key_file_read(&file, declaration.path.bytes, why);
    if (!err) {
        key_file_warn(&file, declaration.path.bytes,
                      algorithms[declaration.algorithm].key_kind == CJOSE_JWK_KTY_OCT);
        err = verifier_init(&keys->verifiers[keys->count], &declaration, keys_text(&file), why);
        key_file_deinit(&file);
    }
    if (!err)
        keys->count++;
    return err ? (void)auth_fail(fault, AUTH_FAULT_MAX, "jwt-key = '%.*s': the file %s", SHOWN_PATH_MAX, item,
                                 why),
           err : 0;
}

static bool keys_have_secret(const struct auth_keys *keys, size_t from)
{
    for (size_t i = from; i < keys->count; i++)
        if (algorithms[keys->verifiers[i].algorithm].key_kind == CJOSE_JWK_KTY_OCT)
            return true;
    return false;
}

static int keys_load_jwks(struct auth_keys *keys, const char *path, char *fault)
{
    char why[JWKS_FAULT_MAX] = "there is no memory for its keys";
    struct key_file file;
    size_t before = keys->count;
    if (!*path)
        return 0;
    int err = key_file_read(&file, path, why);
    if (!err) {
        err = jwks_parse(keys->verifiers, &keys->count, AUTH_VERIFIERS_MAX, keys_text(&file), why);
        key_file_warn(&file, path, keys_have_secret(keys, before));
        key_file_deinit(&file);
    }
    return err ? (void)auth_fail(fault, AUTH_FAULT_MAX, "jwt-jwks = '%.*s': the file %s", SHOWN_PATH_MAX,
                                 path, why),
           err : 0;
}

static int keys_load_publishers(struct auth_keys *keys, const char *path, char *fault)
{
    char why[PUBLISHERS_FAULT_MAX];
    struct key_file file;
    if (!*path)
        return 0;
    int err = key_file_read(&file, path, why);
    if (!err) {
        key_file_warn(&file, path, false); /* salted hashes of keys that nobody can guess */
        err = publishers_parse(&keys->publishers, keys_text(&file), why);
        key_file_deinit(&file);
    }
    return err ? (void)auth_fail(fault, AUTH_FAULT_MAX, "publish-keys = '%.*s': the file %s", SHOWN_PATH_MAX,
                                 path, why),
           err : 0;
}

int auth_keys_load(struct auth_keys **keys, const struct options *options, char fault[AUTH_FAULT_MAX])
{
    struct auth_keys *made = calloc(1, sizeof(*made));
    *keys = NULL;
    if (!made) {
        (void)auth_fail(fault, AUTH_FAULT_MAX, "there is no memory for the keys");
        return -ENOMEM;
    }
    atomic_init(&made->references, 1);
    made->are_configured = auth_keys_are_configured(options);
    int err = 0;
    for (size_t i = 0; !err && i < options->jwt_key.count; i++)
        err = keys_load_declared(made, options->jwt_key.items[i], fault);
    if (!err)
        err = keys_load_jwks(made, options->jwt_jwks, fault);
    if (!err)
        err = keys_load_publishers(made, options->publish_keys, fault);
    if (err)
        auth_keys_unref(made);
    else
        *keys = made;
    return err;
}

struct auth_keys *auth_keys_ref(struct auth_keys *keys)
{
    atomic_fetch_add_explicit(&keys->references, 1, memory_order_relaxed);
    return keys;
}

void auth_keys_unref(struct auth_keys *keys)
{
    if (!keys || atomic_fetch_sub_explicit(&keys->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < keys->count; i++)
        verifier_deinit(&keys->verifiers[i]);
    publishers_deinit(&keys->publishers);
    free(keys);
}

bool auth_keys_are_configured(const struct options *options)
{
    return options->jwt_key.count > 0 || options->jwt_jwks[0] || options->publish_keys[0];
}

bool auth_keys_are_there(const struct auth_keys *keys)
{
    return keys->are_configured;
}

bool auth_keys_hold(const struct auth_keys *keys, const struct grant *grant)
{
    static const unsigned char none[GRANT_KEY_PRINT_BYTES];
    if (memcmp(grant->key_print, none, sizeof(none)) == 0)
        return true;
    if (grant->is_key) {
        const struct publisher *publisher = publishers_find(&keys->publishers, text_of(grant->subject));
        return publisher && memcmp(publisher->salt, grant->key_print, sizeof(grant->key_print)) == 0;
    }
    for (size_t i = 0; i < keys->count; i++)
        if (memcmp(keys->verifiers[i].print, grant->key_print, sizeof(grant->key_print)) == 0)
            return true;
    return false;
}

const struct verifier *auth_keys_verifier(const struct auth_keys *keys, size_t index)
{
    return index < keys->count ? &keys->verifiers[index] : NULL;
}

const struct publishers *auth_keys_publishers(const struct auth_keys *keys)
{
    return &keys->publishers;
}
