/* SPDX-License-Identifier: MIT */
#pragma once

/* An entrance: what is declared of one listener, whatever is spoken on it: ADDRESS [KEY=VALUE]…. Immutable
 * while shards run, and found from each connection that came by it. The options `http` and `admin` declare
 * just that; `tcp` more besides (transport/tcp/declaration.h, which begins with an entrance). Any thread.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "base/address.h"
#include "base/pairs.h"
#include "shard/tls.h"

#define ENTRANCE_MODE_PRESET 0660u

struct entrance {
    char *address;             /* as written; host:port, or unix:/path */
    const char *path;          /* of a Unix address; NULL otherwise */
    bool is_http;              /* HTTP is spoken there */
    bool is_for_browsers_here; /* a browser on this machine reaches it, and nothing elsewhere does */
    bool is_admin;             /* /api and /metrics need no right here */
    bool has_proxy_header;     /* each connection begins with one (shard/vestibule.h) */
    bool has_mode;
    mode_t mode; /* of the file at the path */
    struct tls_files tls;
};

/* The keys that every listener takes, to stand in the table of whoever reads a declaration: his context
 * begins with the entrance. */
#define ENTRANCE_KEYS                                                                                        \
    {"proxy-protocol", entrance_set_proxy_protocol}, {"mode", entrance_set_mode},                            \
        {"tls-cert", entrance_set_tls_cert}, {"tls-key", entrance_set_tls_key},                              \
        {"tls-client-ca", entrance_set_tls_client_ca},                                                       \
    {                                                                                                        \
        "tls-client", entrance_set_tls_client                                                                \
    }
#define ENTRANCE_MISSING "an address is missing: host:port, [v6]:port or unix:/path"

int entrance_set_address(struct pairs *pairs, const char *word);
int entrance_set_proxy_protocol(struct pairs *pairs, const char *value);
int entrance_set_mode(struct pairs *pairs, const char *value);
int entrance_set_tls_cert(struct pairs *pairs, const char *value);
int entrance_set_tls_key(struct pairs *pairs, const char *value);
int entrance_set_tls_client_ca(struct pairs *pairs, const char *value);
int entrance_set_tls_client(struct pairs *pairs, const char *value);
int entrance_check(struct pairs *pairs);

/* Parses `text`. Returns 0, -ENOMEM, or -EINVAL with `fault` a sentence; only after 0 is there something to
 * deinit. */
int entrance_parse(struct entrance *entrance, const char *text, char fault[PAIRS_FAULT_MAX]);
void entrance_deinit(struct entrance *entrance);

/* The address to bind; a host's name is looked up. Returns 0, or -EINVAL with *why set to what is wrong. */
int entrance_look_up(const struct entrance *entrance, struct address *address, const char **why);
