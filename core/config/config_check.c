/* SPDX-License-Identifier: MIT */
/*
 * The generic checker: holds a tree of values against a schema and tells every unknown key (with
 * the nearest known one), missing key, wrong type and value out of range. Changes nothing and
 * builds nothing.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>

#include "base/limits.h"
#include "config/config_load.h"

enum { MAX_FIELDS = 32, MAX_LIST_TEXT = 400 };

bool is_unknown(const struct value *v) {
    return str_has(value_str(v), UNKNOWN_VALUE);
}

/* "number 5", "string \"abc\"", "a table"; nothing of a secret. */
static const char *found(const struct value *v, const struct field *f, char *out, size_t size) {
    double n = 0;
    struct str s = value_str(v);
    if (f->flags & FIELD_SECRET || !v || v->type == VALUE_TABLE || v->type == VALUE_NIL) {
        snprintf(out, size, "a %s", value_type_name(v));
    } else if (v->type == VALUE_BOOL) {
        snprintf(out, size, "%s", v->as.b ? "true" : "false");
    } else if (value_number(v, &n)) {
        snprintf(out, size, "%.14g", n);
    } else {
        snprintf(out, size, "string \"%.*s\"", (int)(s.n > 60 ? 60 : s.n), s.p);
    }
    return out;
}

static void expected(struct load *l, const struct field *f, const struct value *v, struct path *at,
                     const char *what) {
    char have[128];
    load_error(l, at, "expected %s, found %s", what, found(v, f, have, sizeof(have)));
}

static void names_of(const struct schema *schema, const char *names[MAX_FIELDS + 1]) {
    size_t n = 0;
    for (const struct field *f = schema->fields; f->name && n < MAX_FIELDS; f++) {
        names[n++] = f->name;
    }
    names[n] = NULL;
}

/* "a, b or c", each in quotes when `quote` says so. */
static const char *list_words(const char *const *words, const char *quote, char *out, size_t size) {
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; words[i] && n < size; i++) {
        const char *sep = i == 0 ? "" : words[i + 1] ? ", " : " or ";
        int len = snprintf(out + n, size - n, "%s%s%s%s", sep, quote, words[i], quote);
        n += len > 0 ? (size_t)len : 0;
    }
    return out;
}

static void unknown_key(struct load *l, const struct schema *schema, const char *name,
                        struct path *at) {
    const char *names[MAX_FIELDS + 1];
    char known[MAX_LIST_TEXT];
    names_of(schema, names);
    const char *nearest = str_nearest(name, names);
    size_t before = path_field(at, name);
    if (nearest) {
        load_error(l, at, "unknown key; did you mean \"%s\"?", nearest);
    } else {
        load_error(l, at, "unknown key; expected %s", list_words(names, "", known, sizeof(known)));
    }
    path_cut(at, before);
}

static const struct field *field_of(const struct schema *schema, const char *name) {
    for (const struct field *f = schema->fields; f->name; f++) {
        if (strcmp(f->name, name) == 0) {
            return f;
        }
    }
    return NULL;
}

/* A whole number is fine in either form: 1e6 is a float in Lua. */
static void check_whole(struct load *l, const struct field *f, const struct value *v,
                        struct path *at) {
    double n = 0;
    char what[96];
    if (!value_number(v, &n) || !(n >= f->min && n <= f->max) || n != floor(n)) {
        const char *unit = f->type == FIELD_BYTES ? "a number of bytes" : "a whole number";
        snprintf(what, sizeof(what), "%s from %.0f to %.0f", unit, f->min, f->max);
        expected(l, f, v, at, what);
    }
}

static void check_seconds(struct load *l, const struct field *f, const struct value *v,
                          struct path *at) {
    double n = 0;
    char what[96];
    if (!value_number(v, &n) || !(n >= f->min && n <= f->max)) { /* NaN is out of range too */
        snprintf(what, sizeof(what), "seconds, a number from %g to %g", f->min, f->max);
        expected(l, f, v, at, what);
    }
}

