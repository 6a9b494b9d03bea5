/* SPDX-License-Identifier: MIT */
/*
 * Building, copying and reading of value trees. Arrays grow when their length reaches a power of
 * two, so that no capacity needs to be kept. Recursion follows the tree, whose builders keep it
 * within MAX_VALUE_DEPTH.
 */
#include "base/value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jscan.h"
#include "base/limits.h"

void value_release(struct value *v) {
    if (v->type == VALUE_STR) {
        free(v->as.s.p);
    } else if (v->type == VALUE_TABLE) {
        for (size_t i = 0; i < v->as.t.n_items; i++) {
            value_release(&v->as.t.items[i]);
        }
        for (size_t i = 0; i < v->as.t.n_fields; i++) {
            free(v->as.t.fields[i].name);
            value_release(&v->as.t.fields[i].value);
        }
        free(v->as.t.items);
        free(v->as.t.fields);
    }
    *v = (struct value){0};
}

static int copy_table(struct value *dst, const struct value *src) {
    for (size_t i = 0; i < src->as.t.n_items; i++) {
        struct value item;
        if (value_copy(&item, &src->as.t.items[i]) || value_add_item(dst, item)) {
            return -1;
        }
    }
    for (size_t i = 0; i < src->as.t.n_fields; i++) {
        struct value field;
        if (value_copy(&field, &src->as.t.fields[i].value) ||
            value_set_field(dst, str_of(src->as.t.fields[i].name), field)) {
            return -1;
        }
    }
    return 0;
}

int value_copy(struct value *dst, const struct value *src) {
    *dst = (struct value){0};
    if (src->type == VALUE_STR) {
        return value_set_str(dst, value_str(src));
    }
    if (src->type != VALUE_TABLE) {
        *dst = *src;
        return 0;
    }
    *dst = value_table();
    if (copy_table(dst, src)) {
        value_release(dst);
        return -1;
    }
    return 0;
}

/* Where the name stands among the sorted fields, or where it would; *found tells which. */
static size_t field_index(const struct value *table, struct str name, bool *found) {
    size_t low = 0;
    size_t high = table->as.t.n_fields;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const char *have = table->as.t.fields[mid].name;
        int order = strncmp(have, name.p, name.n);
        if (order == 0 && have[name.n] == '\0') {
            *found = true;
            return mid;
        }
        if (order < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    *found = false;
    return low;
}

const struct value *value_field(const struct value *v, const char *name) {
    bool found = false;
    if (!v || v->type != VALUE_TABLE) {
        return NULL;
    }
    size_t at = field_index(v, str_of(name), &found);
    return found ? &v->as.t.fields[at].value : NULL;
}

struct str value_str(const struct value *v) {
    if (!v || v->type != VALUE_STR) {
        return STR("");
    }
    return str_make(v->as.s.p, v->as.s.n);
}

bool value_number(const struct value *v, double *out) {
    if (v && v->type == VALUE_INT) {
        *out = (double)v->as.i;
        return true;
    }
    if (v && v->type == VALUE_NUM) {
        *out = v->as.n;
        return true;
    }
    return false;
}

const char *value_type_name(const struct value *v) {
    switch (v ? v->type : VALUE_NIL) {
    case VALUE_BOOL:
        return "boolean";
    case VALUE_INT:
    case VALUE_NUM:
        return "number";
    case VALUE_STR:
        return "string";
    case VALUE_TABLE:
        return "table";
    case VALUE_NIL:
        break;
    }
    return "nil";
}

/* Grows at 0, 1, 2, 4, 8 …; `array` with n members of `size` bytes becomes room for one more. */
static void *grow(void *array, size_t n, size_t size, size_t max) {
    if (n >= max) {
        return NULL;
    }
    if (n != 0 && (n & (n - 1)) != 0) {
        return array;
    }
    return realloc(array, (n ? n * 2 : 1) * size);
}

int value_add_item(struct value *table, struct value item) {
    struct value *items = NULL;
    if (table->type == VALUE_TABLE) {
        items = grow(table->as.t.items, table->as.t.n_items, sizeof(*items), MAX_VALUE_NODES);
    }
    if (!items) {
        value_release(&item);
        return -1;
    }
    items[table->as.t.n_items++] = item;
    table->as.t.items = items;
    return 0;
}

static int insert_field(struct value *table, size_t at, struct str name, struct value field) {
    size_t n = table->as.t.n_fields;
    struct value_field *fields = grow(table->as.t.fields, n, sizeof(*fields), MAX_VALUE_FIELDS);
    if (!fields) {
        return -1;
    }
    table->as.t.fields = fields;
    char *copy = str_dup(name);
    if (!copy) {
        return -1;
    }
    memmove(fields + at + 1, fields + at, (n - at) * sizeof(*fields));
    fields[at].name = copy;
    fields[at].value = field;
    table->as.t.n_fields = n + 1;
    return 0;
}

int value_set_field(struct value *table, struct str name, struct value field) {
    bool found = false;
    if (table->type != VALUE_TABLE || (name.n && memchr(name.p, 0, name.n))) {
        value_release(&field);
        return -1;
    }
    struct str plain = name.n ? name : STR("");
    size_t at = field_index(table, plain, &found);
    if (found) {
        value_release(&table->as.t.fields[at].value);
        table->as.t.fields[at].value = field;
        return 0;
    }
    if (insert_field(table, at, plain, field)) {
        value_release(&field);
        return -1;
    }
    return 0;
}

struct value value_table(void) {
    struct value v = {0};
    v.type = VALUE_TABLE;
    return v;
}

int value_set_str(struct value *v, struct str s) {
    char *copy = str_dup(s);
    if (!copy) {
        return -1;
    }
    value_release(v);
    v->type = VALUE_STR;
    v->as.s.p = copy;
    v->as.s.n = s.n;
    return 0;
}

static int write_double(struct buf *out, double n) {
    char text[40];
    if (!isfinite(n)) {
        return buf_adds(out, "null"); /* JSON has no word for it */
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, n);
        if (strtod(text, NULL) == n) {
            break;
        }
    }
    for (char *p = text; *p; p++) {
        if (*p == ',') { /* the decimal point of the embedding program's locale */
            *p = '.';
        }
    }
    return buf_adds(out, text);
}

