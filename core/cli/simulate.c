/* SPDX-License-Identifier: MIT */
/* moongate simulate: a stretch of traffic with outages, against several policies. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/sim_run.h"

static const char HELP[] =
    "Usage: moongate simulate SCENARIO.lua [--policy NAME]… [--json] [-c FILE]\n\n"
    "Plays a scenario (traffic, providers, their prices and outages) against policies, in virtual\n"
    "time, and prints what came of each: success, time to first token, attempts, cost.\n"
    "examples/simulate/ has a scenario and tells what can stand in one.\n\n"
    "  -p, --policy NAME  a policy of the scenario, or a file of policies/ that gets the\n"
    "                     scenario's settings; may be given several times (default: all of the\n"
    "                     scenario)\n"
    "  -j, --json         figures for programs\n"
    "  -c, --config FILE  the configuration beside which policies/ and lua/ lie (default:\n"
    "                     gateway.lua beside the scenario; it need not be there)\n"
    "  -h, --help         this text\n\n"
    "The same scenario with the same seed gives the same figures.\n"
    "Exit status: 0 well, 1 something is wrong with the scenario or a policy, 2 wrong usage.\n"
    "\nExample:\n\n"
    "  $ moongate simulate day.lua --policy careful --policy fallback\n";

struct simulation {
    struct cli_config config;
    bool given;
    struct cli_list args, files;
};

static int usage(const char *what) {
    fprintf(stderr, "moongate simulate: %s\nmoongate simulate --help tells the options.\n", what);
    return CLI_USAGE;
}

static int add_pair(struct cli_list *args, const char *name, const char *value) {
    return cli_list_add(args, name) | cli_list_add(args, value) ? CLI_FAILED : CLI_OK;
}

static int read_option(struct simulation *s, int opt) {
    switch (opt) {
    case 'c':
        s->config.file = optarg;
        s->given = true;
        return CLI_OK;
    case 'p':
        return add_pair(&s->args, "--policy", optarg);
    case 'j':
        return cli_list_add(&s->args, "--json") ? CLI_FAILED : CLI_OK;
    case 'h':
        s->config.help = true;
        return CLI_OK;
    default:
        return CLI_USAGE;
    }
}

/* What stands beside the scenario is its configuration, unless another one is named. */
static void use_folder_of(struct simulation *s, const char *scenario, char *file, size_t size) {
    int n = snprintf(file, size, "%s", scenario);
    char *slash = strrchr(file, '/');
    if (!s->given && slash && n > 0 && (size_t)n < size) {
        snprintf(slash + 1, size - (size_t)(slash + 1 - file), "gateway.lua");
        s->config.file = file;
    }
}

static int simulate(struct simulation *s, const char *scenario) {
    char file[4096];
    use_folder_of(s, scenario, file, sizeof(file));
    int bad = add_pair(&s->args, "--scenario", scenario) | cli_list_add(&s->files, scenario);
    if (!bad && isatty(STDERR_FILENO)) {
        bad = cli_list_add(&s->args, "--progress");
    }
    struct snapshot *snapshot = bad ? NULL : cli_read_snapshot(&s->config, s->given);
    int status =
        snapshot ? cli_run_program(snapshot, &s->files, "moongate.simulate", &s->args, USEC_NEVER)
                 : CLI_FAILED;
    snapshot_unref(snapshot);
    return status;
}

int cli_simulate(int argc, char **argv) {
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"policy", required_argument, NULL, 'p'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct simulation s = {.given = false};
    int status = CLI_OK;
    cli_init_config(&s.config);
    optind = 1;
    for (int opt = getopt_long(argc, argv, "c:p:jh", options, NULL); opt != -1 && !status;
         opt = getopt_long(argc, argv, "c:p:jh", options, NULL)) {
        status = read_option(&s, opt);
    }
    if (!status && s.config.help) {
        fputs(HELP, stdout);
    } else if (status) {
        fprintf(stderr, "moongate simulate --help tells the options.\n");
    } else if (argc - optind != 1) {
        status = usage("one scenario file was expected");
    } else {
        status = simulate(&s, argv[optind]);
    }
    cli_list_release(&s.args);
    cli_list_release(&s.files);
    return status;
}
