/* SPDX-License-Identifier: MIT */
/*
 * Between Lua values and struct value. Both directions may raise Lua errors (memory): call them
 * inside a protected call only, and own nothing there that an error would leak.
 */
#ifndef CONFIG_LUAVALUE_H
#define CONFIG_LUAVALUE_H

#include "base/err.h"
#include "base/value.h"

struct lua_State;

/* Copies the value at `index` into *out. -1 with err: a function or userdata where data is
 * expected, a cycle, too deep, too many nodes, a key that is neither a name nor an index (the path
 * is named). Does not raise. */
int value_from_lua(struct lua_State *L, int index, struct value *out, struct err *err);
/* The same, but goes on after what is no data: each is told to bad->tell, with its path and what is
 * wrong, and *instead (NIL when called) takes its place. -1 with err only when it cannot go on
 * (memory, too many nodes). */
struct value_bad {
    void (*tell)(void *ctx, const char *path, const char *what, struct value *instead);
    void *ctx;
};
int value_from_lua_all(struct lua_State *L, int index, struct value *out,
                       const struct value_bad *bad, struct err *err);

/* Pushes the value as plain Lua tables. May raise on memory. */
void value_to_lua(struct lua_State *L, const struct value *v);

#endif
