/* SPDX-License-Identifier: MIT */
/* moongate.store, window and bucket: faces of the shared state. An object holds its names only, so
 * it may be made at load and kept. */
#include <math.h>

#include "bind/bind_lua.h"

#define STORE_CLASS "moongate.store"
#define WINDOW_CLASS "moongate.window"
#define BUCKET_CLASS "moongate.bucket"

struct named {
    size_t ns, key; /* lengths of the texts behind the struct, each terminated */
    double span, rate, burst;
};

static struct store *shared(lua_State *L) {
    struct bind_host *host = policy_host(L);
    return host->gateway->state.store;
}

static struct named *push_named(lua_State *L, const char *class_name, struct str ns,
                                struct str key) {
    struct named *o = lua_newuserdatauv(L, sizeof(*o) + ns.n + key.n + 2, 0);
    char *text = (char *)(o + 1);
    *o = (struct named){ns.n, key.n, 0, 0, 0};
    memcpy(text, ns.p, ns.n + 1);
    memcpy(text + ns.n + 1, key.p, key.n + 1);
    luaL_setmetatable(L, class_name);
    return o;
}

static struct str ns_of(const struct named *o) {
    return str_make((const char *)(o + 1), o->ns);
}

static struct str key_of(const struct named *o) {
    return str_make((const char *)(o + 1) + o->ns + 1, o->key);
}

int bind_store(lua_State *L) {
    push_named(L, STORE_CLASS, bind_check_str(L, 1, MAX_STORE_KEY / 2), STR(""));
    return 1;
}

static double check_positive(lua_State *L, int arg) {
    double n = bind_check_number(L, arg);
    luaL_argcheck(L, n > 0 && n < 1e12, arg, "a number above 0 is expected");
    return n;
}

int bind_window(lua_State *L) {
    struct str ns = bind_check_str(L, 1, MAX_STORE_KEY / 2),
               key = bind_check_str(L, 2, MAX_STORE_KEY / 2);
    double span = check_positive(L, 3);
    push_named(L, WINDOW_CLASS, ns, key)->span = span;
    return 1;
}

int bind_bucket(lua_State *L) {
    struct str ns = bind_check_str(L, 1, MAX_STORE_KEY / 2),
               key = bind_check_str(L, 2, MAX_STORE_KEY / 2);
    double rate = check_positive(L, 3), burst = check_positive(L, 4);
    struct named *o = push_named(L, BUCKET_CLASS, ns, key);
    o->rate = rate;
    o->burst = burst;
    return 1;
}

void bind_check_value(lua_State *L, int arg, struct store_value *v) {
    const char *text;
    switch (lua_type(L, arg)) {
    case LUA_TNIL:
        v->type = STORE_NONE;
        break;
    case LUA_TBOOLEAN:
        v->type = STORE_BOOL;
        v->as.b = lua_toboolean(L, arg);
        break;
    case LUA_TNUMBER:
        v->type = lua_isinteger(L, arg) ? STORE_INT : STORE_NUM;
        if (v->type == STORE_INT) {
            v->as.i = lua_tointeger(L, arg);
        } else {
            v->as.n = lua_tonumber(L, arg);
        }
        break;
    case LUA_TSTRING:
        text = lua_tolstring(L, arg, &v->len);
        luaL_argcheck(L, v->len <= sizeof(v->text), arg, "a string of at most 4 KiB may be stored");
        v->type = STORE_STR;
        memcpy(v->text, text, v->len);
        break;
    default:
        luaL_argerror(L, arg, "a number, boolean or string is expected");
    }
}

int bind_push_value(lua_State *L, const struct store_value *v) {
    switch (v->type) {
    case STORE_BOOL:
        lua_pushboolean(L, v->as.b);
        break;
    case STORE_INT:
        lua_pushinteger(L, v->as.i);
        break;
    case STORE_NUM:
        lua_pushnumber(L, v->as.n);
        break;
    case STORE_STR:
        lua_pushlstring(L, v->text, v->len);
        break;
    default:
        lua_pushnil(L);
    }
    return 1;
}

