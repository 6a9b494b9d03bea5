/* SPDX-License-Identifier: MIT */
/*
 * Each step is a run of its own on the lane, whose coroutine comes from the lane's free list; what
 * stays between the steps (the request's context, the functions of a stream) stands in one table of
 * the registry.
 */
#include "policy/translate.h"

#include <stdlib.h>

#include "base/clock.h"
#include "policy/body.h"
#include "policy/lane.h"
#include "policy/policy_lua.h"
#include "policy/sandbox.h"

/* Places in the session's table. */
enum { CONTEXT = 1, SOURCE, ANSWER, HANDLE, FEED, FINISH, RAW };

/* How an emit function finds its translation; it may be kept longer than that lives. */
struct handle {
    struct translate *t; /* NULL: it has ended */
};

struct translate {
    struct lane *lane;
    char *client, *provider, *model, *id; /* owned */
    long long now;
    bool stream, list, strict;
    int session;                /* in the registry; 0: none yet */
    struct body_source *source; /* of the request, in the session */
    struct handle *handle;      /* in the session; NULL: no stream yet */
    size_t streamed;            /* bytes of the events so far: the end may repeat all they said */
    char dropped[MAX_DROPPED];
    /* Of the step under way. */
    struct str type, in;
    struct buf *out; /* NULL: none is */
    size_t whole;    /* bytes of it that are whole events */
    struct body_source *answer;
    enum translate_result result;
    struct err *err;
};

static char *copy(struct str s) {
    return str_dup(s.p ? s : STR(""));
}

struct translate *translate_new(struct lane *lane, const struct translate_order *o) {
    struct translate *t = calloc(1, sizeof(*t));
    if (!t) {
        return NULL;
    }
    t->lane = lane;
    lane_hold(lane);
    t->client = copy(o->client);
    t->provider = copy(o->provider);
    t->model = copy(o->model);
    t->id = copy(o->id);
    t->now = o->now;
    t->stream = o->stream;
    t->list = o->list;
    t->strict = o->strict;
    if (!t->client || !t->provider || !t->model || !t->id) {
        translate_free(t);
        return NULL;
    }
    return t;
}

void translate_free(struct translate *t) {
    if (!t) {
        return;
    }
    if (t->handle) {
        t->handle->t = NULL;
    }
    if (t->source) {
        t->source->alive = false;
    }
    if (t->session) {
        lane_drop_ref(t->lane, t->session);
    }
    lane_let_go(t->lane);
    free(t->client);
    free(t->provider);
    free(t->model);
    free(t->id);
    free(t);
}

const char *translate_dropped(const struct translate *t) {
    return t->dropped;
}

/* Pushes a function of lua/moongate/translate.lua. */
static void push_driver(lua_State *L, const char *name) {
    lua_pushcfunction(L, sandbox_require);
    lua_pushliteral(L, "moongate.translate");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

static bool is_loaded(const struct lane *lane, const char *dialect) {
    for (size_t i = 0; i < lane->n_dialects; i++) {
        if (strcmp(lane->dialects[i], dialect) == 0) {
            return true;
        }
    }
    return false;
}

/* The generation's own copy of the name lives as long as the lane. */
static void note_loaded(struct lane *lane, const char *dialect) {
    const struct dialect *d = generation_dialect(lane->gen, str_of(dialect));
    if (d && lane->n_dialects < MAX_DIALECTS && !is_loaded(lane, dialect)) {
        lane->dialects[lane->n_dialects++] = dialect_name(d);
    }
}

/* Protected: leaves the driver's `load`, and the name. */
static int push_load(lua_State *L) {
    const char *dialect = box_arg(L);
    push_driver(L, "load");
    lua_pushstring(L, dialect);
    return 2;
}

static int load_dialect(struct lane *lane, const char *dialect, struct err *err) {
    if (is_loaded(lane, dialect)) {
        return 0;
    }
    if (box_protect(lane->box, push_load, (void *)(size_t)dialect, 0, 2, err) != BOX_OK ||
        box_call(lane->box, 1, 0, err) != BOX_OK) {
        return -1;
    }
    note_loaded(lane, dialect);
    return 0;
}

int lane_load_dialects(struct lane *lane, struct err *err) {
    const struct config *c = lane->gen->config;
    const char *first = c->n_providers ? c->providers[0].dialect : NULL;
    bool several = false;
    for (size_t i = 0; i < c->n_providers; i++) {
        several |= strcmp(c->providers[i].dialect, first) != 0;
    }
    for (size_t i = 0; i < c->n_routes; i++) {
        const char *named = c->routes[i].dialect;
        several |= named && first && strcmp(named, first) != 0;
    }
    int status = 0;
    for (size_t i = 0; several && status == 0 && i < c->n_providers; i++) {
        status = load_dialect(lane, c->providers[i].dialect, err);
    }
    for (size_t i = 0; several && status == 0 && i < c->n_routes; i++) {
        status = c->routes[i].dialect ? load_dialect(lane, c->routes[i].dialect, err) : 0;
    }
    return status;
}

static void push_session(lua_State *L, const struct translate *t, int place) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->session);
    lua_rawgeti(L, -1, place);
    lua_remove(L, -2);
}

