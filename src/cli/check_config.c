/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/keys.h"
#include "cli/cli.h"
#include "config/channel_rules.h"
#include "core/names.h"
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

/* A section as it stands in a file. */
static void check_config_print_section(const struct configuration *configuration,
                                       const struct channel_rule *rule)
{
    const char *file = configuration->options->config;
    printf("\n[channel \"%s\"]    ; %s:%u\n", rule->pattern, file, rule->line);
    for (enum channel_option option = 0; option < CHANNEL_OPTION_COUNT; option++) {
        char *value = rule->given >> option & 1 ? channel_option_format(&rule->values, option) : NULL;
        if (value)
            printf("%s = %s    ; %s:%u\n", channel_option_row(option)->name, value, file,
                   rule->lines[option]);
        free(value);
    }
}

static void check_config_print_all(const struct configuration *configuration)
{
    const struct channel_rules *rules = configuration->options->rules;
    for (size_t i = 0; i < option_count; i++)
        check_config_print(configuration, i);
    for (size_t i = 0; i < channel_rules_count(rules); i++)
        check_config_print_section(configuration, channel_rules_at(rules, i));
}

/* Who else is told what is published there. */
static void check_config_explain_trees(const struct options *options, const char *name)
{
    struct channel_options found;
    struct channel_trees trees;
    if (channel_trees_find(&trees, options, text_of(name)))
        printf("; nothing can be published here: more than %u of the channels above it are trees\n",
               CHANNEL_TREES_MAX);
    for (unsigned i = 0; i < trees.count; i++)
        printf("; what is published here is told to those who may subscribe to %.*s too, which is a tree\n",
               trees.lens[i], name);
    channel_options_resolve(&found, options, text_of(name));
    if (found.tree)
        printf("; who may subscribe here is told everything that is published below %s/ too\n", name);
}

/* What holds for one channel, and where each option of it comes from. */
static void check_config_explain(const struct configuration *configuration, const char *name)
{
    const struct channel_rule *found[CHANNEL_OPTION_COUNT] = {0};
    const struct options *options = configuration->options;
    if (options->rules)
        channel_rules_find(options->rules, text_of(name), found);
    for (enum channel_option option = 0; option < CHANNEL_OPTION_COUNT; option++) {
        const struct option_row *row = channel_option_row(option);
        if (!found[option]) {
            check_config_print(configuration, (size_t)(row - option_rows));
            continue;
        }
        char *value = channel_option_format(&found[option]->values, option);
        printf("%s = %s    ; %s:%u [channel \"%s\"]\n", row->name, value ? value : "", options->config,
               found[option]->lines[option], found[option]->pattern);
        free(value);
    }
    check_config_explain_trees(options, name);
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

/* Takes `--explain NAME` out of the arguments, which belong to this function then. Returns 0, or -EINVAL with
 * the fault told. */
static int check_config_take_explain(int *argument_count, char **arguments, const char **name)
{
    static const char option[] = "--explain";
    int kept = 0;
    *name = NULL;
    for (int i = 0; i < *argument_count; i++) {
        const char *argument = arguments[i];
        if (strncmp(argument, option, strlen(option)) != 0 || !strchr("=", argument[strlen(option)])) {
            arguments[kept++] = arguments[i];
            continue;
        }
        *name = argument[strlen(option)]  ? argument + strlen(option) + 1
                : i + 1 < *argument_count ? arguments[++i]
                                          : "";
        const char *fault = channel_name_fault(*name, strlen(*name));
        if (fault) {
            fprintf(stderr, "sluice: --explain '%.300s': a channel name %s\n", *name, fault);
            return -EINVAL;
        }
    }
    *argument_count = kept;
    return 0;
}

int cli_check_config(int argument_count, char **arguments, char **environment)
{
    static const struct precheck_warnings warnings = {check_config_warn_of_stray, check_config_tell};
    char fault[PRECHECK_FAULT_MAX];
    struct listenings listenings = {0};
    struct auth_keys *keys = NULL;
    struct configuration configuration;
    const char *explained;
    if (check_config_take_explain(&argument_count, arguments, &explained))
        return CLI_EXIT_USAGE;
    configuration_init(&configuration, argument_count, arguments, environment);
    int err = configuration_load(&configuration, fault);
    bool is_read = !err;
    if (err)
        configuration_visit_strays(&configuration, check_config_warn_of_stray);
    else
        err = precheck_run(&configuration, &warnings, &listenings, fault);
    if (!err)
        err = auth_keys_load(&keys, configuration.options, fault);
    if (err && is_read)
        configuration_locate(&configuration, fault, sizeof(fault));
    if (err)
        check_config_tell(fault);
    else if (explained)
        check_config_explain(&configuration, explained);
    else
        check_config_print_all(&configuration);
    auth_keys_unref(keys);
    listenings_close(&listenings);
    configuration_deinit(&configuration);
    return err ? CLI_EXIT_USAGE : 0;
}
