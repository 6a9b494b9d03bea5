/* SPDX-License-Identifier: MIT */
/*
 * What an error says and which outcome it is. The provider's own words decide before the status,
 * since providers disagree on statuses: a bad key is 401 here and 400 there, an empty balance 400,
 * 402 or 429, a prompt too long 400, 413 or 500. An error event may have no status of its own:
 * then the status that a pattern asks for does not matter.
 */
#include "upstream/dialect_impl.h"

/* An error object read: what patterns are matched against. Slices are the body's own. */
struct error_facts {
    struct str code, type, inner; /* inner: the code of an error within the error */
    int status;                   /* a status said inside the object, 0 = none */
    double retry_after;           /* seconds, 0 = not said */
    struct buf message;           /* decoded */
    struct buf words; /* what patterns are searched in: the message, and what a relay says of the
                         error behind it. At most MAX_ERROR_WORDS */
};

/* ---- Compiling ---- */

static void add_pattern(struct reader *r, const struct pattern *p) {
    struct error_rules *e = &r->d->errors;
    if (e->n_patterns < MAX_DIALECT_ROWS) {
        e->patterns[e->n_patterns++] = *p;
    } else {
        reader_error(r, "more than %d patterns", MAX_DIALECT_ROWS);
    }
}

/* A text, or a list of texts that must all be there. */
static bool read_phrase(struct reader *r, const struct value *v, struct pattern *p) {
    const struct value *items = v;
    size_t n = 1;
    if (v->type == VALUE_TABLE) {
        items = v->as.t.items;
        n = v->as.t.n_items;
    }
    bool good = n > 0 && n <= MAX_DIALECT_TERMS;
    for (size_t i = 0; good && i < n; i++) {
        p->word[i] = value_str(&items[i]).p;
        good = value_str(&items[i]).n > 0;
    }
    if (!good) {
        reader_error(r, "expected texts, or lists of at most %d texts that must all be there",
                     MAX_DIALECT_TERMS);
    }
    return good;
}

static void compile_phrases(struct reader *r, const struct value *row, struct pattern p) {
    const struct value *words = value_field(row, "words");
    bool list = words && words->type == VALUE_TABLE;
    size_t n = list ? words->as.t.n_items : words ? 1 : 0;
    size_t before = path_field(&r->at, "words");
    for (size_t i = 0; i < n; i++) {
        struct pattern one = p;
        if (read_phrase(r, list ? &words->as.t.items[i] : words, &one)) {
            add_pattern(r, &one);
        }
    }
    path_cut(&r->at, before);
}

static void compile_pattern(struct reader *r, const struct value *row) {
    static const char *const names[] = {"status", "code", "words", NULL};
    int outcome = reader_outcome(r, row);
    if (outcome < 0) {
        return;
    }
    reader_known(r, row, names);
    struct pattern p = {.status = reader_status(r, row), .outcome = (enum outcome)outcome};
    struct texts codes = reader_texts(r, row, "code");
    for (size_t i = 0; i < codes.n; i++) {
        p.code = codes.list[i];
        add_pattern(r, &p);
    }
    p.code = NULL;
    compile_phrases(r, row, p);
    if (!codes.n && !value_field(row, "words")) {
        reader_error(r, "expected code = … or words = … (a status alone goes into `statuses`)");
    }
}

static void compile_patterns(struct reader *r, const struct value *errors) {
    const struct value *list;
    size_t n = reader_list(r, errors, "patterns", MAX_DIALECT_ROWS, &list);
    r->d->errors.patterns = n ? reader_alloc(r, MAX_DIALECT_ROWS, sizeof(struct pattern)) : NULL;
    size_t before = path_field(&r->at, "patterns");
    for (size_t i = 0; r->d->errors.patterns && i < n; i++) {
        size_t at = path_item(&r->at, i + 1);
        compile_pattern(r, &list[i]);
        path_cut(&r->at, at);
    }
    path_cut(&r->at, before);
}

