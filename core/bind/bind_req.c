/* SPDX-License-Identifier: MIT */
/* The request as its policy sees it. Uservalue 1 of its userdata: ctx; 2 and 3: its attempts'
 * handles, see bind_attempt.c. */
#include <math.h>

#include "bind/bind_lua.h"

static const char CLASS[] = "moongate.request";

enum {
    F_ID,
    F_METHOD,
    F_PATH,
    F_MODEL,
    F_STREAM,
    F_KEY,
    F_ENVIRONMENT,
    F_BODY_SIZE,
    F_ELAPSED,
    F_REMAINING,
    F_ATTEMPTS,
    F_CTX,
    F_EXPLAINING
};

static const struct bind_field FIELDS[] = {{"id", F_ID},
                                           {"method", F_METHOD},
                                           {"path", F_PATH},
                                           {"model", F_MODEL},
                                           {"stream", F_STREAM},
                                           {"key", F_KEY},
                                           {"environment", F_ENVIRONMENT},
                                           {"body_size", F_BODY_SIZE},
                                           {"elapsed", F_ELAPSED},
                                           {"remaining", F_REMAINING},
                                           {"attempts", F_ATTEMPTS},
                                           {"ctx", F_CTX},
                                           {"explaining", F_EXPLAINING},
                                           {NULL, 0}};

struct exchange *bind_check_req(lua_State *L, int arg) {
    struct req_box *box = bind_test_box(L, arg, CLASS);
    if (!box) {
        luaL_checkudata(L, arg, CLASS); /* raises in Lua's own words */
        return NULL;
    }
    if (!bind_is_live(L, box) || box->x->state == EXCHANGE_LOCAL) {
        luaL_error(L, "this request is over: its handle must not be kept");
    }
    return box->x;
}

static int push_ctx(lua_State *L) {
    if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, 1, 1);
    }
    return 1;
}

static int get_field(lua_State *L, int id) {
    struct exchange *x = bind_check_req(L, 1);
    switch (id) {
    case F_ID:
        lua_pushstring(L, x->id);
        break;
    case F_METHOD:
        bind_push_str(L, x->request->method);
        break;
    case F_PATH:
        bind_push_str(L, x->request->path);
        break;
    case F_MODEL:
        bind_push_str(L, str_of(x->model));
        break;
    case F_STREAM:
        lua_pushboolean(L, x->stream);
        break;
    case F_KEY:
        bind_push_str(L, str_of(x->key ? x->key->name : NULL));
        break;
    case F_ENVIRONMENT:
        lua_pushstring(L, x->key ? x->key->environment : "production");
        break;
    case F_BODY_SIZE:
        lua_pushinteger(L, (lua_Integer)x->request->body.len);
        break;
    case F_ELAPSED:
        lua_pushnumber(L, usec_to_seconds(clock_now() - x->request->started));
        break;
    case F_REMAINING:
        lua_pushnumber(L, x->deadline_set ? usec_to_seconds(exchange_remaining(x)) : HUGE_VAL);
        break;
    case F_ATTEMPTS:
        return bind_push_attempts(L, x);
    case F_CTX:
        return push_ctx(L);
    case F_EXPLAINING:
        lua_pushboolean(L, exchange_explaining(x));
        break;
    }
    return 1;
}

static int req_header(lua_State *L) {
    struct exchange *x = bind_check_req(L, 1);
    struct str value = {NULL, 0};
    headers_get(&x->request->headers, luaL_checkstring(L, 2), &value);
    bind_push_str(L, value);
    return 1;
}

static int req_json(lua_State *L) {
    struct exchange *x = bind_check_req(L, 1);
    const char *path = luaL_checkstring(L, 2);
    if (!x->json) {
        lua_pushnil(L);
        return 1;
    }
    bind_push_path(L, buf_str(&x->request->body), path);
    return 1;
}

/* Starts an attempt and leaves its handle on the stack. */
static struct attempt *start(lua_State *L) {
    struct exchange *x = bind_check_req(L, 1);
    struct send_options o;
    struct err err;
    memset(&o, 0, offsetof(struct send_options, headers));
    o.target = bind_check_str(L, 2, MAX_TARGET_NAME);
    bind_read_options(L, 3, &o);
    luaL_checkstack(L, 8, "send");
    struct attempt *a = exchange_send(x, &o, &err);
    if (!a) {
        luaL_error(L, "%s", err.text);
    }
    bind_push_attempt(L, 1, a);
    return a;
}

static int req_start(lua_State *L) {
    lua_settop(L, 3);
    start(L);
    return 1;
}

static int send_done(lua_State *L, int status, lua_KContext n) {
    (void)status;
    struct exchange *x = bind_check_req(L, 1);
    struct attempt *a = x->attempts[n - 1];
    a->seen = true;
    bind_push_attempt(L, 1, a);
    return 1;
}