/* Takes the value on top of the stack into the session. */
static void keep(lua_State *L, const struct translate *t, int place) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->session);
    lua_insert(L, -2);
    lua_rawseti(L, -2, place);
    lua_pop(L, 1);
}

static void set_text(lua_State *L, const char *name, const char *value) {
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

static void push_context(lua_State *L, const struct translate *t) {
    lua_createtable(L, 0, 12);
    set_text(L, "client", t->client);
    set_text(L, "provider", t->provider);
    set_text(L, "id", t->id);
    if (t->model[0]) {
        set_text(L, "model", t->model);
    }
    lua_pushinteger(L, t->now);
    lua_setfield(L, -2, "now");
    lua_pushboolean(L, t->stream);
    lua_setfield(L, -2, "stream");
    lua_pushboolean(L, t->list);
    lua_setfield(L, -2, "list");
    lua_pushboolean(L, t->strict);
    lua_setfield(L, -2, "strict");
}

static void open_session(lua_State *L, struct translate *t) {
    lua_createtable(L, 8, 0);
    t->session = policy_ref(L);
    push_context(L, t);
    keep(L, t, CONTEXT);
}

/* (from, to, source, context) */
static int push_request(lua_State *L, void *request) {
    struct translate *t = request;
    open_session(L, t);
    t->source = body_push_source(L, t->in, true);
    keep(L, t, SOURCE);
    push_driver(L, "from_request");
    lua_pushstring(L, t->client);
    lua_pushstring(L, t->provider);
    push_session(L, t, SOURCE);
    push_session(L, t, CONTEXT);
    return 4;
}

static int push_answer(lua_State *L, void *request) {
    struct translate *t = request;
    push_driver(L, "from_answer");
    lua_pushstring(L, t->provider);
    lua_pushstring(L, t->client);
    t->answer = body_push_source(L, t->in, false);
    lua_pushvalue(L, -1);
    keep(L, t, ANSWER);
    push_session(L, t, CONTEXT);
    return 4;
}

/* Results: a body, or nil and why not. */
static void take_body(lua_State *L, int n, struct translate *t) {
    int first = lua_gettop(L) - n + 1;
    if (n > 0 && !lua_isnil(L, first)) {
        body_encode(L, first, t->out);
        t->result = TRANSLATE_OK;
        return;
    }
    const char *why = n > 1 && lua_type(L, first + 1) == LUA_TSTRING ? lua_tostring(L, first + 1)
                                                                     : "it cannot be translated";
    err_set(t->err, "%s", why);
    t->result = TRANSLATE_REFUSED;
}

/* The names that were dropped: texts of our own making or of a client's fields, so all that could
 * break a header's line goes. */
static void take_dropped(lua_State *L, struct translate *t) {
    struct buf names;
    buf_over(&names, t->dropped, sizeof(t->dropped) - 1);
    push_session(L, t, CONTEXT);
    lua_getfield(L, -1, "dropped");
    size_t n = lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;
    for (size_t i = 1; i <= n; i++) {
        size_t before = names.len;
        lua_rawgeti(L, -1, (lua_Integer)i);
        struct str name = {lua_tostring(L, -1), lua_rawlen(L, -1)};
        bool text = lua_type(L, -1) == LUA_TSTRING && name.n <= 128;
        for (size_t k = 0; text && k < name.n; k++) {
            text = name.p[k] > ' ' && name.p[k] < 127 && name.p[k] != ',';
        }
        name = text ? name : STR("(a name that cannot be shown)");
        if ((before && buf_addc(&names, ',')) || buf_add_str(&names, name)) {
            buf_truncate(&names, before); /* no room for more */
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
}

static int take_request(lua_State *L, int n, void *request, struct err *err) {
    (void)err;
    take_dropped(L, request);
    take_body(L, n, request);
    return 0;
}

static int take_answer(lua_State *L, int n, void *request, struct err *err) {
    (void)err;
    take_body(L, n, request);
    return 0;
}

static void check_full(lua_State *L, int rc) {
    if (rc != BUF_OK) {
        luaL_error(L, "an event of the translated stream is too long");
    }
}

/* emit(type or nil, data) */
static int emit(lua_State *L) {
    const struct handle *h = lua_touserdata(L, lua_upvalueindex(1));
    struct buf *out = h->t ? h->t->out : NULL;
    struct str text = {NULL, 0};
    if (!out) {
        return luaL_error(L, "emit may only be called while an event is translated");
    }
    buf_truncate(out, h->t->whole); /* of an event that failed and was caught */
    if (!lua_isnoneornil(L, 1)) {
        text.p = luaL_checklstring(L, 1, &text.n);
        luaL_argcheck(
            L, text.n <= 128 && !memchr(text.p, '\n', text.n) && !memchr(text.p, '\r', text.n), 1,
            "an event's type is one short line");
        check_full(L, buf_adds(out, "event: ") | buf_add_str(out, text) | buf_addc(out, '\n'));
    }
    check_full(L, buf_adds(out, "data: "));
    size_t from = out->len;
    if (lua_type(L, 2) == LUA_TSTRING) {
        text.p = lua_tolstring(L, 2, &text.n);
        check_full(L, buf_add_str(out, text));
    } else {
        luaL_checktype(L, 2, LUA_TTABLE);
        body_encode(L, 2, out);
    }
    buf_unfold(out, from); /* raw JSON may have been written over several lines */
    check_full(L, buf_adds(out, "\n\n"));
    h->t->whole = out->len;
    return 0;
}

/* (from, to, context, emit, most) */
static int push_open(lua_State *L, void *request) {
    struct translate *t = request;
    struct handle *h = lua_newuserdatauv(L, sizeof(*h), 0);
    h->t = t;
    keep(L, t, HANDLE);
    t->handle = h;
    push_driver(L, "open_stream");
    lua_pushstring(L, t->provider);
    lua_pushstring(L, t->client);
    push_session(L, t, CONTEXT);
    push_session(L, t, HANDLE);
    lua_pushcclosure(L, emit, 1);
    lua_pushinteger(L, MAX_TRANSLATED_STREAM);
    return 5;
}

/* feed, finish, the set of raw fields */
static int take_open(lua_State *L, int n, void *request, struct err *err) {
    struct translate *t = request;
    if (n != 3) {
        return err_set(err, "moongate.translate gave %d values for a stream, 3 are expected", n);
    }
    keep(L, t, RAW);
    keep(L, t, FINISH);
    keep(L, t, FEED);
    t->result = TRANSLATE_OK;
    return 0;
}

/* The data is copied into Lua: what of it is kept for later events keeps it alive. */
static int push_event(lua_State *L, void *request) {
    struct translate *t = request;
    push_session(L, t, FEED);
    lua_pushlstring(L, t->type.p ? t->type.p : "", t->type.n);
    push_session(L, t, RAW);
    lua_pushlstring(L, t->in.p ? t->in.p : "", t->in.n);
    body_decode(L, -1, lua_gettop(L) - 1, BODY_LONG);
    lua_replace(L, -3);
    lua_pop(L, 1);
    return 2;
}

static int take_event(lua_State *L, int n, void *request, struct err *err) {
    struct translate *t = request;
    (void)err;
    bool limit = n > 0 && lua_toboolean(L, -n);
    t->result = limit ? TRANSLATE_LIMIT : TRANSLATE_OK;
    if (limit) {
        err_set(t->err, "the stream says more than %zu bytes", MAX_TRANSLATED_STREAM);
    }
    return 0;
}

static int push_finish(lua_State *L, void *request) {
    push_session(L, request, FINISH);
    return 0;
}

static int take_finish(lua_State *L, int n, void *request, struct err *err) {
    struct translate *t = request;
    (void)L;
    (void)n;
    (void)err;
    t->result = TRANSLATE_OK;
    return 0;
}

/* For what is read now, and for what a stream's earlier events said: any may be the one that
 * repeats it all. */
static usec allowance(usec base, size_t now, size_t before) {
    size_t repeated = before < MAX_TRANSLATED_STREAM ? before : MAX_TRANSLATED_STREAM;
    usec sum = base + (usec)((now + repeated) / 1024) * TRANSLATE_CPU_PER_KIB;
    return sum < TRANSLATE_CPU_MAX ? sum : TRANSLATE_CPU_MAX;
}

/* Failures of a file that fails at every event are told now and then, and counted. */
static void log_failure(struct translate *t, const char *what, const struct err *err) {
    struct lane *lane = t->lane;
    const struct log *log = lane->gen->env->log;
    usec now = clock_now();
    if (lane->failure_logged && now < lane->failure_logged + TRANSLATE_LOG_PERIOD) {
        lane->failures_unlogged++;
        return;
    }
    if (log) {
        log_error(log,
                  "translating %s between %s (client) and %s (provider) failed (generation %u, %lu "
                  "more since the last such line): %s request=%s",
                  what, t->client, t->provider, lane->gen->id, lane->failures_unlogged, err->text,
                  t->id);
    }
    lane->failure_logged = now;
    lane->failures_unlogged = 0;
}

struct step {
    const struct run_entry entry;
    const char *what;
    usec cpu;
};

static enum translate_result run(struct translate *t, const struct step *step, struct buf *out,
                                 struct err *err) {
    struct run *r = run_new(t->lane, &step->entry, t);
    enum run_status status = RUN_NOMEM;
    t->out = out;
    t->whole = out->len;
    t->err = err;
    t->answer = NULL;
    t->result = TRANSLATE_FAILED;
    err->text[0] = '\0';
    if (r) {
        struct err failed;
        run_allow(r, allowance(step->cpu, t->in.n, t->streamed));
        status = run_step(r, &failed);
        if (status == RUN_WAITING) {
            err_set(&failed, "a function that waits was called in a dialect");
        }
        if (status != RUN_DONE) {
            *err = failed;
        }
        run_free(r);
    } else {
        err_set(err, "not enough memory");
    }
    if (t->answer) {
        t->answer->alive = false;
    }
    t->out = NULL;
    if (status != RUN_DONE) {
        t->result = TRANSLATE_FAILED;
        buf_truncate(out, t->whole);
        log_failure(t, step->what, err);
    }
    return t->result;
}

/* The first translation of its kind in a lane may have to load the functions: as a load, not as a
 * request. */
static int push_both(lua_State *L, void *request) {
    const struct translate *t = request;
    push_driver(L, "load_both");
    lua_pushstring(L, t->client);
    lua_pushstring(L, t->provider);
    return 2;
}

static int take_both(lua_State *L, int n, void *request, struct err *err) {
    struct translate *t = request;
    (void)L;
    (void)n;
    (void)err;
    note_loaded(t->lane, t->client);
    note_loaded(t->lane, t->provider);
    t->result = TRANSLATE_OK;
    return 0;
}

static enum translate_result load_both(struct translate *t, struct buf *out, struct err *err) {
    static const struct step step = {{push_both, take_both, true}, "a request", LUA_LOAD_CPU};
    t->in = str_make(NULL, 0);
    bool loaded = is_loaded(t->lane, t->client) && is_loaded(t->lane, t->provider);
    return loaded ? TRANSLATE_OK : run(t, &step, out, err);
}

enum translate_result translate_request(struct translate *t, struct str body, struct buf *out,
                                        struct err *err) {
    static const struct step step = {
        {push_request, take_request, true}, "a request", TRANSLATE_CPU};
    if (load_both(t, out, err) != TRANSLATE_OK) {
        return TRANSLATE_FAILED;
    }
    t->in = body;
    enum translate_result result = run(t, &step, out, err);
    if (result != TRANSLATE_OK) {
        buf_clear(out);
    }
    return result;
}

enum translate_result translate_answer(struct translate *t, struct str body, struct buf *out,
                                       struct err *err) {
    static const struct step step = {{push_answer, take_answer, true}, "an answer", TRANSLATE_CPU};
    t->in = body;
    enum translate_result result = run(t, &step, out, err);
    if (result != TRANSLATE_OK) {
        buf_clear(out);
    }
    return result;
}

/* The stream's functions, made with its first event. */
static enum translate_result open_stream(struct translate *t, struct buf *out, struct err *err) {
    static const struct step step = {{push_open, take_open, true}, "a stream", TRANSLATE_CPU};
    t->in = str_make(NULL, 0);
    return t->handle ? TRANSLATE_OK : run(t, &step, out, err);
}

enum translate_result translate_event(struct translate *t, struct str type, struct str data,
                                      struct buf *out, struct err *err) {
    static const struct step step = {
        {push_event, take_event, true}, "an event", TRANSLATE_EVENT_CPU};
    enum translate_result result = open_stream(t, out, err);
    if (result != TRANSLATE_OK) {
        return result;
    }
    t->type = type;
    t->in = data;
    result = run(t, &step, out, err);
    t->streamed += data.n;
    return result;
}

enum translate_result translate_finish(struct translate *t, struct buf *out, struct err *err) {
    static const struct step step = {
        {push_finish, take_finish, true}, "the end of a stream", TRANSLATE_CPU};
    enum translate_result result = open_stream(t, out, err);
    t->in = str_make(NULL, 0);
    return result == TRANSLATE_OK ? run(t, &step, out, err) : result;
}
