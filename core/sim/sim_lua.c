/* SPDX-License-Identifier: MIT */
/*
 * The module moongate.sim_core: worlds for tests. Every method checks its arguments first, then
 * calls the world, in which no Lua of this state runs, then pushes what came of it; so an error
 * here never leaves a gateway in the middle of something.
 */
#include "sim/sim_lua.h"

#include <math.h>

#include "bind/bind_lua.h"

#define SIM_WALL 1700000000 /* when a world begins that does not say: a moment like any other */

/* ---- the userdata ---- */

struct world_box *sim_check_world(lua_State *L) {
    struct world_box *box = luaL_checkudata(L, 1, WORLD_CLASS);
    if (!box->world) {
        luaL_error(L, "this world is closed");
    }
    return box;
}

static void drop_event(struct world_box *box) {
    world_event_free(box->event);
    box->event = NULL;
}

static int w_close(lua_State *L) {
    struct world_box *box = luaL_checkudata(L, 1, WORLD_CLASS);
    drop_event(box);
    if (box->world) {
        box->sim->n_worlds--;
        world_free(box->world);
        box->world = NULL;
    }
    return 0;
}

static struct sim *sim_of(lua_State *L) {
    return policy_host(L);
}

/* ---- configuration texts ---- */

/* Pushes "file:line: message". */
static void push_diag(lua_State *L, const struct diag *d) {
    char place[256];
    snprintf(place, sizeof(place), d->line ? "%s:%d: " : "%s: ", d->file, d->line);
    lua_pushstring(L, place);
    lua_pushstring(L, d->message);
    lua_concat(L, 2);
}

#define DIAGS_CLASS "moongate.diags"

static int diags_gc(lua_State *L) {
    diags_release(lua_touserdata(L, 1));
    return 0;
}

static struct diags *push_diags(lua_State *L) {
    struct diags *d = lua_newuserdatauv(L, sizeof(*d), 0);
    diags_init(d);
    bind_set_gc(L, DIAGS_CLASS, diags_gc);
    return d;
}

/* Pushes the list of the errors, or of the warnings. */
static void push_list(lua_State *L, const struct diags *d, bool warnings) {
    lua_Integer n = 0;
    lua_newtable(L);
    for (size_t i = 0; i < d->n; i++) {
        if (d->list[i].warning == warnings) {
            push_diag(L, &d->list[i]);
            lua_rawseti(L, -2, ++n);
        }
    }
}

/* Raises with all errors, a line each. */
static int raise_all(lua_State *L, const struct diags *d) {
    int top = lua_gettop(L);
    luaL_checkstack(L, (int)d->n + 8, "diagnostics");
    for (size_t i = 0; i < d->n; i++) {
        if (!d->list[i].warning) {
            lua_pushstring(L, lua_gettop(L) > top ? "\n" : "");
            push_diag(L, &d->list[i]);
            lua_concat(L, 2);
        }
    }
    if (lua_gettop(L) == top) {
        lua_pushliteral(L, "not enough memory");
    }
    lua_concat(L, lua_gettop(L) - top);
    return lua_error(L);
}

/* The table at `index` (or nil) as a list of files, whose texts stay the table's. Pushes what holds
 * the list. */
static struct snapshot_text *read_files(lua_State *L, int index, size_t *n) {
    *n = 0;
    if (lua_isnil(L, index)) {
        return NULL;
    }
    bind_push_table(L, index, "files");
    int table = lua_gettop(L);
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING) {
            luaL_error(L, "files: a table of names and texts is expected");
        }
        count++;
    }
    if (count > MAX_SNAPSHOT_FILES) {
        luaL_error(L, "files: at most %d may be given", MAX_SNAPSHOT_FILES);
    }
    struct snapshot_text *list = lua_newuserdatauv(L, (count + 1) * sizeof(*list), 0);
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        struct snapshot_text *f = &list[(*n)++];
        f->name.p = lua_tolstring(L, -2, &f->name.n);
        f->text.p = lua_tolstring(L, -1, &f->text.n);
    }
    return list;
}

/* ---- core ---- */

static void check_room(lua_State *L, const struct sim *sim) {
    if (sim->n_worlds >= MAX_SIM_WORLDS) {
        lua_gc(L, LUA_GCCOLLECT);
    }
    if (sim->n_worlds >= MAX_SIM_WORLDS) {
        luaL_error(L, "%d worlds are alive, no more may be: let go of some (world:close())",
                   MAX_SIM_WORLDS);
    }
}

