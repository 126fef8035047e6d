/* SPDX-License-Identifier: MIT */
/* The subcommands of the program, one row each: word, function in cli/, what it does. */
#pragma once

#define COMMAND_TABLE(ROW)                                                                                   \
    ROW("serve", cli_serve, "Run the server (also without any subcommand).")                                 \
    ROW("check-config", cli_check_config,                                                                    \
        "Check the options and print what is in force and why; with --explain NAME for one channel.")        \
    ROW("token", cli_token,                                                                                  \
        "Sign a token: --key FILE [--alg ALG] [--kid ID] [--sub NAME] [--jti ID] [--iss NAME] [--aud NAME] " \
        "[--expires TIME|never] (1h without it) [--subscribe PATTERN]... [--publish PATTERN]... [--admin].") \
    ROW("key", cli_key,                                                                                      \
        "Make a publisher key of the NAME that follows: prints it, and its line for publish-keys.")          \
    ROW("check-network", cli_check_network,                                                                  \
        "Try what passes between here and the server at the URL that follows, in each way and both "         \
        "directions: [--proxy URL] [--token TOKEN] [--ca FILE] [--channel NAME] [--hold TIME] (20s).")       \
    ROW("help", cli_help, "Print this, or with --format=man|markdown|errors the reference.")                 \
    ROW("version", cli_version, "Print the version.")
