/* SPDX-License-Identifier: MIT */
#pragma once

/* Whom Sluice trusts to be Redis (`redis-tls-ca`, `redis-tls-name`), and the certificate that it shows
 * (`redis-tls-cert`, `redis-tls-key`): for rediss://. Immutable, atomically counted, any thread.
 */

#include <gnutls/gnutls.h>

#include "config/options.h"

#define TRUST_FAULT_MAX 512u

struct trust {
    _Atomic unsigned references;
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priority;
    char *name; /* that every certificate has to have; NULL for the host of the address */
};

/* Reads the files. Returns 0, or -EINVAL or -ENOMEM with `fault` a sentence. */
int trust_new(struct trust **trust, const struct options *options, char fault[TRUST_FAULT_MAX]);

/* Whether the files are there and fit. Returns as trust_new. */
int trust_check(const struct options *options, char fault[TRUST_FAULT_MAX]);

/* The name of an option that is given and that only rediss:// uses; NULL when there is none. */
const char *trust_find_option(const struct options *options);

struct trust *trust_ref(struct trust *trust);
void trust_unref(struct trust *trust);
