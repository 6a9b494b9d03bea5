/* SPDX-License-Identifier: MIT */
/*
 * The public API: assembles the parts, knows every one of them, does nothing else.
 */
#include "moongate.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "admin/admin.h"
#include "bind/bind.h"
#include "gateway/control.h"
#include "gateway/handover.h"
#include "gateway/listeners.h"
#include "gateway/logfile.h"
#include "gateway/reload.h"
#include "gateway/takeover.h"
#include "gateway/worker.h"
#include "policy/policy.h"
#include "sim/sim_gate.h"

#ifndef MOONGATE_DATADIR
#define MOONGATE_DATADIR "/usr/local/share/moongate"
#endif

#define MAX_FUNCTIONS 64
#define WAIT_SLICE (USEC_PER_SEC / 20)
#define KILL_GRACE (2 * USEC_PER_SEC) /* for what was cut to reach its clients */

struct moongate {
    struct gateway gateway;
    struct loader loader;
    struct control control;
    struct admin *admin;
    struct listeners listeners;
    struct handover handover; /* to the process that comes after this one */
    struct takeover takeover; /* from the one before; during the start only */
    struct bind_host host;
    struct host_function functions[MAX_FUNCTIONS];
    struct moongate_options options; /* its strings are the loader's copies */
    struct logfile *error_log, *access_log;
    char addresses[MAX_LISTENERS][128];
    size_t n_addresses;
    char admin_address[128];
    char version[256];
    struct event_base *attached; /* borrowed; NULL when on threads of its own */
    pthread_t attached_thread;   /* which dispatches it */
    atomic_bool running;
    atomic_bool hurried; /* a stop does not wait for requests in flight any more */
};

static int fail(struct moongate_error *out, const char *text) {
    if (out) {
        snprintf(out->text, sizeof(out->text), "%s", text);
    }
    return -1;
}

/* ---- log ---- */