static void compile_statuses(struct reader *r, const struct value *errors) {
    static const char *const names[] = {"status", NULL};
    struct error_rules *e = &r->d->errors;
    const struct value *list;
    size_t n = reader_list(r, errors, "statuses", MAX_DIALECT_ROWS, &list);
    e->statuses = n ? reader_alloc(r, n, sizeof *e->statuses) : NULL;
    size_t before = path_field(&r->at, "statuses");
    for (size_t i = 0; e->statuses && i < n; i++) {
        size_t at = path_item(&r->at, i + 1);
        int outcome = reader_outcome(r, &list[i]);
        if (outcome >= 0) {
            reader_known(r, &list[i], names);
            e->statuses[e->n_statuses++] = (struct pattern){.status = reader_status(r, &list[i]),
                                                            .outcome = (enum outcome)outcome};
        }
        path_cut(&r->at, at);
    }
    path_cut(&r->at, before);
}

static void compile_codes(struct reader *r, const struct value *errors) {
    struct error_rules *e = &r->d->errors;
    const struct value *map = reader_field(r, errors, "stands_for", VALUE_TABLE);
    size_t n = map ? map->as.t.n_fields : 0;
    e->codes = n ? reader_alloc(r, n, sizeof *e->codes) : NULL;
    size_t before = path_field(&r->at, "stands_for");
    for (size_t i = 0; e->codes && i < n; i++) {
        const struct value_field *f = &map->as.t.fields[i];
        double status;
        if (value_number(&f->value, &status) && status >= 400 && status <= 599) {
            e->codes[e->n_codes++] = (struct code_status){f->name, (int)status};
        } else {
            size_t at = path_field(&r->at, f->name);
            reader_error(r, "expected a status from 400 to 599");
            path_cut(&r->at, at);
        }
    }
    path_cut(&r->at, before);
}

static struct texts read_paths(struct reader *r, const struct value *errors, const char *name) {
    struct texts paths = reader_texts(r, errors, name);
    size_t before = path_field(&r->at, name);
    for (size_t i = 0; i < paths.n; i++) {
        (void)reader_path_ok(r, paths.list[i]);
    }
    path_cut(&r->at, before);
    return paths;
}

void compile_errors(struct reader *r, const struct value *data) {
    static const char *const names[] = {
        "code",     "type",        "inner",      "message", "words",       "status", "patterns",
        "statuses", "type_header", "stands_for", "object",  "retry_after", NULL};
    const struct value *errors = reader_field(r, data, "errors", VALUE_TABLE);
    struct error_rules *e = &r->d->errors;
    size_t before = path_field(&r->at, "errors");
    reader_known(r, errors, names);
    e->code = read_paths(r, errors, "code");
    e->type = read_paths(r, errors, "type");
    e->inner = read_paths(r, errors, "inner");
    e->message = read_paths(r, errors, "message");
    e->words = read_paths(r, errors, "words");
    e->status = read_paths(r, errors, "status");
    e->object = read_paths(r, errors, "object");
    e->retry_after = read_paths(r, errors, "retry_after");
    e->type_header = reader_text(r, errors, "type_header");
    compile_patterns(r, errors);
    compile_statuses(r, errors);
    compile_codes(r, errors);
    path_cut(&r->at, before);
}

/* ---- Reading an error ---- */

static void facts_init(struct error_facts *f) {
    *f = (struct error_facts){0};
    buf_init(&f->message, MAX_PLAIN_BODY);
    buf_init(&f->words, MAX_ERROR_WORDS);
}

static void facts_release(struct error_facts *f) {
    buf_release(&f->message);
    buf_release(&f->words);
}

static struct str text_at(struct str text, const char *path) {
    struct jvalue v;
    if (jscan_find(text, path, &v) == 1) {
        if (v.type == JTYPE_NUMBER) {
            return jvalue_raw(text, &v);
        }
        if (v.type == JTYPE_STRING && v.len > 2) {
            return str_make(text.p + v.off + 1, v.len - 2);
        }
    }
    return str_make(NULL, 0);
}

/* The first of the paths that holds a string or a number, as it is written. */
static struct str first_of(struct str text, const struct texts *paths) {
    struct str found = str_make(NULL, 0);
    for (size_t i = 0; i < paths->n && found.n == 0; i++) {
        found = text_at(text, paths->list[i]);
    }
    return found;
}

