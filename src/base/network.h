/* SPDX-License-Identifier: MIT */
#pragma once

/* Networks: an IPv4 or IPv6 address, or all that begin with the same bits (CIDR, RFC 4632). IPv4 mapped into
 * IPv6 counts as IPv4. A value type; pure; any thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "base/text.h"

struct network {
    unsigned char bytes[16]; /* IPv4 as it is mapped into IPv6 */
    unsigned bits;           /* of those */
};

/* Parses "10.0.0.0/8", "fd00::/8" or one address. Returns 0, or -EINVAL with *why what is wrong. */
int network_parse(struct network *network, const char *text, const char **why);

bool network_contains(const struct network *network, const struct address *address);

/* An address without a name lookup, as proxies write one: with or without a port, IPv6 with or without
 * brackets. Hostile. The port is 0 when there is none. Returns 0 or -EINVAL. */
int network_read_address(struct address *address, struct text text);
