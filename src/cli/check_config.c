#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "config/configuration.h"

int cli_check_config(int argument_count, char **arguments, char **environment)
{
    char error[CONFIGURATION_ERROR_MAX];
    struct configuration configuration;
    configuration_init(&configuration, argument_count, arguments, environment);
    int status = 0;
    if (configuration_load(&configuration, error)) {
        fprintf(stderr, "sluice: %s\n", error);
        status = CLI_EXIT_USAGE;
    }
    for (size_t i = 0; status == 0 && i < option_count; i++) {
        char *value = option_format(configuration.options, &option_rows[i]);
        printf("%s = %s    ; %s\n", option_rows[i].name, value ? value : "", configuration.sources[i]);
        free(value);
    }
    configuration_deinit(&configuration);
    return status;
}
