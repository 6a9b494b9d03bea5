/* SPDX-License-Identifier: MIT */
/*
 * TEXT and RAW from the inside, for the files of body.h only. A TEXT is a leaf (a slice of a
 * source, as JSON writes it or plain) or a rope (a list of strings and TEXTs). A RAW is a slice of
 * a source that is one JSON value, or what a TEXT says.
 */
#ifndef POLICY_BODY_VALUES_H
#define POLICY_BODY_VALUES_H

#include "policy/body.h"

struct body_text {
    const char *class;
    const struct body_source *source; /* NULL: the anchor is a Lua string */
    struct str bytes;                 /* p NULL: a rope */
    size_t size;                      /* of all its leaves, as written */
    size_t parts;                     /* leaves */
    unsigned depth;                   /* 0: a leaf */
    bool escaped;                     /* the bytes stood between a JSON string's quotes */
    bool url64; /* of a leaf: base64 in the alphabet of URLs, to be said in the
                   plain one */
};

struct body_raw {
    const char *class;
    const struct body_source *source;
    struct str bytes; /* p NULL: what the TEXT says that is its uservalue */
};

/* The source at `anchor`, NULL for a Lua string; raises when its bytes have ended. */
const struct body_source *body_anchor(lua_State *L, int anchor, struct str *bytes);
/* NULL when the value is none. */
struct body_text *body_to_text(lua_State *L, int index);
struct body_raw *body_to_raw(lua_State *L, int index);
/* Raises when the value is neither a string nor a TEXT. */
void body_check_text(lua_State *L, int index);
void body_check_alive(lua_State *L, const struct body_source *source);

struct body_text *body_push_leaf(lua_State *L, int anchor, struct str bytes, bool escaped);
void body_push_raw(lua_State *L, int anchor, struct str bytes);
/* A RAW of what the TEXT at index says. */
void body_push_raw_of_text(lua_State *L, int index);
/* Replaces the list of strings and TEXTs on top of the stack, which it keeps, by their rope. */
void body_push_rope(lua_State *L);

/* Calls `part` for each piece of the string or TEXT at index, in order, until it returns false.
 * Raises what part raises, and for what is neither. */
struct body_part {
    struct str bytes;
    bool escaped, url64;
    int anchor; /* index of what keeps the bytes: the string, or the leaf's anchor */
};
typedef bool (*body_visit)(lua_State *L, const struct body_part *part, void *ctx);
bool body_walk(lua_State *L, int index, body_visit visit, void *ctx);

/* What of a part's bytes stands in `out` behind the first `from` becomes what it says: a part that
 * is url64 changes its alphabet. */
void body_part_said(const struct body_part *part, struct buf *out, size_t from);

/* Adds what the string or TEXT says, unescaped. */
void body_add_plain(lua_State *L, int index, struct buf *out);
/* A buffer that Lua frees when an error is raised: pushes it. Who has used it releases it. */
struct buf *body_push_buf(lua_State *L, size_t max);

/* Metatables of marked tables. */
enum body_mark { BODY_LIST, BODY_OBJECT, BODY_ORDERED, BODY_MARKS };
void body_set_mark(lua_State *L, int index, enum body_mark mark);
bool body_has_mark(lua_State *L, int index, enum body_mark mark);
void body_open_values(lua_State *L);

#endif