/* AWS may write "com.amazon.coral.service#UnrecognizedClientException". */
static struct str without_namespace(struct str type) {
    const char *hash = type.n ? memrchr(type.p, '#', type.n) : NULL;
    return hash ? str_make(hash + 1, type.n - (size_t)(hash + 1 - type.p)) : type;
}

/* Text or, where a server puts a list or an object in its place, that as it is written. */
static bool add_text(struct str text, const char *path, struct buf *out) {
    struct jvalue v, item;
    struct str key;
    size_t pos = 0, before = out->len;
    int rc = -1;
    if (jscan_find(text, path, &v) != 1) {
        return false;
    }
    if (v.type == JTYPE_STRING) {
        rc = jscan_string(text, &v, out);
    } else if (jscan_next(text, &v, &pos, &key, &item) == 1) {
        rc = buf_add_str(out, jvalue_raw(text, &v));
    }
    return rc == 0 && out->len > before;
}

static void add_words(struct error_facts *f, struct str s) {
    size_t room = f->words.max - f->words.len;
    if (buf_add_str(&f->words, str_make(s.p, s.n < room ? s.n : room)) != 0) {
        return; /* memory: fewer words to go by, and the status still decides */
    }
}

static void read_words(const struct error_rules *e, struct str text, struct error_facts *f) {
    for (size_t i = 0; i < e->message.n && !add_text(text, e->message.list[i], &f->message); i++) {
    }
    add_words(f, buf_str(&f->message));
    struct buf raw; /* what the provider behind a relay said */
    buf_init(&raw, MAX_PLAIN_BODY);
    for (size_t i = 0; i < e->words.n; i++) {
        buf_clear(&raw);
        if (add_text(text, e->words.list[i], &raw)) {
            add_words(f, STR("\n"));
            add_words(f, buf_str(&raw));
        }
    }
    buf_release(&raw);
}

static void read_object(const struct error_rules *e, struct str text, struct error_facts *f) {
    f->code = first_of(text, &e->code);
    f->type = without_namespace(first_of(text, &e->type));
    f->inner = first_of(text, &e->inner);
    f->retry_after = retry_after_said(first_of(text, &e->retry_after));
    for (size_t i = 0; i < e->status.n && f->status == 0; i++) {
        unsigned long long n;
        if (str_to_u64(text_at(text, e->status.list[i]), &n) && n >= 400 && n <= 599) {
            f->status = (int)n;
        }
    }
    read_words(e, text, f);
}

static void read_error(const struct error_rules *e, struct str body, struct error_facts *f) {
    struct str text = json_trim(body);
    struct jvalue v;
    if (text.n > 0 && text.p[0] == '[' && jscan_find(text, "0", &v) == 1) {
        text = jvalue_raw(text, &v); /* Google puts its error into a list */
    }
    if (text.n == 0 || text.p[0] == '<') {
        return; /* a page of some proxy: its words are nobody's we know */
    }
    if (text.p[0] == '{') {
        read_object(e, text, f);
        return;
    }
    text.n = text.n < MAX_ERROR_WORDS ? text.n : MAX_ERROR_WORDS;
    if (buf_add_str(&f->message, text) == 0) {
        add_words(f, text);
    }
}

/* ---- Matching ---- */

static bool code_matches(const char *code, const struct error_facts *f) {
    return str_case_is(f->code, code) || str_case_is(f->type, code) || str_case_is(f->inner, code);
}

static bool matches(const struct pattern *p, int status, const struct error_facts *f) {
    if (status != 0 && !status_in(p->status, status)) {
        return false;
    }
    if (p->code) {
        return code_matches(p->code, f);
    }
    for (size_t i = 0; i < MAX_DIALECT_TERMS && p->word[i]; i++) {
        if (!str_case_has(buf_str(&f->words), p->word[i])) {
            return false;
        }
    }
    return true;
}

