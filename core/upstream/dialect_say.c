/* SPDX-License-Identifier: MIT */
/*
 * What the gateway writes in a client's dialect: errors, error events, lists of models. Templates
 * are JSON texts with places in them ("$message"); a place writes a whole JSON value, or, where it
 * stands in a string, what goes into the string.
 */
#include <stdlib.h>

#include "upstream/dialect_impl.h"

static const struct {
    const char *name;
    enum slot slot;
} slots[] = {
    {"message", SLOT_MESSAGE}, {"type", SLOT_TYPE},     {"code", SLOT_CODE},
    {"status", SLOT_STATUS},   {"models", SLOT_MODELS}, {"model", SLOT_MODEL},
    {"first", SLOT_FIRST},     {"last", SLOT_LAST},     {"owner", SLOT_OWNER},
};

/* Places that a template may have. */
enum { ERROR_SLOTS = 1 << SLOT_MESSAGE | 1 << SLOT_TYPE | 1 << SLOT_CODE | 1 << SLOT_STATUS };
enum { LIST_SLOTS = 1 << SLOT_MODELS | 1 << SLOT_FIRST | 1 << SLOT_LAST };
enum { ITEM_SLOTS = 1 << SLOT_MODEL | 1 << SLOT_OWNER };

/* ---- Compiling ---- */

/* The place whose name begins at `s`, the longest that fits; its length in *n. */
static enum slot slot_at(struct str s, unsigned allowed, size_t *n) {
    enum slot found = SLOT_NONE;
    *n = 0;
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        size_t length = strlen(slots[i].name);
        if (str_starts(s, slots[i].name) && length > *n && (allowed & 1U << slots[i].slot)) {
            found = slots[i].slot;
            *n = length;
        }
    }
    return found;
}

/* Is what follows `s` within a string? */
static bool ends_inside(struct str s, bool inside) {
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' && inside) {
            i++;
        } else if (s.p[i] == '"') {
            inside = !inside;
        }
    }
    return inside;
}

static void split_template(struct reader *r, struct str text, unsigned allowed,
                           struct template *t) {
    bool inside = false;
    while (r->d && t->pieces) {
        const char *dollar = text.n ? memchr(text.p, '$', text.n) : NULL;
        struct piece *p = &t->pieces[t->n++];
        p->text = dollar ? str_make(text.p, (size_t)(dollar - text.p)) : text;
        p->inside = inside = ends_inside(p->text, inside);
        if (!dollar) {
            return;
        }
        size_t n;
        text = str_make(dollar + 1, text.n - p->text.n - 1);
        p->slot = slot_at(text, allowed, &n);
        if (p->slot == SLOT_NONE) {
            reader_error(r, "\"$%.*s\" is no place that can be filled here",
                         (int)(text.n < 20 ? text.n : 20), text.p);
        }
        text = str_make(text.p + n, text.n - n);
    }
}

/* Does it write JSON? */
static void try_template(struct reader *r, const struct template *t) {
    struct buf out;
    struct err err;
    buf_init(&out, (size_t)MAX_DIALECT_TEMPLATE * 2);
    int bad = 0;
    for (size_t i = 0; i < t->n; i++) {
        bool value = t->pieces[i].slot && !t->pieces[i].inside;
        bad |= buf_add_str(&out, t->pieces[i].text);
        bad |= value ? buf_adds(&out, t->pieces[i].slot == SLOT_MODELS ? "1" : "\"\"") : 0;
    }
    if (bad == 0 && jscan_check(buf_str(&out), &err) != JSCAN_OK) {
        reader_error(r, "%s (of the template with its places filled)", err.text);
    }
    buf_release(&out);
}

static void compile_template(struct reader *r, const struct value *table, const char *name,
                             unsigned allowed, struct template *t) {
    struct str text = str_of(reader_text(r, table, name));
    size_t before = path_field(&r->at, name);
    size_t places = 1;
    if (text.n > MAX_DIALECT_TEMPLATE) {
        reader_error(r, "longer than %d bytes", MAX_DIALECT_TEMPLATE);
    } else if (text.n) {
        for (size_t i = 0; i < text.n; i++) {
            places += text.p[i] == '$';
        }
        t->pieces = reader_alloc(r, places, sizeof *t->pieces);
        size_t errors = r->diags->errors;
        split_template(r, text, allowed, t);
        if (r->diags->errors == errors) {
            try_template(r, t);
        }
    }
    path_cut(&r->at, before);
}

