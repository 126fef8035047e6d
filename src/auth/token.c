/* SPDX-License-Identifier: MIT */
#include "auth/token.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>

#include "auth/claims.h"
#include "auth/fault.h"
#include "auth/publishers.h"
#include "auth/verifier.h"
#include "base/base64.h"
#include "base/json_object.h"

static_assert(sizeof(((struct verifier *)0)->print) == GRANT_KEY_PRINT_BYTES,
              "a grant keeps its key's print");
static_assert(PUBLISHER_SALT_BYTES == GRANT_KEY_PRINT_BYTES, "a grant keeps its publisher key's salt");

static enum error_code token_fail_memory(char *fault)
{
    return auth_refuse(fault, ERROR_OUT_OF_MEMORY, "%s", error_text(ERROR_OUT_OF_MEMORY));
}

/* The header. */

enum token_header_member { HEADER_ALG, HEADER_KID, HEADER_TYP, HEADER_CRIT, HEADER_B64 };

struct token_header {
    struct json_object object;
    enum algorithm algorithm;
    struct text kid;
};

/* Another kind of token that the same key has signed (RFC 8725, section 3.11) is none for us. */
static bool token_type_is_ours(struct text type)
{
    static const char prefix[] = "application/";
    if (text_begins_word(type, prefix))
        type = text_behind(type, strlen(prefix));
    return text_is_word(type, "JWT") || text_is_word(type, "at+jwt");
}

static enum error_code token_read_members(struct token_header *header, char *fault)
{
    struct json_object *object = &header->object;
    struct text algorithm;
    struct text type;
    int err = object->has_failed ? -ENOMEM : 0;
    if (object->values[HEADER_CRIT].bytes || object->values[HEADER_B64].bytes)
        return auth_refuse(fault, ERROR_BAD_TOKEN,
                           "the token's header has \"crit\" or \"b64\", which are not for this server");
    if (!err)
        err = json_object_string(object, HEADER_ALG, &algorithm, fault);
    if (!err)
        err = json_object_string(object, HEADER_KID, &header->kid, fault);
    if (!err)
        err = json_object_string(object, HEADER_TYP, &type, fault);
    if (err)
        return err == -ENOMEM ? token_fail_memory(fault) : ERROR_BAD_TOKEN;
    header->algorithm = algorithm.bytes ? algorithm_find(algorithm) : ALGORITHM_COUNT;
    if (header->algorithm == ALGORITHM_COUNT)
        return auth_refuse(fault, ERROR_BAD_TOKEN, "the token's \"alg\" must be one of %s", algorithm_names);
    if (type.bytes && !token_type_is_ours(type))
        return auth_refuse(fault, ERROR_BAD_TOKEN, "the token's \"typ\" must be JWT or at+jwt");
    return ERROR_NONE;
}

static enum error_code token_read_header(struct token_header *header, struct text text, char *fault)
{
    static const char *const names[] = {"alg", "kid", "typ", "crit", "b64", NULL};
    char why[JSON_FAULT_MAX];
    struct text value;
    if (json_scan(&value, text.bytes, text.len, why))
        return auth_refuse(fault, ERROR_BAD_TOKEN, "the token's header is not JSON: %s", why);
    int err = json_check_names(value);
    if (err == -ENOMEM)
        return token_fail_memory(fault);
    if (err)
        return auth_refuse(fault, ERROR_BAD_TOKEN,
                           "the token's header has a member twice, or a number that is too large");
    json_object_read(&header->object, value, names);
    if (!header->object.is_object)
        return auth_refuse(fault, ERROR_BAD_TOKEN, "the token's header must be an object");
    return token_read_members(header, fault);
}

/* The signature. */

/* Whether a key may have signed a token of that header: one with another key id has not, one without any may.
 */
static bool token_key_fits(const struct verifier *key, const struct token_header *header)
{
    if (key->algorithm != header->algorithm)
        return false;
    return !header->kid.bytes || !key->kid.bytes || text_equals(key->kid, header->kid);
}

/* Returns 0, -EBADMSG or -ENOMEM. Neither cjose nor OpenSSL tell the two apart, but malloc leaves its mark.
 */
static int token_check_signature(struct text token, const struct verifier *key)
{
    errno = 0;
    cjose_jws_t *jws = cjose_jws_import(token.bytes, token.len, NULL);
    bool is_right = jws && cjose_jws_verify(jws, key->jwk, NULL);
    int err = is_right ? 0 : errno == ENOMEM ? -ENOMEM : -EBADMSG;
    cjose_jws_release(jws);
    ERR_clear_error();
    return err;
}

/* The key that has signed it. cjose compares as many bytes of an HMAC as there should be, so what is not of
 * that length does not come before it. */
