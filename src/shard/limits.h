/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_SHARD_LIMITS_H
#define SLUICE_SHARD_LIMITS_H

/* The caps on connections: those of all shards counted together, in total and by the address they come from.
 * Lock-free, any thread.
 */

#include <stddef.h>

#include "config/options.h"
#include "tbl/errors.h"

struct connection_limits;

struct connection_limits *connection_limits_new(void);
void connection_limits_free(struct connection_limits *limits);

/* `key` is what address_client_key says; an empty one is counted in total only. */
void connection_limits_add(struct connection_limits *limits, const unsigned char *key, size_t key_len);
void connection_limits_remove(struct connection_limits *limits, const unsigned char *key, size_t key_len);

/* Whether a connection that has been counted may stay: ERROR_NONE, or what to tell it. */
enum error_code connection_limits_check(struct connection_limits *limits, const unsigned char *key,
                                        size_t key_len, const struct options *options);

#endif
