/* SPDX-License-Identifier: MIT */
/*
 * The order of things in a world: what the gateway does at once (its loop, until nothing is active)
 * comes first, then its timers that are due, then one step of a provider, then the clock moves to
 * the next of either. The gateway's loop is a real event loop without sockets or timers in it; it
 * is never waited in.
 */
#include "sim/world.h"

#include <event2/event.h>
#include <stdlib.h>

#include "bind/bind.h"
#include "gateway/accesslog.h"
#include "gateway/answer.h"
#include "gateway/attempt.h"
#include "gateway/exchange.h"
#include "gateway/worker.h"
#include "sim/world_client.h"

struct world_client {
    struct world *world;
    struct world_client *next, *prev;
    struct world_client *next_finished; /* on the world's list of those who have their answer */
    bool finished;
    unsigned long id;
    struct conn *conn; /* NULL once closed */
    const struct http_request
        *request; /* as the exchange has it; NULL: not read yet. Compared only */
    struct reader reader;
    struct world_event *ended; /* being filled; told when the connection is closed */
};

struct world {
    struct clock_virtual clock;
    struct gateway g;
    struct worker w;
    struct worker *workers[1];
    bool worker_made, state_made;
    struct bind_host host;
    const struct snapshot *snapshot; /* borrowed */
    struct generation *generation;   /* a reference; NULL: none yet */
    unsigned next_generation;
    uint64_t seed;
    struct sim_transport *transport;
    struct world_client *clients, *finished;
    size_t n_clients;
    unsigned long last_client;
    struct world_client *telling; /* whose access log line comes next */
    struct world_event *first, **last;
    struct buf log;
    bool brief;   /* world_options.brief */
    bool closing; /* nobody hears events any more */
};

static const struct conn_ops OPS;

/* ---- events ---- */

static void answer_release(struct world_answer *a) {
    headers_release(&a->headers);
    buf_release(&a->body);
    free(a->chunks);
    free(a->access);
    free(a->provider);
    for (size_t i = 0; i < a->n_notes; i++) {
        free(a->notes[i].text);
    }
    free(a->notes);
}

void world_event_free(struct world_event *e) {
    if (!e) {
        return;
    }
    if (e->kind == WORLD_SENT) {
        free(e->sent.provider);
        free(e->sent.target);
        free(e->sent.api_key);
        free(e->sent.url);
        headers_release(&e->sent.headers);
        buf_release(&e->sent.body);
    } else if (e->kind == WORLD_ENDED) {
        answer_release(&e->answer);
    }
    free(e);
}

static void tell(struct world *world, struct world_event *e) {
    e->at = world->clock.now;
    e->next = NULL;
    *world->last = e;
    world->last = &e->next;
}

static struct world_event *take_event(struct world *world) {
    struct world_event *e = world->first;
    if (e) {
        world->first = e->next;
        world->last = world->first ? world->last : &world->first;
        e->next = NULL;
    }
    return e;
}

/* ---- what the gateway tells ---- */

static struct world_client *client_of(struct world *world, const struct exchange *x) {
    struct world_client *c = world->clients;
    while (c && (!c->request || c->request != x->request)) {
        c = c->next;
    }
    return c;
}

static void copy_notes(struct world_answer *a, const struct exchange *x) {
    a->notes = x->n_notes ? calloc(x->n_notes, sizeof(*a->notes)) : NULL;
    for (size_t i = 0; a->notes && i < x->n_notes; i++) {
        char *text = str_dup(str_of(x->notes[i].text));
        if (text) {
            a->notes[a->n_notes++] = (struct world_note){x->notes[i].at, text};
        }
    }
}

static void sum_up(struct world_answer *a, const struct exchange *x, enum exchange_end end) {
    a->complete = end == END_COMPLETE;
    for (size_t i = 0; i < x->n_attempts; i++) {
        a->attempts += x->attempts[i]->begun ? 1 : 0;
    }
    a->provider = x->relayed ? str_dup(str_of(x->relayed->provider->name)) : NULL;
    a->first_token = x->first_content ? x->first_content - x->request->started : -1;
}

static void on_ended(void *ctx, const struct exchange *x, enum exchange_end end) {
    struct world *world = ctx;
    struct world_client *c = client_of(world, x);
    world->telling = c;
    if (c) {
        c->request = NULL;
        copy_notes(&c->ended->answer, x);
        if (world->brief) {
            sum_up(&c->ended->answer, x, end);
        }
    }
}

static void on_access(void *ctx, const char *line, size_t n) {
    struct world *world = ctx;
    struct world_client *c = world->telling;
    world->telling = NULL;
    if (c && !c->ended->answer.access) {
        c->ended->answer.access = str_dup(str_make(line, n));
    }
}

