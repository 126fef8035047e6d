/* SPDX-License-Identifier: MIT */
#pragma once

/* Which names this server answers to. A page can have its browser ask any address under the page's own name
 * (DNS rebinding), and is then of the same origin as what is there: so on listeners that nobody else reaches
 * Host has to be a name that leads nowhere else. Pure; hostile input; any thread.
 */

#include <stdbool.h>

#include "config/options.h"
#include "shard/entrance.h"

/* Each for host, host:port or [v6]:port. */
bool host_is_loopback(const char *authority);
bool host_is_address(const char *authority); /* nobody makes one lead elsewhere; localhost is as good */
bool host_is_listed(const char *authority, const struct options *options); /* or of an allowed origin */

/* Whether a request with this Host, NULL when it has none, is one for the server when it comes by this
 * entrance. */
bool host_is_ours(const char *authority, const struct entrance *entrance, const struct options *options);
