/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: a whole exchange. The real gateway in virtual time (sim/world.h), its clients' bytes
 * and its providers' answers from the input. Reads: gateway/intake.c gateway/exchange.c
 * gateway/decide.c gateway/attempt.c gateway/attempt_clock.c gateway/gate.c gateway/relay.c
 * gateway/answer.c gateway/route.c
 *
 * The input is a script: "%%" and a letter begin a step, whose bytes go up to the next "%%".
 *
 *   C  a client sends these bytes     Q  a client asks: the path's digit, then the body
 *   L  a client leaves (its digit)    W  milliseconds pass
 *   T  the next steps are of this transfer (digit, counted back from the last)
 *   H  head of an answer: "200 name: value\nname: value"
 *   D  bytes of its body              M  the same, 64 times as often as the digit says
 *   E  its end                        F  it fails (digit: how)
 *
 * What must hold: every client gets one answer at most and every whole request one line of the
 * access log with as many attempts as were sent; a stream that broke ends without [DONE]; in the
 * end nothing is held: no exchange, no slot, no transfer, no timer.
 *
 * Lives on from input to input: the world, for INPUTS_A_WORLD of them.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/jscan.h"
#include "gateway/worker.h"
#include "sim/world.h"
#include "state/slots.h"
#include "state/state.h"
#include "state/targets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_ASKED 8 /* clients, and transfers that are looked at, of one input */
#define MAX_SENT 64
#define MAX_TURNS 4000     /* of a world, until nothing is to come any more */
#define INPUTS_A_WORLD 200 /* then facts, stores and the clock begin anew */
#define WALL (1700000000 * USEC_PER_SEC)

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

/* ---- the gateway ---- */

#define PROVIDER(name, more)                                                                       \
    name " = { dialect = \"openai\", base_url = \"http://" name ".test/v1\", auth = \"none\"" more \
         " },\n"
#define ROUTE(path, policy, settings)                                                              \
    "{ name = \"" policy "\", path = \"" path "\", policy = \"" policy "\", settings = { targets " \
    "= { \"a/m\", \"b/m\", \"c/m\" }" settings " } },\n"

static const char CONFIG[] =
    "return { listen = \"127.0.0.1:1\", limits = { body = 65536 },\n"
    "providers = {\n" PROVIDER("a", ", max_inflight = 1, queue = 1, idle_timeout = 5")
        PROVIDER("b", ", idle_timeout = 5") PROVIDER(
            "c",
            "") "},\n"
                "routes = {\n" ROUTE(
                    "/v1/chat/completions", "failover",
                    ", request_timeout = 20, first_packet_timeout = 2, suspend = 5")
                    ROUTE("/v1/responses", "hedged",
                          ", delay = 0.5, budget = 1, request_timeout = 20")
                        ROUTE(
                            "/v1/embeddings", "sticky",
                            ", request_timeout = 20") "{ name = \"own\", path = "
                                                      "\"/v1/own\", policy = \"own\", settings = { "
                                                      "targets = { \"a/m\", \"b/m\" } } } } }\n";

/* What it does depends on the model that is asked for. */
static const char OWN[] =
    "local targets = { type = \"list\", of = { type = \"target\" } }\n"
    "local function stream(req, text, last)\n"
    "  return req:respond { stream = function(out)\n"
    "    out:write(\"data: \" .. text .. \"\\n\\n\")\n"
    "    out:sleep(1)\n"
    "    if last then out:write(last) else out:abort() end\n"
    "  end }\n"
    "end\n"
    "local own = {}\n"
    "function own.crash(req) local first = req:send \"a/m\" error(first.outcome) end\n"
    "function own.nothing() return 1 end\n"
    "function own.json(req) return req:respond { status = 418, json = { model = req.model } } end\n"
    "function own.abort(req) return stream(req, \"begun\") end\n"
    "function own.raise(req) return stream(req, \"begun\", {}) end\n"
    "function own.unavailable(req) return req:unavailable(3) end\n"
    "function own.fail(req)\n"
    "  local first = req:send \"b/m\"\n"
    "  if first.ok then first:fail(\"server_error\", first:body():sub(1, 20)) end\n"
    "  return first\n"
    "end\n"
    "function own.wait(req) req:sleep(2) return req:send(\"a/m\", { set = { x = 1 } }) end\n"
    "return { name = \"own\", version = 1, settings = { targets = targets },\n"
    "handle = function(req)\n"
    "  req:deadline(30)\n"
    "  if own[req.model] then return own[req.model](req) end\n"
    "  local first = req:send(\"a/m\", { total = 5 })\n"
    "  if first.ok then return first end\n"
    "  local again = req:send(\"b/m\", { max_bytes = 2000, max_seconds = 9 })\n"
    "  if again.status == 429 then return again end\n"
    "  if again.ok and not again:header(\"x-no\") then return again end\n"
    "  return stream(req, again.outcome, \"data: [END]\\n\\n\")\n"
    "end }\n";

