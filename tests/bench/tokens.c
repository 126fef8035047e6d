/* SPDX-License-Identifier: MIT */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/sign.h"
#include "auth/token.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/table.h"
#include "bench.h"

#define TOKENS_ROUNDS 20000u
#define TOKENS_TEXT_MAX 8192u

/* A token of an ordinary size, by which somebody subscribes to a few channels. */
static const char claims[] =
    "{\"sub\":\"user-48151623\",\"jti\":\"n7VeLhZ5Rap1CKoBzrR4w\",\"iat\":1795297728,\"exp\":4102444800,"
    "\"sluice\":{\"subscribe\":[\"news/*\",\"user/48151623/**\",\"room/lobby\"],\"publish\":[\"chat/**\"]}}";

struct tokens_case {
    enum algorithm algorithm;
    const char *curve; /* NULL: RSA */
    double us;
};

static void tokens_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file))
        bench_fail("cannot write a key");
}

/* The private key as text, or the secret; what is to be verified with goes to the file. */
static void tokens_make_key(const struct tokens_case *of, const char *path, char private_key[TOKENS_TEXT_MAX])
{
    if (algorithms[of->algorithm].key_kind == CJOSE_JWK_KTY_OCT) {
        strcpy(private_key, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
        tokens_write(path, private_key);
        return;
    }
    EVP_PKEY *key = of->curve ? EVP_EC_gen(of->curve) : EVP_RSA_gen(2048);
    FILE *file = fopen(path, "w");
    FILE *memory = fmemopen(private_key, TOKENS_TEXT_MAX, "w");
    if (!key || !file || !memory || PEM_write_PUBKEY(file, key) != 1 ||
        PEM_write_PrivateKey(memory, key, NULL, NULL, 0, NULL, NULL) != 1)
        bench_fail("cannot make a key");
    fclose(file);
    fclose(memory);
    EVP_PKEY_free(key);
}

static double tokens_verify(const struct auth_keys *keys, const struct options *options, const char *token)
{
    char fault[AUTH_FAULT_MAX];
    struct grant *grant;
    int64_t now_ms = clock_wall_ms();
    uint64_t begin_ns = bench_cpu_ns((int)getpid());
    for (unsigned i = 0; i < TOKENS_ROUNDS; i++) {
        if (token_verify(&grant, keys, options, NULL, text_of(token), now_ms, fault) != ERROR_NONE)
            bench_fail("%s", fault);
        grant_unref(grant);
    }
    return (double)(bench_cpu_ns((int)getpid()) - begin_ns) / 1e3 / TOKENS_ROUNDS;
}

static void tokens_measure(struct tokens_case *of)
{
    char path[] = "/tmp/sluice-bench-XXXXXX";
    char value[64];
    char fault[AUTH_FAULT_MAX];
    char private_key[TOKENS_TEXT_MAX];
    char *token;
    struct auth_keys *keys;
    struct options *options = options_new();
    int fd = mkstemp(path);
    if (fd < 0 || !options)
        bench_fail("no file for a key");
    close(fd);
    tokens_make_key(of, path, private_key);
    snprintf(value, sizeof(value), "%s:%s", algorithms[of->algorithm].name, path);
    if (option_set(options, option_find("jwt-key", strlen("jwt-key")), value, fault) ||
        auth_keys_load(&keys, options, fault) ||
        token_sign(&token, of->algorithm, (struct text){0}, text_of(private_key), text_of(claims), fault))
        bench_fail("%s", fault);
    of->us = tokens_verify(keys, options, token);
    unlink(path);
    free(token);
    auth_keys_unref(keys);
    options_unref(options);
}

int tokens_main(const struct bench_options *unused)
{
    struct tokens_case cases[] = {
        {ALGORITHM_HS256, NULL, 0}, {ALGORITHM_RS256, NULL, 0}, {ALGORITHM_ES256, "P-256", 0}};
    (void)unused;
    if (random_init())
        bench_fail("libsodium cannot be initialised");
    table_key_init();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        tokens_measure(&cases[i]);
    printf("{\"hs256_us\": %.3f, \"rs256_us\": %.3f, \"es256_us\": %.3f}\n", cases[0].us, cases[1].us,
           cases[2].us);
    return 0;
}
