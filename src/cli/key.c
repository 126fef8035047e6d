/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "auth/publishers.h"
#include "base/random.h"
#include "cli/cli.h"

int cli_key(int argument_count, char **arguments, char **environment)
{
    char key[PUBLISHER_KEY_MAX + 1];
    char line[PUBLISHER_LINE_MAX + 1];
    (void)environment; /* same signature as the other subcommands */
    if (argument_count != 1 || !publisher_name_is_valid(text_of(arguments[0]))) {
        fprintf(stderr, "sluice: key takes one name, of 1 to %u letters, digits, - and _\n",
                PUBLISHER_NAME_MAX);
        return CLI_EXIT_USAGE;
    }
    if (random_init()) {
        fprintf(stderr, "sluice: libsodium: cannot be initialised\n");
        return CLI_EXIT_FAILED;
    }
    publisher_make(text_of(arguments[0]), key, line);
    printf("Key, for the application; it is not shown again:\n%s\n\n"
           "Line, for the file of the option publish-keys:\n%s\n",
           key, line);
    return 0;
}
