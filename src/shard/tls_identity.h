/* SPDX-License-Identifier: MIT */
#pragma once

/* An identity in the words of GnuTLS: for shard/tls.c, and nobody else. */

#include <gnutls/gnutls.h>

#include "shard/tls.h"

/* Has a new session use it. Returns 0 or GnuTLS's error. */
int tls_identity_apply(struct tls_identity *identity, gnutls_session_t session);

/* Judges the certificate that a client has shown, if it has: also one of an earlier session that is resumed.
 * Returns 0 or GnuTLS's error. */
int tls_identity_verify(gnutls_session_t session);

/* Makes the grant of a client's certificate; NULL when it has shown none. Returns 0 or GnuTLS's error, also
 * for a certificate without a name that can be used. */
int tls_identity_read_client(gnutls_session_t session, struct grant **grant);
