/* SPDX-License-Identifier: MIT */
#pragma once

/* The opening handshake, from the server's side (RFC 6455, section 4.2). On the shard's thread. */

#include <stdbool.h>

#include "http/exchange.h"

/* Sec-WebSocket-Accept, and its terminator. */
#define HANDSHAKE_ACCEPT_SIZE 29u

/* Checks the request, in the state HANDLING. Returns whether it may become a WebSocket; otherwise it has been
 * answered with what is wrong. */
bool handshake_check(struct exchange *exchange);

/* The proof that the handshake was read, of a key that has been checked. Pure. */
void handshake_accept(char accept[HANDSHAKE_ACCEPT_SIZE], const char *key);

/* The first protocol of the client's list that is among `known`, which ends with NULL and may be NULL; NULL
 * when there is none. Pure. */
const char *handshake_choose(const char *list, const char *const *known);
