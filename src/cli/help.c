/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/container.h"
#include "cli/cli.h"
#include "config.h"
#include "config/options.h"
#include "tables/closes.h"
#include "tables/commands.h"
#include "tables/errors.h"

#define HELP_ARGUMENT_MAX 256u

static const struct help_command {
    const char *word;
    const char *help;
} help_commands[] = {
#define HELP_COMMAND(word, run, help) {word, help},
    COMMAND_TABLE(HELP_COMMAND)
#undef HELP_COMMAND
};

static const char help_precedence[] = "Each option can be given on the command line (--name value), in the "
                                      "environment (SLUICE_NAME, with _ for -) "
                                      "and in the file (name = value), in this order of precedence.";
static const char help_file[] =
    "In the file a line that begins with # or ; is a comment, as is the rest of a line after a space and ;. "
    "Everything before the first section holds for the whole server. A repeatable option is repeated on the "
    "command line and in the file; in the "
    "environment commas or spaces separate its values, for http, admin, tcp and sockjs semicolons.";
static const char help_sections[] =
    "A section [channel \"PATTERN\"] of the file holds for the channels that the pattern covers and may have "
    "the "
    "options marked with *channel*. In a pattern a segment * stands for any one segment, and ** at the end "
    "for one "
    "or more. Of several sections the most specific one that has an option gives it, whatever the command "
    "line "
    "says for all channels: segments are compared from the left, a name before * before **. "
    "sluice check-config --explain NAME shows what holds for a channel and why.";
static const char help_units[] =
    "Sizes take KiB, MiB and GiB; times take ms, s, m, h and d and are seconds without a unit.";

static void help_format_argument(const struct option_row *row, char to[HELP_ARGUMENT_MAX])
{
    char range[OPTION_RANGE_MAX];
    option_format_range(row, range);
    snprintf(to, HELP_ARGUMENT_MAX, "%s%s%s%s", row->argument, range[0] ? ", " : "", range,
             row->kind == OPTION_STRINGS ? ", repeatable" : "");
}

static const char *help_preset(const struct option_row *row)
{
    if (strcmp(row->name, "static-dir") == 0)
        return "the installed one";
    return row->preset[0] ? row->preset : "none";
}

static const char *help_mark(const struct option_row *row)
{
    return row->flags == OPTION_RESTART ? " *restart*" : row->flags == OPTION_CHANNEL ? " *channel*" : "";
}

static void help_print_text(void)
{
    char range[OPTION_RANGE_MAX];
    printf("Usage: sluice [SUBCOMMAND] [--OPTION VALUE]...\n\n"
           "Holds WebSockets, Server-Sent Events, streams and long-polls open and delivers published "
           "messages to them.\n\n"
           "Subcommands:\n");
    for (size_t i = 0; i < ARRAY_LENGTH(help_commands); i++)
        printf("  %-14s%s\n", help_commands[i].word, help_commands[i].help);
    printf("\nOptions:\n");
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_rows[i];
        option_format_range(row, range);
        printf("  --%s %s\n        %s Default: %s%s%s.%s\n", row->name, row->argument, row->help,
               help_preset(row), range[0] ? "; " : "", range, help_mark(row));
    }
    printf("\n%s\n%s\n%s\n%s\nSIGHUP reads the file again; SIGTERM lets the clients go and ends.\n",
           help_precedence, help_file, help_sections, help_units);
}

/* In roff a leading dot and every backslash and hyphen mean something. */
static void help_print_roff(const char *text)
{
    for (const char *at = text; *at; at++) {
        if (*at == '\\' || *at == '-')
            putchar('\\');
        if ((*at == '.' || *at == '\'') && at == text)
            fputs("\\&", stdout);
        putchar(*at);
    }
}

