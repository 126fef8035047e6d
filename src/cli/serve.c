#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "config/configuration.h"
#include "server/server.h"

int cli_serve(int argument_count, char **arguments, char **environment)
{
    char error[CONFIGURATION_ERROR_MAX];
    struct configuration configuration;
    for (int i = 0; i < argument_count; i++)
        if (strcmp(arguments[i], "--help") == 0)
            return cli_help(0, arguments, environment);
    configuration_init(&configuration, argument_count, arguments, environment);
    int status = CLI_EXIT_USAGE;
    if (configuration_load(&configuration, error))
        fprintf(stderr, "sluice: %s\n", error);
    else
        status = server_run(&configuration);
    configuration_deinit(&configuration);
    return status;
}
