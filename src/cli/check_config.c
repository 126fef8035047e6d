/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "auth/keys.h"
#include "cli/cli.h"
#include "server/precheck.h"

/* A repeatable option as a line for each item, as it stands in a file. */
static void check_config_print(const struct configuration *configuration, size_t index)
{
    const struct option_row *row = &option_rows[index];
    const char *source = configuration->sources[index].place;
    const struct string_list *items = option_items(configuration->options, row);
    for (size_t i = 0; items && i < items->count; i++)
        printf("%s = %s    ; %s\n", row->name, items->items[i], source);
    if (items && items->count > 0)
        return;
    char *value = option_format(configuration->options, row);
    printf("%s = %s    ; %s\n", row->name, value ? value : "", source);
    free(value);
}

static void check_config_warn_of_stray(const char *variable, const char *nearest)
{
    fprintf(stderr, "sluice: the environment's %s is no option%s%s%s\n", variable,
            nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

static void check_config_tell(const char *fault)
{
    fprintf(stderr, "sluice: %s\n", fault);
}

int cli_check_config(int argument_count, char **arguments, char **environment)
{
    static const struct precheck_warnings warnings = {check_config_warn_of_stray, check_config_tell};
    char fault[PRECHECK_FAULT_MAX];
    struct listenings listenings = {0};
    struct auth_keys *keys = NULL;
    struct configuration configuration;
    configuration_init(&configuration, argument_count, arguments, environment);
    int err = configuration_load(&configuration, fault);
    if (err)
        configuration_visit_strays(&configuration, check_config_warn_of_stray);
    else
        err = precheck_run(&configuration, &warnings, &listenings, fault);
    if (!err)
        err = auth_keys_load(&keys, configuration.options, fault);
    if (err)
        check_config_tell(fault);
    auth_keys_unref(keys);
    for (size_t i = 0; !err && i < option_count; i++)
        check_config_print(&configuration, i);
    listenings_close(&listenings);
    configuration_deinit(&configuration);
    return err ? CLI_EXIT_USAGE : 0;
}
