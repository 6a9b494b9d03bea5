/* SPDX-License-Identifier: MIT */
/* The start: from a checked configuration to threads that serve it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin.h"
#include "gateway/worker.h"
#include "moongate_internal.h"

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

/* `shared`: another process may have the address, too. */
static int make_admin(struct moongate *gw, const struct config *c, bool shared, struct err *err) {
    if (!c->admin_listen) {
        return 0;
    }
    bool kept;
    int fd = listeners_admin(&gw->listeners, c->admin_listen, shared, &kept, err);
    if (fd < 0) {
        return -1;
    }
    listen_name(fd, gw->admin_address, sizeof(gw->admin_address));
    struct admin_env env = {.gateway = &gw->gateway,
                            .loader = &gw->loader,
                            .control = &gw->control,
                            .probes = gw->control.probes,
                            .version = gw->version,
                            .log_dropped = gw_log_dropped,
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
                                    .changed = gw_on_files_changed,
                                    .ctx = gw,
                                    .log = &gw->gateway.log};
    return control_watch(&gw->control, &options) == 0 ? 0 : err_set(err, "out of memory");
}

static int assemble(struct moongate *gw, struct generation *first, struct err *err) {
    const struct config *c = generation_config(first);
    struct gateway *g = &gw->gateway;
    if (gw_open_logs(gw, c, err) != 0 || control_init(&gw->control, g, c, err) != 0 ||
        control_open_state(&gw->control, !gw->options.take_over, err) != 0 ||
        make_watch(gw, err) != 0) {
        return -1;
    }
    bool shared = listeners_check_free(&gw->listeners, (const char *const *)c->listen, err) != 0;
    if (shared) {
        log_warn(&g->log,
                 "another process listens at an address of ours already: the two share its "
                 "connections until one of them stops");
    }
    if (make_admin(gw, c, shared, err) != 0) {
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

/* The first generation, checked; NULL with error. */
static struct generation *stage_first(struct moongate *gw, struct moongate_error *error) {
    size_t lanes = gw->attached ? 1 : 0;
    struct diags diags;
    diags_init(&diags);
    struct generation *first = loader_stage(&gw->loader, lanes, &diags);
    if (gw_tell(gw, &diags, error) != 0) {
        return NULL;
    }
    return gw->options.take_over ? gw_begin_takeover(gw, first, lanes, error) : first;
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
    atomic_store(&gw->gateway.beside, false);
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
        return gw_fail(error, "the gateway runs already");
    }
    prepare(gw, base);
    struct generation *first = stage_first(gw, error);
    if (!first) {
        gw_take_down(gw);
        return -1;
    }
    size_t n = gw->attached ? 1 : (size_t)generation_config(first)->workers;
    if (build(gw, first, n, &err) != 0) {
        loader_discard(first, n);
        gw_take_down(gw);
        return gw_fail(error, err.text);
    }
    loader_publish_first(&gw->loader, first);
    for (size_t i = 0; i < n; i++) {
        worker_generation(g->workers[i]);
    }
    gw->running = true;
    bool beside = atomic_load(&g->beside);
    gw->control.owned = gw_on_state_owned;
    gw->control.owned_ctx = gw;
    if (start_threads(gw, &err) != 0) {
        listeners_give_back(&gw->listeners);
        moongate_stop(gw, 0);
        return gw_fail(error, err.text);
    }
    if (gw_end_takeover(gw, error) != 0) {
        listeners_give_back(&gw->listeners);
        moongate_stop(gw, -1);
        return -1;
    }
    if (!beside) {
        gw_allow_replacement(gw);
    }
    announce(gw);
    return 0;
}

int moongate_start(struct moongate *gw, struct moongate_error *error) {
    return start(gw, NULL, error);
}

int moongate_attach(struct moongate *gw, struct event_base *base, struct moongate_error *error) {
    return start(gw, base, error);
}
