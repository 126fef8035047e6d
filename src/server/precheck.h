/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_SERVER_PRECHECK_H
#define SLUICE_SERVER_PRECHECK_H

/* What in the configuration is surely a mistake although each option by itself is right: said at the start,
 * rather than found out when something is missing. Main thread. */

#include "config/configuration.h"

/* Logs a warning for what the server can do without. Returns 0, or -EINVAL with `error` a sentence. */
int precheck_run(const struct configuration *configuration, char error[CONFIGURATION_ERROR_MAX]);

#endif