static enum error_code token_find_key(const struct verifier **found, const struct auth_keys *keys,
                                      struct text token, const struct token_header *header,
                                      size_t signature_len, char *fault)
{
    const struct verifier *key;
    unsigned tried = 0;
    bool has_fitting = false;
    bool has_memory = true;
    for (size_t i = 0; (key = auth_keys_verifier(keys, i)) && tried < TOKEN_KEYS_TRIED_MAX; i++) {
        if (!token_key_fits(key, header))
            continue;
        has_fitting = true;
        if (signature_len != key->signature_bytes)
            continue;
        tried++;
        *found = key;
        int err = token_check_signature(token, key);
        if (!err)
            return ERROR_NONE;
        has_memory = has_memory && err != -ENOMEM;
    }
    if (!has_memory)
        return token_fail_memory(fault);
    return auth_refuse(fault, ERROR_BAD_SIGNATURE,
                       has_fitting ? "the token's signature is not right"
                                   : "there is no key here for the token's \"alg\" and \"kid\"");
}

/* The parts of a token, decoded. */
struct token_parts {
    char header_bytes[TOKEN_MAX];
    char claims_bytes[TOKEN_MAX];
    char signature_bytes[TOKEN_MAX];
    struct text header;
    struct text claims;
    struct text signature;
};

static bool token_decode(struct text *part, char *bytes, struct text *rest)
{
    const char *dot = memchr(rest->bytes, '.', rest->len);
    size_t len = dot ? (size_t)(dot - rest->bytes) : rest->len;
    part->bytes = bytes;
    if (len == 0 || base64_url_decode(bytes, &part->len, rest->bytes, len))
        return false;
    *rest = text_behind(*rest, dot ? len + 1 : len);
    return part->len > 0;
}

static size_t token_count_dots(struct text token)
{
    size_t count = 0;
    for (size_t i = 0; i < token.len; i++)
        count += token.bytes[i] == '.';
    return count;
}

static bool token_take_apart(struct token_parts *parts, struct text token)
{
    return token_count_dots(token) == 2 && token_decode(&parts->header, parts->header_bytes, &token) &&
           token_decode(&parts->claims, parts->claims_bytes, &token) &&
           token_decode(&parts->signature, parts->signature_bytes, &token);
}

static enum error_code token_verify_signed(struct grant **grant, const struct auth_keys *keys,
                                           const struct options *options, struct text token, int64_t now_ms,
                                           char *fault)
{
    struct token_header header = {0};
    struct token_parts parts;
    const struct verifier *key = NULL;
    if (!token_take_apart(&parts, token))
        return auth_refuse(fault, ERROR_BAD_TOKEN,
                           "the token is not three parts of base64url with dots between them");
    enum error_code error = token_read_header(&header, parts.header, fault);
    if (!error)
        error = token_find_key(&key, keys, token, &header, parts.signature.len, fault);
    if (!error)
        error = claims_judge(grant, parts.claims, options, now_ms, fault);
    if (!error)
        memcpy((*grant)->key_print, key->print, sizeof((*grant)->key_print));
    json_object_deinit(&header.object);
    return error;
}

/* Publisher keys. */

static enum error_code token_verify_publisher(struct grant **grant, const struct auth_keys *keys,
                                              struct text token, char *fault)
{
    struct text secret = token;
    struct text name = text_cut(&secret, '.');
    const struct publisher *publisher = publishers_find(auth_keys_publishers(keys), name);
    if (!publisher || !publisher_verify(publisher, secret))
        return auth_refuse(fault, ERROR_BAD_SIGNATURE, "there is no such publisher key");
    *grant = grant_new(name, (struct text){0});
    if (!*grant)
        return token_fail_memory(fault);
    (*grant)->is_key = true;
    memcpy((*grant)->key_print, publisher->salt, sizeof((*grant)->key_print));
    return ERROR_NONE;
}

enum error_code token_verify(struct grant **grant, const struct auth_keys *keys,
                             const struct options *options, const struct revoked *revoked, struct text token,
                             int64_t now_ms, char fault[AUTH_FAULT_MAX])
{
    *grant = NULL;
    if (token.len == 0)
        return auth_refuse(fault, ERROR_BAD_TOKEN, "the token is empty");
    if (token.len > TOKEN_MAX)
        return auth_refuse(fault, ERROR_BAD_TOKEN, "a token has at most %u bytes", TOKEN_MAX);
    enum error_code error = token_count_dots(token) == 1
                                ? token_verify_publisher(grant, keys, token, fault)
                                : token_verify_signed(grant, keys, options, token, now_ms, fault);
    if (error || !revoked || !revoked_has(revoked, *grant))
        return error;
    grant_unref(*grant);
    *grant = NULL;
    return auth_refuse(fault, ERROR_TOKEN_REVOKED, "%s", error_text(ERROR_TOKEN_REVOKED));
}
