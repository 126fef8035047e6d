/* SPDX-License-Identifier: MIT */
#pragma once

/* Certificates made for a test: each signs itself, and so may sign for itself. */

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAPER_LIFE_S 3600

/* Its files. */
struct paper {
    char cert[64];
    char key[64];
};

struct paper_names {
    const char *common;
    const char *alternative;
    gnutls_x509_subject_alt_name_t kind;
};

static inline void paper_need(bool is_so)
{
    if (!is_so)
        abort();
}

static inline void paper_write(const char *path, gnutls_datum_t *text)
{
    FILE *file = fopen(path, "w");
    paper_need(file && fwrite(text->data, 1, text->size, file) == text->size && fclose(file) == 0);
    gnutls_free(text->data);
}

static inline void paper_fill(gnutls_x509_crt_t crt, const char *file, const struct paper_names *names,
                              time_t now_s)
{
    static const unsigned char serial = 1;
    gnutls_x509_crt_set_version(crt, 3);
    gnutls_x509_crt_set_serial(crt, &serial, 1);
    gnutls_x509_crt_set_activation_time(crt, now_s - PAPER_LIFE_S);
    gnutls_x509_crt_set_expiration_time(crt, now_s + PAPER_LIFE_S);
    gnutls_x509_crt_set_ca_status(crt, 1);
    gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, file, (unsigned)strlen(file));
    if (names->common)
        gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, names->common,
                                      (unsigned)strlen(names->common));
    if (names->alternative)
        gnutls_x509_crt_set_subject_alt_name(crt, names->kind, names->alternative,
                                             (unsigned)strlen(names->alternative), GNUTLS_FSAN_SET);
}

/* Valid from an hour before `now_s` to an hour after it. */
static inline void paper_make(struct paper *paper, const char *folder, const char *file,
                              const struct paper_names *names, time_t now_s)
{
    const unsigned bits = GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1);
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;
    gnutls_datum_t text;
    snprintf(paper->cert, sizeof(paper->cert), "%s/%s.pem", folder, file);
    snprintf(paper->key, sizeof(paper->key), "%s/%s.key", folder, file);
    paper_need(gnutls_x509_privkey_init(&key) == 0);
    paper_need(gnutls_x509_crt_init(&crt) == 0);
    paper_need(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, bits, 0) == 0);
    paper_fill(crt, file, names, now_s);
    gnutls_x509_crt_set_key(crt, key);
    paper_need(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0) == 0);
    paper_need(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &text) == 0);
    paper_write(paper->cert, &text);
    paper_need(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &text) == 0);
    paper_write(paper->key, &text);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}
