/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#define CHECK_NETWORK_PROGRAM "sluice-check-network"

/* Where a build leaves it: beside this program. Returns whether the path fits. */
static int check_network_beside(char path[PATH_MAX])
{
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - sizeof(CHECK_NETWORK_PROGRAM));
    if (len <= 0)
        return -1;
    path[len] = '\0';
    char *name = strrchr(path, '/');
    memcpy(name ? name + 1 : path, CHECK_NETWORK_PROGRAM, sizeof(CHECK_NETWORK_PROGRAM));
    return 0;
}

int cli_check_network(int argument_count, char **arguments, char **environment)
{
    static const char installed[] = SLUICE_LIBEXEC_DIR "/" CHECK_NETWORK_PROGRAM;
    char beside[PATH_MAX];
    char *words[argument_count + 2];
    words[0] = CHECK_NETWORK_PROGRAM;
    memcpy(words + 1, arguments, (size_t)argument_count * sizeof(*words));
    words[argument_count + 1] = NULL;
    if (check_network_beside(beside) == 0)
        execve(beside, words, environment);
    execve(installed, words, environment);
    fprintf(stderr, "sluice: check-network: %s: %s; it is part of the installation\n", installed,
            strerror(errno));
    return CLI_EXIT_FAILED;
}
