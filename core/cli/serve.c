/* SPDX-License-Identifier: MIT */
/* moongate serve: runs until SIGTERM or SIGINT; SIGHUP reloads. */
#include <signal.h>
#include <stdio.h>

#include "cli/cli.h"

static const char HELP[] =
    "Usage: moongate serve [-c FILE]\n\n"
    "Runs the gateway that FILE describes.\n\n"
    "  -c, --config FILE  the configuration (default: gateway.lua)\n"
    "  -h, --help         this text\n\n"
    "Signals: SIGHUP loads the configuration and its policies again (a broken one changes "
    "nothing);\n"
    "SIGTERM and SIGINT stop after the requests in flight, at most limits.drain_time; a second one "
    "stops now.\n"
    "Exit status: 0 stopped by a signal, 1 the configuration or the start failed, 2 wrong usage.\n";

static void run(struct moongate *gw, const sigset_t *signals) {
    int got = 0;
    while (got != SIGTERM && got != SIGINT) {
        if (sigwait(signals, &got) != 0) {
            return;
        }
        if (got == SIGHUP) {
            moongate_reload(gw, NULL); /* what is wrong with it was told and logged */
        }
    }
}

/* From here on a second signal does what it does to every program. */
static void restore_default(const sigset_t *signals) {
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
}

int cli_serve(int argc, char **argv) {
    struct cli_config c;
    struct moongate_error error;
    sigset_t signals;
    int bad = cli_read_config_options(&c, argc, argv);
    if (bad || c.help) {
        fputs(bad ? "" : HELP, stdout);
        return bad;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    struct moongate_options options = {
        .config_file = c.file, .library = c.library, .diagnostic = cli_print_diagnostic};
    struct moongate *gw = moongate_new(&options, &error);
    if (!gw || moongate_start(gw, &error) != 0) {
        fprintf(stderr, "moongate: not started: %s\n", error.text);
        moongate_free(gw);
        return CLI_FAILED;
    }
    run(gw, &signals);
    restore_default(&signals);
    moongate_stop(gw, -1);
    moongate_free(gw);
    return CLI_OK;
}
