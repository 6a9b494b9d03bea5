/* SPDX-License-Identifier: MIT */
/*
 * A dialect as a whole: made of its data, and asked what an answer or an event is.
 */
#include "upstream/dialect.h"

#include <stdlib.h>

#include "config/config_text.h"
#include "upstream/dialect_impl.h"

/* ---- Making one ---- */

static const char *const fields[] = {
    "name",  "auth",   "headers", "speaks",    "prefix", "pass",  "generate", "generate_stream",
    "model", "client", "errors",  "answers",   "stream", "usage", "say",      "models",
    "raw",   "cannot", "changes", "functions", NULL};

static void compile_headers(struct reader *r, const struct value *data) {
    const struct value *headers = reader_field(r, data, "headers", VALUE_TABLE);
    size_t before = path_field(&r->at, "headers");
    for (size_t i = 0; headers && i < headers->as.t.n_fields; i++) {
        const struct value_field *f = &headers->as.t.fields[i];
        struct err err = {""};
        if (text_header_name(str_of(f->name), &err) ||
            text_header_value(value_str(&f->value), &err)) {
            size_t at = path_field(&r->at, f->name);
            reader_error(r, "%s", err.text);
            path_cut(&r->at, at);
        }
    }
    path_cut(&r->at, before);
    r->d->provider.headers = headers;
}

static void compile_auth(struct reader *r, const struct value *data) {
    struct err err;
    r->d->provider.auth = reader_text(r, data, "auth");
    if (r->d->provider.auth && text_auth(str_of(r->d->provider.auth), &err)) {
        size_t before = path_field(&r->at, "auth");
        reader_error(r, "%s", err.text);
        path_cut(&r->at, before);
    }
}

static void compile_provider(struct reader *r, const struct value *data) {
    struct config_dialect *p = &r->d->provider;
    static const char *const v1[] = {"/v1"};
    struct texts speaks = reader_texts(r, data, "speaks");
    struct texts prefixes = reader_texts(r, data, "prefix");
    compile_auth(r, data);
    compile_headers(r, data);
    p->prefixes = prefixes.n ? prefixes.list : v1;
    p->n_prefixes = prefixes.n ? prefixes.n : 1;
    p->pass = reader_text(r, data, "pass");
    p->speaks = speaks.n ? speaks.list : (const char *const *)&r->d->name;
    p->n_speaks = speaks.n ? speaks.n : 1;
    r->d->generate = reader_text(r, data, "generate");
    r->d->stream = reader_text(r, data, "generate_stream");
}

static void compile_model(struct reader *r, const struct value *data) {
    const char *model = reader_text(r, data, "model");
    r->d->model_in_path = model && strcmp(model, "path") == 0;
    if (model && !r->d->model_in_path && strcmp(model, "body") != 0) {
        size_t before = path_field(&r->at, "model");
        reader_error(r, "expected \"body\" or \"path\", found \"%.60s\"", model);
        path_cut(&r->at, before);
    }
}

static void compile_name(struct reader *r, struct str name, const struct value *data) {
    const char *said = reader_text(r, data, "name");
    if (said && !str_is(name, said)) {
        size_t before = path_field(&r->at, "name");
        reader_error(r, "the file's name says \"%s\"; expected the same", r->d->name);
        path_cut(&r->at, before);
    }
    reader_known(r, data, fields);
    reader_texts(r, data, "cannot"); /* both for the conformance kit, lua/moongate/dialect */
    reader_texts(r, data, "changes");
}

static void compile_all(struct reader *r, struct str name) {
    const struct value *data = &r->d->data;
    compile_name(r, name, data);
    compile_provider(r, data);
    compile_model(r, data);
    compile_errors(r, data);
    compile_usage(r, data);
    compile_stream(r, data);
    compile_answers(r, data);
    compile_say(r, data);
    compile_client(r, data);
}

