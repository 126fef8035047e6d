/* SPDX-License-Identifier: MIT */
#include "shard/tls_identity.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/grant.h"
#include "base/text.h"
#include "base/utf8.h"

/* TLS 1.2 and 1.3, key exchanges with forward secrecy, ciphers that authenticate. AES with 128 bits first:
 * processors have it. */
#define TLS_PRIORITY                                                                                         \
    "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:-CIPHER-ALL:+AES-128-GCM" \
    ":+CHACHA20-POLY1305:+AES-256-GCM:-MAC-ALL:+AEAD:%SERVER_PRECEDENCE"

struct tls_identity {
    _Atomic unsigned references;
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priority;
    gnutls_datum_t ticket_key; /* that the keys of tickets come from, which GnuTLS changes by the clock */
    gnutls_datum_t protocol;   /* lives for ever */
    enum tls_clients clients;
    time_t ends;
};

struct tls_identity *tls_identity_ref(struct tls_identity *identity)
{
    atomic_fetch_add_explicit(&identity->references, 1, memory_order_relaxed);
    return identity;
}

void tls_identity_unref(struct tls_identity *identity)
{
    if (!identity || atomic_fetch_sub_explicit(&identity->references, 1, memory_order_acq_rel) > 1)
        return;
    if (identity->credentials)
        gnutls_certificate_free_credentials(identity->credentials);
    if (identity->priority)
        gnutls_priority_deinit(identity->priority);
    if (identity->ticket_key.data)
        gnutls_memset(identity->ticket_key.data, 0, identity->ticket_key.size);
    gnutls_free(identity->ticket_key.data);
    free(identity);
}

time_t tls_identity_ends(const struct tls_identity *identity)
{
    return identity->ends;
}

/* Reading the files. */

static int tls_fault(char fault[TLS_FAULT_MAX], const char *key, const char *path, const char *why)
{
    snprintf(fault, TLS_FAULT_MAX, "%s=%.400s: %s", key, path, why);
    return -EINVAL;
}

static int tls_check_readable(const char *key, const char *path, char fault[TLS_FAULT_MAX])
{
    return access(path, R_OK) == 0 ? 0 : tls_fault(fault, key, path, strerror(errno));
}

static int tls_read_pair(struct tls_identity *identity, const struct tls_files *files,
                         char fault[TLS_FAULT_MAX])
{
    char why[256];
    int err = tls_check_readable("tls-cert", files->cert, fault);
    if (!err)
        err = tls_check_readable("tls-key", files->key, fault);
    if (err)
        return err;
    int error = gnutls_certificate_set_x509_key_file2(identity->credentials, files->cert, files->key,
                                                      GNUTLS_X509_FMT_PEM, NULL, 0);
    if (error >= 0)
        return 0;
    snprintf(why, sizeof(why), "with tls-key=%.100s: %s (both in PEM, the key without a password)",
             files->key, gnutls_strerror(error));
    return tls_fault(fault, "tls-cert", files->cert, why);
}

static int tls_read_authority(struct tls_identity *identity, const struct tls_files *files,
                              char fault[TLS_FAULT_MAX])
{
    if (!files->client_ca)
        return 0;
    int err = tls_check_readable("tls-client-ca", files->client_ca, fault);
    if (err)
        return err;
    int count =
        gnutls_certificate_set_x509_trust_file(identity->credentials, files->client_ca, GNUTLS_X509_FMT_PEM);
    return count > 0 ? 0
                     : tls_fault(fault, "tls-client-ca", files->client_ca,
                                 count < 0 ? gnutls_strerror(count) : "has no certificate in PEM");
}

static int tls_find_end(struct tls_identity *identity)
{
    gnutls_x509_crt_t *chain;
    unsigned count;
    int error = gnutls_certificate_get_x509_crt(identity->credentials, 0, &chain, &count);
    for (unsigned i = 0; !error && i < count; i++) {
        if (i == 0)
            identity->ends = gnutls_x509_crt_get_expiration_time(chain[i]);
        gnutls_x509_crt_deinit(chain[i]);
    }
    if (!error)
        gnutls_free(chain);
    return error;
}

static int tls_prepare(struct tls_identity *identity)
{
    int error = gnutls_certificate_allocate_credentials(&identity->credentials);
    if (!error)
        error = gnutls_priority_init(&identity->priority, TLS_PRIORITY, NULL);
    if (!error)
        error = gnutls_session_ticket_key_generate(&identity->ticket_key);
    if (!error)
        gnutls_certificate_set_verify_function(identity->credentials, tls_identity_verify);
    return error;
}

int tls_identity_new(struct tls_identity **identity, const struct tls_files *files, char fault[TLS_FAULT_MAX])
{
    struct tls_identity *new = calloc(1, sizeof(*new));
    if (new)
        new->references = 1;
    int error = new ? tls_prepare(new) : GNUTLS_E_MEMORY_ERROR;
    if (error) {
        snprintf(fault, TLS_FAULT_MAX, "GnuTLS: %s", gnutls_strerror(error));
        tls_identity_unref(new);
        return -ENOMEM;
    }
    new->clients = files->clients;
    new->protocol =
        (gnutls_datum_t){(unsigned char *)(uintptr_t)files->protocol, (unsigned)strlen(files->protocol)};
    int err = tls_read_pair(new, files, fault);
    if (!err)
        err = tls_read_authority(new, files, fault);
    if (!err && tls_find_end(new))
        err = tls_fault(fault, "tls-cert", files->cert, "has no certificate");
    if (err)
        tls_identity_unref(new);
    else
        *identity = new;
    return err;
}

