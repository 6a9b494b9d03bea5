/* SPDX-License-Identifier: MIT */
/*
 * moongate serve: runs until SIGTERM or SIGINT, or until another process has taken over; SIGHUP
 * reloads.
 */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/limits.h"
#include "cli/cli.h"
#include "cli/service.h"

static const char HELP[] =
    "Usage: moongate serve [-c FILE] [--take-over]\n\n"
    "Runs the gateway that FILE describes.\n\n"
    "  -c, --config FILE  the configuration (default: gateway.lua)\n"
    "      --take-over    in the place of the gateway that runs on the same state_dir, if there is "
    "one:\n"
    "                     on its sockets, with its suspensions and settings; it finishes its "
    "requests and ends\n"
    "  -h, --help         this text\n\n"
    "Signals: SIGHUP loads the configuration and its policies again (a broken one changes "
    "nothing);\n"
    "SIGTERM and SIGINT stop after the requests in flight, at most limits.drain_time; a second one "
    "stops now.\n"
    "Sockets that a service manager passes (LISTEN_FDS) are used; it is told READY, RELOADING and "
    "STOPPING (NOTIFY_SOCKET).\n"
    "Exit status: 0 stopped by a signal, 1 the configuration or the start failed, 2 wrong usage.\n"
    "\nExample:\n\n"
    "  $ moongate serve -c gateway.lua >access.log\n";

struct serving {
    struct moongate *gw;
    sigset_t signals;
    int errors;          /* found at the start */
    atomic_bool started; /* from here on mistakes of a reload, maybe of the file watch's thread, are
                            told by the log alone */
    atomic_bool replaced; /* another process serves: this one is to end */
};

static void print_at_start(void *ctx, const char *file, int line, bool warning,
                           const char *message) {
    struct serving *s = ctx;
    if (!s->started) {
        cli_print_diagnostic(&s->errors, file, line, warning, message);
    }
}

/* On a thread of the gateway's. SIGUSR1 means this and nothing else. */
static void on_replaced(void *ctx) {
    struct serving *s = ctx;
    s->replaced = true;
    kill(getpid(), SIGUSR1);
}

static void reload(const struct serving *s) {
    service_reloading();
    moongate_reload_as(s->gw, "SIGHUP", NULL, NULL); /* what is wrong with it was logged */
    service_ready();
}

/* Until a signal that ends, or somebody else serves. */
static void reload_until_stopped(const struct serving *s) {
    int got = 0;
    while (got != SIGTERM && got != SIGINT && !s->replaced) {
        if (sigwait(&s->signals, &got) != 0) {
            return;
        }
        if (got == SIGHUP) {
            reload(s);
        }
    }
}

/* While the gateway drains: a second signal ends the patience. Who was replaced drains without a
 * first one; the SIGTERM that a careful script sends it then must not cut its streams. */
static void *hurry_on_signal(void *arg) {
    const struct serving *s = arg;
    int left = s->replaced ? 2 : 1;
    while (left > 0) {
        int got = 0;
        if (sigwait(&s->signals, &got) != 0) {
            return NULL;
        }
        left -= got == SIGTERM || got == SIGINT;
    }
    moongate_hurry(s->gw);
    return NULL;
}

static void stop(struct serving *s) {
    pthread_t thread;
    if (!s->replaced) { /* else the other process speaks for the service */
        service_notify("STOPPING=1");
    }
    bool watched = pthread_create(&thread, NULL, hurry_on_signal, s) == 0;
    moongate_stop(s->gw, -1);
    if (watched) {
        pthread_cancel(thread); /* sigwait is a cancellation point */
        pthread_join(thread, NULL);
    }
}

/* What the administrator allows at most; the gateway says so when it is less than it wants. */
static void raise_descriptors(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
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
    struct service_sockets sockets;
    int bad = cli_read_config_options(&c, argc, argv);
    if (bad || c.help) {
        fputs(bad ? "" : HELP, stdout);
        return bad;
    }
    raise_descriptors();
    keep_memory();
    if (service_take_sockets(&sockets) != 0) {
        return CLI_FAILED;
    }
    sigemptyset(&s.signals);
    sigaddset(&s.signals, SIGHUP);
    sigaddset(&s.signals, SIGINT);
    sigaddset(&s.signals, SIGTERM);
    sigaddset(&s.signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &s.signals, NULL);
    struct moongate_options options = {.config_file = c.file,
                                       .library = c.library,
                                       .diagnostic = print_at_start,
                                       .diagnostic_ctx = &s,
                                       .sockets = sockets.list,
                                       .n_sockets = sockets.n,
                                       .take_over = c.take_over,
                                       .replaced = on_replaced,
                                       .replaced_ctx = &s};
    s.gw = moongate_new(&options, &error);
    if (!s.gw || moongate_start(s.gw, &error) != 0) {
        cli_print_failure("not started: ", s.errors, &error);
        moongate_free(s.gw);
        return CLI_FAILED;
    }
    s.started = true;
    service_ready();
    reload_until_stopped(&s);
    stop(&s);
    moongate_free(s.gw);
    return CLI_OK;
}
