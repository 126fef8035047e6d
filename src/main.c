/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

int main(int argc, char **argv, char **envp)
{
    return cli_run(argc, argv, envp);
}
