/* SPDX-License-Identifier: MIT */
#include "config/configuration.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/pattern.h"
#include "config/channel_rules.h"
#include "config/file.h"

#define ENVIRONMENT_PREFIX "SLUICE_"
#define SOURCE_DEFAULT "default"
#define SOURCE_COMMAND_LINE "command line"
#define NAME_MAX_BYTES 64u
#define SHOWN_VALUE_MAX 200u /* so that what is allowed still fits into the sentence */

#define SECTIONS_CHANGED "[channel]" /* among the names of options that took effect */

static const char config_option[] = "config"; /* names the file, so it cannot stand in it */

/* One reading of all sources. */
struct loader {
    struct configuration made;
    char *error;
    const char *path;   /* of the file */
    bool is_in_section; /* of the file: a channel's */
    bool has_failed;
};

void configuration_init(struct configuration *configuration, int argument_count, char **arguments,
                        char **environment)
{
    *configuration = (struct configuration){
        .argument_count = argument_count, .arguments = arguments, .environment = environment};
}

void configuration_deinit(struct configuration *configuration)
{
    options_unref(configuration->options);
    free(configuration->sources);
}

__attribute__((format(printf, 2, 3))) static int loader_fail(struct loader *loader, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!loader->has_failed)
        vsnprintf(loader->error, CONFIGURATION_ERROR_MAX, format, arguments);
    va_end(arguments);
    loader->has_failed = true;
    return -EINVAL;
}

static int loader_fail_unknown(struct loader *loader, const char *name, const char *place)
{
    const char *suggestion = option_suggest(name);
    if (strncmp(name, "tls-", strlen("tls-")) == 0 || strcmp(name, "proxy-protocol") == 0)
        return loader_fail(loader, "%s: '%.64s' stands behind an address, as http = 0.0.0.0:8443 %.64s=VALUE",
                           place, name, name);
    return loader_fail(loader, "%s: there is no option '%.64s'%s%s%s", place, name,
                       suggestion ? "; did you mean '" : "; see sluice --help", suggestion ? suggestion : "",
                       suggestion ? "'?" : "");
}

static void loader_begin_source(struct loader *loader)
{
    for (size_t i = 0; i < option_count; i++)
        loader->made.sources[i].is_new = false;
}

static int loader_fail_value(struct loader *loader, const struct option_row *row, const char *value,
                             const char *place, int err, const char *fault)
{
    if (err == -ENOMEM)
        return loader_fail(loader, "no memory for the options");
    return loader_fail(loader, "%s: %s = '%.*s%s' %s", place, row->name, (int)SHOWN_VALUE_MAX, value,
                       strlen(value) > SHOWN_VALUE_MAX ? "..." : "", fault);
}

/* The lines of a file on which a repeatable option stands are told as FILE:1,2,5, as far as there is room. */
static void loader_add_place(struct configuration_source *source, const char *place)
{
    const char *line = strrchr(place, ':');
    size_t len = strlen(source->place);
    if (source->has_items && line && strncmp(source->place, place, (size_t)(line - place) + 1) == 0)
        snprintf(source->place + len, sizeof(source->place) - len, ",%s", line + 1);
    else
        snprintf(source->place, sizeof(source->place), "%s", place);
    source->has_items = true;
}

static int loader_set(struct loader *loader, const struct option_row *row, const char *value,
                      const char *place)
{
    char fault[OPTION_FAULT_MAX];
    struct configuration_source *source = &loader->made.sources[row - option_rows];
    if (!source->is_new) {
        option_clear(loader->made.options, row);
        source->has_items = false;
    }
    source->is_new = true;
    int err = option_set(loader->made.options, row, value, fault);
    if (err)
        return loader_fail_value(loader, row, value, place, err, fault);
    loader_add_place(source, place);
    return 0;
}

