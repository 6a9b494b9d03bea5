/* SPDX-License-Identifier: MIT */
/*
 * What test, simulate and explain share: the files of a load without a gateway, and a program of
 * the library (lua/moongate) that is run over them. Prints to stdout.
 */
#ifndef CLI_SIM_RUN_H
#define CLI_SIM_RUN_H

#include "base/clock.h"
#include "cli/cli.h"
#include "config/snapshot.h"

/* A list of texts for a program's arguments. Grows; NULL-terminated. Starts zeroed. */
struct cli_list {
    char **items;
    size_t n, room;
};
/* Copies text. -1 after a message on stderr: memory. */
int cli_list_add(struct cli_list *list, const char *text);
void cli_list_release(struct cli_list *list);

/* Adds the *_test.lua files at `path`: itself when it is a file, those in it and in its folders
 * when it is a folder, in order of their names. -1 after a message on stderr. */
int cli_add_tests(struct cli_list *files, const char *path);

/* Reads c->file and what is beside it; when there is no such file and it was not asked for by name
 * (`given`), its folder without it. NULL after a message on stderr. */
struct snapshot *cli_read_snapshot(const struct cli_config *c, bool given);

#define CLI_PROGRAM_CPU (3600 * USEC_PER_SEC) /* a person can end it sooner */

/* Adds files to the snapshot, runs `module` with args, for so much CPU time (USEC_NEVER: no limit),
 * and prints. The command's exit status. */
int cli_run_program(struct snapshot *snapshot, const struct cli_list *files, const char *module,
                    const struct cli_list *args, usec cpu);

#endif