static int write_value(const struct value *v, struct buf *out, int depth);

static int write_array(const struct value *v, struct buf *out, int depth) {
    int rc = buf_addc(out, '[');
    for (size_t i = 0; i < v->as.t.n_items && rc == BUF_OK; i++) {
        rc = i ? buf_addc(out, ',') : BUF_OK;
        if (rc == BUF_OK) {
            rc = write_value(&v->as.t.items[i], out, depth + 1);
        }
    }
    return rc == BUF_OK ? buf_addc(out, ']') : rc;
}

/* Items beside named fields get their Lua index as key. */
static int write_object(const struct value *v, struct buf *out, int depth) {
    int rc = buf_addc(out, '{');
    for (size_t i = 0; i < v->as.t.n_items && rc == BUF_OK; i++) {
        rc = buf_addf(out, "%s\"%zu\":", i ? "," : "", i + 1);
        if (rc == BUF_OK) {
            rc = write_value(&v->as.t.items[i], out, depth + 1);
        }
    }
    for (size_t i = 0; i < v->as.t.n_fields && rc == BUF_OK; i++) {
        rc = i || v->as.t.n_items ? buf_addc(out, ',') : BUF_OK;
        if (rc == BUF_OK) {
            rc = json_write_string(out, str_of(v->as.t.fields[i].name));
        }
        if (rc == BUF_OK) {
            rc = buf_addc(out, ':');
        }
        if (rc == BUF_OK) {
            rc = write_value(&v->as.t.fields[i].value, out, depth + 1);
        }
    }
    return rc == BUF_OK ? buf_addc(out, '}') : rc;
}

static int write_value(const struct value *v, struct buf *out, int depth) {
    if (depth > MAX_JSON_DEPTH) {
        return BUF_FULL;
    }
    switch (v->type) {
    case VALUE_NIL:
        return buf_adds(out, "null");
    case VALUE_BOOL:
        return buf_adds(out, v->as.b ? "true" : "false");
    case VALUE_INT:
        return buf_addf(out, "%lld", (long long)v->as.i);
    case VALUE_NUM:
        return write_double(out, v->as.n);
    case VALUE_STR:
        return json_write_string(out, value_str(v));
    case VALUE_TABLE:
        break;
    }
    if (v->as.t.n_items && !v->as.t.n_fields) {
        return write_array(v, out, depth);
    }
    return write_object(v, out, depth);
}

int value_to_json(const struct value *v, struct buf *out) {
    return write_value(v, out, 1);
}