/* Several values in one text. */
static int loader_set_list(struct loader *loader, const struct option_row *row, const char *text,
                           const char *place)
{
    if (row->kind != OPTION_STRINGS)
        return loader_set(loader, row, text, place);
    const char *separators = option_separators(row);
    if (!text[strspn(text, separators)])
        return loader_set(loader, row, "", place);
    char *copy = strdup(text);
    char *rest = NULL;
    int err = copy ? 0 : loader_fail(loader, "no memory for the options");
    for (char *item = copy ? strtok_r(copy, separators, &rest) : NULL; item && !err;
         item = strtok_r(NULL, separators, &rest))
        err = loader_set(loader, row, item, place);
    free(copy);
    return err;
}

/* Command line. */

static const struct option_row *argument_find(const char *argument, const char **value, bool *is_negated)
{
    if (strncmp(argument, "--", 2) != 0)
        return NULL;
    const char *name = argument + 2;
    size_t len = strcspn(name, "=");
    *value = name[len] == '=' ? name + len + 1 : NULL;
    *is_negated = false;
    const struct option_row *row = option_find(name, len);
    if (row || strncmp(name, "no-", 3) != 0)
        return row;
    row = option_find(name + 3, len - 3);
    *is_negated = row && row->kind == OPTION_BOOLEAN && !*value;
    return *is_negated ? row : NULL;
}

static int loader_read_argument(struct loader *loader, int *index, const struct option_row **row,
                                const char **value)
{
    const struct configuration *configuration = &loader->made;
    const char *argument = configuration->arguments[*index];
    bool is_negated;
    *row = argument_find(argument, value, &is_negated);
    if (!*row && strncmp(argument, "--", 2) != 0)
        return loader_fail(loader, "command line: '%s' is not an option; options begin with --", argument);
    if (!*row) {
        char name[NAME_MAX_BYTES + 1];
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(argument + 2, "="), argument + 2);
        return loader_fail_unknown(loader, name, SOURCE_COMMAND_LINE);
    }
    bool is_next_value = *index + 1 < configuration->argument_count &&
                         strncmp(configuration->arguments[*index + 1], "--", 2) != 0;
    if (!*value && (*row)->kind == OPTION_BOOLEAN && (is_negated || !is_next_value))
        *value = is_negated ? "no" : "yes";
    if (!*value && *index + 1 < configuration->argument_count)
        *value = configuration->arguments[++*index];
    if (!*value)
        return loader_fail(loader, "command line: --%s needs a value (%s)", (*row)->name, (*row)->argument);
    return 0;
}

static int loader_read_arguments(struct loader *loader)
{
    loader_begin_source(loader);
    for (int i = 0; i < loader->made.argument_count; i++) {
        const struct option_row *row;
        const char *value;
        if (loader_read_argument(loader, &i, &row, &value) ||
            loader_set(loader, row, value, SOURCE_COMMAND_LINE))
            return -EINVAL;
    }
    return 0;
}

/* Environment. */

static void environment_name(const struct option_row *row, char name[NAME_MAX_BYTES])
{
    size_t len = (size_t)snprintf(name, NAME_MAX_BYTES, ENVIRONMENT_PREFIX "%s", row->name);
    for (size_t i = 0; i < len && i < NAME_MAX_BYTES; i++)
        name[i] = name[i] == '-' ? '_' : (char)toupper((unsigned char)name[i]);
}

static const char *environment_get(char **environment, const char *name)
{
    size_t len = strlen(name);
    for (; environment && *environment; environment++)
        if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=')
            return *environment + len + 1;
    return NULL;
}

static int loader_read_environment(struct loader *loader)
{
    loader_begin_source(loader);
    for (size_t i = 0; i < option_count; i++) {
        char name[NAME_MAX_BYTES];
        char place[NAME_MAX_BYTES + 16];
        environment_name(&option_rows[i], name);
        const char *value = environment_get(loader->made.environment, name);
        snprintf(place, sizeof(place), "environment %s", name);
        if (value && loader_set_list(loader, &option_rows[i], value, place))
            return -EINVAL;
    }
    return 0;
}

/* What Kubernetes sets for a service of the name sluice; SLUICE_PORT=tcp://... is of these. */
static bool environment_is_foreign(const char *text)
{
    return strncmp(text, "PORT_", 5) == 0 || strncmp(text, "SERVICE_", 8) == 0 ||
           (strncmp(text, "PORT=", 5) == 0 && strstr(text, "://"));
}

