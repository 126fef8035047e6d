/* SPDX-License-Identifier: MIT */
#include "server/precheck.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"

static void precheck_warn_of_stray(const char *variable, const char *nearest)
{
    char action[160] = "see sluice --help for the options there are";
    if (nearest)
        snprintf(action, sizeof(action), "did you mean %s?", nearest);
    log_event(LOG_WARN, "unknown-variable", LOG_TEXT("variable", variable), LOG_TEXT("action", action));
}

int precheck_run(const struct configuration *configuration, char error[CONFIGURATION_ERROR_MAX])
{
    configuration_visit_strays(configuration, precheck_warn_of_stray);
    int err = configuration_check_static_dir(configuration, error);
    if (err == -ENOENT)
        log_event(LOG_WARN, "no-static-dir", LOG_TEXT("reason", error),
                  LOG_TEXT("action", "install Sluice's files, or say --static-dir DIR, or an empty one"));
    return err == -EINVAL ? err : 0;
}
