/* SPDX-License-Identifier: MIT */
#pragma once

/* Where the options come from: command line before environment before file before default. Main thread only.
 */

#include <stddef.h>

#include "config/options.h"

#define CONFIGURATION_ERROR_MAX 1024u
#define CONFIGURATION_PLACE_MAX 512u

/* Where an option's value comes from, for people. */
struct configuration_source {
    char place[CONFIGURATION_PLACE_MAX];
    bool is_new;    /* set by the source that is being read */
    bool has_items; /* of which one value or more has been taken */
};

struct configuration {
    int argument_count; /* arguments after the subcommand; borrowed, as long as the process runs */
    char **arguments;
    char **environment;
    struct options *options;              /* the snapshot in force; one reference */
    struct configuration_source *sources; /* for each row of the table */
};

/* Borrows the arguments and the environment; nothing is loaded yet. */
void configuration_init(struct configuration *configuration, int argument_count, char **arguments,
                        char **environment);
void configuration_deinit(struct configuration *configuration);

/* Reads every source. Returns 0, or -EINVAL with a sentence that names option, value, place and what is
 * allowed (or says that memory is out). */
int configuration_load(struct configuration *configuration, char error[CONFIGURATION_ERROR_MAX]);

/* Names each variable of the environment that looks like an option and is none, with the one that may have
 * been meant or NULL. */
void configuration_visit_strays(const struct configuration *configuration,
                                void (*visit)(const char *variable, const char *nearest));

/* Whether the static directory is there. Returns 0, -ENOENT when the default one is not, -EINVAL when one is
 * not that somebody asked for; with a sentence. */
int configuration_check_static_dir(const struct configuration *configuration,
                                   char error[CONFIGURATION_ERROR_MAX]);

/* Puts before a fault that begins with the name of an option where that stands in a file or in the
 * environment; what is not found, or was said on the command line, stays as it is. */
void configuration_locate(const struct configuration *configuration, char *fault, size_t size);

/* Room for the names of all options, several times over: as much as a line of the log takes. */
#define CONFIGURATION_NAMES_MAX 4096u

/* What a reload found. */
struct reload_report {
    char changed[CONFIGURATION_NAMES_MAX];       /* names that took effect, separated by spaces */
    char needs_restart[CONFIGURATION_NAMES_MAX]; /* names that changed but keep their value until a restart */
};

/* Who has a say before new options come into force. */
struct configuration_judge {
    void *context;
    /* Returns 0, or -errno with a sentence. */
    int (*accept)(void *context, struct options *options, char error[CONFIGURATION_ERROR_MAX]);
};

/* Reads every source again and puts a new snapshot in force that takes over what may be reloaded, and that
 * the judge (which may be NULL) accepts. On an error, as configuration_load, nothing changes. */
int configuration_reload(struct configuration *configuration, const struct configuration_judge *judge,
                         struct reload_report *report, char error[CONFIGURATION_ERROR_MAX]);
