/* SPDX-License-Identifier: MIT */
#pragma once

/* SHA-1 (FIPS 180-4), which the WebSocket handshake is made with and libsodium leaves out. Broken as a
 * signature: for nothing else. Pure; any thread. */

#include <stddef.h>
#include <stdint.h>

#define SHA1_SIZE 20u

/* The digest of a short text: the handshake's has 60 bytes. `len` is at most SHA1_MOST. */
#define SHA1_MOST 119u
void sha1_digest(uint8_t digest[SHA1_SIZE], const void *bytes, size_t len);
