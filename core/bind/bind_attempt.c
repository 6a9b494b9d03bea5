/* SPDX-License-Identifier: MIT */
/* An attempt as its policy sees it. The request's userdata keeps the handles: the first attempt's,
 * which mostly is the only one, as its uservalue 2, those of all others in a table, its
 * uservalue 3. */
#include "bind/bind_lua.h"

static const char CLASS[] = "moongate.attempt";

enum { FIRST = 2, OTHERS = 3 }; /* uservalues of the request's handle */

struct attempt_box {
    struct req_box of;
    struct attempt *a; /* exists as long as the request is under way */
};

enum {
    F_TARGET,
    F_N,
    F_OK,
    F_OUTCOME,
    F_CLASS,
    F_STATUS,
    F_RETRY_AFTER,
    F_CODE,
    F_MESSAGE,
    F_SENT,
    F_REUSED,
    F_TIME,
    F_PASSTHROUGH,
    F_DROPPED,
    F_API_KEY
};

static const struct bind_field FIELDS[] = {{"target", F_TARGET},
                                           {"n", F_N},
                                           {"ok", F_OK},
                                           {"outcome", F_OUTCOME},
                                           {"class", F_CLASS},
                                           {"status", F_STATUS},
                                           {"retry_after", F_RETRY_AFTER},
                                           {"code", F_CODE},
                                           {"message", F_MESSAGE},
                                           {"sent", F_SENT},
                                           {"reused", F_REUSED},
                                           {"time", F_TIME},
                                           {"passthrough", F_PASSTHROUGH},
                                           {"dropped", F_DROPPED},
                                           {"api_key", F_API_KEY},
                                           {NULL, 0}};

struct attempt *bind_to_attempt(lua_State *L, int arg) {
    struct attempt_box *box = bind_test_box(L, arg, CLASS);
    return box && bind_is_live(L, &box->of) ? box->a : NULL;
}

struct attempt *bind_check_attempt(lua_State *L, int arg) {
    struct attempt_box *box = bind_test_box(L, arg, CLASS);
    if (!box) {
        luaL_checkudata(L, arg, CLASS); /* raises in Lua's own words */
        return NULL;
    }
    if (!bind_is_live(L, &box->of) || box->of.x->state == EXCHANGE_LOCAL) {
        luaL_error(L, "the request of this attempt is over: its handle must not be kept");
    }
    return box->a;
}

static void push_new(lua_State *L, struct attempt *a) {
    struct attempt_box *box = bind_new_box(L, CLASS, sizeof(*box), 0, a->x);
    box->a = a;
}

static void push_first(lua_State *L, int req, struct attempt *a) {
    if (lua_getiuservalue(L, req, FIRST) == LUA_TNIL) {
        lua_pop(L, 1);
        push_new(L, a);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, req, FIRST);
    }
}

static void push_other(lua_State *L, int req, struct attempt *a) {
    if (lua_getiuservalue(L, req, OTHERS) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, req, OTHERS);
    }
    if (lua_rawgeti(L, -1, (lua_Integer)a->n) == LUA_TNIL) {
        lua_pop(L, 1);
        push_new(L, a);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, (lua_Integer)a->n);
    }
    lua_remove(L, -2);
}

void bind_push_attempt(lua_State *L, int req, struct attempt *a) {
    if (a->n == 1) {
        push_first(L, req, a);
    } else {
        push_other(L, req, a);
    }
}

