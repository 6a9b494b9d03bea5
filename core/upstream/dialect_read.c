/* SPDX-License-Identifier: MIT */
/*
 * Reading a dialect's data: fields of a table, texts, lists, statuses, each checked and each
 * mistake told with its place. Memory comes from the dialect's blocks.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/locate.h"
#include "upstream/dialect_impl.h"

void *reader_alloc(struct reader *r, size_t n, size_t size) {
    struct block *b = calloc(1, sizeof *b + n * size);
    if (!b) {
        r->out_of_memory = true;
        return NULL;
    }
    b->next = r->d->blocks;
    r->d->blocks = b;
    return b->data;
}

void reader_error(struct reader *r, const char *fmt, ...) {
    char what[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    int line = r->source->text.n ? locate_line(r->source->text, r->at.text) : 0;
    diags_error(r->diags, r->source->file, line, "dialect %s: %s%s%s", r->d->name, r->at.text,
                r->at.n ? ": " : "", what);
}

void reader_known(struct reader *r, const struct value *table, const char *const *names) {
    for (size_t i = 0; table && i < table->as.t.n_fields; i++) {
        const char *found = table->as.t.fields[i].name;
        size_t k = 0;
        while (names[k] && strcmp(names[k], found) != 0) {
            k++;
        }
        if (names[k]) {
            continue;
        }
        const char *near = str_nearest(found, names);
        size_t before = path_field(&r->at, found);
        reader_error(r, "there is no such field%s%s%s", near ? "; did you mean \"" : "",
                     near ? near : "", near ? "\"?" : "");
        path_cut(&r->at, before);
    }
}

static const char *type_wanted(enum value_type type) {
    return type == VALUE_TABLE ? "a table" : type == VALUE_STR ? "a text" : "another type";
}

const struct value *reader_field(struct reader *r, const struct value *table, const char *name,
                                 enum value_type type) {
    const struct value *v = value_field(table, name);
    if (!v || v->type == type) {
        return v;
    }
    size_t before = path_field(&r->at, name);
    reader_error(r, "expected %s, found a %s", type_wanted(type), value_type_name(v));
    path_cut(&r->at, before);
    return NULL;
}

const char *reader_text(struct reader *r, const struct value *table, const char *name) {
    const struct value *v = reader_field(r, table, name, VALUE_STR);
    return v ? value_str(v).p : NULL;
}

size_t reader_list(struct reader *r, const struct value *table, const char *name, size_t max,
                   const struct value **list) {
    const struct value *v = reader_field(r, table, name, VALUE_TABLE);
    *list = v ? v->as.t.items : NULL;
    if (!v) {
        return 0;
    }
    size_t before = path_field(&r->at, name);
    if (v->as.t.n_fields) {
        reader_error(r, "expected a list, found the name \"%s\" in it", v->as.t.fields[0].name);
    }
    if (v->as.t.n_items > max) {
        reader_error(r, "%zu items, of which %zu are allowed", v->as.t.n_items, max);
    }
    path_cut(&r->at, before);
    return v->as.t.n_items > max ? 0 : v->as.t.n_items;
}

struct texts reader_texts(struct reader *r, const struct value *table, const char *name) {
    struct texts out = {NULL, 0};
    const struct value *v = value_field(table, name), *items = v;
    size_t n = v ? 1 : 0;
    if (v && v->type == VALUE_TABLE) {
        n = reader_list(r, table, name, MAX_DIALECT_ROWS, &items);
    }
    out.list = n ? reader_alloc(r, n, sizeof *out.list) : NULL;
    for (size_t i = 0; out.list && i < n; i++) {
        if (items[i].type == VALUE_STR) {
            out.list[out.n++] = value_str(&items[i]).p;
            continue;
        }
        size_t before = path_field(&r->at, name);
        reader_error(r, "expected texts, found a %s", value_type_name(&items[i]));
        path_cut(&r->at, before);
    }
    return out;
}

static struct word word_of(const char *text) {
    struct str s = str_of(text);
    if (s.n && s.p[0] == '*') {
        return (struct word){str_make(s.p + 1, s.n - 1), WORD_ENDS};
    }
    if (s.n && s.p[s.n - 1] == '*') {
        return (struct word){str_make(s.p, s.n - 1), WORD_STARTS};
    }
    return (struct word){s, WORD_IS};
}

struct words reader_words(struct reader *r, const struct value *table, const char *name) {
    struct texts texts = reader_texts(r, table, name);
    struct words out = {texts.n ? reader_alloc(r, texts.n, sizeof(struct word)) : NULL, 0};
    for (size_t i = 0; out.list && i < texts.n; i++) {
        out.list[out.n++] = word_of(texts.list[i]);
    }
    return out;
}

bool words_match(const struct words *w, struct str s) {
    for (size_t i = 0; i < w->n; i++) {
        const struct word *x = &w->list[i];
        if (s.n < x->text.n || (x->kind == WORD_IS && s.n != x->text.n)) {
            continue;
        }
        const char *at = x->kind == WORD_ENDS ? s.p + s.n - x->text.n : s.p;
        if (x->text.n == 0 || (*at == *x->text.p && memcmp(at, x->text.p, x->text.n) == 0)) {
            return true;
        }
    }
    return false;
}

bool reader_path_ok(struct reader *r, const char *path) {
    struct str rest = str_of(path), step;
    size_t steps = 0;
    bool good = rest.n > 0;
    while (good && str_split(&rest, '.', &step)) {
        good = step.n > 0 && ++steps <= MAX_DIALECT_STEPS;
    }
    if (!good) {
        reader_error(r, "\"%.100s\" is no path; expected at most %d keys joined by dots", path,
                     MAX_DIALECT_STEPS);
    }
    return good;
}

static struct status_range parse_status(struct str s) {
    struct str rest = s, from;
    unsigned long long a, b;
    if (s.n == 3 && s.p[0] >= '1' && s.p[0] <= '5' && str_is(str_make(s.p + 1, 2), "xx")) {
        int hundred = (s.p[0] - '0') * 100;
        return (struct status_range){hundred, hundred + 99};
    }
    if (str_split(&rest, '-', &from) && str_to_u64(from, &a)) {
        b = a;
        if ((rest.p == NULL || str_to_u64(rest, &b)) && a >= 100 && a <= b && b <= 999) {
            return (struct status_range){(int)a, (int)b};
        }
    }
    return (struct status_range){-1, -1};
}

struct status_range reader_status(struct reader *r, const struct value *row) {
    const struct value *v = value_field(row, "status");
    struct status_range out = {0, 999};
    double n;
    if (!v) {
        return out;
    }
    if (value_number(v, &n)) {
        out = n >= 100 && n <= 999 ? (struct status_range){(int)n, (int)n}
                                   : (struct status_range){-1, -1};
    } else {
        out = parse_status(value_str(v));
    }
    if (out.from < 0) {
        size_t before = path_field(&r->at, "status");
        reader_error(r, "expected a status such as 429, \"4xx\" or \"400-403\"");
        path_cut(&r->at, before);
    }
    return out;
}

bool status_in(struct status_range range, int status) {
    return range.from == 0 || (status >= range.from && status <= range.to);
}

static int parse_outcome(struct reader *r, struct str name) {
    const char *names[OUTCOME_COUNT + 1] = {NULL};
    int o = outcome_parse(name);
    size_t n = 0;
    if (o >= 0 && outcome_class((enum outcome)o) != CLASS_NONE) {
        return o;
    }
    for (int i = 0; i < OUTCOME_COUNT; i++) {
        if (outcome_class((enum outcome)i) != CLASS_NONE) {
            names[n++] = outcome_name((enum outcome)i);
        }
    }
    const char *near = name.p ? str_nearest(name.p, names) : NULL;
    reader_error(r, "expected an outcome's name first, found \"%.*s\"%s%s%s",
                 (int)(name.n < 60 ? name.n : 60), name.n ? name.p : "",
                 near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    return -1;
}

int reader_outcome(struct reader *r, const struct value *row) {
    bool has = row->type == VALUE_TABLE && row->as.t.n_items == 1;
    return parse_outcome(r, has ? value_str(&row->as.t.items[0]) : str_make(NULL, 0));
}

struct str json_trim(struct str s) {
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t' || s.p[0] == '\n' || s.p[0] == '\r')) {
        s = str_make(s.p + 1, s.n - 1);
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\n' ||
                       s.p[s.n - 1] == '\r')) {
        s.n--;
    }
    return s;
}
