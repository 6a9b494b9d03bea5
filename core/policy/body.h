/* SPDX-License-Identifier: MIT */
/*
 * JSON bodies as dialects see them: the module `moongate.body`. Long strings and what a dialect
 * keeps as it is (schemas, arguments) never enter Lua: they are userdata (TEXT, RAW) that point
 * into the body, and are copied from there when a body is written. What they point into is a
 * source: a Lua string, which they keep alive, or bytes of the core's, which end when the core says
 * so; a use after that is an error.
 *
 * All functions may raise and are for a protected call. Costs are charged to the run under way.
 */
#ifndef POLICY_BODY_H
#define POLICY_BODY_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

#include "base/buf.h"

/* Bytes of the core's; lives in a userdata. Who made it sets `alive` to false when they end. */
struct body_source {
    const char *class;
    struct str bytes; /* borrowed */
    bool alive;
    bool checked; /* they are known to be JSON */
};

/* Pushes a source. The bytes must live until `alive` is set to false. */
struct body_source *body_push_source(lua_State *L, struct str bytes, bool checked);

/*
 * Pushes the value that the text at index `anchor` (a Lua string or a source) means. `raw`: index
 * of a table name -> true of the fields that stay raw, or 0. Strings of `longest` bytes and more,
 * as written, are TEXT. null is absent in objects and body.null in lists; of two fields of one name
 * the last counts. Raises what is wrong when it is no JSON, MAX_JSON_DEPTH, BODY_NODES.
 */
void body_decode(lua_State *L, int anchor, int raw, size_t longest);

/* Writes the value at index as JSON; on an error `out` may have grown. Raises: what cannot be
 * written, a source that has ended, nested deeper than MAX_JSON_DEPTH, `out` full. */
void body_encode(lua_State *L, int index, struct buf *out);

/* Opens the module: pushes its table. */
int body_open(lua_State *L);

#endif
