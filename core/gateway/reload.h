/* SPDX-License-Identifier: MIT */
/*
 * Loading as a transaction (DESIGN section 8): snapshot, hash, configuration, settings overlay,
 * staging of every lane, then one store that publishes the generation. Whatever fails before that
 * leaves everything as it was. Runs on the caller's thread, one load at a time; workers take the
 * new generation with their next request and let go of the old one by mail.
 *
 * Functions that load may wait for the disk and for another load (well under a second, 10 s at
 * worst) and may be called from any thread but a worker's (the attached one apart: see `settle`).
 * Each is audited and remembered with its cause, refused ones too.
 */
#ifndef GATEWAY_RELOAD_H
#define GATEWAY_RELOAD_H

#include <pthread.h>

#include "gateway/audit.h"
#include "gateway/gateway.h"
#include "gateway/history.h"
#include "gateway/overlay.h"

enum load_result {
    LOAD_APPLIED = 0,
    LOAD_UNCHANGED = 1,
    LOAD_REFUSED = -1,  /* diags tell why */
    LOAD_CONFLICT = -2, /* the route's overlay has another version */
    LOAD_UNKNOWN = -3,  /* there is no such generation or route */
    LOAD_FAILED = -4    /* the overlay could not be written; diags tell why */
};

/* Who asked for a load, and in his own words why. Borrowed for the call; NULL: "embedder", "". */
struct load_cause {
    const char *who; /* "start", "SIGHUP", "file watch", "admin 127.0.0.1:5000", "embedder" */
    const char *why;
};

/* The last load that was refused. */
struct refused_load {
    usec at; /* wall clock */
    char who[HISTORY_WHO], why[HISTORY_WHY];
    struct diags diagnostics;
};

struct loader {
    struct gateway *gateway;
    char *config_file; /* owned */
    char **library;    /* owned, NULL-terminated */
    void (*published)(void *ctx,
                      struct config *config); /* told of each new configuration (borrowed) after it
                                                 is in force; may be NULL */
    void *published_ctx;
    /* Runs the *_test.lua beside the policies that routes name, when reload.tests is set. Returns
     * how many failed, each told to diags as an error; -1 when they could not be run (told, too).
     * NULL: such a configuration is refused. */
    int (*run_tests)(void *ctx, struct snapshot *snapshot, const struct config *config,
                     struct diags *diags);
    void *run_tests_ctx;
    /* Lets the worker whose loop the calling thread runs take the current generation; true when
     * there was such a worker. NULL: workers have threads of their own. */
    bool (*settle)(void *ctx);
    void *settle_ctx;
    bool closed;          /* under `one`: the gateway stops or is handed over, nothing is loaded */
    pthread_mutex_t one;  /* held for a load */
    pthread_mutex_t lock; /* what follows */
    pthread_cond_t let_go;
    size_t pending; /* workers that may still use the generation before */
    struct generation *retiring;
    unsigned next_id;       /* changed under `one` too */
    struct overlay overlay; /* in force; changed under `one` too */
    struct history history;
    struct refused_load refused; /* at 0: none since the last load that was applied */
    struct audit audit;
    atomic_ulong overlay_failures; /* settings that could not be kept on the disk */
    _Atomic usec loaded_at;        /* wall time of the last load that was applied */
};

int loader_init(struct loader *l, struct gateway *g, const char *config_file,
                const char *const *library) __attribute__((warn_unused_result));
void loader_release(struct loader *l);

/* A configuration that is checked but not in force. NULL when diags has errors. `lanes` 0: as many
 * as the configuration has workers. Before the first publishing it also reads the overlay of the
 * configuration's state_dir. */
struct generation *loader_stage(struct loader *l, size_t lanes, struct diags *diags);
/* Throws a staged generation away. */
void loader_discard(struct generation *g, size_t lanes);
/* The first generation, before workers run. */
void loader_publish_first(struct loader *l, struct generation *g);

/* Stages the files as they are now and puts them in force while traffic flows. What only a restart
 * can change (listen, workers, admin.listen, state_dir, log files) is refused. */
enum load_result loader_reload(struct loader *l, const struct load_cause *cause,
                               struct diags *diags);
/* Puts the remembered generation `id` in force again, under its own id: its files and its overlay
 * as they were, env() and file() as they are now. */
enum load_result loader_activate(struct loader *l, unsigned id, const struct load_cause *cause,
                                 struct diags *diags);
/* Makes `settings` (a table; NULL: nothing) the route's whole overlay, over the files that are in
 * force (edits since then are not taken in). `if_version`: only when the overlay has that version;
 * -1: any. The overlay is on the disk before the generation is published. */
enum load_result loader_change_settings(struct loader *l, const char *route,
                                        const struct value *settings, long long if_version,
                                        const struct load_cause *cause, struct diags *diags);
/* Stages one lane and throws it away: 0, or -1 when diags has errors. Not remembered, not audited.
 */
int loader_check(struct loader *l, struct diags *diags);

/* Newest first; fn is called under a lock: it must not call the loader. */
void loader_each_generation(struct loader *l,
                            void (*fn)(void *ctx, const struct generation_record *record),
                            void *ctx);
/* What is in memory of all generations, after letting go of those that nobody uses. */
void loader_live(struct loader *l, struct history_totals *out);
/* Calls fn once and returns true when a load was refused since the last one that was applied. Under
 * a lock, like above. */
bool loader_last_refused(struct loader *l,
                         void (*fn)(void *ctx, const struct refused_load *refused), void *ctx);
long long loader_overlay_version(struct loader *l, const char *route); /* 0: never had any */
/* Are changes of settings kept over a restart (is there a state_dir)? */
bool loader_persistent(struct loader *l);
/* Writes an audit entry of an action that is no load, the secrets in force masked;
 * entry->generation is filled in. */
void loader_audit(struct loader *l, const struct audit_entry *entry);

/* The generation in force, with a reference: for threads that are no worker. NULL when none is. */
struct generation *loader_current(struct loader *l);
/* Waits for a load that is under way; later ones are refused, until the next first publishing. */
void loader_close(struct loader *l);
/* Loads are allowed again. */
void loader_open(struct loader *l);
/* Workers that run elsewhere must have let go: at the end. Frees the current generation's last
 * reference and forgets all others. */
void loader_finish(struct loader *l);

#endif