static void help_print_man(void)
{
    char argument[HELP_ARGUMENT_MAX];
    printf(".TH SLUICE 1 \"\" \"sluice %s\" \"User Commands\"\n.SH NAME\nsluice \\- hold connections open "
           "and deliver "
           "messages to them\n.SH SYNOPSIS\n.B sluice\n[\\fISUBCOMMAND\\fR] [\\fB\\-\\-\\fIOPTION "
           "VALUE\\fR]...\n",
           PACKAGE_VERSION);
    printf(".SH DESCRIPTION\nSluice holds long\\-polls, Server\\-Sent Events and streams open by the ten "
           "thousand and lets "
           "messages through to them the moment they are published.\n.SH SUBCOMMANDS\n");
    for (size_t i = 0; i < ARRAY_LENGTH(help_commands); i++) {
        printf(".TP\n.B ");
        help_print_roff(help_commands[i].word);
        printf("\n");
        help_print_roff(help_commands[i].help);
        printf("\n");
    }
    printf(".SH OPTIONS\n");
    help_print_roff(help_precedence);
    printf("\n");
    help_print_roff(help_file);
    printf("\n");
    help_print_roff(help_sections);
    printf("\n");
    help_print_roff(help_units);
    printf("\n");
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_rows[i];
        printf(".TP\n\\fB\\-\\-");
        help_print_roff(row->name);
        printf("\\fR \\fI");
        help_format_argument(row, argument);
        help_print_roff(argument);
        printf("\\fR\n");
        help_print_roff(row->help);
        printf(" Default: ");
        help_print_roff(help_preset(row));
        printf(".%s\n", row->flags == OPTION_RESTART   ? " Needs a restart."
                        : row->flags == OPTION_CHANNEL ? " May stand in a section."
                                                       : "");
    }
    printf(".SH SIGNALS\nSIGHUP reads the file again. SIGTERM and SIGINT let the clients go within "
           "drain\\-time; a second one "
           "stops at once.\n.SH EXIT STATUS\n0 after a clean stop, 1 when the server cannot run, 2 for a "
           "wrong option.\n.SH AUTHORS\nThe Sluice developers.\n");
}

static void help_print_markdown(void)
{
    char argument[HELP_ARGUMENT_MAX];
    printf("# Options\n\nGenerated from the option table by `sluice help --format=markdown`; do not "
           "edit.\n\n%s %s\n\n%s\n\n%s "
           "Options marked with "
           "*restart* keep their value when SIGHUP reads the file again; all others take effect at once.\n\n"
           "| option | value | default | meaning |\n|---|---|---|---|\n",
           help_precedence, help_file, help_sections, help_units);
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_rows[i];
        printf("| `%s` | ", row->name);
        help_format_argument(row, argument);
        for (const char *at = argument; *at; at++)
            printf(*at == '|' ? "\\|" : "%c", *at);
        printf(" | %s | %s%s |\n", help_preset(row), row->help, help_mark(row));
    }
}

static void help_print_errors(void)
{
    printf("# Errors\n\nGenerated from the error table by `sluice help --format=errors`; do not edit.\n\n"
           "An error is answered as `{\"error\":\"code\",\"message\":\"what is wrong and what to do\"}`.\n\n"
           "| code | status | meaning |\n|---|---|---|\n");
    for (unsigned code = ERROR_NONE + 1; code < ERROR_COUNT; code++)
        printf("| `%s` | %u | %s |\n", error_name((enum error_code)code), error_status((enum error_code)code),
               error_text((enum error_code)code));
    printf("\n## Close frames\n\nWhat ends a WebSocket or a SockJS session, from the table of reasons for "
           "closing; `/metrics` counts "
           "each. The reason may be given in other words that say more.\n\n"
           "| code | reason | counter |\n|---|---|---|\n");
    for (unsigned reason = 0; reason < CLOSE_COUNT; reason++)
        printf("| %u | %s | `sluice_closed_%s_total` |\n", close_code((enum close_reason)reason),
               close_text((enum close_reason)reason), close_word((enum close_reason)reason));
}

/* Returns whether there is one of this name. */
static bool help_print_command(const char *word)
{
    for (size_t i = 0; i < ARRAY_LENGTH(help_commands); i++) {
        if (strcmp(help_commands[i].word, word) != 0)
            continue;
        printf("sluice %s: %s\n", word, help_commands[i].help);
        return true;
    }
    return false;
}

int cli_help(int argument_count, char **arguments, char **environment)
{
    static const struct {
        const char *argument;
        void (*print)(void);
    } formats[] = {{"--format=text", help_print_text},
                   {"--format=man", help_print_man},
                   {"--format=markdown", help_print_markdown},
                   {"--format=errors", help_print_errors}};
    (void)environment; /* same signature as the other subcommands */
    const char *format = argument_count > 0 ? arguments[0] : formats[0].argument;
    for (size_t i = 0; i < ARRAY_LENGTH(formats); i++) {
        if (strcmp(formats[i].argument, format) == 0) {
            formats[i].print();
            return 0;
        }
    }
    if (help_print_command(format))
        return 0;
    fprintf(stderr, "sluice: help takes a subcommand, or --format=text, man, markdown or errors, not '%s'\n",
            format);
    return CLI_EXIT_USAGE;
}

int cli_version(int argument_count, char **arguments, char **environment)
{
    (void)argument_count;
    (void)arguments;
    (void)environment; /* same signature as the other subcommands */
    printf("sluice %s\n", PACKAGE_VERSION);
    return 0;
}
