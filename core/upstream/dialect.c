/* SPDX-License-Identifier: MIT */
/*
 * The part of a dialect that is the same for all: matching an error against the tables, and what is
 * made of the match. Knows no provider.
 */
#include "upstream/dialect.h"

#include "upstream/dialect_impl.h"

static const struct dialect *const dialects[] = {&dialect_openai};

const struct dialect *dialect_find(struct str name) {
    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++) {
        if (str_is(name, dialects[i]->name)) {
            return dialects[i];
        }
    }
    return NULL;
}

const char *dialect_name(const struct dialect *d) {
    return d->name;
}

static bool applies(enum pattern_status p, int status) {
    switch (p) {
    case ONLY_4XX:
        return status == 0 || (status >= 400 && status <= 499);
    case ONLY_5XX:
        return status == 0 || status >= 500;
    case REFUSED:
        return status == 0 || (status >= 400 && status <= 403);
    case ONLY_429:
        return status == 0 || status == 429;
    default:
        return true;
    }
}

static bool matches(const struct pattern *p, int status, const struct error_facts *f) {
    if (!applies(p->status, status)) {
        return false;
    }
    if (p->code) {
        return str_case_is(f->code, p->code) || str_case_is(f->type, p->code) ||
               str_case_is(f->inner, p->code);
    }
    struct str words = buf_str(&f->words);
    return str_case_has(words, p->word[0]) && (!p->word[1] || str_case_has(words, p->word[1]));
}

static enum outcome by_status(const struct dialect *d, int status) {
    for (size_t i = 0; i + 1 < d->n_statuses; i++) {
        if (status >= d->statuses[i].from && status <= d->statuses[i].to) {
            return d->statuses[i].outcome;
        }
    }
    return d->statuses[d->n_statuses - 1].outcome;
}

static enum outcome classify(const struct dialect *d, int status, const struct error_facts *f) {
    for (size_t i = 0; i < d->n_patterns; i++) {
        if (matches(&d->patterns[i], status, f)) {
            return d->patterns[i].outcome;
        }
    }
    return by_status(d, status);
}

static void copy_facts(struct verdict *out, const struct error_facts *f) {
    unsigned long long number;
    bool numeric = str_to_u64(f->code, &number);
    struct str code = f->code.n > 0 && !(numeric && f->type.n > 0) ? f->code : f->type;
    str_copy(out->code, sizeof out->code, code);
    str_copy(out->message, sizeof out->message, buf_str(&f->message));
}

static void facts_init(struct error_facts *f) {
    *f = (struct error_facts){0};
    buf_init(&f->message, MAX_PLAIN_BODY);
    buf_init(&f->words, MAX_ERROR_WORDS);
}

static void facts_release(struct error_facts *f) {
    buf_release(&f->message);
    buf_release(&f->words);
}

/* An error without a status line of its own: in a stream, or in a 200. */
static void judge_event(const struct dialect *d, struct str data, struct verdict *out) {
    static const int stands_for[OUTCOME_COUNT] = {
        [OUTCOME_OVERLOADED] = 503,       [OUTCOME_RATE_LIMITED] = 429,
        [OUTCOME_QUOTA_EXHAUSTED] = 429,  [OUTCOME_CONTENT_FILTERED] = 400,
        [OUTCOME_CREDENTIAL_ERROR] = 401, [OUTCOME_MODEL_UNAVAILABLE] = 404,
        [OUTCOME_CONTEXT_TOO_LONG] = 400, [OUTCOME_TOO_LARGE] = 413,
        [OUTCOME_CLIENT_ERROR] = 400,
    };
    struct error_facts f;
    facts_init(&f);
    d->read_error(data, &f);
    int status = f.status;
    for (size_t i = 0; i < d->n_codes && status == 0; i++) {
        if (str_case_is(f.code, d->codes[i].code) || str_case_is(f.type, d->codes[i].code)) {
            status = d->codes[i].status;
        }
    }
    enum outcome o = classify(d, f.status, &f);
    if (o == OUTCOME_CREDENTIAL_ERROR && status == 400) {
        status = 401; /* OpenAI files a bad key under invalid_request_error */
    }
    out->outcome = OUTCOME_ERROR_EVENT;
    out->status = status ? status : stands_for[o] ? stands_for[o] : 500;
    copy_facts(out, &f);
    facts_release(&f);
}

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

void dialect_judge(const struct dialect *d, struct str path, int status,
                   const struct headers *headers, struct str body, struct verdict *out) {
    *out = (struct verdict){.outcome = OUTCOME_OK, .status = status};
    if (status >= 200 && status <= 299) {
        if (status != 204 && !is_event_stream(headers)) {
            out->outcome = d->judge_plain(path, is_json(headers), body, &out->usage);
        }
        if (out->outcome == OUTCOME_ERROR_EVENT) {
            judge_event(d, body, out);
        }
        return;
    }
    if (status < 400) {
        /* We follow no redirects, so one is no answer; 304 is one to a question that only the
         * client can have asked. */
        out->outcome = status == 304 ? OUTCOME_OK : OUTCOME_INVALID_RESPONSE;
        return;
    }
    struct error_facts f;
    facts_init(&f);
    d->read_error(body, &f);
    out->outcome = classify(d, status, &f);
    copy_facts(out, &f);
    facts_release(&f);
}

unsigned dialect_event(const struct dialect *d, const struct sse_event *event,
                       struct usage *usage) {
    return event->has_data ? d->event(event, usage) : 0;
}

void dialect_event_error(const struct dialect *d, const struct sse_event *event,
                         struct verdict *out) {
    *out = (struct verdict){0};
    judge_event(d, event->data, out);
}

void dialect_usage(const struct dialect *d, struct str body, struct usage *out) {
    *out = (struct usage){false, -1, -1, -1, -1};
    d->usage(body, out);
}

int dialect_write_error(const struct dialect *d, struct buf *out, int status, const char *type,
                        const char *code, const char *message) {
    (void)status; /* other dialects say it in the body */
    return d->write_error(out, type, code, message);
}

int dialect_write_error_event(const struct dialect *d, struct buf *out, const char *type,
                              const char *code, const char *message) {
    size_t before = out->len;
    if (buf_adds(out, "data: ") != 0 || d->write_error(out, type, code, message) != 0 ||
        buf_adds(out, "\n\n") != 0) {
        buf_truncate(out, before);
        return -1;
    }
    return 0;
}