/* true, false (it was not so), or nil and why not. */
static int push_result(lua_State *L, int result) {
    const char *why = result == STORE_FULL      ? "full"
                      : result == STORE_TOO_BIG ? "too big"
                                                : "not a number";
    if (result >= 0) {
        lua_pushboolean(L, result == STORE_OK);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static usec opt_ttl(lua_State *L, int arg) {
    if (lua_isnoneornil(L, arg)) {
        return 0; /* for ever */
    }
    usec ttl = bind_check_seconds(L, arg, "ttl");
    return ttl ? ttl : 1; /* one that was computed to nothing is over at once */
}

static int s_get(lua_State *L) {
    struct named *o = luaL_checkudata(L, 1, STORE_CLASS);
    struct store_value v;
    int found = store_get(shared(L), ns_of(o), bind_check_str(L, 2, MAX_STORE_KEY), &v);
    v.type = found == STORE_OK ? v.type : STORE_NONE;
    return bind_push_value(L, &v);
}

static int s_set(lua_State *L) {
    struct named *o = luaL_checkudata(L, 1, STORE_CLASS);
    struct str key = bind_check_str(L, 2, MAX_STORE_KEY);
    struct store_value v;
    bind_check_value(L, 3, &v);
    if (v.type == STORE_NONE) {
        store_del(shared(L), ns_of(o), key);
        return push_result(L, STORE_OK);
    }
    return push_result(L, store_set(shared(L), ns_of(o), key, &v, opt_ttl(L, 4)));
}

static int s_add(lua_State *L) {
    struct named *o = luaL_checkudata(L, 1, STORE_CLASS);
    struct str key = bind_check_str(L, 2, MAX_STORE_KEY);
    struct store_value v;
    bind_check_value(L, 3, &v);
    luaL_argcheck(L, v.type != STORE_NONE, 3, "a value is expected");
    return push_result(L, store_add(shared(L), ns_of(o), key, &v, opt_ttl(L, 4)));
}

static int s_incr(lua_State *L) {
    struct named *o = luaL_checkudata(L, 1, STORE_CLASS);
    struct str key = bind_check_str(L, 2, MAX_STORE_KEY);
    double by = bind_opt_number(L, 3, 1), result;
    int got = store_incr(shared(L), ns_of(o), key, by, opt_ttl(L, 4), &result);
    if (got != STORE_OK) {
        return push_result(L, got);
    }
    if (result == floor(result) && fabs(result) < 9e15) {
        lua_pushinteger(L, (lua_Integer)result);
    } else {
        lua_pushnumber(L, result);
    }
    return 1;
}

static int s_cas(lua_State *L) {
    struct named *o = luaL_checkudata(L, 1, STORE_CLASS);
    struct str key = bind_check_str(L, 2, MAX_STORE_KEY);
    struct store_value before, after;
    bind_check_value(L, 3, &before);
    bind_check_value(L, 4, &after);
    return push_result(L, store_cas(shared(L), ns_of(o), key, &before, &after, opt_ttl(L, 5)));
}

static int s_del(lua_State *L) {
    struct named *o = luaL_checkudata(L, 1, STORE_CLASS);
    return push_result(L, store_del(shared(L), ns_of(o), bind_check_str(L, 2, MAX_STORE_KEY)));
}

/* Seconds left; math.huge = for ever; nil = absent. */
static int s_ttl(lua_State *L) {
    struct named *o = luaL_checkudata(L, 1, STORE_CLASS);
    usec left = store_ttl(shared(L), ns_of(o), bind_check_str(L, 2, MAX_STORE_KEY));
    if (left < 0) {
        lua_pushnil(L);
    } else {
        lua_pushnumber(L, left ? usec_to_seconds(left) : HUGE_VAL);
    }
    return 1;
}

static int w_add(lua_State *L) {
    struct named *o = luaL_checkudata(L, 1, WINDOW_CLASS);
    double n = bind_opt_number(L, 2, 1), count = 0;
    int got =
        store_window_add(shared(L), ns_of(o), key_of(o), usec_from_seconds(o->span), n, &count);
    if (got != STORE_OK) {
        return push_result(L, got);
    }
    lua_pushnumber(L, count);
    return 1;
}

static int w_count(lua_State *L) {
    struct named *o = luaL_checkudata(L, 1, WINDOW_CLASS);
    lua_pushnumber(L,
                   store_window_count(shared(L), ns_of(o), key_of(o), usec_from_seconds(o->span)));
    return 1;
}

/* true, or false and the seconds until there are enough. */
static int b_take(lua_State *L) {
    struct named *o = luaL_checkudata(L, 1, BUCKET_CLASS);
    double n = bind_opt_number(L, 2, 1);
    bool taken = false;
    usec wait = 0;
    int got =
        store_bucket_take(shared(L), ns_of(o), key_of(o), o->rate, o->burst, n, &taken, &wait);
    if (got != STORE_OK) {
        return push_result(L, got);
    }
    lua_pushboolean(L, taken);
    lua_pushnumber(L, n > o->burst ? HUGE_VAL : usec_to_seconds(wait));
    return 2;
}

static int no_field(lua_State *L, int id) {
    (void)id;
    lua_pushnil(L);
    return 1;
}

void bind_open_store(lua_State *L) {
    static const luaL_Reg store[] = {{"get", s_get},   {"set", s_set}, {"add", s_add},
                                     {"incr", s_incr}, {"cas", s_cas}, {"del", s_del},
                                     {"ttl", s_ttl},   {NULL, NULL}};
    static const luaL_Reg window[] = {{"add", w_add}, {"count", w_count}, {NULL, NULL}};
    static const luaL_Reg bucket[] = {{"take", b_take}, {NULL, NULL}};
    bind_class(L, STORE_CLASS, store, NULL, no_field, NULL);
    bind_class(L, WINDOW_CLASS, window, NULL, no_field, NULL);
    bind_class(L, BUCKET_CLASS, bucket, NULL, no_field, NULL);
}
