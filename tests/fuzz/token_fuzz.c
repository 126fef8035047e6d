/* SPDX-License-Identifier: MIT */
/* A token as it comes; or, behind a '!', header and claims in two lines, which are signed here, so that what
 * stands behind the signature is reached too. */

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/token.h"
#include "base/base64.h"
#include "base/random.h"
#include "base/table.h"

#define FUZZ_NOW_MS INT64_C(1800000000000)
#define FUZZ_PART_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char fuzz_secret[] = "0123456789abcdef0123456789abcdef";
static struct options *fuzz_options;
static struct auth_keys *fuzz_keys;

static void fuzz_expect(int is_true)
{
    if (!is_true)
        abort();
}

/* The key stays in a file for as long as it is read. */
static void fuzz_prepare(void)
{
    char path[] = "/tmp/sluice-fuzz-XXXXXX";
    char value[64];
    char fault[AUTH_FAULT_MAX];
    int fd = mkstemp(path);
    fuzz_expect(fd >= 0 && write(fd, fuzz_secret, strlen(fuzz_secret)) == (ssize_t)strlen(fuzz_secret));
    close(fd);
    fuzz_expect(random_init() == 0);
    table_key_init();
    fuzz_options = options_new();
    snprintf(value, sizeof(value), "HS256:%s", path);
    fuzz_expect(option_set(fuzz_options, option_find("jwt-key", 7), value, fault) == 0);
    fuzz_expect(option_set(fuzz_options, option_find("jwt-audience", 12), "push", fault) == 0);
    fuzz_expect(auth_keys_load(&fuzz_keys, fuzz_options, fault) == 0);
    unlink(path);
}

static size_t fuzz_add(char *to, const void *bytes, size_t len)
{
    base64_url_encode(to, bytes, len);
    return base64_url_size(len);
}

static size_t fuzz_sign(char *token, struct text text)
{
    unsigned char signature[EVP_MAX_MD_SIZE];
    unsigned signature_len;
    const char *end = memchr(text.bytes, '\n', text.len);
    size_t header_len = end ? (size_t)(end - text.bytes) : text.len;
    size_t len = fuzz_add(token, text.bytes, header_len);
    token[len++] = '.';
    if (end)
        len += fuzz_add(token + len, end + 1, text.len - header_len - 1);
    HMAC(EVP_sha256(), fuzz_secret, (int)strlen(fuzz_secret), (const unsigned char *)token, len, signature,
         &signature_len);
    token[len++] = '.';
    return len + fuzz_add(token + len, signature, signature_len);
}

static void fuzz_verify(struct text token, bool may_be_right)
{
    char fault[AUTH_FAULT_MAX] = "";
    struct grant *grant;
    enum error_code error = token_verify(&grant, fuzz_keys, fuzz_options, NULL, token, FUZZ_NOW_MS, fault);
    fuzz_expect((error == ERROR_NONE) == (grant != NULL));
    if (error == ERROR_NONE)
        fuzz_expect(may_be_right && grant->expires_ms > FUZZ_NOW_MS && strlen(grant->subject) < 256);
    else
        fuzz_expect(error_status(error) == 401 && fault[0] && strlen(fault) < AUTH_FAULT_MAX);
    for (const char *at = fault; *at; at++)
        fuzz_expect((unsigned char)*at >= 0x20);
    grant_unref(grant);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char token[4 * FUZZ_PART_MAX];
    if (!fuzz_keys)
        fuzz_prepare();
    if (size > 0 && size <= FUZZ_PART_MAX && data[0] == '!')
        fuzz_verify((struct text){token, fuzz_sign(token, (struct text){(const char *)data + 1, size - 1})},
                    true);
    else
        fuzz_verify((struct text){(const char *)data, size}, false);
    return 0;
}
