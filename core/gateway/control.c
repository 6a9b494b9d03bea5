/* SPDX-License-Identifier: MIT */
#include "gateway/control.h"

#include <event2/event.h>
#include <stdlib.h>

#include "base/thread.h"
#include "state/lock.h"

#define SAVE_SECONDS 1 /* how soon after a change suspensions are on disk */
#define PROBE_CONNECTIONS 64

int control_save(struct control *c) {
    unsigned long serial = targets_serial(c->gateway->state.targets);
    struct err err;
    if (!c->state_dir || serial == c->saved_serial) {
        return c->state_dir ? 0 : -1;
    }
    if (c->yielded || atomic_load(&c->gateway->beside)) {
        return -1;
    }
    if (c->state_lock < 0) {
        c->state_lock = state_lock(c->state_dir, &err);
    }
    if (c->state_lock >= 0 && state_save(&c->gateway->state, c->state_dir, &err) == 0) {
        c->saved_serial = serial;
        if (c->save_failed) {
            c->save_failed = false;
            log_info(&c->gateway->log, "suspensions are saved again");
        }
        return 0;
    }
    atomic_fetch_add(&c->save_failures, 1);
    if (!c->save_failed) {
        c->save_failed = true; /* tried again each second, told once */
        log_error(&c->gateway->log, "suspensions cannot be saved: %s", err.text);
    }
    return -1;
}

void control_yield(struct control *c) {
    control_save(c);
    c->yielded = true;
    probes_pause(c->probes);
    state_unlock(c->state_lock);
    c->state_lock = STATE_LOCK_FAILED;
}

void control_reclaim(struct control *c) {
    c->yielded = false;
    c->saved_serial = 0; /* the other may have written */
    control_save(c);
    probes_resume(c->probes);
}

static void load_state(struct control *c) {
    struct err err;
    if (state_load(&c->gateway->state, c->state_dir, &err) != 0) {
        log_warn(&c->gateway->log, "suspensions of the last run are lost: %s", err.text);
    }
}

/* Has the gateway beside us ended? What it suspended last is added to what we know. */
static void look_for_state(struct control *c) {
    struct err err;
    int lock = state_lock(c->state_dir, &err);
    if (lock < 0) {
        return;
    }
    c->state_lock = lock;
    load_state(c);
    c->saved_serial = 0; /* what is known now is in no file */
    atomic_store(&c->gateway->beside, false);
    log_info(&c->gateway->log, "state_dir is ours: the other gateway has ended");
    if (c->owned) {
        c->owned(c->owned_ctx);
    }
}

static void on_save_timer(evutil_socket_t fd, short what, void *arg) {
    struct control *c = arg;
    (void)fd;
    (void)what;
    if (atomic_load(&c->gateway->beside)) {
        look_for_state(c);
    }
    control_save(c);
}

static void on_configure(struct mail *mail) {
    struct control *c = (struct control *)((char *)mail - offsetof(struct control, configure_mail));
    pthread_mutex_lock(&c->lock);
    struct config *config = c->next_config;
    c->next_config = NULL;
    pthread_mutex_unlock(&c->lock);
    if (config && probes_configure(c->probes, config) != 0) {
        log_error(&c->gateway->log, "out of memory: health probes go on as they were");
    }
    if (config && c->watch) {
        watch_configure(c->watch, config);
    }
    config_unref(config);
}

static void on_quit(struct mail *mail) {
    struct control *c = (struct control *)((char *)mail - offsetof(struct control, quit_mail));
    event_base_loopbreak(c->base);
}

int control_init(struct control *c, struct gateway *g, const struct config *config,
                 struct err *err) {
    memset(c, 0, sizeof(*c));
    c->gateway = g;
    c->mailbox.fd = -1;
    c->state_lock = STATE_LOCK_FAILED;
    c->configure_mail.deliver = on_configure;
    c->quit_mail.deliver = on_quit;
    pthread_mutex_init(&c->lock, NULL);
    c->base = event_base_new();
    if (!c->base || mailbox_open(&c->mailbox, c->base) != 0) {
        return err_set(err, "control thread: no event loop could be made");
    }
    c->save_timer = event_new(c->base, -1, EV_PERSIST, on_save_timer, c);
    c->transport = transport_new(c->base, PROBE_CONNECTIONS, err);
    if (!c->transport) {
        return -1;
    }
    c->probes = probes_new(c->base, c->transport, g->state.targets, &g->log);
    c->state_dir = config->state_dir ? strdup(config->state_dir) : NULL;
    if (!c->save_timer || !c->probes || (config->state_dir && !c->state_dir)) {
        return err_set(err, "control thread: out of memory");
    }
    return 0;
}

int control_open_state(struct control *c, bool beside, struct err *err) {
    if (!c->state_dir) {
        return 0;
    }
    c->state_lock = state_lock(c->state_dir, err);
    if (c->state_lock == STATE_LOCK_HELD && !beside) {
        struct err held = *err;
        return err_set(err, "%s, which does not hand over: stop it first", held.text);
    }
    if (c->state_lock == STATE_LOCK_HELD) {
        atomic_store(&c->gateway->beside, true);
        log_warn(&c->gateway->log,
                 "%s: until it ends we write nothing there, and settings cannot be "
                 "changed here",
                 err->text);
    }
    load_state(c);
    c->saved_serial = targets_serial(c->gateway->state.targets);
    return 0;
}

int control_watch(struct control *c, const struct watch_options *options) {
    c->watch = watch_new(c->base, options);
    return c->watch ? 0 : -1;
}

static void *run(void *arg) {
    struct control *c = arg;
    event_base_loop(c->base, EVLOOP_NO_EXIT_ON_EMPTY);
    return NULL;
}

int control_start(struct control *c, struct err *err) {
    struct timeval each = {SAVE_SECONDS, 0};
    if (event_add(c->save_timer, &each) != 0) {
        return err_set(err, "control thread: out of memory");
    }
    c->running = thread_start(&c->thread, run, c) == 0;
    return c->running ? 0 : err_set(err, "control thread: no thread could be started");
}

void control_stop(struct control *c) {
    if (c->running) {
        c->running = false;
        mailbox_post(&c->mailbox, &c->quit_mail);
        pthread_join(c->thread, NULL);
        control_save(c);
    }
}

void control_release(struct control *c) {
    if (!c->gateway) {
        return;
    }
    probes_free(c->probes);
    watch_free(c->watch);
    c->watch = NULL;
    if (c->transport) {
        c->transport->ops->free(c->transport);
    }
    if (c->save_timer) {
        event_free(c->save_timer);
    }
    mailbox_close(&c->mailbox);
    if (c->base) {
        event_base_free(c->base);
    }
    config_unref(c->next_config);
    state_unlock(c->state_lock);
    free(c->state_dir);
    pthread_mutex_destroy(&c->lock);
    c->gateway = NULL;
}

void control_configure(struct control *c, struct config *config) {
    pthread_mutex_lock(&c->lock);
    config_unref(c->next_config);
    c->next_config = config_ref(config);
    pthread_mutex_unlock(&c->lock);
    mailbox_post(&c->mailbox, &c->configure_mail);
}