static void on_log(void *ctx, enum log_level level, const char *line) {
    struct moongate *gw = ctx;
    if (gw->options.log) {
        gw->options.log(gw->options.log_ctx, (enum moongate_level)level, line);
    } else if (gw->error_log) {
        char text[KIB(4)], now[32];
        clock_format(clock_wall(), now, sizeof(now));
        int n = snprintf(text, sizeof(text), "%s %-5s %s", now, log_level_name(level), line);
        logfile_line(gw->error_log, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
    }
}

static void on_access(void *ctx, const char *line, size_t n) {
    struct moongate *gw = ctx;
    if (gw->options.access) {
        gw->options.access(gw->options.log_ctx, MOONGATE_INFO, line);
    } else {
        logfile_line(gw->access_log, line, n);
    }
}

static unsigned long log_dropped(void *ctx) {
    struct moongate *gw = ctx;
    return logfile_dropped(gw->error_log) + logfile_dropped(gw->access_log);
}

static void access_trouble(void *ctx, const char *words) {
    struct moongate *gw = ctx;
    log_error(&gw->gateway.log, "the access log %s", words);
}

static void error_trouble(void *ctx, const char *words) {
    struct moongate *gw = ctx;
    log_error(&gw->gateway.log, "the error log %s", words);
}

static int open_logs(struct moongate *gw, const struct config *c, struct err *err) {
    if (!gw->options.log && strcmp(c->log.error, "off") != 0) {
        gw->error_log = logfile_open(c->log.error, err);
        if (!gw->error_log) {
            return -1;
        }
        logfile_tell(gw->error_log, error_trouble, gw);
    }
    bool off = strcmp(c->log.access, "off") == 0;
    if (!gw->options.access && !off) {
        gw->access_log = logfile_open(c->log.access, err);
        if (!gw->access_log) {
            return -1;
        }
        logfile_tell(gw->access_log, access_trouble, gw);
    }
    gw->gateway.access = gw->options.access || gw->access_log ? on_access : NULL;
    gw->gateway.access_ctx = gw;
    return 0;
}

/* ---- making ---- */

static void on_published(void *ctx, struct config *config) {
    struct moongate *gw = ctx;
    control_configure(&gw->control, config);
}

/* The calling thread runs the attached worker's loop: nobody else can let that worker go on. */
static bool settle(void *ctx) {
    struct moongate *gw = ctx;
    if (!gw->attached || !gw->running || !pthread_equal(gw->attached_thread, pthread_self())) {
        return false;
    }
    struct worker *w = gw->gateway.workers[0];
    if (mailbox_withdraw(&w->mailbox, &w->swap_mail)) {
        w->swap_mail.deliver(&w->swap_mail);
    }
    return true;
}

/* `curl`: its version, where it has to be known for that. */
static void write_version(char *out, size_t size, const char *curl) {
    snprintf(out, size, "moongate %s (%s, %s, libevent/%s)", MOONGATE_VERSION, policy_lua_version(),
             curl, event_get_version());
}

struct moongate *moongate_new(const struct moongate_options *options,
                              struct moongate_error *error) {
    static const char *const installed[] = {MOONGATE_DATADIR, NULL};
    const char *const *library = options->library ? options->library : installed;
    struct moongate *gw = calloc(1, sizeof(*gw));
    if (!gw) {
        fail(error, "out of memory");
        return NULL;
    }
    struct gateway *g = &gw->gateway;
    log_init(&g->log, on_log, gw, LOG_LEVEL_INFO);
    gw->options = *options;
    gw->host = (struct bind_host){.gateway = g, .functions = gw->functions};
    g->bindings = &bind_bindings;
    g->env = (struct policy_env){.modules = bind_modules, .host = &gw->host, .log = &g->log};
    write_version(gw->version, sizeof(gw->version), "libcurl when needed");
    pool_init(&g->memory, 0);
    int bad = state_init(&g->state) | loader_init(&gw->loader, g, options->config_file, library);
    gw->loader.published = on_published;
    gw->loader.published_ctx = gw;
    gw->loader.run_tests = sim_gate;
    gw->loader.settle = settle;
    gw->loader.settle_ctx = gw;
    if (bad) {
        moongate_free(gw);
        fail(error, "out of memory");
        return NULL;
    }
    gw->options.config_file = gw->loader.config_file;
    gw->options.library = NULL;
    return gw;
}

static bool is_name(const char *name) {
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return n > 0 && !name[n] && !(name[0] >= '0' && name[0] <= '9');
}

int moongate_add_function(struct moongate *gw, const char *name, moongate_function fn, void *ctx,
                          struct moongate_error *error) {
    if (gw->running || gw->host.n_functions == MAX_FUNCTIONS) {
        return fail(error, gw->running ? "functions are added before the start"
                                       : "too many functions: at most 64");
    }
    if (!is_name(name) || strlen(name) >= sizeof(gw->functions[0].name)) {
        return fail(error, "a function's name is of letters, digits and _, at most 63 of them");
    }
    struct host_function *f = &gw->functions[gw->host.n_functions++];
    snprintf(f->name, sizeof(f->name), "%s", name);
    f->fn = fn;
    f->ctx = ctx;
    return 0;
}

/* ---- loading ---- */

/* The first mistake in words, and how many there are. */
static int summary(const struct diags *diags, struct moongate_error *error) {
    char text[ERR_TEXT_MAX];
    const struct diag *first = diags->list;
    while (first->warning) {
        first++;
    }
    int n = snprintf(text, sizeof(text), "%zu mistake%s in the configuration%s: %s", diags->errors,
                     diags->errors == 1 ? "" : "s", diags->errors == 1 ? "" : "; the first",
                     first->file);
    if (first->line && n < (int)sizeof(text)) {
        n += snprintf(text + n, sizeof(text) - (size_t)n, ":%d", first->line);
    }
    if (n < (int)sizeof(text)) {
        snprintf(text + n, sizeof(text) - (size_t)n, ": %s", first->message);
    }
    return fail(error, text);
}

static int tell(struct moongate *gw, struct diags *diags, struct moongate_error *error) {
    for (size_t i = 0; gw->options.diagnostic && i < diags->n; i++) {
        const struct diag *d = &diags->list[i];
        gw->options.diagnostic(gw->options.diagnostic_ctx, d->file, d->line, d->warning,
                               d->message);
    }
    bool told = diags->errors > 0 && diags->n > 0;
    int result = told ? summary(diags, error) : 0;
    if (diags->errors && !told) {
        result = fail(error, "out of memory while the configuration was read");
    }
    diags_release(diags);
    return result;
}

int moongate_check(struct moongate *gw, struct moongate_error *error) {
    struct diags diags;
    diags_init(&diags);
    (void)loader_check(&gw->loader, &diags); /* what it found is told */
    return tell(gw, &diags, error);
}

int moongate_reload_as(struct moongate *gw, const char *who, const char *why,
                       struct moongate_error *error) {
    struct load_cause cause = {who, why};
    struct diags diags;
    if (!gw->running) {
        return fail(error, "the gateway does not run");
    }
    diags_init(&diags);
    enum load_result result = loader_reload(&gw->loader, &cause, &diags);
    int told = tell(gw, &diags, error);
    return result < 0 ? told : (int)result;
}

int moongate_reload(struct moongate *gw, struct moongate_error *error) {
    return moongate_reload_as(gw, NULL, NULL, error);
}

/* On the control thread. */
static void on_files_changed(void *ctx) {
    struct moongate *gw = ctx;
    struct load_cause cause = {"file watch", NULL};
    struct diags diags;
    diags_init(&diags);
    if (!atomic_load(&gw->gateway.draining)) {
        (void)loader_reload(&gw->loader, &cause, &diags); /* what is wrong with it was logged */
    }
    if (atomic_load(&gw->gateway.draining)) {
        diags_release(&diags); /* at most that a gateway that stops loads nothing */
        return;
    }
    (void)tell(gw, &diags, NULL);
}

/* ---- start ---- */

static int bind_address(struct moongate *gw, const char *address, size_t i, struct err *err) {
    struct gateway *g = &gw->gateway;
    struct bind_plan plan = {.address = address,
                             .index = i,
                             .workers = g->workers,
                             .n_workers = g->n_workers,
                             .bound = gw->addresses[gw->n_addresses]};
    if (listeners_bind(&gw->listeners, &plan, err) != 0) {
        return -1;
    }
    gw->n_addresses++;
    return 0;
}

/* The sockets that the program was given. */
static int take_sockets(struct moongate *gw, struct err *err) {
    for (size_t i = 0; i < gw->options.n_sockets; i++) {
        const struct moongate_socket *s = &gw->options.sockets[i];
        if (listen_adopt(s->fd, err) != 0) {
            return -1; /* says the number that the program knows it by */
        }
        const char *name = s->name ? s->name : "";
        struct given_socket given = {.fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 0),
                                     .role = strcmp(name, "admin") == 0    ? SOCKET_ADMIN
                                             : strcmp(name, "listen") == 0 ? SOCKET_TRAFFIC
                                                                           : SOCKET_ANY,
                                     .kept = true,
                                     .number = -1};
        if (given.fd < 0) {
            return err_set(err, "descriptor %d was passed, but: %s", s->fd, strerror(errno));
        }
        if (listeners_give(&gw->listeners, &given, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int make_workers(struct moongate *gw, size_t n, struct err *err) {
    struct gateway *g = &gw->gateway;
    g->workers = calloc(n, sizeof(*g->workers));
    if (!g->workers) {
        return err_set(err, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        g->workers[i] = calloc(1, sizeof(struct worker));
        if (!g->workers[i]) {
            return err_set(err, "out of memory");
        }
        g->n_workers = i + 1;
        if (worker_init(g->workers[i], g, i, gw->attached, NULL, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int make_admin(struct moongate *gw, const struct config *c, struct err *err) {
    if (!c->admin_listen) {
        return 0;
    }
    bool kept;
    int fd = listeners_admin(&gw->listeners, c->admin_listen, &kept, err);
    if (fd < 0) {
        return -1;
    }
    listen_name(fd, gw->admin_address, sizeof(gw->admin_address));
    struct admin_env env = {.gateway = &gw->gateway,
                            .loader = &gw->loader,
                            .control = &gw->control,
                            .probes = gw->control.probes,
                            .version = gw->version,
                            .log_dropped = log_dropped,
                            .log_ctx = gw};
    gw->admin = admin_new(gw->control.base, fd, &env);
    if (!gw->admin) {
        return err_set(err, "out of memory");
    }
    if (kept) {
        listener_keep(admin_listener(gw->admin));
    }
    listeners_note_admin(&gw->listeners, admin_listener(gw->admin));
    return 0;
}

static int make_watch(struct moongate *gw, struct err *err) {
    struct watch_options options = {.library = (const char *const *)gw->loader.library,
                                    .changed = on_files_changed,
                                    .ctx = gw,
                                    .log = &gw->gateway.log};
    return control_watch(&gw->control, &options) == 0 ? 0 : err_set(err, "out of memory");
}

static int assemble(struct moongate *gw, struct generation *first, struct err *err) {
    const struct config *c = generation_config(first);
    struct gateway *g = &gw->gateway;
    if (open_logs(gw, c, err) != 0 || control_init(&gw->control, g, c, err) != 0 ||
        make_watch(gw, err) != 0 || make_admin(gw, c, err) != 0) {
        return -1;
    }
    for (size_t i = 0; c->listen[i]; i++) {
        if (bind_address(gw, c->listen[i], i, err) != 0) {
            return -1;
        }
    }
    room_announce(&g->room, c, &g->log);
    return listeners_check_all_used(&gw->listeners, err);
}

static int start_threads(struct moongate *gw, struct err *err) {
    struct gateway *g = &gw->gateway;
    if (control_start(&gw->control, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < g->n_workers && !gw->attached; i++) {
        if (worker_start(g->workers[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Ends and frees all that start made, wherever it stopped. */
static void take_down(struct moongate *gw) {
    struct gateway *g = &gw->gateway;
    takeover_end(&gw->takeover);
    control_stop(&gw->control);
    handover_release(&gw->handover);
    admin_free(gw->admin);
    gw->admin = NULL;
    for (size_t i = 0; i < g->n_workers; i++) {
        worker_release(g->workers[i]);
        free(g->workers[i]);
    }
    free(g->workers);
    g->workers = NULL;
    g->n_workers = 0;
    listeners_release(&gw->listeners);
    loader_finish(&gw->loader);
    control_release(&gw->control);
    logfile_close(gw->access_log);
    logfile_close(gw->error_log);
    gw->access_log = gw->error_log = NULL;
    gw->running = false;
}

static void announce(struct moongate *gw) {
    const struct log *log = &gw->gateway.log;
    for (size_t i = 0; i < gw->n_addresses; i++) {
        log_info(log, "listening on %s", gw->addresses[i]);
    }
    if (gw->admin) {
        log_info(log, "admin on %s", gw->admin_address);
    }
    log_info(log, "ready: generation %u, %zu worker%s", moongate_generation(gw),
             gw->gateway.n_workers, gw->gateway.n_workers == 1 ? "" : "s");
}

/* ---- one process after another ---- */

/* On the control thread. */
static void on_replaced(void *ctx) {
    struct moongate *gw = ctx;
    if (gw->admin) {
        admin_leave(gw->admin, CONN_DRAIN_GRACE);
    }
    gw->options.replaced(gw->options.replaced_ctx);
}

/* What is wrong with it is logged: it is no reason not to serve. */
static void allow_replacement(struct moongate *gw) {
    struct err err;
    struct handover_env env = {.control = &gw->control,
                               .loader = &gw->loader,
                               .listeners = &gw->listeners,
                               .replaced = on_replaced,
                               .ctx = gw};
    const char *dir = gw->control.state_dir;
    if (gw->options.replaced && dir && handover_open(&gw->handover, dir, &env, &err) != 0) {
        log_warn(&gw->gateway.log, "nobody can take over from this process: %s", err.text);
    }
}

/* Asks the gateway that runs on the state_dir for its place. Its settings stay as they are from
 * then on, so what was staged before is staged again. NULL with error. */
static struct generation *begin_takeover(struct moongate *gw, struct generation *first,
                                         size_t lanes, struct moongate_error *error) {
    const struct config *c = generation_config(first);
    struct diags diags;
    struct err err;
    int found = c->state_dir
                    ? takeover_begin(&gw->takeover, c->state_dir, &gw->listeners, &err)
                    : err_set(&err, "taking over needs a state_dir in the configuration: it is how "
                                    "the two find each other");
    if (found == 0) {
        return first;
    }
    loader_discard(first, lanes ? lanes : (size_t)c->workers);
    if (found < 0) {
        fail(error, err.text);
        return NULL;
    }
    diags_init(&diags);
    first = loader_stage(&gw->loader, lanes, &diags);
    return tell(gw, &diags, error) == 0 ? first : NULL;
}

/* Serving already. -1: the other serves on, so this one must not. */
static int end_takeover(struct moongate *gw, struct moongate_error *error) {
    struct err err;
    if (gw->takeover.fd < 0) {
        return 0;
    }
    int result = takeover_done(&gw->takeover, &gw->listeners, &err);
    if (result < 0) {
        return fail(error, err.text);
    }
    if (result > 0) {
        log_warn(&gw->gateway.log, "%s", err.text);
    }
    log_info(&gw->gateway.log, "took over from process %ld", gw->takeover.pid);
    return 0;
}

/* ---- the whole start ---- */

/* The first generation, checked; NULL with error. */
static struct generation *stage_first(struct moongate *gw, struct moongate_error *error) {
    size_t lanes = gw->attached ? 1 : 0;
    struct diags diags;
    diags_init(&diags);
    struct generation *first = loader_stage(&gw->loader, lanes, &diags);
    if (tell(gw, &diags, error) != 0) {
        return NULL;
    }
    return gw->options.take_over ? begin_takeover(gw, first, lanes, error) : first;
}

static void prepare(struct moongate *gw, struct event_base *base) {
    gw->attached = base;
    gw->attached_thread = pthread_self();
    gw->hurried = false;
    gw->n_addresses = 0;
    gw->takeover = (struct takeover){.fd = -1};
    handover_init(&gw->handover);
    listeners_init(&gw->listeners);
    gw->gateway.started = clock_now();
    atomic_store(&gw->gateway.draining, false);
}

/* Everything but the threads. */
static int build(struct moongate *gw, struct generation *first, size_t n, struct err *err) {
    gw->gateway.room = room_by_descriptors(n);
    if (take_sockets(gw, err) != 0 || make_workers(gw, n, err) != 0 ||
        takeover_claim(&gw->takeover, err) != 0) {
        return -1;
    }
    return assemble(gw, first, err);
}

static int start(struct moongate *gw, struct event_base *base, struct moongate_error *error) {
    struct gateway *g = &gw->gateway;
    struct err err;
    if (gw->running) {
        return fail(error, "the gateway runs already");
    }
    prepare(gw, base);
    struct generation *first = stage_first(gw, error);
    if (!first) {
        take_down(gw);
        return -1;
    }
    size_t n = gw->attached ? 1 : (size_t)generation_config(first)->workers;
    if (build(gw, first, n, &err) != 0) {
        loader_discard(first, n);
        take_down(gw);
        return fail(error, err.text);
    }
    loader_publish_first(&gw->loader, first);
    for (size_t i = 0; i < n; i++) {
        worker_generation(g->workers[i]);
    }
    gw->running = true;
    if (start_threads(gw, &err) != 0) {
        moongate_stop(gw, 0);
        return fail(error, err.text);
    }
    if (end_takeover(gw, error) != 0) {
        moongate_stop(gw, -1);
        return -1;
    }
    allow_replacement(gw);
    announce(gw);
    return 0;
}

int moongate_start(struct moongate *gw, struct moongate_error *error) {
    return start(gw, NULL, error);
}

int moongate_attach(struct moongate *gw, struct event_base *base, struct moongate_error *error) {
    return start(gw, base, error);
}

/* ---- stop ---- */

static bool join_until(struct worker *w, usec deadline) {
    usec left = deadline - clock_now();
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    left = left > 0 ? left : 0;
    until.tv_sec += left / USEC_PER_SEC;
    until.tv_nsec += (left % USEC_PER_SEC) * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    if (w->thread_started && pthread_clockjoin_np(w->thread, NULL, CLOCK_MONOTONIC, &until) == 0) {
        w->thread_started = false;
    }
    return !w->thread_started;
}

static void nothing(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    (void)arg;
}

/* The embedder's loop, which nobody dispatches while we are asked to stop. */
static bool run_until(struct worker *w, usec deadline) {
    int stuck = 0; /* called from inside a callback of that loop: it cannot be run again */
    struct event nap;
    event_assign(&nap, w->base, -1, 0, nothing, NULL);
    while (!worker_done(w) && !stuck && clock_now() < deadline) {
        struct timeval soon = {0, 20000};
        event_add(&nap, &soon);
        stuck = event_base_loop(w->base, EVLOOP_ONCE) < 0;
    }
    event_del(&nap);
    return worker_done(w) || stuck;
}

static bool wait_slice(struct moongate *gw, usec deadline) {
    struct gateway *g = &gw->gateway;
    bool all = true;
    for (size_t i = 0; i < g->n_workers; i++) {
        all &=
            gw->attached ? run_until(g->workers[i], deadline) : join_until(g->workers[i], deadline);
    }
    return all;
}

/* In slices, so that moongate_hurry is heard. */
static bool wait_all(struct moongate *gw, usec deadline, bool patient) {
    bool all = false;
    while (!all && clock_now() < deadline && !(patient && gw->hurried)) {
        usec slice = clock_now() + WAIT_SLICE;
        all = wait_slice(gw, slice < deadline ? slice : deadline);
    }
    return all;
}

static void post_all(struct moongate *gw, size_t mail_offset) {
    for (size_t i = 0; i < gw->gateway.n_workers; i++) {
        struct worker *w = gw->gateway.workers[i];
        mailbox_post(&w->mailbox, (struct mail *)((char *)w + mail_offset));
    }
    if (gw->attached) {
        event_base_loop(gw->attached, EVLOOP_NONBLOCK);
    }
}

/* Within the drain time, so that who sends in the last moment can still be answered. Where another
 * process serves already nobody waits for the end of this one. */
static void set_grace(struct gateway *g, usec drain, bool replaced) {
    usec grace = drain / 2 < CONN_DRAIN_GRACE || replaced ? drain / 2 : CONN_DRAIN_GRACE;
    for (size_t i = 0; i < g->n_workers; i++) {
        g->workers[i]->drain_grace = grace;
    }
}

void moongate_stop(struct moongate *gw, double drain_seconds) {
    struct gateway *g = &gw->gateway;
    if (!gw->running) {
        return;
    }
    atomic_store(&g->draining, true); /* readiness says so before anything is waited for */
    bool replaced = handover_forbid(&gw->handover);
    loader_close(&gw->loader);
    struct generation *now = loader_current(&gw->loader);
    usec drain =
        drain_seconds < 0 ? generation_config(now)->drain_time : usec_from_seconds(drain_seconds);
    generation_unref(now);
    log_info(&g->log, "stopping: requests in flight may finish within %.1f s",
             usec_to_seconds(drain));
    set_grace(g, drain, replaced);
    post_all(gw, offsetof(struct worker, stop_mail));
    if (!wait_all(gw, clock_now() + drain, true)) {
        log_warn(&g->log, "drain time is over: requests still in flight are cut");
        post_all(gw, offsetof(struct worker, kill_mail));
        if (!wait_all(gw, clock_now() + KILL_GRACE, false)) {
            post_all(gw, offsetof(struct worker, kill_mail));
            wait_all(gw, USEC_NEVER / 4, false);
        }
    }
    log_info(&g->log, "stopped");
    take_down(gw);
}

void moongate_hurry(struct moongate *gw) {
    gw->hurried = true;
}

void moongate_free(struct moongate *gw) {
    if (!gw) {
        return;
    }
    moongate_stop(gw, -1);
    state_release(&gw->gateway.state);
    loader_release(&gw->loader);
    free(gw);
}

/* ---- facts ---- */

unsigned moongate_generation(const struct moongate *gw) {
    if (!gw->running) {
        return 0;
    }
    struct generation *now = loader_current((struct loader *)(size_t)&gw->loader);
    unsigned id = now ? generation_id(now) : 0;
    generation_unref(now); /* NULL is a no-op */
    return id;
}

const char *moongate_address(const struct moongate *gw, size_t i) {
    return i < gw->n_addresses ? gw->addresses[i] : NULL;
}

const char *moongate_admin_address(const struct moongate *gw) {
    return gw->admin ? gw->admin_address : NULL;
}

void moongate_version(char *out, size_t size) {
    write_version(out, size, curl_transport_version());
}