struct dialect *dialect_compile(struct str name, const struct value *data,
                                const struct dialect_source *source, struct diags *diags) {
    struct dialect *d = calloc(1, sizeof *d);
    struct reader r = {.d = d, .diags = diags, .source = source};
    size_t errors = diags->errors;
    path_init(&r.at);
    char *copy = d ? reader_alloc(&r, name.n + 1, 1) : NULL;
    if (!copy || value_copy(&d->data, data) != 0) {
        diags_error(diags, source->file, 0, "not enough memory");
        dialect_free(d);
        return NULL;
    }
    memcpy(copy, name.p, name.n);
    d->name = copy;
    if (d->data.type != VALUE_TABLE) {
        reader_error(&r, "the file returned a %s (expected a table)", value_type_name(data));
    } else {
        compile_all(&r, name);
    }
    if (r.out_of_memory) {
        diags_error(diags, source->file, 0, "not enough memory");
    }
    if (diags->errors != errors || r.out_of_memory) {
        dialect_free(d);
        return NULL;
    }
    return d;
}

void dialect_free(struct dialect *d) {
    if (!d) {
        return;
    }
    while (d->blocks) {
        struct block *next = d->blocks->next;
        free(d->blocks);
        d->blocks = next;
    }
    value_release(&d->data);
    free(d);
}

const char *dialect_name(const struct dialect *d) {
    return d->name;
}

const struct config_dialect *dialect_defaults(const struct dialect *d) {
    return &d->provider;
}

/* ---- Whole answers ---- */

static bool is_json(const struct headers *headers) {
    struct str value, type;
    if (!headers_get(headers, "Content-Type", &value) || !str_split(&value, ';', &type)) {
        return false;
    }
    return str_case_has(type, "/json") || str_case_has(type, "+json");
}

static bool is_event_stream(const struct headers *headers) {
    struct str type;
    return headers_get(headers, "Content-Type", &type) && str_case_has(type, "text/event-stream");
}

static const struct answer_rules *answer_of(const struct dialect *d, struct str path) {
    static const struct answer_rules none = {.body = BODY_ANY};
    for (size_t i = 0; i < d->n_answers; i++) {
        if (d->answers[i].paths.n == 0 || words_match(&d->answers[i].paths, path)) {
            return &d->answers[i];
        }
    }
    return &none;
}

static inline bool rule_holds(const struct rule *rule, const struct jfacts *f) {
    return (!rule->need || (f->bits & rule->need)) && !(f->there & rule->lack);
}

static enum outcome judge_object(const struct dialect *d, const struct answer_rules *a,
                                 struct str text, struct usage *usage) {
    struct jfacts f;
    if (jwalk(&a->root, text, &f) != 0) {
        return OUTCOME_INVALID_RESPONSE;
    }
    usage_count(&d->usage, &f, usage);
    for (size_t i = 0; i < a->n; i++) {
        if (rule_holds(&a->rules[i], &f)) {
            return (enum outcome)a->rules[i].judgement;
        }
    }
    return OUTCOME_OK;
}

/* A 2xx answer that is no stream. */
static enum outcome judge_plain(const struct dialect *d, struct str path, bool json,
                                struct str body, struct usage *usage) {
    const struct answer_rules *a = answer_of(d, path);
    struct str text = json_trim(body);
    if (text.n == 0) {
        return a->body == BODY_ANY ? OUTCOME_OK : OUTCOME_EMPTY_RESPONSE;
    }
    if (!json && a->body != BODY_OBJECT) {
        return OUTCOME_OK;
    }
    if (text.p[0] != '{') {
        bool good = a->body != BODY_OBJECT && jscan_check(text, NULL) == JSCAN_OK;
        return good ? OUTCOME_OK : OUTCOME_INVALID_RESPONSE;
    }
    return judge_object(d, a, text, usage);
}

