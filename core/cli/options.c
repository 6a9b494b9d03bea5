/* SPDX-License-Identifier: MIT */
/* Options, the library's folders, and diagnostics: what the commands share. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/term.h"

#ifndef MOONGATE_DATADIR
#define MOONGATE_DATADIR "/usr/local/share/moongate"
#endif

static void add_folder(struct cli_config *c, size_t *n, const char *base, const char *below) {
    char probe[4200];
    int len = snprintf(c->folders[*n], sizeof(c->folders[0]), "%s%s", base, below);
    snprintf(probe, sizeof(probe), "%s/lua/moongate", c->folders[*n]);
    if (len > 0 && (size_t)len < sizeof(c->folders[0]) && access(probe, R_OK) == 0) {
        c->library[*n] = c->folders[*n];
        (*n)++;
    }
}

/* Beside the program: PREFIX/bin/../share/moongate when installed, the source tree when run from
 * build/ or build/asan/. */
static void find_library(struct cli_config *c) {
    char self[4000];
    size_t n = 0;
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;
    self[len > 0 ? len : 0] = '\0';
    slash = strrchr(self, '/');
    if (slash) {
        *slash = '\0';
        add_folder(c, &n, self, "/../share/moongate");
        add_folder(c, &n, self, "/..");
        add_folder(c, &n, self, "/../..");
    }
    add_folder(c, &n, MOONGATE_DATADIR, "");
    c->library[n] = NULL;
}

void cli_init_config(struct cli_config *c) {
    memset(c, 0, sizeof(*c));
    c->file = "gateway.lua";
    find_library(c);
}

int cli_read_config_options(struct cli_config *c, int argc, char **argv) {
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"take-over", no_argument, NULL, 't'},
                                            {NULL, 0, NULL, 0}};
    cli_init_config(c);
    optind = 1;
    for (int opt = getopt_long(argc, argv, "c:h", options, NULL); opt != -1;
         opt = getopt_long(argc, argv, "c:h", options, NULL)) {
        if (opt == 'c') {
            c->file = optarg;
        } else if (opt == 'h') {
            c->help = true;
        } else if (opt == 't' && strcmp(argv[0], "serve") == 0) {
            c->take_over = true;
        } else {
            fprintf(stderr, "moongate %s --help tells the options.\n", argv[0]);
            return CLI_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr,
                "moongate %s: \"%s\" was not expected; the configuration is given with -c FILE\n",
                argv[0], argv[optind]);
        return CLI_USAGE;
    }
    return CLI_OK;
}

void cli_print_diagnostic(void *errors, const char *file, int line, bool warning,
                          const char *message) {
    enum term_colour colour = warning ? TERM_YELLOW : TERM_RED;
    const char *on = term_begin(stderr, colour), *off = term_end(stderr, colour);
    *(int *)errors += !warning;
    const char *kind = warning ? "warning" : "error";
    if (line > 0) {
        fprintf(stderr, "%s:%d: %s%s:%s %s\n", file, line, on, kind, off, message);
    } else {
        fprintf(stderr, "%s: %s%s:%s %s\n", file, on, kind, off, message);
    }
}

void cli_print_failure(const char *what, int errors, const struct moongate_error *error) {
    if (errors) {
        fprintf(stderr, "moongate: %s%d mistake%s in the configuration\n", what, errors,
                errors == 1 ? "" : "s");
    } else {
        fprintf(stderr, "moongate: %s%s\n", what, error->text);
    }
}
