/* SPDX-License-Identifier: MIT */
/*
 * The rules of a dialect's streams and whole answers, compiled: conditions become tests in a tree
 * of paths and bits that rules ask for.
 */
#include "upstream/dialect_impl.h"

static const char *const sign_names[] = {"content",  "error",  "finish", "end",
                                         "filtered", "length", NULL}; /* enum stream_sign */

/* What a condition looks for, filed below `root`. `direct`: the test itself may give the rule's
 * signs. */
struct condition {
    struct jnode *root;
    struct rule *rule;
    size_t index; /* of the rule: its bit */
    bool direct;
};

static void add_test(struct reader *r, const struct condition *c, const char *path,
                     enum jtest_kind kind, const struct words *words) {
    uint64_t bit = UINT64_C(1) << c->index;
    if (!reader_path_ok(r, path)) {
        return;
    }
    struct jtest *t = jtest_add(r, jnode_at(r, c->root, str_of(path)), kind);
    if (!t) {
        return;
    }
    t->words = words;
    t->bit = bit;
    t->signs = c->direct ? c->rule->signs : 0;
    if (kind == TEST_THERE) {
        c->rule->lack |= bit;
    } else {
        c->rule->need |= bit;
    }
}

static void add_tests(struct reader *r, const struct condition *c, const struct value *row,
                      const char *field, enum jtest_kind kind, const struct words *words) {
    struct texts paths = reader_texts(r, row, field);
    size_t before = path_field(&r->at, field);
    for (size_t i = 0; i < paths.n; i++) {
        add_test(r, c, paths.list[i], kind, words);
    }
    path_cut(&r->at, before);
}

static const struct words *kept_words(struct reader *r, const struct value *row,
                                      const char *field) {
    struct words *w = reader_alloc(r, 1, sizeof *w);
    if (w) {
        *w = reader_words(r, row, field);
    }
    return w;
}

static void compile_condition(struct reader *r, const struct condition *c,
                              const struct value *row) {
    bool is = value_field(row, "is") != NULL, isnt = value_field(row, "isnt") != NULL;
    if ((value_field(row, "at") != NULL) != (is || isnt) || (is && isnt)) {
        reader_error(r, "expected at = PATH together with is = WORDS or isnt = WORDS");
        return;
    }
    if (value_field(row, "filled") && (is || isnt)) {
        reader_error(r, "has both filled and at; expected one of them (write two rules)");
        return;
    }
    add_tests(r, c, row, "filled", TEST_FILLED, NULL);
    if (is || isnt) {
        const struct words *words = kept_words(r, row, is ? "is" : "isnt");
        add_tests(r, c, row, "at", is ? TEST_IS : TEST_ISNT, words);
    }
    add_tests(r, c, row, "lacks", TEST_THERE, NULL);
}

/* ---- Streams ---- */

static unsigned compile_signs(struct reader *r, const struct value *row) {
    unsigned signs = 0;
    for (size_t i = 0; row->type == VALUE_TABLE && i < row->as.t.n_items; i++) {
        struct str name = value_str(&row->as.t.items[i]);
        size_t k = 0;
        while (sign_names[k] && !str_is(name, sign_names[k])) {
            k++;
        }
        signs |= sign_names[k] ? 1U << k : 0;
        if (!sign_names[k]) {
            signs = 0;
            break;
        }
    }
    if (!signs) {
        reader_error(r, "expected what it means first: \"content\", \"error\", \"finish\", "
                        "\"end\", \"filtered\" or \"length\"");
    }
    return signs;
}

static uint64_t lengths_of(const struct words *w) {
    uint64_t lengths = 0;
    for (size_t i = 0; i < w->n; i++) {
        const struct word *x = &w->list[i];
        lengths |= x->kind == WORD_IS ? UINT64_C(1) << (x->text.n & 63) : ~UINT64_C(0);
    }
    return lengths;
}

static void compile_stream_rule(struct reader *r, const struct value *row, size_t i,
                                struct rule *rule) {
    static const char *const names[] = {"type", "filled", "at", "is", "isnt", "lacks", NULL};
    rule->signs = compile_signs(r, row);
    if (row->type != VALUE_TABLE) {
        return;
    }
    reader_known(r, row, names);
    rule->types = reader_words(r, row, "type");
    rule->lengths = lengths_of(&rule->types);
    bool direct = rule->types.n == 0 && !value_field(row, "lacks");
    struct condition c = {&r->d->events.root, rule, i, direct};
    compile_condition(r, &c, row);
    if (!rule->types.n && !rule->need && !rule->lack) {
        reader_error(r, "it would hold for every event; expected type, filled, at or lacks");
    }
}

/* Rules that need no event type, and that no test decides alone, are looked at for each event. */
static void sort_rules(struct reader *r, const struct rule *rules, size_t n) {
    struct stream_rules *s = &r->d->events;
    s->rules = n ? reader_alloc(r, n, sizeof *rules) : NULL;
    for (int typed = 0; s->rules && typed < 2; typed++) {
        for (size_t i = 0; i < n; i++) {
            bool direct = rules[i].types.n == 0 && !rules[i].lack;
            if (!direct && (rules[i].types.n > 0) == (typed == 1)) {
                s->rules[s->n++] = rules[i];
            }
        }
        s->n_untyped = typed ? s->n_untyped : s->n;
    }
}