static struct snapshot *library(void) {
    static struct snapshot *kept;
    static const char *const folders[] = {".", NULL};
    struct err err = {""};
    if (!kept) {
        kept = snapshot_read_folder("tests/fuzz", folders, &err);
        must(kept != NULL, err.text);
    }
    return kept;
}

static struct world *make_world(void) {
    struct snapshot_text own = {STR("policies/own.lua"), str_of(OWN)};
    struct world_options options = {.snapshot = library(),
                                    .config = str_of(CONFIG),
                                    .files = &own,
                                    .n_files = 1,
                                    .seed = 1,
                                    .wall = WALL};
    struct diags diags;
    struct buf text;
    diags_init(&diags);
    buf_init(&text, KIB(64));
    struct world *world = world_new(&options, &diags);
    must(diags_format(&diags, &text) == 0, "diagnostics are too long");
    must(world != NULL, text.data);
    buf_release(&text);
    diags_release(&diags);
    return world;
}

/* ---- one input ---- */

struct asked {
    unsigned long id;
    bool ended, left;
    size_t sent; /* attempts of its request */
};

struct play {
    struct world *world;
    struct asked asked[MAX_ASKED];
    size_t n_asked;
    unsigned long sent[MAX_SENT]; /* transfers */
    size_t n_sent, back;
    struct buf said; /* all bodies that providers sent */
};

static struct asked *asked_of(struct play *p, unsigned long id) {
    for (size_t i = 0; i < p->n_asked; i++) {
        if (p->asked[i].id == id) {
            return &p->asked[i];
        }
    }
    return NULL;
}

static void check_sent(struct play *p, const struct world_event *e) {
    for (size_t i = 0; i < e->sent.headers.n; i++) {
        struct header h = headers_at(&e->sent.headers, i);
        must(header_name_ok(h.name) && header_value_ok(h.value), "a field that breaks out");
    }
    must(!headers_get(&e->sent.headers, "upgrade", &(struct str){0}), "a hop's field is sent on");
    if (p->n_sent < MAX_SENT) {
        p->sent[p->n_sent++] = e->transfer;
    }
    struct asked *c = asked_of(p, e->request);
    if (c) {
        c->sent++;
    }
}

static size_t count(struct str text, const char *needle) {
    size_t n = 0, size = strlen(needle);
    for (const char *at; (at = memmem(text.p, text.n, needle, size)) != NULL; n++) {
        text = str_make(at + size, text.n - (size_t)(at + size - text.p));
    }
    return n;
}

/* Each attempt that was sent is in the access log, and each there that was answered was sent; the
 * others waited in vain for a slot. */
static void check_access(const struct asked *c, const struct world_answer *a) {
    struct str line = str_of(a->access);
    must(jscan_check(line, NULL) == JSCAN_OK, "a line of the access log is no JSON");
    if (str_has(line, "\"truncated\":true")) {
        return;
    }
    const char *list = strstr(a->access, "\"attempts\":[");
    must(list != NULL, "a line without attempts");
    size_t told = count(str_of(list), "\"outcome\":");
    size_t answered = told - count(str_of(list), "\"status\":0,");
    if (c->sent > told || c->sent < answered) {
        fprintf(stderr, "%zu attempts were sent: %s\n", c->sent, a->access);
        must(false, "the access log tells of other attempts than were sent");
    }
}

static void check_stream(const struct play *p, const struct world_answer *a) {
    struct str type, body = buf_str(&a->body);
    if (!headers_get(&a->headers, "content-type", &type) ||
        !str_case_has(type, "text/event-stream")) {
        return;
    }
    bool said = str_has(buf_str(&p->said), "[DONE]");
    must(said || !str_has(body, "[DONE]"), "[DONE] that no provider said");
    /* For HTTP/1.0 the end is a reset, which a connection without a socket cannot show. */
    bool framed = headers_get(&a->headers, "transfer-encoding", &type);
    bool cut = framed && a->access && strstr(a->access, "\"end\":\"upstream_cut\"");
    if (cut && a->whole && !str_has(body, "error")) {
        fprintf(stderr, "%s\n%.*s\n%s", a->access, (int)body.n, body.p, world_log(p->world).p);
        must(false, "a broken stream that ends well");
    }
}

