/* SPDX-License-Identifier: MIT */
/*
 * Answers that a policy makes by itself. req:respond and its kin return a response: a table of
 * checked parts with a metatable of its own, which the handler returns. bind_take_response turns it
 * into the exchange's decision.
 */
#include "bind/bind_lua.h"

#define CLASS "moongate.response"

static const char OUT_CLASS[] = "moongate.out";

const char *const bind_respond_fields[] = {"status", "headers", "json", "body", "stream", NULL};

static void check_names(lua_State *L, int table) {
    lua_pushnil(L);
    while (lua_next(L, table)) {
        lua_pop(L, 1);
        const char *name =
            lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, -1);
        const char *near = str_nearest(name, bind_respond_fields);
        bool known = false;
        for (size_t i = 0; bind_respond_fields[i]; i++) {
            known |= strcmp(name, bind_respond_fields[i]) == 0;
        }
        if (!known) {
            luaL_error(L,
                       near ? "respond: there is no field \"%s\"; did you mean \"%s\"?"
                            : "respond: there is no field \"%s\"",
                       name, near);
        }
    }
}

static int field_status(lua_State *L, int table) {
    if (lua_getfield(L, table, "status") == LUA_TNIL) {
        lua_pop(L, 1);
        return 200;
    }
    int ok;
    lua_Integer status = lua_tointegerx(L, -1, &ok);
    if (!ok || status < 200 || status > 599) {
        luaL_error(L, "respond: status: a number from 200 to 599 is expected, got %s",
                   luaL_tolstring(L, -1, NULL));
    }
    lua_pop(L, 1);
    return (int)status;
}

/* Copies headers to a plain list { name, value, … } in the response at `response`. */
static void copy_headers(lua_State *L, int table, int response) {
    lua_newtable(L);
    int list = lua_gettop(L);
    lua_Integer n = 0;
    if (lua_getfield(L, table, "headers") != LUA_TNIL) {
        bind_push_table(L, -1, "respond: headers");
        int headers = lua_gettop(L);
        lua_pushnil(L);
        while (lua_next(L, headers)) {
            struct str name, value;
            lua_pushvalue(L, -2);
            name.p = lua_tolstring(L, -1, &name.n);
            value.p = luaL_tolstring(L, -2, &value.n);
            if (lua_type(L, -4) != LUA_TSTRING || !header_name_ok(name) ||
                !header_value_ok(value) || n >= 2 * MAX_EXTRA_HEADERS) {
                luaL_error(L, "respond: headers: \"%s\" cannot be sent", name.p ? name.p : "?");
            }
            lua_rawseti(L, list, n + 2);
            lua_rawseti(L, list, n + 1);
            n += 2;
            lua_pop(L, 1);
        }
    }
    lua_settop(L, list);
    lua_setfield(L, response, "headers");
}

static void copy_body(lua_State *L, int table, int response) {
    if (lua_getfield(L, table, "json") != LUA_TNIL) {
        bind_push_json(L, -1, LUA_BODY_MAX);
        lua_setfield(L, response, "body");
        lua_pushboolean(L, 1);
        lua_setfield(L, response, "json");
    } else if (lua_getfield(L, table, "body") != LUA_TNIL) {
        size_t n;
        if (lua_type(L, -1) != LUA_TSTRING || (lua_tolstring(L, -1, &n), n > LUA_BODY_MAX)) {
            luaL_error(L, "respond: body: a string of at most %d bytes is expected",
                       (int)LUA_BODY_MAX);
        }
        lua_setfield(L, response, "body");
    }
    if (lua_getfield(L, table, "stream") != LUA_TNIL) {
        luaL_checktype(L, -1, LUA_TFUNCTION);
        lua_setfield(L, response, "stream");
    }
    lua_settop(L, response);
}

static int new_response(lua_State *L, int status) {
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, status);
    lua_setfield(L, -2, "status");
    luaL_setmetatable(L, CLASS);
    return lua_gettop(L);
}

int bind_respond(lua_State *L) {
    bind_check_req(L, 1);
    lua_settop(L, 2);
    bind_push_table(L, 2, "respond");
    int table = lua_gettop(L);
    check_names(L, table);
    int response = new_response(L, field_status(L, table));
    copy_headers(L, table, response);
    copy_body(L, table, response);
    return 1;
}

/* An error of the gateway's own: { status, code, message }. */
static int own_error(lua_State *L, int status, const char *code, const char *message) {
    int response = new_response(L, status);
    lua_pushstring(L, code);
    lua_setfield(L, response, "code");
    lua_pushstring(L, message);
    lua_setfield(L, response, "message");
    lua_settop(L, response);
    return response;
}

int bind_fail(lua_State *L) {
    bind_check_req(L, 1);
    lua_Integer status = bind_check_integer(L, 2);
    bind_check_str(L, 3, 64);
    bind_check_str(L, 4, MAX_MESSAGE);
    luaL_argcheck(L, status >= 400 && status <= 599, 2, "a status from 400 to 599 is expected");
    own_error(L, (int)status, lua_tostring(L, 3), lua_tostring(L, 4));
    return 1;
}

