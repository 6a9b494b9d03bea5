/* SPDX-License-Identifier: MIT */
/*
 * Subcommands of the program, written on moongate.h and on base/, upstream/fetch.h and sim/.
 * Exit status: 0 well, 1 the configuration, the start or what was asked for failed, 2 wrong usage,
 * 3 there is no running gateway to be reached.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "moongate.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_UNREACHABLE = 3 };

/* Headings of the list of commands. */
enum cli_group { CLI_RUN, CLI_TRY, CLI_ADMIN, CLI_GROUPS };

struct cli_command {
    enum cli_group group;
    const char *name, *summary;
    int (*run)(int argc, char **argv); /* argv[0] is the command */
};

int cli_serve(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_version(int argc, char **argv);
int cli_test(int argc, char **argv);
int cli_simulate(int argc, char **argv);
int cli_explain(int argc, char **argv);
/* These speak to a running gateway (cli/admin_client.h). */
int cli_status(int argc, char **argv);
int cli_targets(int argc, char **argv);
int cli_routes(int argc, char **argv);
int cli_generations(int argc, char **argv);
int cli_set(int argc, char **argv);
int cli_unset(int argc, char **argv);
int cli_reload(int argc, char **argv);
int cli_activate(int argc, char **argv);
int cli_suspend(int argc, char **argv);
int cli_resume(int argc, char **argv);

/* What serve and check share. */
struct cli_config {
    const char *file; /* -c, --config */
    bool help;
    bool take_over;        /* serve only: --take-over */
    char folders[4][4096]; /* the library's folders, found beside the program or where it was
                              installed */
    const char *library[5];
};

/* The default file, and the library's folders. */
void cli_init_config(struct cli_config *c);
/* Reads -c FILE, --help and, for serve, --take-over. 0, or CLI_USAGE after a message on stderr.
 * Fills the library's folders.
 */
int cli_read_config_options(struct cli_config *c, int argc, char **argv);

/* Prints a diagnostic as "file:line: error: message", coloured on a terminal, and counts the errors
 * in *errors, an int. A moongate_diagnostic_fn. */
void cli_print_diagnostic(void *errors, const char *file, int line, bool warning,
                          const char *message);

/* What ends a command that failed: how many mistakes were printed, or, when none was, the error. */
void cli_print_failure(const char *what, int errors, const struct moongate_error *error);

#endif
