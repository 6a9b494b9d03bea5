/* SPDX-License-Identifier: MIT */
/* moongate serve: runs until SIGTERM or SIGINT; SIGHUP reloads. */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/limits.h"
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
    "Exit status: 0 stopped by a signal, 1 the configuration or the start failed, 2 wrong usage.\n"
    "\nExample:\n\n"
    "  $ moongate serve -c gateway.lua >access.log\n";

struct serving {
    struct moongate *gw;
    sigset_t signals;
    int errors;          /* found at the start */
    atomic_bool started; /* from here on mistakes of a reload, maybe of the file watch's thread, are
                            told by the log alone */
};

static void print_at_start(void *ctx, const char *file, int line, bool warning,
                           const char *message) {
    struct serving *s = ctx;
    if (!s->started) {
        cli_print_diagnostic(&s->errors, file, line, warning, message);
    }
}

/* Until a signal that ends. */
static void reload_until_stopped(const struct serving *s) {
    int got = 0;
    while (got != SIGTERM && got != SIGINT) {
        if (sigwait(&s->signals, &got) != 0) {
            return;
        }
        if (got == SIGHUP) {
            moongate_reload_as(s->gw, "SIGHUP", NULL, NULL); /* what is wrong with it was logged */
        }
    }
}

/* While the gateway drains: a second signal ends the patience. */
static void *hurry_on_signal(void *arg) {
    const struct serving *s = arg;
    int got = SIGHUP;
    while (got == SIGHUP && sigwait(&s->signals, &got) == 0) {
    }
    moongate_hurry(s->gw);
    return NULL;
}

static void stop(struct serving *s) {
    pthread_t thread;
    bool watched = pthread_create(&thread, NULL, hurry_on_signal, s) == 0;
    moongate_stop(s->gw, -1);
    if (watched) {
        pthread_cancel(thread); /* sigwait is a cancellation point */
        pthread_join(thread, NULL);
    }
}

/* Prompts of some hundred KB come and go: their storage stays with the process, up to a limit. That
 * is the program's to say; a program that embeds the gateway has its own ways. */
static void keep_memory(void) {
    mallopt(M_TRIM_THRESHOLD, MEMORY_KEPT);
    mallopt(M_MMAP_THRESHOLD, MEMORY_KEPT / 4);
}

int cli_serve(int argc, char **argv) {
    struct cli_config c;
    struct moongate_error error;
    struct serving s = {.started = false};
    int bad = cli_read_config_options(&c, argc, argv);
    if (bad || c.help) {
        fputs(bad ? "" : HELP, stdout);
        return bad;
    }
    keep_memory();
    sigemptyset(&s.signals);
    sigaddset(&s.signals, SIGHUP);
    sigaddset(&s.signals, SIGINT);
    sigaddset(&s.signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &s.signals, NULL);
    struct moongate_options options = {.config_file = c.file,
                                       .library = c.library,
                                       .diagnostic = print_at_start,
                                       .diagnostic_ctx = &s};
    s.gw = moongate_new(&options, &error);
    if (!s.gw || moongate_start(s.gw, &error) != 0) {
        cli_print_failure("not started: ", s.errors, &error);
        moongate_free(s.gw);
        return CLI_FAILED;
    }
    s.started = true;
    reload_until_stopped(&s);
    stop(&s);
    moongate_free(s.gw);
    return CLI_OK;
}