static struct world_box *push_box(lua_State *L, struct sim *sim) {
    struct world_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
    *box = (struct world_box){.sim = sim};
    luaL_setmetatable(L, WORLD_CLASS);
    return box;
}

static void read_options(lua_State *L, struct world_options *o) {
    bind_push_table(L, 1, "world");
    int table = lua_gettop(L);
    if (sim_field(L, table, "config", LUA_TSTRING) == LUA_TNIL) {
        luaL_error(L, "world: config, the text of a gateway.lua, is missing");
    }
    o->config.p = lua_tolstring(L, -1, &o->config.n);
    lua_getfield(L, table, "files");
    o->files = read_files(L, lua_gettop(L), &o->n_files);
    sim_field(L, table, "seed", LUA_TNUMBER);
    o->seed = (uint64_t)luaL_optinteger(L, -1, 1);
    sim_field(L, table, "wall", LUA_TNUMBER);
    double wall = luaL_optnumber(L, -1, SIM_WALL);
    if (!(wall >= 0 && wall < 1e11)) {
        luaL_error(L, "world: wall: seconds since the epoch are expected");
    }
    o->wall = (usec)(wall * USEC_PER_SEC);
    lua_getfield(L, table, "explain");
    o->explain = lua_toboolean(L, -1);
    lua_getfield(L, table, "brief");
    o->brief = lua_toboolean(L, -1);
}

/* core.world{…} -> world, warnings */
static int core_world(lua_State *L) {
    struct sim *sim = sim_of(L);
    struct world_options o = {.snapshot = sim->options->snapshot, .dialects = &sim->dialects};
    lua_settop(L, 1);
    luaL_checkstack(L, 16, "world");
    read_options(L, &o);
    check_room(L, sim);
    struct diags *diags = push_diags(L);
    struct world_box *box = push_box(L, sim);
    int at = lua_gettop(L);
    box->world = world_new(&o, diags);
    if (!box->world) {
        return raise_all(L, diags);
    }
    sim->n_worlds++;
    push_list(L, diags, true);
    lua_pushvalue(L, at);
    lua_insert(L, -2);
    return 2;
}

static int core_now(lua_State *L) {
    lua_pushnumber(L, usec_to_seconds(clock_steady()));
    return 1;
}

static int core_print(lua_State *L) {
    const struct sim_run_options *o = sim_of(L)->options;
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    if (o->print) {
        o->print(o->ctx, text, n);
    }
    return 0;
}

/* core.progress(text): how far a long run has come */
static int core_progress(lua_State *L) {
    const struct sim_run_options *o = sim_of(L)->options;
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    if (o->progress) {
        o->progress(o->ctx, text, n);
    }
    return 0;
}

