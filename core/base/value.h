/* SPDX-License-Identifier: MIT */
/*
 * A tree of plain values: what a configuration file says, free of the Lua state that read it.
 * Immutable once built, so any thread may read it. Tables keep their array part and their named
 * part apart, both in order.
 */
#ifndef BASE_VALUE_H
#define BASE_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum value_type { VALUE_NIL, VALUE_BOOL, VALUE_INT, VALUE_NUM, VALUE_STR, VALUE_TABLE };

struct value {
    enum value_type type;
    union {
        bool b;
        int64_t i;
        double n;
        struct {
            char *p;
            size_t n;
        } s; /* owned, terminated */
        struct {
            struct value *items; /* [1..n_items] of the Lua table */
            size_t n_items;
            struct value_field *fields; /* string keys, sorted by name */
            size_t n_fields;
        } t;
    } as;
};

struct value_field {
    char *name; /* owned */
    struct value value;
};

void value_release(struct value *v); /* frees what it owns; leaves NIL */
int value_copy(struct value *dst, const struct value *src) __attribute__((warn_unused_result));

/* Borrowed. NULL when v is no table or has no such field. */
const struct value *value_field(const struct value *v, const char *name);
struct str value_str(const struct value *v);           /* empty when it is no string */
bool value_number(const struct value *v, double *out); /* INT or NUM */
const char *value_type_name(const struct value *v);    /* as Lua says it: "number", "table" … */

/* Building: each takes over the value given. 0 or -1 when memory is short (the value is then
 * released). */
int value_add_item(struct value *table, struct value item) __attribute__((warn_unused_result));
int value_set_field(struct value *table, struct str name, struct value field)
    __attribute__((warn_unused_result));
struct value value_table(void);
int value_set_str(struct value *v, struct str s) __attribute__((warn_unused_result));

/* JSON text; tables with only items are arrays, an empty table is {}. */
int value_to_json(const struct value *v, struct buf *out) __attribute__((warn_unused_result));
/* The tree that a JSON text means (a whole number is an INT, an empty array a table). 0, or -1 with
 * err and *v NIL: no JSON, a null (Lua has no such value in tables), a key given twice, more than
 * MAX_VALUE_DEPTH levels or MAX_VALUE_NODES values, memory. */
int value_from_json(struct value *v, struct str text, struct err *err)
    __attribute__((warn_unused_result));
bool value_equal(const struct value *a, const struct value *b); /* 1 and 1.0 are the same */

#endif
