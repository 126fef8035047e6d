/* SPDX-License-Identifier: MIT */
#pragma once

/* The caps on connections, and on whatever else is held for clients, such as sessions: those of all shards
 * counted together, in total and by the address they come from. Lock-free, any thread.
 */

#include <stdint.h>

#include "base/address.h"
#include "tables/errors.h"

struct connection_limits;

/* What a connection is counted under; nothing for who has no address, who is counted in total only. */
struct limit_key {
    uint8_t len;
    unsigned char bytes[8]; /* of address_client_key */
};

/* How many there may be; 0 is no limit. */
struct limit_caps {
    uint64_t total;
    uint64_t of_address;
    enum error_code error; /* that says of the total that it is reached */
};

struct connection_limits *connection_limits_new(void);
void connection_limits_free(struct connection_limits *limits);

/* Counts a connection from `address`, NULL when that is not known yet, and says in `key` under what. */
void connection_limits_add(struct connection_limits *limits, const struct address *address,
                           struct limit_key *key);

/* The same under a key that is known. */
void connection_limits_count(struct connection_limits *limits, const struct limit_key *key);
/* One that has been counted under no address is from now on under this one; and is not any more. */
void connection_limits_name(struct connection_limits *limits, const struct address *address,
                            struct limit_key *key);
void connection_limits_unname(struct connection_limits *limits, struct limit_key *key);
void connection_limits_remove(struct connection_limits *limits, const struct limit_key *key);

/* Whether what has been counted may stay: ERROR_NONE, or what to tell it. */
enum error_code connection_limits_check(struct connection_limits *limits, const struct limit_key *key,
                                        const struct limit_caps *caps);