static void on_log(void *ctx, enum log_level level, const char *line) {
    struct world *world = ctx;
    if (buf_addf(&world->log, "%s: %s\n", log_level_name(level), line) != BUF_OK) {
        return; /* MAX_SIM_LOG: the first lines are the ones that tell */
    }
}

/* ---- clients ---- */

static void on_request(void *ctx, struct conn *conn, struct http_request *request) {
    struct world_client *c = ctx;
    c->request = request;
    exchange_begin(&c->world->w, conn, request);
}

static int on_head(void *ctx, const struct http_head *head, const struct headers *headers) {
    struct world_client *c = ctx;
    return worker_judge_head(&c->world->w, head, headers);
}

static void on_refuse(void *ctx, int status, const char *message, struct headers *headers,
                      struct buf *body) {
    struct world_client *c = ctx;
    c->world->telling = c;
    answer_refusal(status, message, headers, body);
    accesslog_refused(&c->world->w, status);
}

static void on_output(void *ctx, const char *data, size_t n) {
    struct world_client *c = ctx;
    struct world *world = c->world;
    reader_take(&c->reader, &c->ended->answer, str_make(data, n), world->clock.now);
    if (c->ended->answer.whole && !c->finished) {
        c->finished = true;
        c->next_finished = world->finished;
        world->finished = c;
    }
}

static void unlist(struct world_client *c) {
    struct world *world = c->world;
    *(c->prev ? &c->prev->next : &world->clients) = c->next;
    if (c->next) {
        c->next->prev = c->prev;
    }
    world->n_clients--;
    struct world_client **at = &world->finished;
    while (*at && *at != c) {
        at = &(*at)->next_finished;
    }
    if (*at) {
        *at = c->next_finished;
    }
}

static void on_closed(void *ctx, struct conn *conn) {
    struct world_client *c = ctx;
    (void)conn;
    unlist(c);
    reader_end(&c->reader, &c->ended->answer);
    reader_release(&c->reader);
    if (c->world->closing) {
        world_event_free(c->ended);
    } else {
        tell(c->world, c->ended);
    }
    free(c);
}

static const struct conn_ops OPS = {.request = on_request,
                                    .head = on_head,
                                    .refuse = on_refuse,
                                    .gone = worker_client_gone,
                                    .drained = worker_client_drained,
                                    .closed = on_closed,
                                    .output = on_output};

static struct world_client *new_client(struct world *world, bool no_body) {
    struct world_client *c = calloc(1, sizeof(*c));
    struct world_event *ended = calloc(1, sizeof(*ended));
    if (!c || !ended) {
        free(c);
        free(ended);
        return NULL;
    }
    c->world = world;
    c->ended = ended;
    ended->kind = WORLD_ENDED;
    reader_init(&c->reader, &ended->answer, no_body, world->brief);
    worker_generation(&world->w); /* limits as they are now */
    c->conn = conn_new(world->w.base, -1, &OPS, c, &world->w.limits);
    if (!c->conn) {
        world_event_free(ended);
        free(c);
        return NULL;
    }
    c->id = ++world->last_client;
    ended->request = c->id;
    c->next = world->clients;
    if (c->next) {
        c->next->prev = c;
    }
    world->clients = c;
    world->n_clients++;
    return c;
}

unsigned long world_start(struct world *world, struct str http, struct err *err) {
    if (world->n_clients >= MAX_SIM_CLIENTS) {
        err_set(err, "%d requests are under way in this world, no more may be", MAX_SIM_CLIENTS);
        return 0;
    }
    struct clock_virtual *before = world_enter(world);
    struct world_client *c = new_client(world, str_starts(http, "HEAD "));
    unsigned long id = c ? c->id : 0;
    if (c) {
        conn_feed(c->conn, http.p, http.n); /* may free c */
    } else {
        err_set(err, "not enough memory");
    }
    clock_use(before);
    return id;
}

void world_leave(struct world *world, unsigned long request) {
    struct clock_virtual *before = world_enter(world);
    struct world_client *c = world->clients;
    while (c && c->id != request) {
        c = c->next;
    }
    if (c && !c->finished) {
        conn_feed_eof(c->conn);
    }
    clock_use(before);
}

/* ---- providers ---- */

static int copy_request(struct world_event *e, const struct transfer_request *r) {
    size_t size = 0;
    for (size_t i = 0; i < r->n_body; i++) {
        size += r->body[i].n;
    }
    headers_init(&e->sent.headers, MAX_HEADERS * 2, MAX_HEADER_BYTES * 2);
    buf_init(&e->sent.body, size);
    e->sent.url = str_dup(str_of(r->url));
    int bad = !e->sent.url;
    for (size_t i = 0; i < r->headers->n; i++) {
        struct header h = headers_at(r->headers, i);
        bad |= headers_add(&e->sent.headers, h.name, h.value);
    }
    for (size_t i = 0; i < r->n_body; i++) {
        bad |= buf_add_str(&e->sent.body, r->body[i]);
    }
    return bad ? -1 : 0;
}

