/* SPDX-License-Identifier: MIT */
/* What the binding files share. Everything here may raise unless it says otherwise. */
#ifndef BIND_BIND_LUA_H
#define BIND_BIND_LUA_H

#include <lauxlib.h>
#include <lua.h>

#include "bind/bind.h"
#include "gateway/exchange.h"
#include "policy/policy_lua.h"

/* Gives the userdata on top the finalizer; `name` is for it alone in the registry. */
void bind_set_gc(lua_State *L, const char *name, lua_CFunction gc);
/*
 * A buffer in Lua's own memory, for what may raise halfway: the collector frees it, the state's cap
 * counts it, and nothing has to be called for that (a finalizer comes late, and never when there is
 * no memory to call it). Push it with room for `first` bytes; when a write finds it full, grow it,
 * which raises `too_long` at `max`, and write again.
 */
struct bind_text {
    struct buf buf;
    size_t max;
    int index; /* of the userdata that holds it */
};
void bind_text_push(lua_State *L, struct bind_text *t, size_t first, size_t max);
void bind_text_grow(lua_State *L, struct bind_text *t, const char *too_long);

/* A buffer that Lua frees when an error is raised. Pushes it. Who has used it releases it at once.
 */
struct buf *bind_push_buf(lua_State *L, size_t max);

/* Pushes the value as JSON text of at most `max` bytes. Read-only tables are seen through;
 * functions, cycles, NaN and infinity raise. Sequences are arrays, an empty table is an object. */
void bind_push_json(lua_State *L, int index, size_t max);
/* Pushes the JSON value as Lua; null is nil (inside tables: absent). */
void bind_decode(lua_State *L, struct str text, const struct jvalue *value);
/* Pushes what stands at `path` in the text, or nil. */
void bind_push_path(lua_State *L, struct str text, const char *path);

/* The table at index, seen through when it is read-only: pushes it. Raises when it is no table. */
void bind_push_table(lua_State *L, int index, const char *what);

struct str bind_check_str(lua_State *L, int arg, size_t max); /* borrowed from Lua */
/* As luaL_checknumber and its like; a number given as a text is charged for by its length. */
double bind_check_number(lua_State *L, int index);
double bind_opt_number(lua_State *L, int index, double otherwise);
lua_Integer bind_check_integer(lua_State *L, int index);
usec bind_check_seconds(lua_State *L, int index, const char *what); /* >= 0 */
void bind_push_str(lua_State *L, struct str s);                     /* nil when s.p is NULL */
/* The names of the table on top, sorted, so that every run is the same; the table holds them. How
 * many there are; raises on other keys and on more than `max`. */
size_t bind_sorted_names(lua_State *L, const char *what, const char **names, size_t max);
int bind_json_text(lua_State *L); /* moongate.json(value) */

/* Method and field lookup of a userdata: methods by name, fields by number through `get`. Leaves
 * the metatable registered under `name`. */
struct bind_field {
    const char *name;
    int id;
};
typedef int (*bind_getter)(lua_State *L, int id); /* pushes one value; argument 1 is the userdata */
void bind_class(lua_State *L, const char *name, const luaL_Reg *methods,
                const struct bind_field *fields, bind_getter get, lua_CFunction gc);

/*
 * A handle on the request under way, or on something of it. It is good in that request's own runs,
 * and in no other: what a policy keeps beyond them is told by the number, which no other request
 * has. So nothing has to be undone when a request ends, and no handle needs a finalizer.
 *
 * It begins with its class, by its address, which is quicker to look at than its metatable. No
 * userdata of another kind can begin with such an address: theirs begin with a length, or with the
 * address of something that was allocated.
 */
struct req_box {
    const char *class;
    struct exchange *x; /* looked into only while it is the request under way */
    uint64_t number;
};
/* Pushes an empty handle with `uservalues`. size: of a struct that begins with a req_box. */
void *bind_new_box(lua_State *L, const char *class, size_t size, int uservalues,
                   struct exchange *x);
/* The handle of that class at index, NULL when there is none; does not raise. */
void *bind_test_box(lua_State *L, int index, const char *class);
bool bind_is_live(lua_State *L, const struct req_box *box); /* does not raise */

/* The request's handle: good until a local stream begins. */
void bind_open_req(lua_State *L);
void bind_push_req(lua_State *L, struct exchange *x);
struct exchange *bind_check_req(lua_State *L, int arg);

/* An attempt's handle; kept with its request's, so that the same attempt is the same value. */
void bind_open_attempt(lua_State *L);
void bind_push_attempt(lua_State *L, int req,
                       struct attempt *a); /* req: index of the request's userdata */
/* A list of the handles of the request's attempts; its userdata is argument 1. */
int bind_push_attempts(lua_State *L, const struct exchange *x);
struct attempt *bind_check_attempt(lua_State *L, int arg);
struct attempt *
bind_to_attempt(lua_State *L,
                int arg); /* NULL when it is none, or its request is over; does not raise */

/* Reads a table of send options at index into *o. Pushes one value: it keeps what *o borrows. */
void bind_read_options(lua_State *L, int index, struct send_options *o);
extern const char *const bind_send_options[]; /* their names; ends with NULL */

/* Responses: what req:respond and its kin return. */
void bind_open_response(lua_State *L);
int bind_respond(lua_State *L);                 /* req:respond{…} */
extern const char *const bind_respond_fields[]; /* names in its table; ends with NULL */
int bind_fail(lua_State *L);                    /* req:fail(status, code, message) */
int bind_unavailable(lua_State *L);             /* req:unavailable(seconds[, message]) */
bool bind_is_response(lua_State *L, int index);
int bind_take_response(lua_State *L, int index, struct exchange *x, struct err *err);

/* A local stream: its run. */
int bind_push_stream(lua_State *L, void *request);
int bind_take_stream(lua_State *L, int n, void *request, struct err *err);

/* A table of a target's facts, as moongate.health gives it. */
void bind_push_facts(lua_State *L, const struct target_facts *f);

/* Values of the store. check raises on what cannot be stored; push makes nil of STORE_NONE. */
void bind_check_value(lua_State *L, int arg, struct store_value *v);
int bind_push_value(lua_State *L, const struct store_value *v); /* 1 */

void bind_open_store(lua_State *L); /* registers the classes */
int bind_store(lua_State *L);       /* moongate.store(ns) */
int bind_window(lua_State *L);
int bind_bucket(lua_State *L);
int bind_open_moongate(lua_State *L);
int bind_open_host(lua_State *L);

#endif
