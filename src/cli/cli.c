#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "base/container.h"
#include "tbl/commands.h"

struct command {
    const char *word;
    int (*run)(int argument_count, char **arguments, char **environment);
};

#define COMMAND_ROW(word, run, help) {word, run},
static const struct command commands[] = {COMMAND_TABLE(COMMAND_ROW)};

static const struct command *cli_find(const char *word)
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

int cli_run(int argument_count, char **arguments, char **environment)
{
    if (argument_count < 2)
        return cli_serve(0, arguments + argument_count, environment);
    const struct command *command = cli_find(arguments[1]);
    if (command)
        return command->run(argument_count - 2, arguments + 2, environment);
    if (strncmp(arguments[1], "--", 2) == 0)
        return cli_serve(argument_count - 1, arguments + 1, environment);
    fprintf(stderr, "sluice: there is no subcommand '%s'; see sluice --help\n", arguments[1]);
    return CLI_EXIT_USAGE;
}