static void check_answer(struct play *p, const struct world_event *e) {
    struct asked *c = asked_of(p, e->request);
    const struct world_answer *a = &e->answer;
    if (!c) {
        return;
    }
    must(!c->ended, "a client's connection ended twice");
    c->ended = true;
    must(a->status == 0 || (a->status >= 200 && a->status <= 599), "a status that is none");
    must(a->status != 0 || !a->whole, "an answer without a head");
    must(a->status == 0 || c->left || a->access, "an answer without a line in the access log");
    must(c->sent == 0 || a->access, "attempts without a line in the access log");
    if (a->access) {
        check_access(c, a);
    }
    check_stream(p, a);
}

/* Lets time pass up to `until`, which may never come. */
static void pass(struct play *p, usec until) {
    for (int i = 0; i < MAX_TURNS; i++) {
        struct world_event *e;
        enum world_turn turn = world_run(p->world, until, &e);
        if (turn == WORLD_REACHED) {
            return;
        }
        if (e && e->kind == WORLD_SENT) {
            check_sent(p, e);
        } else if (e && e->kind == WORLD_ENDED) {
            check_answer(p, e);
        }
        world_event_free(e);
    }
    must(false, "it goes on and on");
}

static int digit(struct str text) {
    return text.n && text.p[0] >= '0' && text.p[0] <= '9' ? text.p[0] - '0' : 0;
}

static void start(struct play *p, struct str http) {
    struct err err = {""};
    struct asked *c = &p->asked[p->n_asked];
    if (p->n_asked == MAX_ASKED || !http.n) {
        return;
    }
    *c = (struct asked){.id = world_start(p->world, http, &err)};
    must(c->id != 0, err.text);
    p->n_asked++;
}

static void ask(struct play *p, struct str text) {
    static const char *const paths[] = {"/v1/chat/completions", "/v1/responses", "/v1/embeddings",
                                        "/v1/own", "/v1/models"};
    struct buf http;
    struct str body = text.n ? str_make(text.p + 1, text.n - 1) : text;
    buf_init(&http, KIB(64));
    must(buf_addf(&http,
                  "POST %s HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
                  "Content-Length: %zu\r\n\r\n",
                  paths[digit(text) % 5], body.n) == BUF_OK &&
             buf_add_str(&http, body) == BUF_OK,
         "no room for a request");
    start(p, buf_str(&http));
    buf_release(&http);
}

static void leave(struct play *p, struct asked *c) {
    c->left = true;
    world_leave(p->world, c->id);
}

static void play_step(struct play *p, struct sim_step *step) {
    struct err err = {""};
    if (p->n_sent) {
        size_t back = p->back < p->n_sent ? p->back : p->n_sent - 1;
        must(world_play(p->world, p->sent[p->n_sent - 1 - back], step, &err) >= 0, err.text);
    } else if (step->kind == STEP_HEAD) {
        headers_release(&step->headers);
    }
}

/* What a transport would hand up: at most MAX_HEADERS fields that are none but fields. */
static void play_head(struct play *p, struct str text) {
    struct sim_step step = {.kind = STEP_HEAD, .status = 200};
    struct str line, name;
    unsigned long long status;
    if (text.n >= 3 && str_to_u64(str_make(text.p, 3), &status) && status >= 200 && status < 600) {
        step.status = (int)status;
        text = str_make(text.p + 3, text.n - 3);
    }
    headers_init(&step.headers, MAX_HEADERS, MAX_ANSWER_HEAD);
    while (str_split(&text, '\n', &line)) {
        line = str_trim(line);
        if (str_split(&line, ':', &name) && header_name_ok(name) &&
            header_value_ok(str_trim(line)) &&
            headers_add(&step.headers, name, str_trim(line)) != 0) {
            break;
        }
    }
    play_step(p, &step);
}

/* More than an input can hold, for what is bounded. */
static void play_many(struct play *p, struct str text) {
    struct buf data;
    buf_init(&data, MIB(8));
    for (int i = 0; text.n > 1 && i < 64 * digit(text); i++) {
        must(buf_add(&data, text.p + 1, text.n - 1) == BUF_OK, "no room for much");
    }
    must(buf_add_str(&p->said, text) == BUF_OK, "no room for what was said");
    play_step(p, &(struct sim_step){.kind = STEP_DATA, .data = buf_str(&data)});
    buf_release(&data);
}