/* core.tests() -> the names of the snapshot's tests */
static int core_tests(lua_State *L) {
    const struct snapshot *s = sim_of(L)->options->snapshot;
    lua_newtable(L);
    for (size_t i = 0; i < snapshot_test_count(s); i++) {
        lua_pushstring(L, snapshot_test_at(s, i)->name);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static const struct snapshot_file *find_file(const struct snapshot *s, const char *name) {
    const struct snapshot_file *f = snapshot_test_find(s, name);
    return f ? f : snapshot_find(s, name);
}

/* core.load(name) -> the chunk of a test or other file of the snapshot, as a function; raises when
 * there is none or it cannot be read as Lua */
static int core_load(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    const struct snapshot_file *f = find_file(sim_of(L)->options->snapshot, name);
    if (!f) {
        return luaL_error(L, "there is no file \"%s\" in this load", name);
    }
    lua_pushfstring(L, "@%s", name); /* as it was asked for, which is what a person typed */
    if (luaL_loadbufferx(L, f->text, f->len, lua_tostring(L, -1), "t") != LUA_OK) {
        return lua_error(L);
    }
    return 1;
}

/* core.call(fn) -> true; or false, error. With the time of one case. */
static int core_call(lua_State *L) {
    usec cpu = sim_of(L)->options->case_cpu;
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    return policy_call_within(L, cpu ? cpu : SIM_CASE_CPU, "in one test");
}

/* core.text(name) -> the text of a file of the snapshot, or nil ("gateway.lua", "policies/x.lua")
 */
static int core_text(lua_State *L) {
    const struct snapshot_file *f = find_file(sim_of(L)->options->snapshot, luaL_checkstring(L, 1));
    bind_push_str(L, f ? str_make(f->text, f->len) : str_of(NULL));
    return 1;
}

/* core.decode(text[, path]) -> value, nil when it is no JSON or there is nothing */
static int core_decode(lua_State *L) {
    struct str text;
    text.p = luaL_checklstring(L, 1, &text.n);
    bind_push_path(L, text, luaL_optstring(L, 2, ""));
    return 1;
}

/* ---- a world's clients ---- */

static void must_add(lua_State *L, int result) {
    if (result != BUF_OK) {
        luaL_error(L, "the request is larger than %d bytes", (int)MAX_SIM_REQUEST);
    }
}

static bool plain(struct str s) {
    return !memchr(s.p, '\r', s.n) && !memchr(s.p, '\n', s.n);
}

/* Text of the field, or `otherwise`; leaves it on the stack. */
static struct str text_field(lua_State *L, int table, const char *name, const char *otherwise) {
    struct str s;
    sim_field(L, table, name, LUA_TSTRING);
    s.p = luaL_optlstring(L, -1, otherwise, &s.n);
    return s;
}

/* The headers table on top, by name: every run is the same. Says which of the usual ones were
 * given. */
static void add_headers(lua_State *L, struct buf *out, bool *host, bool *type) {
    const char *names[MAX_HEADERS];
    bind_push_table(L, -1, "headers");
    int table = lua_gettop(L);
    size_t n = bind_sorted_names(L, "headers", names, MAX_HEADERS);
    for (size_t i = 0; i < n; i++) {
        struct str name = str_of(names[i]), value;
        lua_pushstring(L, names[i]);
        if (lua_rawget(L, table) != LUA_TSTRING) {
            luaL_error(L, "headers: \"%s\" is no text", names[i]);
        }
        value.p = lua_tolstring(L, -1, &value.n);
        if (!plain(name) || !plain(value)) {
            luaL_error(L, "headers: \"%s\" holds a line end", names[i]);
        }
        *host = *host || str_case_is(name, "host");
        *type = *type || str_case_is(name, "content-type");
        must_add(L, buf_add_str(out, name) | buf_adds(out, ": ") | buf_add_str(out, value) |
                        buf_adds(out, "\r\n"));
        lua_pop(L, 1);
    }
}

static void write_request(lua_State *L, int table, struct buf *out) {
    bool host = false, type = false;
    struct str method = text_field(L, table, "method", "POST");
    struct str path = text_field(L, table, "path", "/v1/chat/completions");
    struct str body = text_field(L, table, "body", "");
    if (!plain(method) || !plain(path)) {
        luaL_error(L, "method and path hold no line end");
    }
    must_add(L, buf_add_str(out, method) | buf_addc(out, ' ') | buf_add_str(out, path) |
                    buf_adds(out, " HTTP/1.1\r\n"));
    if (lua_getfield(L, table, "headers") != LUA_TNIL) {
        add_headers(L, out, &host, &type);
    }
    must_add(L, host ? BUF_OK : buf_adds(out, "host: gateway\r\n"));
    must_add(L, type || !body.n ? BUF_OK : buf_adds(out, "content-type: application/json\r\n"));
    must_add(L, body.n || str_is(method, "POST") ? buf_addf(out, "content-length: %zu\r\n", body.n)
                                                 : BUF_OK);
    must_add(L, buf_adds(out, "\r\n") | buf_add_str(out, body));
}

/* Pushes the text of the request that the table at `index` describes. */
static void push_request(lua_State *L, int index, const char *what) {
    luaL_checkstack(L, 24, what);
    bind_push_table(L, index, what);
    int table = lua_gettop(L);
    struct buf *out = bind_push_buf(L, MAX_SIM_REQUEST);
    write_request(L, table, out);
    lua_pushlstring(L, out->data, out->len);
    buf_release(out);
}

/* core.http{ method =, path =, headers =, body = } -> the request's text, to be started often */
static int core_http(lua_State *L) {
    lua_settop(L, 1);
    push_request(L, 1, "http");
    return 1;
}

/* world:start(request) -> id. A table as for core.http, or its text. */
static int w_start(lua_State *L) {
    struct world_box *box = sim_check_world(L);
    struct err err;
    struct str http;
    lua_settop(L, 2);
    if (lua_type(L, 2) != LUA_TSTRING) {
        push_request(L, 2, "start");
    }
    http.p = lua_tolstring(L, -1, &http.n);
    unsigned long id = world_start(box->world, http, &err);
    if (!id) {
        return luaL_error(L, "start: %s", err.text);
    }
    lua_pushinteger(L, (lua_Integer)id);
    return 1;
}

static int w_leave(lua_State *L) {
    struct world_box *box = sim_check_world(L);
    world_leave(box->world, (unsigned long)luaL_checkinteger(L, 2));
    return 0;
}

/* Fills box->event; false when `until`, at index 2, was reached without one. */
static bool run(lua_State *L, struct world_box *box, const char *what) {
    usec until = bind_check_seconds(L, 2, what);
    until = isinf(lua_tonumber(L, 2)) ? USEC_NEVER : until;
    drop_event(box);
    enum world_turn turn = world_run(box->world, until, &box->event);
    while (turn == WORLD_GOES_ON) {
        policy_charge(L, MAX_SIM_TURNS);
        turn = world_run(box->world, until, &box->event);
    }
    return turn == WORLD_EVENT;
}

/* world:run(until) -> event or nil */
static int w_run(lua_State *L) {
    struct world_box *box = sim_check_world(L);
    if (!run(L, box, "run")) {
        lua_pushnil(L);
        return 1;
    }
    sim_push_event(L, box->event);
    drop_event(box);
    return 1;
}

/*
 * world:next(until) -> nil, or what happened in a brief world:
 *   "sent", at, transfer, request, provider, target
 *   "cancelled", at, transfer
 *   "ended", at, request, good, attempts, provider or nil, first_token or nil
 */
static int w_next(lua_State *L) {
    struct world_box *box = sim_check_world(L);
    if (!run(L, box, "next")) {
        lua_pushnil(L);
        return 1;
    }
    int n = sim_push_brief(L, box->event);
    drop_event(box);
    return n;
}

static int w_now(lua_State *L) {
    lua_pushnumber(L, usec_to_seconds(world_now(sim_check_world(L)->world)));
    return 1;
}

/* ---- another configuration ---- */

/* world:reload(config[, files]) -> id, warnings; or nil, errors */
static int w_reload(lua_State *L) {
    struct world_box *box = sim_check_world(L);
    size_t n_files;
    lua_settop(L, 3);
    luaL_checkstack(L, 16, "reload");
    struct str config = bind_check_str(L, 2, MAX_CONFIG_FILE);
    struct snapshot_text *files = read_files(L, 3, &n_files);
    struct diags *diags = push_diags(L);
    unsigned id = world_reload(box->world, config, files, n_files, diags);
    if (id) {
        lua_pushinteger(L, id);
    } else {
        lua_pushnil(L);
    }
    push_list(L, diags, id != 0);
    return 2;
}

static const luaL_Reg METHODS[] = {{"start", w_start},       {"leave", w_leave},
                                   {"run", w_run},           {"next", w_next},
                                   {"play", sim_play},       {"now", w_now},
                                   {"suspend", sim_suspend}, {"resume", sim_resume},
                                   {"facts", sim_facts},     {"probe", sim_probe},
                                   {"store", sim_store},     {"set", sim_set},
                                   {"metrics", sim_metrics}, {"log", sim_log},
                                   {"reload", w_reload},     {"close", w_close},
                                   {"routes", sim_routes},   {"providers", sim_providers},
                                   {"secret", sim_secret},   {NULL, NULL}};

int sim_open_core(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"world", core_world},      {"http", core_http},         {"now", core_now},
        {"print", core_print},      {"progress", core_progress}, {"tests", core_tests},
        {"load", core_load},        {"call", core_call},         {"text", core_text},
        {"encode", bind_json_text}, {"decode", core_decode},     {NULL, NULL}};
    sim_open_events(L);
    bind_class(L, WORLD_CLASS, METHODS, NULL, NULL, w_close);
    luaL_newlib(L, functions);
    return 1;
}
