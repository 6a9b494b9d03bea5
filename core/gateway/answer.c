/* SPDX-License-Identifier: MIT */
#include "gateway/answer.h"

#include <stdio.h>
#include <stdlib.h>

#include <math.h>

#include "gateway/exchange_internal.h"
#include "upstream/outbound.h"

int answer_trail(const struct exchange *x, struct buf *out) {
    for (size_t i = 0; i < x->n_attempts; i++) {
        const struct attempt *a = x->attempts[i];
        if (!a || !a->begun) {
            continue;
        }
        usec end = a->ended_at ? a->ended_at : clock_now();
        size_t before = out->len;
        int bad = (before ? buf_addc(out, ',') : 0) | buf_adds(out, a->name) | buf_addc(out, '=');
        bad |= buf_adds(out, outcome_name(attempt_outcome(a))) | buf_addc(out, ':');
        bad |= buf_addn(out, (unsigned)a->status) | buf_addc(out, ':');
        bad |= buf_addn(out, (unsigned long long)(end - a->sent_at) / 1000) | buf_adds(out, "ms");
        if (bad) {
            buf_truncate(out, before);
            break; /* cut at its maximum; the access log has them all */
        }
    }
    return 0;
}

static size_t attempts_made(const struct exchange *x) {
    size_t n = 0;
    for (size_t i = 0; i < x->n_attempts; i++) {
        n += x->attempts[i] && x->attempts[i]->begun;
    }
    return n;
}

int answer_headers(struct exchange *x, const struct attempt *served, int status,
                   struct headers *out) {
    size_t made = attempts_made(x);
    int bad = headers_set(out, STR("x-moongate-request-id"), str_of(x->id));
    if (served) {
        bad |= headers_set(out, STR("x-moongate-target"), str_of(served->name));
    }
    if (served && attempt_dropped(served)[0] && x->config->log.trail) {
        bad |= headers_set(out, STR("x-moongate-dropped"), str_of(attempt_dropped(served)));
    }
    if (made && x->config->log.trail) {
        struct buf trail;
        buf_init(&trail, MAX_TRAIL);
        bad |= answer_trail(x, &trail);
        if (header_value_ok(buf_str(&trail))) {
            bad |= headers_set(out, STR("x-moongate-attempts"), buf_str(&trail));
        }
        buf_release(&trail);
    }
    if (made && status >= 400) {
        bad |= headers_set(out, STR("x-should-retry"), STR("false"));
    }
    return bad;
}

/* Sends the decision's response whole. */
static void send_whole(struct exchange *x, const struct attempt *about, enum exchange_end end) {
    struct decision *d = &x->decision;
    x->status = d->status;
    if (answer_headers(x, about, d->status, &d->headers) != 0) {
        conn_abort(x->conn);
        exchange_finish(x, END_REFUSED);
        return;
    }
    conn_head(x->conn, d->status, &d->headers, (long long)d->body.len);
    x->answered = true;
    conn_body(x->conn, d->body.data, d->body.len);
    conn_end(x->conn);
    exchange_finish(x, end);
}

struct own_words {
    int status;
    const char *type, *code, *message;
};

static void send_error(struct exchange *x, const struct attempt *about, struct own_words w,
                       enum exchange_end end) {
    if (exchange_decide_error(x, w.status, w.type, w.code, w.message) != 0) {
        conn_abort(x->conn);
        exchange_finish(x, END_REFUSED);
        return;
    }
    send_whole(x, about, end);
}

void answer_error(struct exchange *x, int status, const char *type, const char *code,
                  const char *message, enum exchange_end end) {
    send_error(x, NULL, (struct own_words){status, type, code, message}, end);
}

void answer_refused_credentials(struct exchange *x, const struct attempt *a) {
    static const struct own_words words = {
        502, "upstream_error", "provider_credentials_refused",
        "The provider refused this gateway's own credentials. Your key is not "
        "at fault; tell the gateway's operator."};
    headers_clear(&x->decision.headers);
    send_error(x, a, words, END_COMPLETE);
}

void answer_response(struct exchange *x) {
    send_whole(x, NULL, END_COMPLETE);
}

/* 401, 402 and 403 inside a 200 are about our key, not the client's: they stay a bad gateway. */
static int failure_status(const struct attempt *a) {
    int status = a->verdict.status;
    bool ours = status >= 401 && status <= 403 && a->provider->auth != AUTH_PASSTHROUGH;
    if (a->verdict.outcome == OUTCOME_ERROR_EVENT && status >= 400 && !ours) {
        return status;
    }
    return outcome_gateway_status(a->verdict.outcome);
}

