/* SPDX-License-Identifier: MIT */
/* The program: finds the subcommand. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const struct cli_command COMMANDS[] = {
    {CLI_RUN, "serve", "run the gateway", cli_serve},
    {CLI_RUN, "version", "print the versions of the parts", cli_version},
    {CLI_TRY, "check", "check a configuration and its policies, change nothing", cli_check},
    {CLI_TRY, "test", "run the tests of policies, in virtual time", cli_test},
    {CLI_TRY, "simulate", "play a scenario against policies and compare them", cli_simulate},
    {CLI_TRY, "explain", "show each step that a request would take, and why", cli_explain},
    {CLI_ADMIN, "status", "what runs, since when, and what is wrong with it", cli_status},
    {CLI_ADMIN, "targets", "who is asked, who is left alone, and how they fared", cli_targets},
    {CLI_ADMIN, "routes", "the routes, or the settings of one", cli_routes},
    {CLI_ADMIN, "set", "put settings of a route over the configuration's", cli_set},
    {CLI_ADMIN, "unset", "take back what was set", cli_unset},
    {CLI_ADMIN, "reload", "load the configuration and its policies again", cli_reload},
    {CLI_ADMIN, "generations", "what was loaded, when and by whom", cli_generations},
    {CLI_ADMIN, "activate", "go back to an earlier generation", cli_activate},
    {CLI_ADMIN, "suspend", "leave a target alone for a while", cli_suspend},
    {CLI_ADMIN, "resume", "use it again", cli_resume},
};

static const char *const HEADINGS[CLI_GROUPS] = {
    [CLI_RUN] = "Run",
    [CLI_TRY] = "Check and try",
    [CLI_ADMIN] = "Look at a running gateway, and change its rules",
};

static const size_t N_COMMANDS = sizeof(COMMANDS) / sizeof(*COMMANDS);

static int usage(FILE *to) {
    fprintf(to, "Usage: moongate COMMAND [OPTION…]\n\n"
                "A Lua-scriptable policy gateway for AI models.\n");
    for (enum cli_group group = 0; group < CLI_GROUPS; group++) {
        fprintf(to, "\n%s:\n", HEADINGS[group]);
        for (size_t i = 0; i < N_COMMANDS; i++) {
            if (COMMANDS[i].group == group) {
                fprintf(to, "  %-11s  %s\n", COMMANDS[i].name, COMMANDS[i].summary);
            }
        }
    }
    fprintf(to, "\nmoongate COMMAND --help tells the options of a command.\n");
    return to == stdout ? CLI_OK : CLI_USAGE;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like a disk that is full */
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
