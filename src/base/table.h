/* SPDX-License-Identifier: MIT */
#pragma once

/* uthash, set up for hostile keys: SipHash under a key that is random for each process, and a failed
 * allocation is an error (the element's `hh.tbl` stays NULL), never an exit.
 */

#include <stddef.h>
#include <stdint.h>

/* SipHash-2-4 under the process's key; table_key_init has been called. Any thread. */
uint64_t table_hash(const void *bytes, size_t len);

/* Once, before any thread starts. */
void table_key_init(void);

#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(key, len, hash) ((hash) = (unsigned)table_hash((key), (len)))
#include <uthash.h>
