/* SPDX-License-Identifier: MIT */
/*
 * What scripts see: the allow-listed libraries, edited. Internal to policy/. All functions here may
 * raise and are called inside a protected call.
 */
#ifndef POLICY_SANDBOX_H
#define POLICY_SANDBOX_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

/* Fills a fresh state: libraries, prelude, `require` when the box has a snapshot, and the
 * environment every chunk gets as _ENV. */
void sandbox_open(lua_State *L);

/* freeze.c: like policy_freeze, but tables inside stay writable for who has them (modules written
 * in Lua). */
void freeze_shallow(lua_State *L);
/* If the value at `index` is a read-only face, pushes the table behind it and returns true. */
bool frozen_push(lua_State *L, int index);
/* Raises when the value at `index` is no table, or a read-only one. */
void frozen_check_writable(lua_State *L, int index);
/* Replaces a read-only face at `index` by the table behind it. Raises when it is no table. */
void frozen_see_through(lua_State *L, int index);
int frozen_next(lua_State *L); /* `next` */

/* safe_base.c, safe_string.c, safe_table.c: each edits the stock library table on top of the stack
 * in place. */
void safe_base(lua_State *L);
void safe_string(lua_State *L);
void safe_table(lua_State *L);
void safe_utf8(lua_State *L);

/* prelude.c: the parts that must be Lua so that the functions they call can be stopped.
 * prelude_open loads them once, with the finished globals on top of the stack; prelude_push pushes
 * one. */
enum prelude_part { PRELUDE_GSUB = 1, PRELUDE_SORT, PRELUDE_PARTS };
void prelude_open(lua_State *L);
void prelude_push(lua_State *L, enum prelude_part part);

/* safe_string.c, for the prelude: scan(s, p, init, last) -> from, to (behind the match), captures …
 * or nothing. */
int string_scan(lua_State *L);
/* safe_table.c, for the prelude: join(list, n) without the range cap. */
int table_join(lua_State *L);

/* Charges for walking all texts among the arguments: each may be taken for a number. */
void sandbox_charge_texts(lua_State *L);
/* Puts a wrapper round the function `name` of the table on top of the stack that does so. */
void sandbox_charge_by_length(lua_State *L, const char *name);

/* Lets error messages call the functions of the table on top of the stack "name.function"; no
 * script sees this. */
void sandbox_name_functions(lua_State *L, const char *name);

/* require.c */
int sandbox_require(lua_State *L);
/* Opens the modules written in C; called once per lane, before anything else is loaded. */
void require_open(lua_State *L);

#endif