int bind_unavailable(lua_State *L) {
    bind_check_req(L, 1);
    lua_Number seconds = bind_opt_number(L, 2, 1);
    const char *message = luaL_optstring(L, 3, "Every target of this route is suspended for now.");
    int response = own_error(L, 503, "all_targets_suspended", message);
    bool sane = seconds > 1 && seconds < 1e9;
    lua_Integer whole = sane ? (lua_Integer)seconds : 1;
    whole += sane && (lua_Number)whole < seconds;
    lua_createtable(L, 2, 0);
    lua_pushliteral(L, "retry-after");
    lua_rawseti(L, -2, 1);
    lua_pushfstring(L, "%I", whole);
    lua_rawseti(L, -2, 2);
    lua_setfield(L, response, "headers");
    return 1;
}

bool bind_is_response(lua_State *L, int index) {
    if (!lua_istable(L, index) || !lua_getmetatable(L, index)) {
        return false;
    }
    luaL_getmetatable(L, CLASS);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

static struct str text_field(lua_State *L, int index, const char *name) {
    struct str s = {NULL, 0};
    if (lua_getfield(L, index, name) == LUA_TSTRING) {
        s.p = lua_tolstring(L, -1, &s.n); /* the response holds it */
    }
    lua_pop(L, 1);
    return s;
}

static int take_headers(lua_State *L, int index, struct decision *d) {
    int bad = 0;
    if (lua_getfield(L, index, "headers") == LUA_TTABLE) {
        for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TSTRING; i += 2) {
            struct str name, value;
            lua_rawgeti(L, -2, i + 1);
            name.p = lua_tolstring(L, -2, &name.n);
            value.p = lua_tolstring(L, -1, &value.n);
            bad |= headers_set(&d->headers, name, value);
            lua_pop(L, 2);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return bad;
}

int bind_take_response(lua_State *L, int index, struct exchange *x, struct err *err) {
    struct decision *d = &x->decision;
    lua_getfield(L, index, "status");
    int status = (int)lua_tointeger(L, -1);
    if (status < 200 || status > 599) { /* the policy may have changed what it was given */
        return err_set(err, "the response's status is no number from 200 to 599");
    }
    struct str code = text_field(L, index, "code");
    struct str message = text_field(L, index, "message");
    int bad = take_headers(L, index, d);
    d->kind = DECIDED_RESPONSE;
    d->status = status;
    if (code.p) {
        bad |=
            exchange_decide_error(x, status, "gateway_error", code.p, message.p ? message.p : "");
    } else {
        struct str body = text_field(L, index, "body");
        lua_getfield(L, index, "json");
        if (lua_toboolean(L, -1) && !headers_count(&d->headers, "content-type")) {
            bad |= headers_set(&d->headers, STR("content-type"), STR("application/json"));
        }
        bad |= buf_add_str(&d->body, body);
    }
    if (lua_getfield(L, index, "stream") == LUA_TFUNCTION) {
        if (!headers_count(&d->headers, "content-type")) {
            bad |= headers_set(&d->headers, STR("content-type"), STR("text/event-stream"));
        }
        d->stream = true;
        d->stream_ref = policy_ref(L);
    }
    return bad ? err_set(err, "the response is too large") : d->stream;
}

/* The `out` of a local stream. */
static struct exchange *check_out(lua_State *L) {
    struct req_box *box = bind_test_box(L, 1, OUT_CLASS);
    if (!box) {
        luaL_checkudata(L, 1, OUT_CLASS); /* raises in Lua's own words */
        return NULL;
    }
    if (!bind_is_live(L, box)) {
        luaL_error(L, "this stream is over: its handle must not be kept");
    }
    return box->x;
}

static int out_done(lua_State *L, int status, lua_KContext ctx) {
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

static int out_write(lua_State *L) {
    struct exchange *x = check_out(L);
    exchange_local_write(x, bind_check_str(L, 2, LUA_BODY_MAX));
    if (exchange_wait(x, (struct wait){WAIT_ROOM, NULL, USEC_NEVER})) {
        return lua_yieldk(L, 0, 0, out_done);
    }
    return 0;
}

static int out_sleep(lua_State *L) {
    struct exchange *x = check_out(L);
    usec until = clock_now() + bind_check_seconds(L, 2, "sleep");
    if (exchange_wait(x, (struct wait){WAIT_SLEEP, NULL, until})) {
        return lua_yieldk(L, 0, 0, out_done);
    }
    return 0;
}

static int out_abort(lua_State *L) {
    struct exchange *x = check_out(L);
    exchange_local_abort(x);
    return lua_yieldk(L, 0, 0, out_done); /* never resumed: the exchange ends here */
}

static const luaL_Reg OUT_METHODS[] = {
    {"write", out_write}, {"sleep", out_sleep}, {"abort", out_abort}, {NULL, NULL}};

static int no_field(lua_State *L, int id) {
    (void)id;
    lua_pushnil(L);
    return 1;
}

void bind_open_response(lua_State *L) {
    luaL_newmetatable(L, CLASS);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    bind_class(L, OUT_CLASS, OUT_METHODS, NULL, no_field, NULL);
}

int bind_push_stream(lua_State *L, void *request) {
    struct exchange *x = request;
    policy_about(L, x->route_index);
    lua_rawgeti(L, LUA_REGISTRYINDEX, x->decision.stream_ref);
    policy_unref(L, x->decision.stream_ref);
    x->decision.stream_ref = 0;
    bind_new_box(L, OUT_CLASS, sizeof(struct req_box), 0, x);
    return 1;
}

int bind_take_stream(lua_State *L, int n, void *request, struct err *err) {
    (void)L;
    (void)n;
    (void)request;
    (void)err;
    return 0;
}
