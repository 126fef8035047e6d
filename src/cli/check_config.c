/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/redis/url.h"
#include "cli/cli.h"
#include "config/configuration.h"
#include "server/listening.h"

/* A repeatable option as a line for each item, as it stands in a file. */
static void check_config_print(const struct configuration *configuration, size_t index)
{
    const struct option_row *row = &option_rows[index];
    const char *source = configuration->sources[index];
    const struct string_list *items = option_items(configuration->options, row);
    for (size_t i = 0; items && i < items->count; i++)
        printf("%s = %s    ; %s\n", row->name, items->items[i], source);
    if (items && items->count > 0)
        return;
    char *value = option_format(configuration->options, row);
    printf("%s = %s    ; %s\n", row->name, value ? value : "", source);
    free(value);
}

static int check_config_listenings(const struct configuration *configuration)
{
    struct listenings listenings = {0};
    char fault[LISTENING_FAULT_MAX] = "no memory";
    int err = listenings_parse(&listenings, configuration->options, fault);
    listenings_close(&listenings);
    if (!err)
        return 0;
    fprintf(stderr, "sluice: %s\n", fault);
    return CLI_EXIT_USAGE;
}

static int check_config_broker(const struct configuration *configuration)
{
    char fault[URL_FAULT_MAX];
    struct url url;
    const char *broker = configuration->options->broker;
    if (strncmp(broker, "memory:", 7) == 0)
        return 0;
    /* It may hold a password, so it is not repeated. */
    if (url_parse(&url, broker, fault)) {
        fprintf(stderr, "sluice: broker: %s\n", fault);
        return CLI_EXIT_USAGE;
    }
    url_deinit(&url);
    return 0;
}

static int check_config_static_dir(const struct configuration *configuration)
{
    char error[CONFIGURATION_ERROR_MAX];
    int err = configuration_check_static_dir(configuration, error);
    if (err)
        fprintf(stderr, "sluice: %s\n", error);
    return err == -EINVAL ? CLI_EXIT_USAGE : 0;
}

static void check_config_tell_stray(const char *variable, const char *nearest)
{
    fprintf(stderr, "sluice: the environment's %s is no option%s%s%s\n", variable,
            nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

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
    configuration_visit_strays(&configuration, check_config_tell_stray);
    if (status == 0)
        status = check_config_static_dir(&configuration);
    if (status == 0)
        status = check_config_broker(&configuration);
    if (status == 0)
        status = check_config_listenings(&configuration);
    for (size_t i = 0; status == 0 && i < option_count; i++)
        check_config_print(&configuration, i);
    configuration_deinit(&configuration);
    return status;
}
