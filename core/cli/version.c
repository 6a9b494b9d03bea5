/* SPDX-License-Identifier: MIT */
/* moongate version */
#include <stdio.h>

#include "cli/cli.h"

int cli_version(int argc, char **argv) {
    char text[256];
    (void)argc;
    (void)argv;
    moongate_version(text, sizeof(text));
    puts(text);
    return CLI_OK;
}