static void compile_row(struct reader *r, const struct value *v, struct say_row *row) {
    static const char *const names[] = {"status", "outcome", NULL};
    bool one = v->type == VALUE_TABLE && v->as.t.n_items == 1;
    row->word = one ? value_str(&v->as.t.items[0]).p : NULL;
    if (!row->word) {
        reader_error(r, "expected a text first, then outcome = … or status = …");
        return;
    }
    reader_known(r, v, names);
    row->status = reader_status(r, v);
    struct texts outcomes = reader_texts(r, v, "outcome");
    for (size_t i = 0; i < outcomes.n; i++) {
        int o = outcome_parse(str_of(outcomes.list[i]));
        if (o < 0) {
            reader_error(r, "there is no outcome \"%.60s\"", outcomes.list[i]);
        } else {
            row->outcomes |= UINT64_C(1) << o;
        }
    }
}

static struct say_row *compile_rows(struct reader *r, const struct value *say, const char *name,
                                    size_t *count) {
    const struct value *list;
    size_t n = reader_list(r, say, name, MAX_DIALECT_ROWS, &list);
    struct say_row *rows = n ? reader_alloc(r, n, sizeof *rows) : NULL;
    size_t before = path_field(&r->at, name);
    for (size_t i = 0; rows && i < n; i++) {
        size_t at = path_item(&r->at, i + 1);
        compile_row(r, &list[i], &rows[i]);
        path_cut(&r->at, at);
    }
    path_cut(&r->at, before);
    *count = rows ? n : 0;
    return rows;
}

static void compile_models(struct reader *r, const struct value *data) {
    static const char *const names[] = {"path", "list", "item", NULL};
    const struct value *models = reader_field(r, data, "models", VALUE_TABLE);
    struct model_rules *m = &r->d->models;
    size_t before = path_field(&r->at, "models");
    reader_known(r, models, names);
    m->path = reader_text(r, models, "path");
    compile_template(r, models, "list", LIST_SLOTS, &m->list);
    compile_template(r, models, "item", ITEM_SLOTS, &m->item);
    if (models && (!m->path || !m->list.n || !m->item.n)) {
        reader_error(r, "expected path, list and item");
    }
    path_cut(&r->at, before);
}

void compile_say(struct reader *r, const struct value *data) {
    static const char *const names[] = {"error", "event", "event_type", "type", "code", NULL};
    const struct value *say = reader_field(r, data, "say", VALUE_TABLE);
    struct say_rules *s = &r->d->say;
    size_t before = path_field(&r->at, "say");
    reader_known(r, say, names);
    compile_template(r, say, "error", ERROR_SLOTS, &s->error);
    compile_template(r, say, "event", ERROR_SLOTS, &s->event);
    s->event_type = reader_text(r, say, "event_type");
    s->type = compile_rows(r, say, "type", &s->n_type);
    s->code = compile_rows(r, say, "code", &s->n_code);
    path_cut(&r->at, before);
    compile_models(r, data);
}

/* ---- Writing ---- */

/* A text (NULL: null) as a value, or as a part of a string. */
static int write_text(struct buf *out, const char *text, bool inside) {
    if (!text && !inside) {
        return buf_adds(out, "null");
    }
    size_t from = out->len;
    int bad = json_write_string(out, str_of(text ? text : ""));
    if (!bad && inside) { /* without its quotes */
        memmove(out->data + from, out->data + from + 1, out->len - from - 1);
        buf_truncate(out, out->len - 2);
    }
    return bad;
}

static const char *choose(const struct say_row *rows, size_t n, const struct dialect_error *e,
                          const char *otherwise) {
    for (size_t i = 0; i < n; i++) {
        bool outcome = !rows[i].outcomes || (rows[i].outcomes & (UINT64_C(1) << e->outcome));
        if (outcome && status_in(rows[i].status, e->status)) {
            return rows[i].word;
        }
    }
    return otherwise;
}

static int write_error_slot(const struct dialect *d, struct buf *out, const struct piece *p,
                            const struct dialect_error *e) {
    const struct say_rules *s = &d->say;
    switch (p->slot) {
    case SLOT_MESSAGE:
        return write_text(out, e->message, p->inside);
    case SLOT_TYPE:
        return write_text(out, choose(s->type, s->n_type, e, e->type), p->inside);
    case SLOT_CODE:
        return write_text(out, choose(s->code, s->n_code, e, e->code), p->inside);
    case SLOT_STATUS:
        return buf_addn(out, (unsigned long long)e->status);
    default:
        return 0;
    }
}

static int write_error(const struct dialect *d, struct buf *out, const struct template *t,
                       const struct dialect_error *e) {
    int bad = 0;
    for (size_t i = 0; i < t->n && !bad; i++) {
        bad = buf_add_str(out, t->pieces[i].text);
        bad = bad ? bad : write_error_slot(d, out, &t->pieces[i], e);
    }
    return bad;
}