/* The name of an option as it would stand on the command line. */
static void environment_to_option(const char *variable, size_t len, char name[NAME_MAX_BYTES])
{
    snprintf(name, NAME_MAX_BYTES, "%.*s", (int)len, variable);
    for (char *at = name; *at; at++)
        *at = *at == '_' ? '-' : (char)tolower((unsigned char)*at);
}

void configuration_visit_strays(const struct configuration *configuration,
                                void (*visit)(const char *variable, const char *nearest))
{
    const size_t prefix_len = strlen(ENVIRONMENT_PREFIX);
    for (char **at = configuration->environment; at && *at; at++) {
        char own[NAME_MAX_BYTES];
        char name[NAME_MAX_BYTES];
        char variable[NAME_MAX_BYTES];
        const char *text = *at + prefix_len;
        if (strncmp(*at, ENVIRONMENT_PREFIX, prefix_len) != 0 || environment_is_foreign(text))
            continue;
        size_t len = strcspn(text, "=");
        snprintf(variable, sizeof(variable), "%.*s", (int)(prefix_len + len), *at);
        environment_to_option(text, len, name);
        const struct option_row *row = option_find(name, strlen(name));
        if (row)
            environment_name(row, own);
        if (row && strcmp(own, variable) == 0)
            continue;
        const char *suggestion = row ? row->name : option_suggest(name);
        if (suggestion)
            environment_name(option_find(suggestion, strlen(suggestion)), own);
        visit(variable, suggestion ? own : NULL);
    }
}

/* File. */

static void names_add(char *list, size_t size, const char *name)
{
    size_t len = strlen(list);
    snprintf(list + len, size - len, "%s%s", len > 0 ? " " : "", name);
}

static void loader_format_place(const struct loader *loader, unsigned line,
                                char place[CONFIGURATION_PLACE_MAX])
{
    snprintf(place, CONFIGURATION_PLACE_MAX, "%.480s:%u", loader->path, line);
}

static int loader_fail_global(struct loader *loader, const struct option_row *row, const char *place)
{
    char allowed[CONFIGURATION_ERROR_MAX / 2] = "";
    for (unsigned i = 0; i < CHANNEL_OPTION_COUNT; i++)
        names_add(allowed, sizeof(allowed), channel_option_row(i)->name);
    return loader_fail(loader,
                       "%s: %s holds for the whole server and stands before the first section; a section may "
                       "have %s",
                       place, row->name, allowed);
}

/* What may stand in a section, and stands there once. */
static int loader_add_to_section(struct loader *loader, const struct option_row *row, const char *value,
                                 unsigned line, const char *place)
{
    char fault[OPTION_FAULT_MAX];
    struct channel_rules *rules = loader->made.options->rules;
    const struct channel_rule *rule = channel_rules_last(rules);
    if (row->flags != OPTION_CHANNEL)
        return loader_fail_global(loader, row, place);
    enum channel_option option = channel_option_of(row);
    if (rule->given >> option & 1)
        return loader_fail(loader, "%s: %s is given twice in [channel \"%s\"] (first at line %u)", place,
                           row->name, rule->pattern, rule->lines[option]);
    int err = channel_rules_set(rules, option, value, line, fault);
    return err ? loader_fail_value(loader, row, value, place, err, fault) : 0;
}

static int loader_add_pair(void *context, const char *name, const char *value, unsigned line)
{
    struct loader *loader = context;
    char place[CONFIGURATION_PLACE_MAX];
    loader_format_place(loader, line, place);
    const struct option_row *row = option_find(name, strlen(name));
    if (!row)
        return loader_fail_unknown(loader, name, place);
    if (strcmp(row->name, config_option) == 0)
        return loader_fail(loader, "%s: %s stands on the command line or in the environment only", place,
                           name);
    if (loader->is_in_section)
        return loader_add_to_section(loader, row, value, line, place);
    const struct configuration_source *source = &loader->made.sources[row - option_rows];
    if (source->is_new && row->kind != OPTION_STRINGS)
        return loader_fail(loader, "%s: %s is given twice (first at %s)", place, name, source->place);
    return loader_set(loader, row, value, place);
}