static int req_send(lua_State *L) {
    lua_settop(L, 3);
    struct attempt *a = start(L);
    lua_KContext n = (lua_KContext)a->n;
    if (exchange_wait(a->x, (struct wait){WAIT_ATTEMPT, a, USEC_NEVER})) {
        return lua_yieldk(L, 0, n, send_done);
    }
    return send_done(L, LUA_OK, n);
}

static int wait_done(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    struct exchange *x = bind_check_req(L, 1);
    for (size_t i = 0; i < x->n_attempts; i++) {
        struct attempt *a = x->attempts[i];
        if (a->known && !a->seen) {
            a->seen = true;
            bind_push_attempt(L, 1, a);
            return 1;
        }
    }
    lua_pushnil(L);
    return 1;
}

/* req:wait([seconds]): the next attempt of those started whose outcome is known, or nil when the
 * time is up. */
static int req_wait(lua_State *L) {
    struct exchange *x = bind_check_req(L, 1);
    usec limit = lua_isnoneornil(L, 2) ? USEC_NEVER : bind_check_seconds(L, 2, "wait");
    usec until = limit == USEC_NEVER ? USEC_NEVER : clock_now() + limit;
    if (exchange_wait(x, (struct wait){WAIT_ANY, NULL, until})) {
        return lua_yieldk(L, 0, 0, wait_done);
    }
    return wait_done(L, LUA_OK, 0);
}

static int sleep_done(lua_State *L, int status, lua_KContext ctx) {
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

static int req_sleep(lua_State *L) {
    struct exchange *x = bind_check_req(L, 1);
    usec until = clock_now() + bind_check_seconds(L, 2, "sleep");
    if (exchange_wait(x, (struct wait){WAIT_SLEEP, NULL, until})) {
        return lua_yieldk(L, 0, 0, sleep_done);
    }
    return 0;
}

static int req_name(lua_State *L) {
    struct exchange *x = bind_check_req(L, 1);
    struct target_name target = target_split(bind_check_str(L, 2, MAX_TARGET_NAME));
    lua_settop(L, 2);
    if (!target.model.p && !target.key.p && x->model) {
        lua_pushliteral(L, "/");
        lua_pushstring(L, x->model);
        lua_concat(L, 3);
    }
    return 1;
}

static int req_deadline(lua_State *L) {
    struct exchange *x = bind_check_req(L, 1);
    exchange_set_deadline(x, bind_check_seconds(L, 2, "deadline"));
    return 0;
}

static int req_note(lua_State *L) {
    struct exchange *x = bind_check_req(L, 1);
    struct str text;
    text.p = luaL_checklstring(L, 2, &text.n);
    exchange_note(x, text);
    return 0;
}

static int race_done(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    return lua_gettop(L) - 3; /* below: req, list, options */
}

/* Written in Lua over start, wait and cancel. */
static int req_race(lua_State *L) {
    bind_check_req(L, 1);
    lua_settop(L, 3);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "moongate.race");
    lua_call(L, 1, 1);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_callk(L, 3, LUA_MULTRET, 0, race_done);
    return race_done(L, LUA_OK, 0);
}

static const luaL_Reg METHODS[] = {{"header", req_header},
                                   {"json", req_json},
                                   {"send", req_send},
                                   {"start", req_start},
                                   {"wait", req_wait},
                                   {"sleep", req_sleep},
                                   {"name", req_name},
                                   {"deadline", req_deadline},
                                   {"note", req_note},
                                   {"race", req_race},
                                   {"respond", bind_respond},
                                   {"fail", bind_fail},
                                   {"unavailable", bind_unavailable},
                                   {NULL, NULL}};

void bind_open_req(lua_State *L) {
    bind_class(L, CLASS, METHODS, FIELDS, get_field, NULL);
}

void bind_push_req(lua_State *L, struct exchange *x) {
    bind_new_box(L, CLASS, sizeof(struct req_box), 3, x);
}

/* Handlers: what a run for a request consists of. */
static int push_handle(lua_State *L, void *request) {
    struct exchange *x = request;
    policy_about(L, x->route_index);
    policy_push_handler(L, x->route_index);
    bind_push_req(L, x);
    lua_insert(L, -2);
    return 2;
}

static int take_handle(lua_State *L, int n, void *request, struct err *err) {
    struct exchange *x = request;
    int first = lua_gettop(L) - n + 1;
    struct attempt *a = n ? bind_to_attempt(L, first) : NULL;
    if (a && a->x == x && a->known) {
        x->decision.kind = DECIDED_ATTEMPT;
        x->decision.attempt = a;
        return 0;
    }
    if (a) {
        return err_set(
            err, "the handler returned an attempt that is still under way: wait for it first");
    }
    if (n && bind_is_response(L, first)) {
        return bind_take_response(L, first, x, err);
    }
    return err_set(err,
                   "the handler returned %s; expected an attempt (from req:send) or req:respond{…}",
                   n ? luaL_typename(L, first) : "nothing");
}

const struct gateway_bindings bind_bindings = {
    .handle = {push_handle, take_handle},
    .stream = {bind_push_stream, bind_take_stream},
};
