/* SPDX-License-Identifier: MIT */
#pragma once

/* The command line: finds the subcommand and runs it. Main thread. */

#define CLI_EXIT_FAILED 1
#define CLI_EXIT_USAGE 2

/* Returns the process's exit status. `environment` as main gets it. */
int cli_run(int argument_count, char **arguments, char **environment);

/* The subcommands of tables/commands.h; the arguments are those after the subcommand. */
int cli_serve(int argument_count, char **arguments, char **environment);
int cli_check_config(int argument_count, char **arguments, char **environment);
int cli_check_network(int argument_count, char **arguments, char **environment);
int cli_token(int argument_count, char **arguments, char **environment);
int cli_key(int argument_count, char **arguments, char **environment);
int cli_help(int argument_count, char **arguments, char **environment);
int cli_version(int argument_count, char **arguments, char **environment);