static const struct dialect *with_words(const struct dialect *d) {
    return d->say.error.n ? d : dialect_builtin();
}

int dialect_write_error(const struct dialect *d, struct buf *out, const struct dialect_error *e) {
    size_t before = out->len;
    d = with_words(d);
    if (write_error(d, out, &d->say.error, e) != 0) {
        buf_truncate(out, before);
        return -1;
    }
    return 0;
}

int dialect_write_error_event(const struct dialect *d, struct buf *out,
                              const struct dialect_error *e) {
    size_t before = out->len;
    d = with_words(d);
    const char *type = d->say.event_type;
    int bad = type ? buf_adds(out, "event: ") | buf_adds(out, type) | buf_adds(out, "\n") : 0;
    bad = bad ? bad : buf_adds(out, "data: ");
    size_t from = out->len;
    bad = bad ? bad : write_error(d, out, d->say.event.n ? &d->say.event : &d->say.error, e);
    buf_unfold(out, from); /* a template may stand over several lines */
    bad = bad ? bad : buf_adds(out, "\n\n");
    if (bad) {
        buf_truncate(out, before);
    }
    return bad ? -1 : 0;
}

const char *dialect_models_path(const struct dialect *d) {
    return d->models.path;
}

static int write_item(const struct template *t, struct buf *out, const struct dialect_model *m) {
    int bad = 0;
    for (size_t i = 0; i < t->n && !bad; i++) {
        const struct piece *p = &t->pieces[i];
        bad = buf_add_str(out, p->text);
        if (!bad && p->slot) {
            bad = write_text(out, p->slot == SLOT_OWNER ? m->owner : m->id, p->inside);
        }
    }
    return bad;
}

int dialect_write_model(const struct dialect *d, struct buf *out, const struct dialect_model *m) {
    const struct model_rules *rules = d->models.path ? &d->models : &dialect_builtin()->models;
    size_t before = out->len;
    if (write_item(&rules->item, out, m)) {
        buf_truncate(out, before);
        return -1;
    }
    return 0;
}

static int write_items(const struct template *t, struct buf *out,
                       const struct dialect_model *models, size_t n) {
    int bad = 0;
    for (size_t i = 0; i < n && !bad; i++) {
        bad = i ? buf_addc(out, ',') : 0;
        bad = bad ? bad : write_item(t, out, &models[i]);
    }
    return bad;
}

int dialect_write_models(const struct dialect *d, struct buf *out,
                         const struct dialect_model *models, size_t n) {
    const struct model_rules *m = d->models.path ? &d->models : &dialect_builtin()->models;
    size_t before = out->len;
    int bad = 0;
    for (size_t i = 0; i < m->list.n && !bad; i++) {
        const struct piece *p = &m->list.pieces[i];
        bad = buf_add_str(out, p->text);
        if (bad || !p->slot) {
            continue;
        }
        bad = p->slot == SLOT_MODELS
                  ? write_items(&m->item, out, models, n)
                  : write_text(out, !n ? NULL : models[p->slot == SLOT_LAST ? n - 1 : 0].id,
                               p->inside);
    }
    if (bad) {
        buf_truncate(out, before);
    }
    return bad ? -1 : 0;
}

/* ---- Where there is no file ---- */

static struct piece openai_error[] = {
    {STR("{\"error\":{\"message\":"), SLOT_MESSAGE, false},
    {STR(",\"type\":"), SLOT_TYPE, false},
    {STR(",\"param\":null,\"code\":"), SLOT_CODE, false},
    {STR("}}"), SLOT_NONE, false},
};
static struct piece openai_list[] = {
    {STR("{\"object\":\"list\",\"data\":["), SLOT_MODELS, false},
    {STR("]}"), SLOT_NONE, false},
};
static struct piece openai_item[] = {
    {STR("{\"id\":"), SLOT_MODEL, false},
    {STR(",\"object\":\"model\",\"created\":0,\"owned_by\":"), SLOT_OWNER, false},
    {STR("}"), SLOT_NONE, false},
};

const struct dialect *dialect_builtin(void) {
    static const char *const speaks[] = {"openai"}, *const v1[] = {"/v1"};
    static const struct dialect openai = {
        .name = "openai",
        .provider = {.prefixes = v1, .n_prefixes = 1, .speaks = speaks, .n_speaks = 1},
        .say.error = {openai_error, sizeof openai_error / sizeof *openai_error},
        .models = {"/v1/models",
                   {openai_list, sizeof openai_list / sizeof *openai_list},
                   {openai_item, sizeof openai_item / sizeof *openai_item}},
    };
    return &openai;
}