static int loader_add_section(void *context, struct text kind, struct text argument, unsigned line)
{
    struct loader *loader = context;
    struct options *options = loader->made.options;
    char place[CONFIGURATION_PLACE_MAX];
    loader_format_place(loader, line, place);
    if (!text_is(kind, "channel"))
        return loader_fail(
            loader,
            "%s: there is no section [%.*s]; sections are [channel \"PATTERN\"], and what holds "
            "for the whole server stands before the first",
            place, (int)(kind.len < SHOWN_VALUE_MAX ? kind.len : SHOWN_VALUE_MAX), kind.bytes);
    if (!argument.bytes)
        return loader_fail(loader, "%s: [channel] needs a pattern, as [channel \"news/*\"]", place);
    const char *fault = pattern_fault(argument);
    if (fault)
        return loader_fail(loader, "%s: [channel \"%.*s\"]: a channel pattern %s", place,
                           (int)(argument.len < SHOWN_VALUE_MAX ? argument.len : SHOWN_VALUE_MAX),
                           argument.bytes, fault);
    if (!options->rules)
        options->rules = channel_rules_new();
    loader->is_in_section = true;
    if (!options->rules || channel_rules_add(options->rules, argument, line))
        return loader_fail(loader, "no memory for the options");
    return 0;
}

static int loader_compile_sections(struct loader *loader)
{
    const struct channel_rule *first;
    const struct channel_rule *second;
    if (!loader->made.options->rules)
        return 0;
    int err = channel_rules_compile(loader->made.options->rules, &first, &second);
    if (err == -EEXIST)
        return loader_fail(loader, "%.480s:%u: [channel \"%s\"] is there twice (first at line %u)",
                           loader->path, second->line, second->pattern, first->line);
    return err ? loader_fail(loader, "no memory for the options") : 0;
}

static int loader_read_file(struct loader *loader, const char *path)
{
    struct file_fault fault;
    loader_begin_source(loader);
    loader->path = path;
    FILE *file = fopen(path, "re");
    if (!file)
        return loader_fail(loader, "cannot read the configuration file %s: %s", path, strerror(errno));
    int err = file_read(file, loader_add_pair, loader_add_section, loader, &fault);
    fclose(file);
    if (err == -EINVAL && fault.line == 0)
        return loader_fail(loader, "cannot read the configuration file %s: %s", path, fault.text);
    if (err == -EINVAL)
        return loader_fail(loader, "%s:%u: %s", path, fault.line, fault.text);
    return err ? -EINVAL : loader_compile_sections(loader);
}

/* Which file to read has to be known before the sources that are stronger than it are applied. */
static const char *loader_find_file(struct loader *loader)
{
    const char *path = environment_get(loader->made.environment, ENVIRONMENT_PREFIX "CONFIG");
    for (int i = 0; i < loader->made.argument_count; i++) {
        const struct option_row *row;
        const char *value;
        if (loader_read_argument(loader, &i, &row, &value))
            return NULL;
        if (strcmp(row->name, config_option) == 0)
            path = value;
    }
    return path ? path : "";
}

static int loader_check(struct loader *loader)
{
    const struct options *options = loader->made.options;
    if (options->poll_wait_ms <= options->poll_wait_max_ms)
        return 0;
    const struct option_row *wait = option_find("poll-wait", strlen("poll-wait"));
    const struct option_row *most = option_find("poll-wait-max", strlen("poll-wait-max"));
    return loader_fail(
        loader, "%.256s: poll-wait = %" PRIu64 "ms must not be over poll-wait-max = %" PRIu64 "ms (%.256s)",
        loader->made.sources[wait - option_rows].place, options->poll_wait_ms, options->poll_wait_max_ms,
        loader->made.sources[most - option_rows].place);
}

int configuration_check_static_dir(const struct configuration *configuration,
                                   char error[CONFIGURATION_ERROR_MAX])
{
    const char *path = configuration->options->static_dir;
    const struct option_row *row = option_find("static-dir", strlen("static-dir"));
    const char *source = configuration->sources[row - option_rows].place;
    struct stat status;
    int err = stat(path, &status) ? errno : S_ISDIR(status.st_mode) ? 0 : ENOTDIR;
    if (!*path || !err)
        return 0;
    snprintf(error, CONFIGURATION_ERROR_MAX, "%.256s: static-dir = '%.*s' cannot be served: %s", source,
             (int)SHOWN_VALUE_MAX, path, strerror(err));
    return strcmp(source, SOURCE_DEFAULT) == 0 ? -ENOENT : -EINVAL;
}

