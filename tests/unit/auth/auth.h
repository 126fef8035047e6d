/* SPDX-License-Identifier: MIT */
#pragma once

/* What tests of tokens need: options, keys in files of a folder of their own, and tokens signed by hand. */

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/keys.h"
#include "auth/sign.h"
#include "base/base64.h"
#include "base/random.h"
#include "base/table.h"
#include "config/options.h"
#include "unit.h"

#define AUTH_SECRET "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define AUTH_TOKEN_MAX 65536u

static char auth_folder[64] = "/tmp/sluice-auth-XXXXXX";

static inline int auth_set_up(void **state)
{
    (void)state;
    table_key_init();
    return random_init() || !mkdtemp(auth_folder);
}

static inline int auth_tear_down(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", auth_folder);
    return system(command);
}

static inline const char *auth_path(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", auth_folder, name);
    return path;
}

static inline void auth_write(const char *name, const void *bytes, size_t len)
{
    FILE *file = fopen(auth_path(name), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(auth_path(name), 0600), 0);
}

static inline void auth_write_text(const char *name, const char *text)
{
    auth_write(name, text, strlen(text));
}

/* A pair of keys, which is freed: NAME.pem and NAME-private.pem. */
static inline void auth_write_pair(const char *name, EVP_PKEY *key)
{
    char file_name[64];
    assert_non_null(key);
    snprintf(file_name, sizeof(file_name), "%s.pem", name);
    FILE *file = fopen(auth_path(file_name), "w");
    assert_int_equal(PEM_write_PUBKEY(file, key), 1);
    fclose(file);
    snprintf(file_name, sizeof(file_name), "%s-private.pem", name);
    file = fopen(auth_path(file_name), "w");
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    EVP_PKEY_free(key);
}

static inline char *auth_read(const char *name)
{
    static char bytes[65536];
    FILE *file = fopen(auth_path(name), "r");
    assert_non_null(file);
    bytes[fread(bytes, 1, sizeof(bytes) - 1, file)] = '\0';
    fclose(file);
    return bytes;
}

static inline void auth_option(struct options *options, const char *name, const char *value)
{
    char fault[OPTION_FAULT_MAX];
    assert_int_equal(option_set(options, option_find(name, strlen(name)), value, fault), 0);
}

/* `format` has one %s for the path. */
static inline void auth_option_file(struct options *options, const char *name, const char *format,
                                    const char *file)
{
    char value[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(value, sizeof(value), format, auth_path(file));
#pragma GCC diagnostic pop
    auth_option(options, name, value);
}

/* Appends a part of a token in base64url, with a dot before it unless it is the first. */
static inline void auth_add_part(char token[AUTH_TOKEN_MAX], const void *bytes, size_t len)
{
    size_t at = strlen(token);
    assert_true(at + base64_url_size(len) + 2 < AUTH_TOKEN_MAX);
    if (at > 0)
        token[at++] = '.';
    base64_url_encode(token + at, bytes, len);
}

/* A token with any header and claims, signed with HMAC. */
static inline char *auth_sign_hs(const EVP_MD *hash, const char *secret, size_t secret_len,
                                 const char *header, const char *claims)
{
    static char token[AUTH_TOKEN_MAX];
    unsigned char signature[EVP_MAX_MD_SIZE];
    unsigned len;
    token[0] = '\0';
    auth_add_part(token, header, strlen(header));
    auth_add_part(token, claims, strlen(claims));
    HMAC(hash, secret, (int)secret_len, (const unsigned char *)token, strlen(token), signature, &len);
    auth_add_part(token, signature, len);
    return token;
}

static inline char *auth_sign(const char *header, const char *claims)
{
    return auth_sign_hs(EVP_sha256(), AUTH_SECRET, strlen(AUTH_SECRET), header, claims);
}