int bind_push_attempts(lua_State *L, const struct exchange *x) {
    lua_createtable(L, (int)x->n_attempts, 0);
    for (size_t i = 0; i < x->n_attempts; i++) {
        bind_push_attempt(L, 1, x->attempts[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static void set_time(lua_State *L, const char *name, usec from, usec to) {
    lua_pushnumber(L, from && to > from ? usec_to_seconds(to - from) : 0);
    lua_setfield(L, -2, name);
}

static int push_time(lua_State *L, const struct attempt *a) {
    lua_createtable(L, 0, 5);
    set_time(L, "queue", a->sent_at, a->admitted_at);
    set_time(L, "connect", a->admitted_at, a->connected_at);
    set_time(L, "first_byte", a->admitted_at, a->head_at);
    set_time(L, "first_token", a->admitted_at, a->content_at);
    set_time(L, "total", a->sent_at, a->ended_at);
    return 1;
}

static void push_text(lua_State *L, const char *text) {
    bind_push_str(L, str_of(text && *text ? text : NULL));
}

static int push_dropped(lua_State *L, const struct attempt *a) {
    struct str rest = str_of(a->dropped), name;
    lua_newtable(L);
    for (lua_Integer i = 1; str_split(&rest, ',', &name); i++) {
        lua_pushlstring(L, name.p, name.n);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

static int get_field(lua_State *L, int id) {
    static const char *const SENT[] = {
        [SENT_NOTHING] = "nothing", [SENT_PARTIAL] = "partial", [SENT_ALL] = "all"};
    struct attempt *a = bind_check_attempt(L, 1);
    enum outcome o = a->verdict.outcome;
    double hint;
    switch (id) {
    case F_TARGET:
        lua_pushstring(L, a->name);
        break;
    case F_N:
        lua_pushinteger(L, (lua_Integer)a->n);
        break;
    case F_OK:
        lua_pushboolean(L, a->known && o == OUTCOME_OK);
        break;
    case F_OUTCOME:
        push_text(L, a->known ? outcome_name(o) : NULL);
        break;
    case F_CLASS:
        push_text(L, a->known ? class_name(outcome_class(o)) : NULL);
        break;
    case F_STATUS:
        lua_pushinteger(L, a->status);
        break;
    case F_RETRY_AFTER:
        hint = attempt_retry_after(a);
        if (hint < 0) {
            lua_pushnil(L);
        } else {
            lua_pushnumber(L, hint);
        }
        break;
    case F_CODE:
        push_text(L, a->verdict.code);
        break;
    case F_MESSAGE:
        push_text(L, a->verdict.message);
        break;
    case F_SENT:
        lua_pushstring(L, SENT[a->sent]);
        break;
    case F_REUSED:
        lua_pushboolean(L, a->reused);
        break;
    case F_TIME:
        return push_time(L, a);
    case F_DROPPED:
        return push_dropped(L, a);
    case F_PASSTHROUGH:
        lua_pushboolean(L, a->provider->auth == AUTH_PASSTHROUGH);
        break;
    case F_API_KEY:
        push_text(L, a->api_key ? a->api_key->name : NULL);
        break;
    }
    return 1;
}

static int attempt_header(lua_State *L) {
    struct attempt *a = bind_check_attempt(L, 1);
    struct str value = {NULL, 0};
    headers_get(&a->headers, luaL_checkstring(L, 2), &value);
    bind_push_str(L, value);
    return 1;
}

static int attempt_body(lua_State *L) {
    struct attempt *a = bind_check_attempt(L, 1);
    lua_pushlstring(L, a->held.data, a->held.len);
    return 1;
}

static int attempt_json(lua_State *L) {
    struct attempt *a = bind_check_attempt(L, 1);
    bind_push_path(L, buf_str(&a->held), luaL_checkstring(L, 2));
    return 1;
}

static int attempt_fail_method(lua_State *L) {
    struct attempt *a = bind_check_attempt(L, 1);
    struct str name = bind_check_str(L, 2, 64);
    struct str message = lua_isnoneornil(L, 3) ? STR("") : bind_check_str(L, 3, LUA_STRING_MAX);
    int outcome = outcome_parse(name);
    if (outcome < 0 || outcome_class((enum outcome)outcome) == CLASS_NONE) {
        luaL_error(L, "fail: \"%s\" is no outcome that a failure can have", name.p);
    }
    if (!a->known) {
        luaL_error(L, "fail: the attempt is still under way");
    }
    attempt_fail(a, (enum outcome)outcome, message);
    lua_settop(L, 1);
    return 1;
}

static int attempt_cancel(lua_State *L) {
    struct attempt *a = bind_check_attempt(L, 1);
    attempt_stop(a, OUTCOME_CANCELLED);
    a->seen = true;
    return 0;
}

static const luaL_Reg METHODS[] = {{"header", attempt_header}, {"body", attempt_body},
                                   {"json", attempt_json},     {"fail", attempt_fail_method},
                                   {"cancel", attempt_cancel}, {NULL, NULL}};

void bind_open_attempt(lua_State *L) {
    bind_class(L, CLASS, METHODS, FIELDS, get_field, NULL);
}