static int loader_read_all(struct loader *loader)
{
    const char *path = loader_find_file(loader);
    if (!path || (*path && loader_read_file(loader, path)))
        return -EINVAL;
    if (loader_read_environment(loader) || loader_read_arguments(loader))
        return -EINVAL;
    return loader_check(loader);
}

static int loader_init(struct loader *loader, const struct configuration *configuration, char *error)
{
    *loader = (struct loader){.made = *configuration, .error = error};
    loader->made.options = options_new();
    loader->made.sources = calloc(option_count, sizeof(*loader->made.sources));
    if (!loader->made.options || !loader->made.sources)
        return loader_fail(loader, "no memory for the options");
    for (size_t i = 0; i < option_count; i++)
        strcpy(loader->made.sources[i].place, SOURCE_DEFAULT);
    return 0;
}

void configuration_locate(const struct configuration *configuration, char *fault, size_t size)
{
    size_t len = strcspn(fault, " :");
    for (size_t i = 0; i < option_count; i++) {
        const char *place = configuration->sources[i].place;
        if (strlen(option_rows[i].name) != len || strncmp(option_rows[i].name, fault, len) != 0)
            continue;
        if (strcmp(place, SOURCE_DEFAULT) == 0 || strcmp(place, SOURCE_COMMAND_LINE) == 0)
            return;
        size_t place_len = strlen(place) + strlen(": ");
        size_t kept = strlen(fault);
        if (place_len >= size)
            return;
        if (kept > size - place_len - 1)
            kept = size - place_len - 1;
        memmove(fault + place_len, fault, kept);
        fault[place_len + kept] = '\0';
        memcpy(fault, place, place_len - strlen(": "));
        memcpy(fault + place_len - strlen(": "), ": ", strlen(": "));
        return;
    }
}

static int configuration_merge(const struct configuration *configuration, struct loader *loader,
                               struct reload_report *report)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_rows[i];
        if (option_equals(configuration->options, loader->made.options, row))
            continue;
        if (row->flags != OPTION_RESTART) {
            names_add(report->changed, sizeof(report->changed), row->name);
            continue;
        }
        names_add(report->needs_restart, sizeof(report->needs_restart), row->name);
        /* What keeps its value keeps the place it came from. */
        loader->made.sources[i] = configuration->sources[i];
        if (option_copy(loader->made.options, configuration->options, row))
            return loader_fail(loader, "no memory for the options");
    }
    if (!channel_rules_equal(configuration->options->rules, loader->made.options->rules))
        names_add(report->changed, sizeof(report->changed), SECTIONS_CHANGED);
    return 0;
}

/* With a report only what may be reloaded is taken over. */
static int configuration_renew(struct configuration *configuration, const struct configuration_judge *judge,
                               struct reload_report *report, char *error)
{
    struct loader loader;
    int err = loader_init(&loader, configuration, error);
    if (!err)
        err = loader_read_all(&loader);
    if (!err && report)
        err = configuration_merge(configuration, &loader, report);
    if (!err && judge) {
        err = judge->accept(judge->context, loader.made.options, error);
        if (err)
            configuration_locate(&loader.made, error, CONFIGURATION_ERROR_MAX);
    }
    if (err) {
        configuration_deinit(&loader.made);
        return err;
    }
    configuration_deinit(configuration);
    *configuration = loader.made;
    return 0;
}

int configuration_load(struct configuration *configuration, char error[CONFIGURATION_ERROR_MAX])
{
    return configuration_renew(configuration, NULL, NULL, error);
}

int configuration_reload(struct configuration *configuration, const struct configuration_judge *judge,
                         struct reload_report *report, char error[CONFIGURATION_ERROR_MAX])
{
    *report = (struct reload_report){0};
    return configuration_renew(configuration, judge, report, error);
}