/* Sessions. */

int tls_identity_apply(struct tls_identity *identity, gnutls_session_t session)
{
    int error = gnutls_priority_set(session, identity->priority);
    if (!error)
        error = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, identity->credentials);
    if (!error)
        error = gnutls_session_ticket_enable_server(session, &identity->ticket_key);
    /* A client that offers other protocols only is somewhere else than it thinks (ALPACA). */
    if (!error)
        error = gnutls_alpn_set_protocols(session, &identity->protocol, 1, GNUTLS_ALPN_MANDATORY);
    if (identity->clients != TLS_CLIENTS_NONE)
        gnutls_certificate_server_set_request(
            session, identity->clients == TLS_CLIENTS_REQUIRED ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_REQUEST);
    return error;
}

/* Clients. */

int tls_identity_verify(gnutls_session_t session)
{
    static const char purpose[] = GNUTLS_KP_TLS_WWW_CLIENT;
    gnutls_typed_vdata_st want = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                  .data = (unsigned char *)(uintptr_t)purpose};
    unsigned status = 0;
    unsigned count = 0;
    if (!gnutls_certificate_get_peers(session, &count) || count == 0)
        return 0;
    int error = gnutls_certificate_verify_peers(session, &want, 1, &status);
    return error ? error : status != 0 ? GNUTLS_E_CERTIFICATE_ERROR : 0;
}

/* Whether a name can be passed on and logged: without what ends lines or strings. */
static bool tls_is_name(const char *name, size_t len)
{
    struct utf8 utf8 = {0};
    if (len == 0 || len >= TLS_SUBJECT_MAX || !utf8_take(&utf8, name, len) || !utf8_is_whole(&utf8))
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return false;
    return true;
}

static size_t tls_find_alternative(gnutls_x509_crt_t certificate, char name[TLS_SUBJECT_MAX])
{
    int kind = 0;
    for (unsigned i = 0; kind >= 0 || kind == GNUTLS_E_SHORT_MEMORY_BUFFER; i++) {
        size_t len = TLS_SUBJECT_MAX;
        kind = gnutls_x509_crt_get_subject_alt_name(certificate, i, name, &len, NULL);
        bool is_name = kind == GNUTLS_SAN_URI || kind == GNUTLS_SAN_DNSNAME || kind == GNUTLS_SAN_RFC822NAME;
        if (is_name)
            return len;
    }
    return 0;
}

static size_t tls_find_common(gnutls_x509_crt_t certificate, char name[TLS_SUBJECT_MAX])
{
    size_t len = TLS_SUBJECT_MAX;
    return gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &len) == 0
               ? len
               : 0;
}

static size_t tls_find_name(gnutls_x509_crt_t certificate, char name[TLS_SUBJECT_MAX])
{
    size_t len = tls_find_alternative(certificate, name);
    if (len == 0)
        len = tls_find_common(certificate, name);
    return tls_is_name(name, len) ? len : 0;
}

/* A pattern that covers every channel. Returns whether there was memory for it. */
static bool tls_allow_all(struct grant_patterns *patterns)
{
    static const char all[] = "**";
    patterns->items = malloc(sizeof(*patterns->items));
    if (!patterns->items)
        return false;
    patterns->items[0] = text_of(all);
    patterns->count = 1;
    return true;
}

static struct grant *tls_make_grant(struct text subject, time_t ends)
{
    struct grant *grant = grant_new(subject, (struct text){0});
    if (!grant)
        return NULL;
    grant->expires_ms = ends > 0 ? (int64_t)ends * 1000 : INT64_MAX;
    if (tls_allow_all(&grant->subscribe) && tls_allow_all(&grant->publish))
        return grant;
    grant_unref(grant);
    return NULL;
}

static int tls_read_certificate(gnutls_x509_crt_t certificate, const gnutls_datum_t *shown,
                                struct grant **grant)
{
    char name[TLS_SUBJECT_MAX];
    int error = gnutls_x509_crt_import(certificate, shown, GNUTLS_X509_FMT_DER);
    size_t len = error ? 0 : tls_find_name(certificate, name);
    if (error || len == 0)
        return error ? error : GNUTLS_E_CERTIFICATE_ERROR;
    *grant = tls_make_grant((struct text){name, len}, gnutls_x509_crt_get_expiration_time(certificate));
    return *grant ? 0 : GNUTLS_E_MEMORY_ERROR;
}

int tls_identity_read_client(gnutls_session_t session, struct grant **grant)
{
    unsigned count = 0;
    const gnutls_datum_t *shown = gnutls_certificate_get_peers(session, &count);
    gnutls_x509_crt_t certificate;
    if (!shown || count == 0)
        return 0;
    int error = gnutls_x509_crt_init(&certificate);
    if (error)
        return error;
    error = tls_read_certificate(certificate, shown, grant);
    gnutls_x509_crt_deinit(certificate);
    return error;
}