static struct str header_type(const struct dialect *d, const struct headers *headers) {
    struct str value, type = {NULL, 0};
    const char *name = d->errors.type_header;
    if (name && headers_get(headers, name, &value)) {
        (void)str_split(&value, ':', &type);
    }
    return type;
}

void dialect_judge(const struct dialect *d, struct str path, int status,
                   const struct headers *headers, struct str body, struct verdict *out) {
    *out =
        (struct verdict){.outcome = OUTCOME_OK, .status = status, .usage = {false, -1, -1, -1, -1}};
    if (status >= 200 && status <= 299) {
        if (status != 204 && !is_event_stream(headers)) {
            out->outcome = judge_plain(d, path, is_json(headers), body, &out->usage);
        }
        if (out->outcome == OUTCOME_ERROR_EVENT) {
            errors_judge_event(d, body, str_make(NULL, 0), out);
        }
    } else if (status >= 400) {
        errors_judge(d, body, status, header_type(d, headers), out);
    } else {
        /* We follow no redirects, so one is no answer; 304 is one to a question that only the
         * client can have asked. */
        out->outcome = status == 304 ? OUTCOME_OK : OUTCOME_INVALID_RESPONSE;
    }
    if (out->outcome != OUTCOME_ERROR_EVENT) {
        out->means = out->outcome;
    }
}

void dialect_usage(const struct dialect *d, struct str body, struct usage *out) {
    struct jfacts f;
    *out = (struct usage){false, -1, -1, -1, -1};
    (void)jwalk(&d->usage.root, body, &f); /* what stood before the mistake counts */
    usage_count(&d->usage, &f, out);
}

/* ---- Streams ---- */

/* Those that no test decided alone. */
static unsigned rule_signs(const struct stream_rules *s, struct str type, const struct jfacts *f) {
    uint64_t length = UINT64_C(1) << (type.n & 63);
    unsigned signs = 0;
    for (size_t i = 0; i < s->n_untyped; i++) {
        signs |= rule_holds(&s->rules[i], f) ? s->rules[i].signs : 0;
    }
    for (size_t i = s->n_untyped; i < s->n && type.n; i++) {
        const struct rule *rule = &s->rules[i];
        if ((rule->lengths & length) && rule_holds(rule, f) && words_match(&rule->types, type)) {
            signs |= rule->signs;
        }
    }
    return signs;
}

/* Data that is no object: nothing is filled there, and only an error may be said so. */
static unsigned bare_signs(const struct dialect *d, const struct sse_event *event,
                           struct str text) {
    static const struct jfacts nothing;
    if (rule_signs(&d->events, event->type, &nothing) & SIGN_ERROR) {
        return SIGN_ERROR; /* whatever it says */
    }
    return jscan_check(text, NULL) == JSCAN_OK ? SIGN_DATA : SIGN_MALFORMED;
}

unsigned dialect_event(const struct dialect *d, const struct sse_event *event,
                       struct usage *usage) {
    struct str text = json_trim(event->data);
    struct jfacts f;
    if (!event->has_data || text.n == 0) {
        return 0;
    }
    if (d->events.marker.n && str_eq(text, d->events.marker)) {
        return SIGN_END;
    }
    if (text.p[0] != '{') {
        return bare_signs(d, event, text);
    }
    if (jwalk(&d->events.root, text, &f) != 0) {
        return SIGN_MALFORMED;
    }
    unsigned signs = f.signs | rule_signs(&d->events, f.type.n ? f.type : event->type, &f);
    if (signs & SIGN_ERROR) {
        signs &= ~(unsigned)(SIGN_FINISH | SIGN_FILTERED | SIGN_LENGTH);
    }
    usage_count(&d->usage, &f, usage);
    return signs ? signs : SIGN_DATA;
}

void dialect_event_error(const struct dialect *d, const struct sse_event *event,
                         struct verdict *out) {
    *out = (struct verdict){0};
    errors_judge_event(d, event->data, event->type, out);
}
