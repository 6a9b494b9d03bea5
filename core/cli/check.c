/* SPDX-License-Identifier: MIT */
/* moongate check: the staging of a start or reload, from the shell. */
#include <stdio.h>

#include "cli/cli.h"

static const char HELP[] =
    "Usage: moongate check [-c FILE]\n\n"
    "Checks the configuration and the policies that it names, as a start or reload would, and\n"
    "changes nothing. Every mistake is told at once, with file and line.\n\n"
    "  -c, --config FILE  the configuration (default: gateway.lua)\n"
    "  -h, --help         this text\n\n"
    "Exit status: 0 nothing is wrong (warnings apart), 1 there are mistakes, 2 wrong usage.\n"
    "\nExample:\n\n"
    "  $ moongate check\n"
    "  gateway.lua:15: error: routes[1].settings.suspnd: unknown setting \"suspnd\"; did you mean "
    "\"suspend\"?\n";

/* What a check has told. */
struct told {
    int errors, warnings;
};

static void tell(void *told, const char *file, int line, bool warning, const char *message) {
    struct told *t = told;

    t->warnings += warning;
    cli_print_diagnostic(&t->errors, file, line, warning, message);
}

/* A check without mistakes. */
static void print_success(const char *file, int warnings) {
    if (warnings) {
        printf("%s: no mistakes, %d warning%s\n", file, warnings, warnings == 1 ? "" : "s");
    } else {
        printf("%s: nothing wrong\n", file);
    }
}

int cli_check(int argc, char **argv) {
    struct cli_config c;
    struct moongate_error error;
    struct told told = {0, 0};
    int bad = cli_read_config_options(&c, argc, argv);
    if (bad || c.help) {
        fputs(bad ? "" : HELP, stdout);
        return bad;
    }
    struct moongate_options options = {
        .config_file = c.file, .library = c.library, .diagnostic = tell, .diagnostic_ctx = &told};
    struct moongate *gw = moongate_new(&options, &error);
    bad = !gw || moongate_check(gw, &error) != 0;
    if (bad) {
        cli_print_failure("", told.errors, &error);
    } else {
        print_success(c.file, told.warnings);
    }
    moongate_free(gw);
    return bad ? CLI_FAILED : CLI_OK;
}
