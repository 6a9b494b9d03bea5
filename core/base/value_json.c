/* SPDX-License-Identifier: MIT */
/*
 * A value tree from JSON text, by the scanner that requests go through: nothing is taken that it
 * does not take. Recursion is bounded by MAX_VALUE_DEPTH.
 */
#include <math.h>
#include <stdint.h>

#include "base/jscan.h"
#include "base/limits.h"
#include "base/value.h"

#define WHOLE_MAX 9007199254740992.0 /* 2^53: doubles are whole numbers one by one up to it */

struct reading {
    struct str text;
    size_t nodes;
    struct err *err;
};

static int read_value(struct reading *r, const struct jvalue *at, int depth, struct value *v);

static int no_memory(struct reading *r) {
    return err_set(r->err, "memory is short");
}

static int read_number(struct reading *r, const struct jvalue *at, struct value *v) {
    double n = 0;
    if (!jscan_number(r->text, at, &n) || !isfinite(n)) {
        return err_set(r->err, "byte %zu: the number is too large", at->off + 1);
    }
    if (n == floor(n) && fabs(n) <= WHOLE_MAX) {
        *v = (struct value){.type = VALUE_INT, .as.i = (int64_t)n};
    } else {
        *v = (struct value){.type = VALUE_NUM, .as.n = n};
    }
    return 0;
}

static int read_string(struct reading *r, const struct jvalue *at, struct value *v) {
    struct buf text;
    buf_init(&text, at->len);
    int rc =
        jscan_string(r->text, at, &text) || value_set_str(v, buf_str(&text)) ? no_memory(r) : 0;
    buf_release(&text);
    return rc;
}

static int read_items(struct reading *r, const struct jvalue *at, int depth, struct value *table) {
    size_t pos = 0;
    struct str key;
    struct jvalue item;
    while (jscan_next(r->text, at, &pos, &key, &item) > 0) {
        struct value v = {0};
        if (read_value(r, &item, depth + 1, &v)) {
            return -1;
        }
        if (value_add_item(table, v)) {
            return no_memory(r);
        }
    }
    return 0;
}

static int set_field(struct reading *r, const struct jvalue *item, struct str raw_key, int depth,
                     struct value *table) {
    struct buf name;
    struct value v = {0};
    struct jvalue quoted = {JTYPE_STRING, (size_t)(raw_key.p - r->text.p) - 1, raw_key.n + 2};
    int rc = -1;
    buf_init(&name, quoted.len);
    if (jscan_string(r->text, &quoted, &name)) {
        no_memory(r);
    } else if (strlen(name.data) != name.len) {
        err_set(r->err, "byte %zu: a key holds a NUL", quoted.off + 1);
    } else if (value_field(table, name.data)) {
        err_set(r->err, "byte %zu: \"%.100s\" is given twice", quoted.off + 1, name.data);
    } else if (read_value(r, item, depth + 1, &v) == 0) {
        rc = value_set_field(table, buf_str(&name), v) ? no_memory(r) : 0;
    }
    buf_release(&name);
    return rc;
}

static int read_fields(struct reading *r, const struct jvalue *at, int depth, struct value *table) {
    size_t pos = 0;
    struct str key;
    struct jvalue item;
    while (jscan_next(r->text, at, &pos, &key, &item) > 0) {
        if (set_field(r, &item, key, depth, table)) {
            return -1;
        }
    }
    return 0;
}

static int read_table(struct reading *r, const struct jvalue *at, int depth, struct value *v) {
    if (depth > MAX_VALUE_DEPTH) {
        return err_set(r->err, "byte %zu: nested deeper than %d levels", at->off + 1,
                       MAX_VALUE_DEPTH);
    }
    *v = value_table();
    int rc = at->type == JTYPE_ARRAY ? read_items(r, at, depth, v) : read_fields(r, at, depth, v);
    if (rc) {
        value_release(v);
    }
    return rc;
}

/* On -1 *v is NIL. */
static int read_value(struct reading *r, const struct jvalue *at, int depth, struct value *v) {
    if (++r->nodes > MAX_VALUE_NODES) {
        return err_set(r->err, "more than %d values", MAX_VALUE_NODES);
    }
    switch (at->type) {
    case JTYPE_TRUE:
    case JTYPE_FALSE:
        *v = (struct value){.type = VALUE_BOOL, .as.b = at->type == JTYPE_TRUE};
        return 0;
    case JTYPE_NUMBER:
        return read_number(r, at, v);
    case JTYPE_STRING:
        return read_string(r, at, v);
    case JTYPE_ARRAY:
    case JTYPE_OBJECT:
        return read_table(r, at, depth, v);
    case JTYPE_NULL:
    case JTYPE_NONE:
        break;
    }
    return err_set(r->err, "byte %zu: null is no value here; leave the key out instead",
                   at->off + 1);
}

int value_from_json(struct value *v, struct str text, struct err *err) {
    struct reading r = {.text = text, .err = err};
    struct jvalue whole;
    *v = (struct value){0};
    if (jscan_check(text, err) != JSCAN_OK) {
        return -1;
    }
    if (jscan_find(text, "", &whole) != 1) {
        return err_set(err, "no JSON value");
    }
    return read_value(&r, &whole, 1, v);
}

static bool same_table(const struct value *a, const struct value *b) {
    if (a->as.t.n_items != b->as.t.n_items || a->as.t.n_fields != b->as.t.n_fields) {
        return false;
    }
    for (size_t i = 0; i < a->as.t.n_items; i++) {
        if (!value_equal(&a->as.t.items[i], &b->as.t.items[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < a->as.t.n_fields; i++) {
        if (strcmp(a->as.t.fields[i].name, b->as.t.fields[i].name) != 0 ||
            !value_equal(&a->as.t.fields[i].value, &b->as.t.fields[i].value)) {
            return false;
        }
    }
    return true;
}

bool value_equal(const struct value *a, const struct value *b) {
    double x = 0;
    double y = 0;
    if (value_number(a, &x) && value_number(b, &y)) {
        return x == y;
    }
    if (a->type != b->type) {
        return false;
    }
    switch (a->type) {
    case VALUE_BOOL:
        return a->as.b == b->as.b;
    case VALUE_STR:
        return str_eq(value_str(a), value_str(b));
    case VALUE_TABLE:
        return same_table(a, b);
    case VALUE_NIL:
    case VALUE_INT:
    case VALUE_NUM:
        break;
    }
    return true;
}
