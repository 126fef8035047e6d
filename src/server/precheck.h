/* SPDX-License-Identifier: MIT */
#pragma once

/* What in the configuration is surely a mistake although each option by itself is right: said at the start,
 * and by check-config, rather than found out when something is missing. Main thread. */

#include "config/configuration.h"
#include "server/listening.h"

#define PRECHECK_FAULT_MAX (CONFIGURATION_ERROR_MAX + LISTENING_FAULT_MAX)

/* Otherwise it is a URL of Redis. */
bool precheck_broker_is_memory(const struct options *options);

/* Whether the URL of the broker is one, and the certificates for it are there. Returns 0, -ENOMEM or -EINVAL
 * with `fault` a sentence. */
int precheck_broker(const struct options *options, char fault[PRECHECK_FAULT_MAX]);

/* How it is told what the server can do without. */
struct precheck_warnings {
    void (*stray)(const char *variable, const char *nearest); /* as configuration_visit_strays */
    void (*no_static_dir)(const char *reason);
};

/* Parses `listenings` as well. Returns 0, -ENOMEM, -EPERM or -EINVAL with `fault` a sentence; the listenings
 * are to be closed in any case. */
int precheck_run(const struct configuration *configuration, const struct precheck_warnings *warnings,
                 struct listenings *listenings, char fault[PRECHECK_FAULT_MAX]);
