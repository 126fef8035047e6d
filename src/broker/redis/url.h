/* SPDX-License-Identifier: MIT */
#pragma once

/* Where Redis is, as the option `broker` says:
 *
 *   redis://[user:password@]host:port[/db]
 *   redis://[user:password@]host:port,host:port,…       a Cluster
 *   unix:///path[?db=N]
 *   redis-sentinel://[user:password@]host:port,…/master-name[/db][?sentinel-user=…&sentinel-password=…]
 *
 * rediss:// and rediss-sentinel:// are the same over TLS. User and password, also those of the Sentinels, may
 * be percent-encoded; ports are 6379 and, of a Sentinel, 26379 when left out. Any thread.
 */

#include <stdbool.h>
#include <stddef.h>

#define URL_FAULT_MAX 256u
#define URL_ADDRESSES_MAX 64u

enum url_kind { URL_SERVER, URL_UNIX, URL_CLUSTER, URL_SENTINEL };

struct url {
    enum url_kind kind;
    char *user;              /* NULL when none */
    char *password;          /* NULL when none */
    char *sentinel_user;     /* NULL when none */
    char *sentinel_password; /* NULL when none */
    bool is_tls;
    char *master; /* name that the Sentinels know; NULL otherwise */
    unsigned db;
    size_t count;
    char *addresses[URL_ADDRESSES_MAX]; /* host:port, or the path of a socket */
};

/* Returns 0, -ENOMEM, or -EINVAL with `fault` a sentence that says what is allowed; never names the password.
 */
int url_parse(struct url *url, const char *text, char fault[URL_FAULT_MAX]);
void url_deinit(struct url *url);
