/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "base/log.h"
#include "cli/cli.h"
#include "config/configuration.h"
#include "server/server.h"

int cli_serve(int argument_count, char **arguments, char **environment)
{
    char error[CONFIGURATION_ERROR_MAX];
    struct configuration configuration;
    configuration_init(&configuration, argument_count, arguments, environment);
    int status = CLI_EXIT_USAGE;
    if (configuration_load(&configuration, error))
        fprintf(stderr, "sluice: %s\n", error);
    else
        status = server_run(&configuration);
    configuration_deinit(&configuration);
    log_flush();
    return status;
}
