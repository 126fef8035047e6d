/* SPDX-License-Identifier: MIT */
#pragma once

/* The header that a proxy puts in front of a connection to say whose it is: the PROXY protocol, versions 1
 * and 2 (HAProxy's doc/proxy-protocol.txt, sections 2.1 and 2.2). Pure; hostile input; any thread.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/address.h"

/* A whole header of version 2 may have 65,551 bytes; with all that proxies add about a client's certificate
 * it has far less. */
#define PROXY_HEADER_MAX 4096u

struct proxy_header {
    size_t len;             /* of the whole header; what follows is the client's */
    bool has_address;       /* otherwise the connection is the proxy's own, or it does not know whose */
    struct address address; /* of the client */
};

/* Looks at the first bytes of a connection. Returns 0, -EAGAIN when more are needed, or -EINVAL when these
 * never become a header that is taken. */
int proxy_header_parse(struct proxy_header *header, const char *bytes, size_t len);
