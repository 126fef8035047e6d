/* SPDX-License-Identifier: MIT */
#include "broker/redis/trust.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRUST_PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

const char *trust_find_option(const struct options *options)
{
    return options->redis_tls_ca[0]     ? "redis-tls-ca"
           : options->redis_tls_cert[0] ? "redis-tls-cert"
           : options->redis_tls_key[0]  ? "redis-tls-key"
           : options->redis_tls_name[0] ? "redis-tls-name"
                                        : NULL;
}

struct trust *trust_ref(struct trust *trust)
{
    if (trust)
        atomic_fetch_add_explicit(&trust->references, 1, memory_order_relaxed);
    return trust;
}

void trust_unref(struct trust *trust)
{
    if (!trust || atomic_fetch_sub_explicit(&trust->references, 1, memory_order_acq_rel) != 1)
        return;
    if (trust->credentials)
        gnutls_certificate_free_credentials(trust->credentials);
    if (trust->priority)
        gnutls_priority_deinit(trust->priority);
    free(trust->name);
    free(trust);
}

static int trust_fail(char fault[TRUST_FAULT_MAX], const char *option, const char *path, const char *why)
{
    snprintf(fault, TRUST_FAULT_MAX, "%s = '%.200s': %s", option, path, why);
    return -EINVAL;
}

static int trust_read_authority(struct trust *trust, const char *path, char fault[TRUST_FAULT_MAX])
{
    if (path[0] && access(path, R_OK))
        return trust_fail(fault, "redis-tls-ca", path, strerror(errno));
    int count = path[0]
                    ? gnutls_certificate_set_x509_trust_file(trust->credentials, path, GNUTLS_X509_FMT_PEM)
                    : gnutls_certificate_set_x509_system_trust(trust->credentials);
    if (path[0] && count <= 0)
        return trust_fail(fault, "redis-tls-ca", path,
                          count < 0 ? gnutls_strerror(count) : "it holds no certificate in PEM");
    if (count > 0)
        return 0;
    snprintf(fault, TRUST_FAULT_MAX,
             "this system trusts no certificate authority: name Redis' with redis-tls-ca");
    return -EINVAL;
}

static int trust_read_pair(struct trust *trust, const struct options *options, char fault[TRUST_FAULT_MAX])
{
    const char *cert = options->redis_tls_cert;
    const char *key = options->redis_tls_key;
    char why[256];
    if (!cert[0] && !key[0])
        return 0;
    if (!cert[0] || !key[0])
        return trust_fail(fault, cert[0] ? "redis-tls-cert" : "redis-tls-key", cert[0] ? cert : key,
                          "redis-tls-cert and redis-tls-key go together");
    if (access(cert, R_OK))
        return trust_fail(fault, "redis-tls-cert", cert, strerror(errno));
    if (access(key, R_OK))
        return trust_fail(fault, "redis-tls-key", key, strerror(errno));
    int error =
        gnutls_certificate_set_x509_key_file2(trust->credentials, cert, key, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (error >= 0)
        return 0;
    snprintf(why, sizeof(why),
             "with redis-tls-key = '%.80s': %.80s (both in PEM, the key without a password)", key,
             gnutls_strerror(error));
    return trust_fail(fault, "redis-tls-cert", cert, why);
}

static int trust_prepare(struct trust *trust, const struct options *options)
{
    if (options->redis_tls_name[0] && !(trust->name = strdup(options->redis_tls_name)))
        return GNUTLS_E_MEMORY_ERROR;
    int error = gnutls_certificate_allocate_credentials(&trust->credentials);
    return error ? error : gnutls_priority_init(&trust->priority, TRUST_PRIORITY, NULL);
}

int trust_new(struct trust **trust, const struct options *options, char fault[TRUST_FAULT_MAX])
{
    struct trust *new = calloc(1, sizeof(*new));
    if (new)
        new->references = 1;
    int error = new ? trust_prepare(new, options) : GNUTLS_E_MEMORY_ERROR;
    int err = 0;
    if (error) {
        snprintf(fault, TRUST_FAULT_MAX, "TLS to Redis: %s", gnutls_strerror(error));
        err = -ENOMEM;
    }
    if (!err)
        err = trust_read_authority(new, options->redis_tls_ca, fault);
    if (!err)
        err = trust_read_pair(new, options, fault);
    if (err)
        trust_unref(new);
    else
        *trust = new;
    return err;
}

int trust_check(const struct options *options, char fault[TRUST_FAULT_MAX])
{
    struct trust *trust;
    int err = trust_new(&trust, options, fault);
    if (!err)
        trust_unref(trust);
    return err;
}