/* Seconds for Retry-After: what the provider said, what a suspension still lasts, or a second. */
static double failure_hint(const struct attempt *a) {
    double hint = attempt_retry_after(a);
    if (hint < 0 && a->verdict.outcome == OUTCOME_SUSPENDED) {
        hint = usec_to_seconds(attempt_suspended_for(a));
    }
    return hint < 1 ? 1 : hint;
}

/* What the gateway says of an attempt that brought nothing to pass on. */
static int say_failure(struct exchange *x, struct attempt *a, int status) {
    const char *outcome = outcome_name(a->verdict.outcome);
    char message[160];
    bool event = a->verdict.outcome == OUTCOME_ERROR_EVENT;
    if (event && a->foreign) {
        struct dialect_error e;
        attempt_error(a, &e);
        e.status = status;
        return exchange_decide_said(x, &e);
    }
    if (a->verdict.outcome == OUTCOME_UNSUPPORTED) {
        return exchange_decide_error(x, status, "invalid_request_error", outcome,
                                     a->verdict.message);
    }
    snprintf(message, sizeof(message), "The provider gave no usable answer (%s).", outcome);
    return exchange_decide_error(x, status, "upstream_error", outcome,
                                 event && a->verdict.message[0] ? a->verdict.message : message);
}

/* The provider's own error, when an error event brought one in the client's dialect. */
static int own_error(struct exchange *x, struct attempt *a, int status) {
    struct decision *d = &x->decision;
    bool event = a->verdict.outcome == OUTCOME_ERROR_EVENT && !a->foreign;
    buf_clear(&d->body);
    int found = event ? dialect_pass_error(a->dialect, buf_str(&a->held), &d->body) : 0;
    if (found <= 0) {
        return found < 0 ? -1 : say_failure(x, a, status);
    }
    d->status = status;
    return headers_set(&d->headers, STR("content-type"), STR("application/json"));
}

void answer_failure(struct exchange *x, struct attempt *a) {
    int status = failure_status(a);
    int bad = own_error(x, a, status);
    if (status == 503 || status == 429) {
        char hint[32];
        snprintf(hint, sizeof(hint), "%.0f", ceil(failure_hint(a)));
        bad |= headers_set(&x->decision.headers, STR("retry-after"), str_of(hint));
    }
    if (bad) {
        answer_error(x, 502, "upstream_error", outcome_name(a->verdict.outcome),
                     "The provider gave no usable answer.", END_COMPLETE);
        return;
    }
    send_whole(x, a, END_COMPLETE);
}

void answer_foreign_error(struct exchange *x, struct attempt *a) {
    struct dialect_error e;
    double hint = attempt_retry_after(a);
    attempt_error(a, &e);
    e.status = a->status;
    int bad = exchange_decide_said(x, &e);
    if (hint >= 0) {
        char text[32];
        snprintf(text, sizeof(text), "%.0f", ceil(hint));
        bad |= headers_set(&x->decision.headers, STR("retry-after"), str_of(text));
    }
    if (bad) {
        answer_error(x, 502, "upstream_error", outcome_name(a->verdict.outcome),
                     "The provider gave no usable answer.", END_COMPLETE);
        return;
    }
    send_whole(x, a, END_COMPLETE);
}

static const char *refusal_code(int status) {
    switch (status) {
    case 401:
        return "invalid_api_key";
    case 408:
        return "request_timeout";
    case 413:
        return "request_too_large";
    case 414:
        return "uri_too_long";
    case 431:
        return "headers_too_large";
    case 501:
        return "not_implemented";
    case 505:
        return "http_version_not_supported";
    case 503:
        return "overloaded";
    default:
        return "bad_request";
    }
}

void answer_refusal(int status, const char *message, struct headers *headers, struct buf *body) {
    struct dialect_error e = {.status = status,
                              .type = status < 500 ? "invalid_request_error" : "gateway_error",
                              .code = refusal_code(status),
                              .message = message};
    if (dialect_write_error(dialect_builtin(), body, &e) != 0 ||
        headers_set(headers, STR("content-type"), STR("application/json")) != 0 ||
        (status == 503 && headers_set(headers, STR("retry-after"), STR("1")) != 0)) {
        buf_clear(body);
    }
}
