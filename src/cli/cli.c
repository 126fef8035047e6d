/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/container.h"
#include "base/nearest.h"
#include "tables/commands.h"

struct subcommand {
    const char *word;
    int (*run)(int argument_count, char **arguments, char **environment);
};

#define COMMAND_ROW(word, run, help) {word, run},
static const struct subcommand commands[] = {COMMAND_TABLE(COMMAND_ROW)};

static const struct subcommand *cli_find(const char *word)
{
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        word = "help";
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
        word = "version";
    for (size_t i = 0; i < ARRAY_LENGTH(commands); i++)
        if (strcmp(commands[i].word, word) == 0)
            return &commands[i];
    return NULL;
}

static bool cli_asks_for_help(int argument_count, char **arguments)
{
    for (int i = 0; i < argument_count; i++)
        if (strcmp(arguments[i], "--help") == 0 || strcmp(arguments[i], "-h") == 0)
            return true;
    return false;
}

/* Those whose line of the help says everything; the others take the server's options. */
static bool cli_has_flags_of_its_own(const struct subcommand *command)
{
    return command->run == cli_token || command->run == cli_key || command->run == cli_check_network;
}

static int cli_fail_unknown(const char *word)
{
    if (word[0] == '-') {
        fprintf(stderr, "sluice: there is no option '%s'; options begin with --, see sluice --help\n", word);
        return CLI_EXIT_USAGE;
    }
    struct nearest nearest = {.wanted = word};
    for (size_t i = 0; i < ARRAY_LENGTH(commands); i++)
        nearest_offer(&nearest, commands[i].word);
    fprintf(stderr, "sluice: there is no subcommand '%s'; %s%s%s\n", word,
            nearest.word ? "did you mean '" : "see sluice --help", nearest.word ? nearest.word : "",
            nearest.word ? "'?" : "");
    return CLI_EXIT_USAGE;
}

static int cli_dispatch(int argument_count, char **arguments, char **environment)
{
    if (argument_count < 2)
        return cli_serve(0, arguments + argument_count, environment);
    const struct subcommand *command = cli_find(arguments[1]);
    if (cli_asks_for_help(argument_count - 1, arguments + 1))
        return cli_help(command && cli_has_flags_of_its_own(command) ? 1 : 0, arguments + 1, environment);
    if (command)
        return command->run(argument_count - 2, arguments + 2, environment);
    if (strncmp(arguments[1], "--", 2) == 0)
        return cli_serve(argument_count - 1, arguments + 1, environment);
    return cli_fail_unknown(arguments[1]);
}

int cli_run(int argument_count, char **arguments, char **environment)
{
    int status = cli_dispatch(argument_count, arguments, environment);
    /* Whoever redirects the reference into a file must hear when the disk is full. */
    if ((fflush(stdout) || ferror(stdout)) && status == 0) {
        perror("sluice: cannot write");
        status = CLI_EXIT_FAILED;
    }
    return status;
}