static int fill_sent(struct world_event *e, const struct transfer_request *r,
                     const struct attempt *a, bool brief) {
    e->kind = WORLD_SENT;
    e->sent.provider = str_dup(str_of(a->provider->name));
    e->sent.target = str_dup(str_of(a->name));
    e->sent.api_key = a->api_key ? str_dup(str_of(a->api_key->name)) : NULL;
    int bad = !e->sent.provider || !e->sent.target || (a->api_key && !e->sent.api_key);
    return bad || (!brief && copy_request(e, r) != 0) ? -1 : 0;
}

/* Only attempts start transfers on a worker's transport. */
static int on_started(void *ctx, unsigned long id, const struct transfer_request *request,
                      void *ctx_of) {
    struct world *world = ctx;
    const struct attempt *a = ctx_of;
    struct world_event *e = calloc(1, sizeof(*e));
    if (!e || fill_sent(e, request, a, world->brief) != 0) {
        world_event_free(e);
        return -1;
    }
    const struct world_client *c = client_of(world, a->x);
    e->transfer = id;
    e->request = c ? c->id : 0;
    tell(world, e);
    return 0;
}

static void on_cancelled(void *ctx, unsigned long id) {
    struct world *world = ctx;
    struct world_event *e = world->closing ? NULL : calloc(1, sizeof(*e));
    if (e) {
        e->kind = WORLD_CANCELLED;
        e->transfer = id;
        tell(world, e);
    }
}

int world_play(struct world *world, unsigned long transfer, struct sim_step *step,
               struct err *err) {
    return sim_transport_play(world->transport, transfer, step, err);
}

/* ---- time ---- */

struct clock_virtual *world_enter(struct world *world) {
    return clock_use(&world->clock);
}

static void advance(struct world *world, usec to) {
    if (to > world->clock.now) {
        world->clock.wall += to - world->clock.now;
        world->clock.now = to;
    }
}

/* All that the gateway has to do now; then clients that have their answer close. */
static void settle(struct world *world) {
    if (event_base_get_num_events(world->w.base, EVENT_BASE_COUNT_ACTIVE) > 0 ||
        mailbox_waiting(&world->w.mailbox)) {
        event_base_loop(world->w.base, EVLOOP_NONBLOCK); /* asks the system each time */
    }
    while (world->finished) {
        conn_kill(world->finished->conn); /* takes it off the list */
    }
}

/* True: something happened, or may have. */
static bool happen(struct world *world, usec until) {
    struct timers *timers = &world->w.timers;
    usec timer = timers_next(timers), step = sim_transport_next(world->transport);
    usec next = timer < step ? timer : step;
    if (next == USEC_NEVER || next > until) {
        advance(world, until == USEC_NEVER ? 0 : until);
        return false;
    }
    advance(world, next);
    if (timer <= world->clock.now) {
        timers_run(timers, world->clock.now);
    } else {
        sim_transport_step(world->transport, world->clock.now);
    }
    return true;
}

enum world_turn world_run(struct world *world, usec until, struct world_event **event) {
    struct clock_virtual *before = world_enter(world);
    enum world_turn turn = WORLD_GOES_ON;
    *event = NULL;
    for (int i = 0; i < MAX_SIM_TURNS && turn == WORLD_GOES_ON; i++) {
        settle(world);
        *event = take_event(world);
        turn = *event ? WORLD_EVENT : happen(world, until) ? WORLD_GOES_ON : WORLD_REACHED;
    }
    clock_use(before);
    return turn;
}

usec world_now(const struct world *world) {
    return world->clock.now;
}

/* ---- generations ---- */

static struct generation *stage(struct world *world, struct str config,
                                const struct snapshot_text *files, size_t n, struct diags *diags) {
    struct err err;
    struct config_lua lua;
    struct snapshot *s = snapshot_derive(world->snapshot, config, files, n, &err);
    if (!s) {
        diags_error(diags, "gateway.lua", 0, "%s", err.text);
        return NULL;
    }
    policy_config_lua(&world->g.env, &lua);
    struct generation *g = NULL;
    struct config *c = config_load_all(s, &lua, diags);
    if (c) {
        g = generation_stage(&world->g.env, world->next_generation, s, c, 1, diags);
        config_unref(c);
    }
    snapshot_unref(s);
    return g;
}