static void check_words(struct load *l, const struct field *f, const struct value *v,
                        struct path *at) {
    char words[MAX_LIST_TEXT];
    char have[128];
    struct str s = value_str(v);
    for (size_t i = 0; v->type == VALUE_STR && f->words[i]; i++) {
        if (str_is(s, f->words[i])) {
            return;
        }
    }
    const char *nearest = v->type == VALUE_STR ? str_nearest(s.p, f->words) : NULL;
    load_error(l, at, "expected %s%s%s%s, found %s%s%s%s",
               list_words(f->words, "\"", words, sizeof(words)), f->note ? " (" : "",
               f->note ? f->note : "", f->note ? ")" : "", found(v, f, have, sizeof(have)),
               nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}

static void check_text(struct load *l, const struct field *f, const struct value *v,
                       struct path *at) {
    struct err err;
    struct str s = value_str(v);
    if (f->words) {
        check_words(l, f, v, at);
    } else if (v->type != VALUE_STR) {
        expected(l, f, v, at, "a string");
    } else if (s.n && memchr(s.p, 0, s.n)) {
        load_error(l, at, "expected text, found a zero byte in it");
    } else if (f->rule && f->rule(s, &err)) {
        load_error(l, at, "%s", err.text);
    }
}

/* Tells named keys where a list is expected. */
static bool is_list(struct load *l, const struct field *f, const struct value *v, struct path *at) {
    if (v->type != VALUE_TABLE) {
        expected(l, f, v, at, "a list");
        return false;
    }
    if (v->as.t.n_fields) {
        size_t before = path_field(at, v->as.t.fields[0].name);
        load_error(l, at, "expected list items, found a named key");
        path_cut(at, before);
    }
    if (f->max > 0 && (double)v->as.t.n_items > f->max) {
        load_error(l, at, "expected at most %.0f entries, found %zu", f->max, v->as.t.n_items);
        return false;
    }
    return true;
}

/* Items where names are expected; a stand-in was told already. */
static bool has_items(const struct value *v) {
    return v->as.t.n_items && !is_unknown(&v->as.t.items[0]);
}

static bool is_map(struct load *l, const struct field *f, const struct value *v, struct path *at) {
    if (v->type != VALUE_TABLE) {
        expected(l, f, v, at, "a table");
        return false;
    }
    if (has_items(v)) {
        size_t before = path_item(at, 1);
        load_error(l, at, "expected named entries, found a list item");
        path_cut(at, before);
    }
    if (f->max > 0 && (double)v->as.t.n_fields > f->max) {
        load_error(l, at, "expected at most %.0f entries, found %zu", f->max, v->as.t.n_fields);
        return false;
    }
    return true;
}

static void check_texts(struct load *l, const struct field *f, const struct value *v,
                        struct path *at) {
    if (!is_list(l, f, v, at)) {
        return;
    }
    if (v->as.t.n_items == 0 && v->as.t.n_fields == 0) {
        load_error(
            l, at,
            "expected a list of at least one string, found an empty one; leave it out to mean all");
    }
    for (size_t i = 0; i < v->as.t.n_items; i++) {
        size_t before = path_item(at, i + 1);
        if (!is_unknown(&v->as.t.items[i])) {
            check_text(l, f, &v->as.t.items[i], at);
        }
        path_cut(at, before);
    }
}

/* Patterns stand in the list, names with their targets beside it. The targets' entries are judged
 * by the policy's schema, like those of its settings. */
static void check_models(struct load *l, const struct field *f, const struct value *v,
                         struct path *at) {
    struct err err;
    if (v->type != VALUE_TABLE) {
        expected(l, f, v, at, "a list of models, or names with their targets");
        return;
    }
    if (v->as.t.n_items == 0 && v->as.t.n_fields == 0) {
        load_error(l, at, "expected at least one model, found none; leave it out to mean all");
    }
    for (size_t i = 0; i < v->as.t.n_items; i++) {
        size_t before = path_item(at, i + 1);
        if (!is_unknown(&v->as.t.items[i])) {
            check_text(l, f, &v->as.t.items[i], at);
        }
        path_cut(at, before);
    }
    for (size_t i = 0; i < v->as.t.n_fields; i++) {
        const struct value_field *alias = &v->as.t.fields[i];
        size_t before = path_field(at, alias->name);
        if (f->name_rule(str_of(alias->name), &err)) {
            load_error(l, at, "%s", err.text);
        } else if (alias->value.type != VALUE_STR && alias->value.type != VALUE_TABLE) {
            expected(l, f, &alias->value, at, "a target or a list of targets");
        }
        path_cut(at, before);
    }
}

static void check_list(struct load *l, const struct field *f, const struct value *v,
                       struct path *at) {
    if (!is_list(l, f, v, at)) {
        return;
    }
    for (size_t i = 0; i < v->as.t.n_items; i++) {
        size_t before = path_item(at, i + 1);
        config_check(l, f->of, &v->as.t.items[i], at);
        path_cut(at, before);
    }
}

static void check_map(struct load *l, const struct field *f, const struct value *v,
                      struct path *at) {
    struct err err;
    if (!is_map(l, f, v, at)) {
        return;
    }
    for (size_t i = 0; i < v->as.t.n_fields; i++) {
        const struct value_field *entry = &v->as.t.fields[i];
        size_t before = path_field(at, entry->name);
        if (f->name_rule(str_of(entry->name), &err)) {
            load_error(l, at, "%s", err.text);
        }
        if (f->type == FIELD_MAP) {
            config_check(l, f->of, &entry->value, at);
        } else if (!is_unknown(&entry->value)) {
            check_text(l, f, &entry->value, at);
        }
        path_cut(at, before);
    }
}

static void check_workers(struct load *l, const struct field *f, const struct value *v,
                          struct path *at) {
    double n = 0;
    char what[64];
    bool good = value_number(v, &n) && n >= f->min && n <= f->max && n == floor(n);
    if (!good && !str_is(value_str(v), "auto")) {
        snprintf(what, sizeof(what), "\"auto\" or a whole number from %.0f to %.0f", f->min,
                 f->max);
        expected(l, f, v, at, what);
    }
}

static void check_listener(struct load *l, const struct field *f, const struct value *v,
                           struct path *at) {
    if (is_unknown(v)) {
        return;
    }
    if (v->type == VALUE_STR) {
        check_text(l, &f->of->fields[0], v, at);
        return;
    }
    if (v->type != VALUE_TABLE) {
        expected(l, f, v, at, "an address such as \"127.0.0.1:8080\"");
        return;
    }
    config_check(l, f->of, v, at);
}

/* One record, or a list of them. */
static void check_identities(struct load *l, const struct field *f, const struct value *v,
                             struct path *at) {
    bool list = v->type == VALUE_TABLE && v->as.t.n_items > 0 && v->as.t.n_fields == 0;
    if (!list) {
        config_check(l, f->of, v, at);
        return;
    }
    if (v->as.t.n_items > MAX_TLS_IDENTITIES) {
        load_error(l, at, "expected at most %d certificates, found %zu", MAX_TLS_IDENTITIES,
                   v->as.t.n_items);
    }
    for (size_t i = 0; i < v->as.t.n_items && i < MAX_TLS_IDENTITIES; i++) {
        size_t before = path_item(at, i + 1);
        config_check(l, f->of, &v->as.t.items[i], at);
        path_cut(at, before);
    }
}

/* One address, or a list of them. A table with an address is a list of one whose braces were
 * forgotten: taken as meant. */
static void check_listen(struct load *l, const struct field *f, const struct value *v,
                         struct path *at) {
    bool list = v->type == VALUE_TABLE && v->as.t.n_fields == 0;
    if (!list) {
        check_listener(l, f, v, at);
        return;
    }
    size_t n = v->as.t.n_items;
    if (n == 0 || n > MAX_LISTENERS) {
        load_error(l, at, "expected 1 to %d addresses, found %zu", MAX_LISTENERS, n);
    }
    for (size_t i = 0; i < n && i < MAX_LISTENERS; i++) {
        size_t before = path_item(at, i + 1);
        check_listener(l, f, &v->as.t.items[i], at);
        path_cut(at, before);
    }
}

static void check_field(struct load *l, const struct field *f, const struct value *v,
                        struct path *at) {
    if (is_unknown(v)) {
        return;
    }
    switch (f->type) {
    case FIELD_BOOL:
        if (v->type != VALUE_BOOL) {
            expected(l, f, v, at, "true or false");
        }
        return;
    case FIELD_INT:
    case FIELD_BYTES:
        check_whole(l, f, v, at);
        return;
    case FIELD_SECONDS:
        check_seconds(l, f, v, at);
        return;
    case FIELD_TEXT:
    case FIELD_CHOICE:
        check_text(l, f, v, at);
        return;
    case FIELD_TEXTS:
        check_texts(l, f, v, at);
        return;
    case FIELD_LIST:
        check_list(l, f, v, at);
        return;
    case FIELD_MAP:
    case FIELD_TEXT_MAP:
        check_map(l, f, v, at);
        return;
    case FIELD_VALUE:
        if (v->type != VALUE_TABLE) {
            expected(l, f, v, at, "a table");
        }
        return;
    case FIELD_HEALTH:
        if (v->type == VALUE_BOOL) {
            return; /* probes with every default, or none */
        }
        config_check(l, f->of, v, at);
        return;
    case FIELD_RECORD:
        config_check(l, f->of, v, at);
        return;
    case FIELD_LISTEN:
        check_listen(l, f, v, at);
        return;
    case FIELD_WORKERS:
        check_workers(l, f, v, at);
        return;
    case FIELD_MODELS:
        check_models(l, f, v, at);
        return;
    case FIELD_IDENTITIES:
        check_identities(l, f, v, at);
        return;
    }
}

/* Is some unknown key of v a misspelling of this one? Then it was told already. */
static bool is_misspelt(const struct schema *schema, const struct value *v, const char *name) {
    const char *names[MAX_FIELDS + 1];
    names_of(schema, names);
    for (size_t i = 0; i < v->as.t.n_fields; i++) {
        const char *given = v->as.t.fields[i].name;
        const char *nearest = field_of(schema, given) ? NULL : str_nearest(given, names);
        if (nearest && strcmp(nearest, name) == 0) {
            return true;
        }
    }
    return false;
}

static void check_missing(struct load *l, const struct schema *schema, const struct value *v,
                          struct path *at) {
    for (const struct field *f = schema->fields; f->name; f++) {
        bool missing = f->flags & FIELD_REQUIRED && !value_field(v, f->name);
        if (missing && !is_misspelt(schema, v, f->name)) {
            size_t before = path_field(at, f->name);
            load_error(l, at, "is missing; it must be given");
            path_cut(at, before);
        }
    }
}

void config_check(struct load *l, const struct schema *schema, const struct value *v,
                  struct path *at) {
    static const struct field none = {.flags = FIELD_SECRET}; /* keys = { "a secret" } */
    if (is_unknown(v)) {
        return;
    }
    if (v->type != VALUE_TABLE) {
        expected(l, &none, v, at, "a table");
        return;
    }
    if (has_items(v)) {
        size_t before = path_item(at, 1);
        load_error(l, at, "expected named keys, found a list item");
        path_cut(at, before);
    }
    for (size_t i = 0; i < v->as.t.n_fields; i++) {
        const struct value_field *given = &v->as.t.fields[i];
        const struct field *f = field_of(schema, given->name);
        if (!f) {
            unknown_key(l, schema, given->name, at);
            continue;
        }
        size_t before = path_field(at, given->name);
        check_field(l, f, &given->value, at);
        path_cut(at, before);
    }
    check_missing(l, schema, v, at);
}
