/* SPDX-License-Identifier: MIT */
/* The program: finds the subcommand. Everything it does goes through moongate.h. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const struct cli_command COMMANDS[] = {
    {"serve", "run the gateway", cli_serve},
    {"check", "check a configuration and its policies, change nothing", cli_check},
    {"version", "print the versions of the parts", cli_version},
};

static const size_t N_COMMANDS = sizeof(COMMANDS) / sizeof(*COMMANDS);

static int usage(FILE *to) {
    fprintf(to, "Usage: moongate COMMAND [OPTION…]\n\n"
                "A Lua-scriptable policy gateway for AI models.\n\nCommands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        fprintf(to, "  %-9s %s\n", COMMANDS[i].name, COMMANDS[i].summary);
    }
    fprintf(to, "\nmoongate COMMAND --help tells the options of a command.\n");
    return to == stdout ? CLI_OK : CLI_USAGE;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        return usage(stdout);
    }
    if (strcmp(name, "--version") == 0) {
        name = "version";
    }
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(name, COMMANDS[i].name) == 0) {
            return COMMANDS[i].run(argc - 1, argv + 1);
        }
    }
    if (*name) {
        fprintf(stderr, "moongate: there is no command \"%s\"\n\n", name);
    }
    return usage(stderr);
}