static void put_in_force(struct world *world, struct generation *g) {
    struct generation *before = world->generation;
    world->generation = g;
    world->next_generation++;
    atomic_store(&world->g.log.level, generation_config(g)->log.level);
    atomic_store(&world->g.current, g);
    worker_generation(&world->w); /* lets go of the lane of the one before */
    generation_unref(before);
}

static void discard(struct generation *g) {
    lane_retire(generation_lane(g, 0));
    generation_unref(g);
}

unsigned world_reload(struct world *world, struct str config, const struct snapshot_text *files,
                      size_t n_files, struct diags *diags) {
    struct clock_virtual *before = world_enter(world);
    struct generation *g = stage(world, config, files, n_files, diags);
    if (g && hash_equal(generation_hash(g), generation_hash(world->generation), HASH_SIZE)) {
        discard(g);
    } else if (g) {
        put_in_force(world, g);
    }
    clock_use(before);
    return g ? generation_id(world->generation) : 0;
}

/* ---- life ---- */

static void set_up(struct world *world, const struct world_options *o) {
    struct gateway *g = &world->g;
    world->clock = (struct clock_virtual){WORLD_BEGIN, o->wall};
    world->snapshot = o->snapshot;
    world->next_generation = 1;
    world->seed = o->seed;
    world->last = &world->first;
    world->workers[0] = &world->w;
    buf_init(&world->log, MAX_SIM_LOG);
    log_init(&g->log, on_log, world, LOG_LEVEL_INFO);
    world->brief = o->brief;
    g->access = o->brief ? NULL : on_access;
    g->access_ctx = world;
    g->ended = on_ended;
    g->ended_ctx = world;
    g->explain = o->explain;
    g->bindings = &bind_bindings;
    g->workers = world->workers;
    g->n_workers = 1;
    g->started = o->wall;
    world->host.gateway = g;
    g->env = (struct policy_env){.modules = bind_modules,
                                 .host = &world->host,
                                 .log = &g->log,
                                 .dialects = o->dialects,
                                 .resume_cpu = SIM_PATIENCE * LUA_RESUME_CPU,
                                 .request_cpu = SIM_PATIENCE * LUA_REQUEST_CPU};
}

static int make_worker(struct world *world, struct err *err) {
    struct sim_watch watch = {on_started, on_cancelled, world};
    world->transport = sim_transport_new(&watch);
    if (!world->transport) {
        return err_set(err, "not enough memory");
    }
    world->worker_made = true;
    if (worker_init(&world->w, &world->g, 0, NULL, sim_transport_base(world->transport), err) !=
        0) {
        return -1;
    }
    world->w.by_hand = true;
    rng_seed(&world->w.rng, world->seed);
    return 0;
}

static int make(struct world *world, const struct world_options *o, struct diags *diags) {
    struct err err;
    world->state_made = state_init(&world->g.state) == 0;
    if (!world->state_made) {
        diags_error(diags, "gateway.lua", 0, "not enough memory for a world");
        return -1;
    }
    if (make_worker(world, &err) != 0) {
        diags_error(diags, "gateway.lua", 0, "no world can be made: %s", err.text);
        return -1;
    }
    struct generation *g = stage(world, o->config, o->files, o->n_files, diags);
    if (!g) {
        return -1;
    }
    put_in_force(world, g);
    return 0;
}

struct world *world_new(const struct world_options *o, struct diags *diags) {
    struct world *world = calloc(1, sizeof(*world));
    if (!world) {
        diags_error(diags, "gateway.lua", 0, "not enough memory for a world");
        return NULL;
    }
    set_up(world, o);
    struct clock_virtual *before = world_enter(world);
    int bad = make(world, o, diags);
    clock_use(before);
    if (bad) {
        world_free(world);
        return NULL;
    }
    return world;
}

void world_free(struct world *world) {
    if (!world) {
        return;
    }
    struct clock_virtual *before = world_enter(world);
    world->closing = true;
    while (world->w.exchanges) {
        exchange_kill(world->w.exchanges);
    }
    while (world->clients) {
        conn_kill(world->clients->conn);
    }
    if (world->worker_made) {
        worker_release(&world->w);
    }
    atomic_store(&world->g.current, NULL);
    generation_unref(world->generation);
    for (struct world_event *e = take_event(world); e; e = take_event(world)) {
        world_event_free(e);
    }
    if (world->state_made) {
        state_release(&world->g.state);
    }
    buf_release(&world->log);
    clock_use(before);
    free(world);
}

struct gateway *world_gateway(struct world *world) {
    return &world->g;
}

const struct config *world_config(struct world *world) {
    return generation_config(world->generation);
}

struct metrics *world_metrics(struct world *world) {
    return world->w.metrics;
}

struct str world_log(const struct world *world) {
    return buf_str(&world->log);
}
