/* SPDX-License-Identifier: MIT */
/*
 * A whole gateway in a box of its own: state, one generation, one worker, clients without sockets,
 * providers that are scripts, and a clock that jumps from one event to the next. What a request
 * meets in it (intake, policy, attempts, gate, relay, log) is the code that serves real ones. One
 * thread at a time; every function sets the world's clock on entry and puts the caller's back.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "base/diag.h"
#include "config/snapshot.h"
#include "gateway/gateway.h"
#include "gateway/metrics.h"
#include "net/http.h"
#include "sim/sim_transport.h"

#define WORLD_BEGIN (1000 * USEC_PER_SEC) /* what a world's monotonic clock begins with */

struct world;

struct world_options {
    const struct snapshot *snapshot; /* policies and library; borrowed for the world's life */
    struct str config;               /* the text of gateway.lua */
    const struct snapshot_text *files;
    size_t n_files; /* take the place of the snapshot's; borrowed for the call, like config */
    uint64_t seed;  /* of moongate.random and of request ids */
    usec wall;      /* wall clock at the beginning */
    bool explain;
    struct dialect_cache *dialects; /* borrowed for the world's life, NULL: none */
    bool brief; /* events tell only what a simulation of many requests counts */
};

/* NULL: what is wrong is in diags; warnings are there also when there is a world. */
struct world *world_new(const struct world_options *options, struct diags *diags);
void world_free(struct world *world); /* NULL is a no-op */

/* A piece of an answer's body as it came: body[from .. from + n). */
struct world_chunk {
    usec at;
    size_t from, n;
};

struct world_note {
    usec at;
    char *text;
};

/* What a client got. */
struct world_answer {
    int status; /* 0: no head came */
    struct headers headers;
    struct buf body; /* without the framing */
    bool whole;      /* the framing is complete */
    struct world_chunk *chunks;
    size_t n_chunks;
    char *access; /* its line of the access log; NULL: none was written */
    struct world_note *notes;
    size_t n_notes;
    /* What is known of a brief world's answers instead of headers, body, chunks and access: */
    bool complete;    /* it ended as a good one does */
    size_t attempts;  /* that were begun */
    char *provider;   /* of the attempt that was relayed; NULL: none was */
    usec first_token; /* from the request to the first content; below 0: there was none */
};

enum world_event_kind { WORLD_SENT, WORLD_CANCELLED, WORLD_ENDED };

struct world_event {
    struct world_event *next;
    enum world_event_kind kind;
    usec at;
    unsigned long request, transfer; /* request 0: it is over already */
    struct {
        char *provider, *target, *url;
        char *api_key; /* the name of the pool's key; NULL without a pool */
        struct headers headers;
        struct buf body;
    } sent;                     /* WORLD_SENT; of a brief world no url, headers, body */
    struct world_answer answer; /* WORLD_ENDED */
};
void world_event_free(struct world_event *event); /* NULL is a no-op */

/* A client sends `http`, one whole request. Returns its number (1, 2, …), or 0 with err. */
unsigned long world_start(struct world *world, struct str http, struct err *err);
/* That client goes away. Nothing when its answer is over. */
void world_leave(struct world *world, unsigned long request);

enum world_turn { WORLD_EVENT, WORLD_REACHED, WORLD_GOES_ON };
/*
 * Lets time pass up to `until` (monotonic; USEC_NEVER: as long as something is to come) or to the
 * next event, which is put into *event (the caller frees it). WORLD_REACHED: nothing more happens
 * by then. WORLD_GOES_ON: MAX_SIM_TURNS things happened without an event; call again.
 */
enum world_turn world_run(struct world *world, usec until, struct world_event **event);

/* As sim_transport_play. */
int world_play(struct world *world, unsigned long transfer, struct sim_step *step, struct err *err);

/* Puts another configuration in force. Its number, or 0: refused, see diags. */
unsigned world_reload(struct world *world, struct str config, const struct snapshot_text *files,
                      size_t n_files, struct diags *diags);

usec world_now(const struct world *world);
/* Pushes the clock in use aside for calls into the gateway's own functions; put it back with
 * clock_use. */
struct clock_virtual *world_enter(struct world *world);
struct gateway *world_gateway(struct world *world);
const struct config *world_config(struct world *world);
struct metrics *world_metrics(struct world *world);
struct str world_log(const struct world *world); /* "info: text\n" each */

#endif