static void play_fail(struct play *p, struct str text) {
    static const enum outcome outcomes[] = {OUTCOME_STREAM_BROKEN,  OUTCOME_CONNECT_ERROR,
                                            OUTCOME_TLS_ERROR,      OUTCOME_STALE_CONNECTION,
                                            OUTCOME_DNS_ERROR,      OUTCOME_INVALID_RESPONSE,
                                            OUTCOME_EMPTY_RESPONSE, OUTCOME_TIMEOUT_CONNECT};
    struct sim_step step = {.kind = STEP_FAIL,
                            .outcome = outcomes[digit(text) % 8],
                            .sent = digit(text) % 2 ? SENT_NOTHING : SENT_ALL};
    play_step(p, &step);
}

static void take(struct play *p, char kind, struct str text) {
    unsigned long long ms = 0;
    switch (kind) {
    case 'C':
        start(p, text);
        break;
    case 'Q':
        ask(p, text);
        break;
    case 'L':
        if (p->n_asked) {
            leave(p, &p->asked[(size_t)digit(text) % p->n_asked]);
        }
        break;
    case 'W':
        str_to_u64(str_trim(text), &ms);
        pass(p, world_now(p->world) + (usec)(ms % 100000) * 1000);
        break;
    case 'T':
        p->back = (size_t)digit(text);
        break;
    case 'H':
        play_head(p, text);
        break;
    case 'D':
        must(buf_add_str(&p->said, text) == BUF_OK, "no room for what was said");
        play_step(p, &(struct sim_step){.kind = STEP_DATA, .data = text});
        break;
    case 'M':
        play_many(p, text);
        break;
    case 'E':
        play_step(p, &(struct sim_step){.kind = STEP_END});
        break;
    case 'F':
        play_fail(p, text);
        break;
    default:
        break;
    }
    pass(p, world_now(p->world));
}

static void run(struct play *p, struct str script) {
    const char *at = memmem(script.p, script.n, "%%", 2), *end = script.p + script.n;
    while (at && at + 2 < end) {
        const char *text = at + 3;
        const char *next = memmem(text, (size_t)(end - text), "%%", 2);
        const char *stop = next ? next : end;
        /* A line feed in front of the next step is the script's, not the step's. */
        size_t n = (size_t)(stop - text);
        n -= n && next && stop[-1] == '\n' ? 1 : 0;
        take(p, at[2], str_make(text, n));
        at = next;
    }
}

static void check_idle(struct play *p) {
    static const struct {
        const char *provider, *target;
        int max, queue;
    } all[] = {{"a", "a/m", 1, 1}, {"b", "b/m", 1024, 256}, {"c", "c/m", 1024, 256}};
    struct gateway *g = world_gateway(p->world);
    const struct worker *w = g->workers[0];
    struct transport_stats transfers;
    w->transport->ops->stats(w->transport, &transfers);
    must(!w->exchanges && !w->n_exchanges && !w->ready, "an exchange is left");
    must(!w->leftovers && transfers.active == 0, "a transfer is left");
    must(timers_next(&w->timers) == USEC_NEVER, "a timer is left");
    for (size_t i = 0; i < 3; i++) {
        struct slots_stats slots;
        struct target_facts facts;
        slots_stats(slots_get(g->state.slots, str_of(all[i].provider), all[i].max, all[i].queue),
                    &slots);
        targets_facts(g->state.targets, str_of(all[i].target), STR(""), &facts);
        must(slots.inflight == 0 && slots.queued == 0, "a slot is held");
        must(facts.inflight == 0, "a target has an attempt in flight");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct world *world;
    static int inputs;
    struct play p = {0};
    if (size > KIB(16)) {
        return 0;
    }
    if (!world || ++inputs > INPUTS_A_WORLD) {
        world_free(world);
        world = make_world();
        inputs = 0;
    }
    p.world = world;
    buf_init(&p.said, KIB(64));
    run(&p, str_make((const char *)data, size));
    pass(&p, USEC_NEVER);
    for (size_t i = 0; i < p.n_asked; i++) {
        leave(&p,
              &p.asked[i]); /* those whose request never became one, or whose provider is silent */
    }
    pass(&p, USEC_NEVER);
    for (size_t i = 0; i < p.n_asked; i++) {
        must(p.asked[i].ended, "a client's connection is left");
    }
    check_idle(&p);
    buf_release(&p.said);
    return 0;
}