void compile_stream(struct reader *r, const struct value *data) {
    static const char *const names[] = {"marker", "type", "rules", NULL};
    const struct value *stream = reader_field(r, data, "stream", VALUE_TABLE), *list;
    struct stream_rules *s = &r->d->events;
    size_t before = path_field(&r->at, "stream");
    reader_known(r, stream, names);
    s->marker = str_of(reader_text(r, stream, "marker"));
    const char *type = reader_text(r, stream, "type");
    if (type && reader_path_ok(r, type)) {
        (void)jtest_add(r, jnode_at(r, &s->root, str_of(type)), TEST_TYPE);
    }
    size_t n = reader_list(r, stream, "rules", MAX_DIALECT_RULES, &list);
    struct rule *rules = n ? reader_alloc(r, n, sizeof *rules) : NULL;
    path_field(&r->at, "rules");
    for (size_t i = 0; rules && i < n; i++) {
        size_t at = path_item(&r->at, i + 1);
        compile_stream_rule(r, &list[i], i, &rules[i]);
        path_cut(&r->at, at);
    }
    path_cut(&r->at, before);
    sort_rules(r, rules, rules ? n : 0);
    usage_watch(r, &s->root);
}

/* ---- Whole answers ---- */

static int compile_judgement(struct reader *r, const struct value *row) {
    static const struct {
        const char *name;
        enum outcome outcome;
    } names[] = {{"answer", OUTCOME_OK},
                 {"error", OUTCOME_ERROR_EVENT},
                 {"filtered", OUTCOME_CONTENT_FILTERED},
                 {"empty", OUTCOME_EMPTY_RESPONSE},
                 {"invalid", OUTCOME_INVALID_RESPONSE}};
    bool one = row->type == VALUE_TABLE && row->as.t.n_items == 1;
    for (size_t i = 0; one && i < sizeof names / sizeof *names; i++) {
        if (str_is(value_str(&row->as.t.items[0]), names[i].name)) {
            return names[i].outcome;
        }
    }
    reader_error(r, "expected what it is first: \"answer\", \"error\", \"filtered\", \"empty\" or "
                    "\"invalid\"");
    return OUTCOME_OK;
}

static void compile_answer_rules(struct reader *r, const struct value *row,
                                 struct answer_rules *a) {
    static const char *const names[] = {"filled", "at", "is", "isnt", "lacks", NULL};
    const struct value *list;
    size_t n = reader_list(r, row, "rules", MAX_DIALECT_RULES, &list);
    a->rules = n ? reader_alloc(r, n, sizeof *a->rules) : NULL;
    size_t before = path_field(&r->at, "rules");
    for (size_t i = 0; a->rules && i < n; i++) {
        size_t at = path_item(&r->at, i + 1);
        struct condition c = {&a->root, &a->rules[i], i, false};
        a->rules[i].judgement = compile_judgement(r, &list[i]);
        if (list[i].type == VALUE_TABLE) {
            reader_known(r, &list[i], names);
            compile_condition(r, &c, &list[i]);
        }
        a->n = i + 1;
        path_cut(&r->at, at);
    }
    path_cut(&r->at, before);
}

static void compile_answer(struct reader *r, const struct value *row, struct answer_rules *a) {
    static const char *const names[] = {"path", "body", "rules", NULL};
    const char *body = reader_text(r, row, "body");
    reader_known(r, row, names);
    a->paths = reader_words(r, row, "path");
    if (body && strcmp(body, "some") != 0 && strcmp(body, "object") != 0) {
        size_t before = path_field(&r->at, "body");
        reader_error(r, "expected \"some\" or \"object\", found \"%.60s\"", body);
        path_cut(&r->at, before);
    }
    a->body = !body ? BODY_ANY : strcmp(body, "some") == 0 ? BODY_SOME : BODY_OBJECT;
    compile_answer_rules(r, row, a);
    usage_watch(r, &a->root);
}

void compile_answers(struct reader *r, const struct value *data) {
    const struct value *list;
    size_t n = reader_list(r, data, "answers", MAX_DIALECT_ROWS, &list);
    size_t before = path_field(&r->at, "answers");
    r->d->answers = n ? reader_alloc(r, n, sizeof *r->d->answers) : NULL;
    for (size_t i = 0; r->d->answers && i < n; i++) {
        size_t at = path_item(&r->at, i + 1);
        if (list[i].type == VALUE_TABLE) {
            compile_answer(r, &list[i], &r->d->answers[r->d->n_answers++]);
        } else {
            reader_error(r, "expected a table, found a %s", value_type_name(&list[i]));
        }
        path_cut(&r->at, at);
    }
    path_cut(&r->at, before);
}