static enum outcome classify(const struct error_rules *e, int status, const struct error_facts *f) {
    for (size_t i = 0; i < e->n_patterns; i++) {
        if (matches(&e->patterns[i], status, f)) {
            return e->patterns[i].outcome;
        }
    }
    for (size_t i = 0; i < e->n_statuses && status != 0; i++) {
        if (status_in(e->statuses[i].status, status)) {
            return e->statuses[i].outcome;
        }
    }
    return status >= 400 && status <= 499 ? OUTCOME_CLIENT_ERROR : OUTCOME_SERVER_ERROR;
}

/* "error" as a type says that it is one, no more. */
static void choose_type(struct error_facts *f, struct str otherwise) {
    if (f->type.n == 0 || str_is(f->type, "error")) {
        f->type = str_is(otherwise, "error") ? str_make(NULL, 0) : otherwise;
    }
}

static void copy_facts(struct verdict *out, const struct error_facts *f) {
    unsigned long long number;
    bool numeric = str_to_u64(f->code, &number);
    struct str code = f->code.n > 0 && !(numeric && f->type.n > 0) ? f->code : f->type;
    out->retry_after = f->retry_after;
    str_copy(out->code, sizeof out->code, code);
    str_copy(out->message, sizeof out->message, buf_str(&f->message));
}

void errors_judge(const struct dialect *d, struct str body, int status, struct str type,
                  struct verdict *out) {
    struct error_facts f;
    facts_init(&f);
    read_error(&d->errors, body, &f);
    choose_type(&f, type);
    out->outcome = out->means = classify(&d->errors, status, &f);
    copy_facts(out, &f);
    facts_release(&f);
}

static int said_status(const struct error_rules *e, const struct error_facts *f) {
    for (size_t i = 0; i < e->n_codes && f->status == 0; i++) {
        if (str_case_is(f->code, e->codes[i].code) || str_case_is(f->type, e->codes[i].code)) {
            return e->codes[i].status;
        }
    }
    return f->status;
}

void errors_judge_event(const struct dialect *d, struct str body, struct str type,
                        struct verdict *out) {
    static const int stands_for[OUTCOME_COUNT] = {
        [OUTCOME_OVERLOADED] = 503,       [OUTCOME_RATE_LIMITED] = 429,
        [OUTCOME_QUOTA_EXHAUSTED] = 429,  [OUTCOME_CONTENT_FILTERED] = 400,
        [OUTCOME_CREDENTIAL_ERROR] = 401, [OUTCOME_MODEL_UNAVAILABLE] = 404,
        [OUTCOME_CONTEXT_TOO_LONG] = 400, [OUTCOME_TOO_LARGE] = 413,
        [OUTCOME_CLIENT_ERROR] = 400,
    };
    struct error_facts f;
    facts_init(&f);
    read_error(&d->errors, body, &f);
    choose_type(&f, type);
    int status = said_status(&d->errors, &f);
    enum outcome o = classify(&d->errors, f.status, &f);
    if (o == OUTCOME_CREDENTIAL_ERROR && status == 400) {
        status = 401; /* OpenAI files a bad key under invalid_request_error */
    }
    out->outcome = OUTCOME_ERROR_EVENT;
    out->status = status ? status : stands_for[o] ? stands_for[o] : 500;
    out->means = o == OUTCOME_SERVER_ERROR ? classify(&d->errors, out->status, &f) : o;
    copy_facts(out, &f);
    facts_release(&f);
}

int dialect_pass_error(const struct dialect *d, struct str said, struct buf *out) {
    const struct texts *paths = &d->errors.object;
    struct str text = json_trim(said);
    struct jvalue v;
    if (paths->n == 0) {
        bool object = text.n && text.p[0] == '{' && jscan_check(text, NULL) == JSCAN_OK;
        return !object ? 0 : buf_add_str(out, text) == 0 ? 1 : -1;
    }
    for (size_t i = 0; text.n && i < paths->n; i++) {
        if (jscan_find(text, paths->list[i], &v) == 1 && v.type == JTYPE_OBJECT) {
            int bad = buf_adds(out, "{\"error\":") | buf_add_str(out, jvalue_raw(text, &v)) |
                      buf_addc(out, '}');
            return bad ? -1 : 1;
        }
    }
    return 0;
}
