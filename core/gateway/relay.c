/* SPDX-License-Identifier: MIT */
#include "gateway/relay.h"

#include <stdio.h>

#include "gateway/answer.h"
#include "gateway/attempt_mask.h"
#include "gateway/exchange_internal.h"
#include "gateway/translation.h"
#include "upstream/outbound.h"

#define UNTRANSLATED "it could not be translated"

static void finish(struct exchange *x, enum exchange_end end) {
    if (end == END_COMPLETE) {
        conn_end(x->conn);
    } else {
        conn_abort(x->conn);
    }
    exchange_finish(x, end);
}

static bool stream_complete(const struct attempt *a) {
    return (a->signs & (SIGN_FINISH | SIGN_END)) != 0;
}

/* The answer cannot be whole any more: says so in the stream, and leaves it without an end. */
static void cut_off(struct exchange *x, struct attempt *a, enum outcome why, const char *words) {
    a->verdict.outcome = why;
    if (a->event_stream) {
        struct buf event;
        char message[128];
        buf_init(&event, KIB(16));
        snprintf(message, sizeof(message), "the answer broke off: %s", words);
        struct dialect_error e = {.status = outcome_gateway_status(why),
                                  .type = "upstream_error",
                                  .code = outcome_name(why),
                                  .message = message};
        if (dialect_write_error_event(x->dialect, &event, &e) == 0) {
            conn_body(x->conn, event.data, event.len);
        }
        buf_release(&event);
    }
    /* cancelled: by the end of the drain time, which is no fault of the provider's */
    bool limit = why == OUTCOME_LIMIT_EXCEEDED || why == OUTCOME_CANCELLED;
    finish(x, limit ? END_LIMIT : END_UPSTREAM_CUT);
}

/* The provider's stream is complete: so becomes the client's. An end that cannot be said is none:
 * nothing of it is sent. */
static void end_stream(struct exchange *x, struct attempt *a) {
    if (a->foreign && translation_finish(a) != TRANSLATE_OK) {
        cut_off(x, a, OUTCOME_INVALID_RESPONSE, UNTRANSLATED);
        return;
    }
    if (a->foreign) {
        translation_send(a);
    }
    finish(x, END_COMPLETE);
}

static void break_off(struct exchange *x, struct attempt *a, enum outcome why) {
    if (a->event_stream && stream_complete(a)) {
        end_stream(x, a);
        return;
    }
    cut_off(x, a, why, why == OUTCOME_CANCELLED ? "the gateway stops" : outcome_name(why));
}

static void note_content(struct exchange *x, struct attempt *a) {
    attempt_progress(a);
    if (!x->first_content) {
        x->first_content = clock_now();
    }
}

enum pump_result { PUMP_MORE, PUMP_END, PUMP_ERROR, PUMP_TOO_LONG, PUMP_UNTRANSLATED };

/* One event of a foreign stream becomes the client's. */
static enum pump_result translate(struct attempt *a, const struct sse_event *event) {
    switch (translation_event(a, event)) {
    case TRANSLATE_OK:
        return PUMP_MORE;
    case TRANSLATE_LIMIT:
        return PUMP_TOO_LONG;
    default:
        return PUMP_UNTRANSLATED;
    }
}

/* Scans bytes[fed..] for whole events; *whole says how many bytes they are, an error event not
 * counted in. Stops after the end marker or an error event. */
static enum pump_result pump(struct exchange *x, struct attempt *a, struct str bytes, size_t fed,
                             size_t *whole, struct str *error) {
    while (fed < bytes.n) {
        struct sse_event event;
        size_t used = 0;
        enum sse_result got =
            sse_feed(&a->sse, str_make(bytes.p + fed, bytes.n - fed), &used, &event);
        fed += used;
        if (got == SSE_MORE) {
            break;
        }
        if (got != SSE_EVENT) {
            return PUMP_TOO_LONG;
        }
        unsigned signs = dialect_event(a->dialect, &event, &a->usage);
        a->signs |= signs;
        if (signs & SIGN_ERROR) {
            *error = str_make(bytes.p + *whole, fed - *whole);
            if (a->foreign) {
                dialect_event_error(a->dialect, &event, &a->verdict);
                attempt_mask_verdict(a);
            }
            return PUMP_ERROR;
        }
        *whole = fed;
        enum pump_result passed = a->foreign ? translate(a, &event) : PUMP_MORE;
        if (passed != PUMP_MORE) {
            return passed;
        }
        if (signs & SIGN_CONTENT) {
            note_content(x, a);
        }
        if (signs & SIGN_END) {
            return PUMP_END;
        }
    }
    return PUMP_MORE;
}

/* A provider of another dialect: its error in the client's. */
static void tell_error(struct exchange *x, struct attempt *a) {
    struct buf event;
    struct dialect_error e;
    buf_init(&event, KIB(16));
    attempt_error(a, &e);
    if (dialect_write_error_event(x->dialect, &event, &e) == 0) {
        conn_body(x->conn, event.data, event.len);
    }
    buf_release(&event);
    a->verdict.outcome = OUTCOME_ERROR_EVENT;
    finish(x, END_UPSTREAM_CUT);
}

/* The provider's own words, without our keys; nothing is added. */
static void pass_error(struct exchange *x, const struct attempt *a, struct str event) {
    struct buf words;
    buf_init(&words, MAX_EVENT + KIB(64));
    if (buf_add_str(&words, event) == BUF_OK) {
        attempt_mask_text(a, &words);
        conn_body(x->conn, words.data, words.len);
    }
    buf_release(&words);
}

/* What a foreign stream's events became is on its way; this is what follows. False: the exchange is
 * over. */
static bool after_foreign(struct exchange *x, struct attempt *a, enum pump_result result) {
    switch (result) {
    case PUMP_MORE:
        return true;
    case PUMP_END:
        end_stream(x, a);
        return false;
    case PUMP_ERROR:
        tell_error(x, a);
        return false;
    case PUMP_TOO_LONG:
        cut_off(x, a, OUTCOME_LIMIT_EXCEEDED, outcome_name(OUTCOME_LIMIT_EXCEEDED));
        return false;
    case PUMP_UNTRANSLATED:
        break;
    }
    cut_off(x, a, OUTCOME_INVALID_RESPONSE, UNTRANSLATED);
    return false;
}

/* Passes on whole events of `bytes`, of which `fed` were scanned before. False: the exchange is
 * over. */
static bool pass_events(struct exchange *x, struct attempt *a, struct str bytes, size_t fed,
                        size_t *whole) {
    struct str error = {NULL, 0};
    enum pump_result result = pump(x, a, bytes, fed, whole, &error);
    if (a->foreign) {
        translation_send(a);
        return after_foreign(x, a, result);
    }
    if (*whole) {
        conn_body(x->conn, bytes.p, *whole);
    }
    switch (result) {
    case PUMP_MORE:
        return true;
    case PUMP_END:
        a->lf_due = bytes.p[*whole - 1] == '\r' && *whole == bytes.n;
        if (a->lf_due) {
            return true;
        }
        finish(x, END_COMPLETE);
        return false;
    case PUMP_ERROR:
        pass_error(x, a, error);
        a->verdict.outcome = OUTCOME_ERROR_EVENT;
        finish(x, END_UPSTREAM_CUT);
        return false;
    case PUMP_TOO_LONG:
    case PUMP_UNTRANSLATED:
        break;
    }
    break_off(x, a, OUTCOME_LIMIT_EXCEEDED);
    return false;
}

/* What the gate has read of a foreign stream: read once more, by a scanner of its own, and
 * translated. False: the exchange is over. */
static bool translate_scanned(struct exchange *x, struct attempt *a) {
    enum pump_result result = PUMP_MORE;
    size_t fed = 0, used = 0;
    struct sse_event event;
    sse_release(&a->sse);
    sse_init(&a->sse);
    while (fed < a->scanned && result == PUMP_MORE) {
        struct str rest = str_make(a->held.data + fed, a->scanned - fed);
        if (sse_feed(&a->sse, rest, &used, &event) != SSE_EVENT) {
            break;
        }
        fed += used;
        result = translate(a, &event);
    }
    buf_consume(&a->held, a->scanned);
    a->fed = a->scanned = 0;
    translation_send(a);
    if (result == PUMP_MORE && (a->signs & SIGN_END)) {
        result = PUMP_END;
    }
    return after_foreign(x, a, result);
}

/* False: the exchange is over. */
static bool pass_held(struct exchange *x, struct attempt *a) {
    size_t whole = a->scanned;
    if (!pass_events(x, a, buf_str(&a->held), a->fed, &whole)) {
        return false;
    }
    buf_consume(&a->held, whole);
    a->fed = a->held.len;
    a->scanned = 0;
    return true;
}

static bool pass_stream(struct exchange *x, struct attempt *a, struct str data) {
    size_t whole = 0;
    if (a->held.len) {
        if (buf_add_str(&a->held, data) != BUF_OK) {
            break_off(x, a, OUTCOME_LIMIT_EXCEEDED);
            return false;
        }
        return pass_held(x, a);
    }
    if (!pass_events(x, a, data, 0, &whole)) {
        return false;
    }
    if (buf_add(&a->held, data.p + whole, data.n - whole) != BUF_OK) {
        break_off(x, a, OUTCOME_LIMIT_EXCEEDED);
        return false;
    }
    a->fed = a->held.len;
    return true;
}

static void hold_back(struct exchange *x, struct attempt *a) {
    if (conn_full(x->conn)) {
        attempt_pause(a);
    }
}

bool relay_data(struct exchange *x, struct attempt *a, struct str data) {
    if (a->lf_due) {
        conn_body(x->conn, data.p, data.p[0] == '\n');
        finish(x, END_COMPLETE);
        return false;
    }
    if (a->event_stream) {
        if (!pass_stream(x, a, data)) {
            return false;
        }
    } else {
        note_content(x, a);
        conn_body(x->conn, data.p, data.n);
    }
    hold_back(x, a);
    return true;
}

void relay_end(struct exchange *x, struct attempt *a, const struct transfer_result *result) {
    bool whole = result->outcome == OUTCOME_OK;
    if (a->event_stream && stream_complete(a)) {
        if (!a->foreign) { /* an end marker without its blank line, say */
            conn_body(x->conn, a->held.data, a->held.len);
        }
        end_stream(x, a);
    } else if (whole && !a->event_stream) {
        finish(x, END_COMPLETE);
    } else {
        break_off(x, a, whole ? OUTCOME_STREAM_BROKEN : result->outcome);
    }
}

void relay_cut(struct exchange *x, struct attempt *a, enum outcome why) {
    break_off(x, a, why);
}

static long long answer_length(const struct exchange *x, const struct attempt *a) {
    struct str value;
    unsigned long long length;
    bool declared = headers_get(&a->headers, "content-length", &value) &&
                    str_to_u64(value, &length) && !headers_count(&a->headers, "content-encoding");
    if (a->event_stream) {
        return CONN_LENGTH_UNKNOWN;
    }
    bool all_held = a->whole || (!a->transfer && !a->done);
    if (all_held && !str_is(x->request->method, "HEAD")) {
        return (long long)a->held.len;
    }
    return declared ? (long long)length : all_held ? 0 : CONN_LENGTH_UNKNOWN;
}

static int write_head(struct exchange *x, struct attempt *a) {
    struct headers headers;
    headers_init(&headers, MAX_HEADERS * 2, MAX_ANSWER_HEAD * 2);
    int bad = inbound_headers(&a->headers, &headers);
    if (a->foreign) {
        bad |= headers_set(&headers, STR("content-type"),
                           a->event_stream ? STR("text/event-stream") : STR("application/json"));
    }
    x->status = a->status;
    bad |= answer_headers(x, a, a->status, &headers);
    if (!bad) {
        conn_head(x->conn, a->status, &headers, answer_length(x, a));
        x->answered = true;
    }
    headers_release(&headers);
    return bad;
}

void relay_begin(struct exchange *x, struct attempt *a) {
    x->state = EXCHANGE_RELAYING;
    x->relayed = a;
    exchange_release_policy(x);
    if (write_head(x, a) != 0) {
        answer_error(x, 502, "upstream_error", "invalid_response", "the answer's head is too large",
                     END_REFUSED);
        return;
    }
    attempt_commit(a);
    if (a->event_stream) {
        note_content(x, a);
        if (a->foreign && !translate_scanned(x, a)) {
            return;
        }
        if (a->signs & SIGN_END) { /* the gate met the end marker already */
            conn_body(x->conn, a->held.data, a->scanned);
            finish(x, END_COMPLETE);
            return;
        }
        if (!pass_held(x, a)) {
            return;
        }
    } else {
        conn_body(x->conn, a->held.data, a->held.len);
        buf_release(&a->held); /* up to MAX_PLAIN_BODY, and nothing is held any more */
    }
    if (!a->transfer) {
        struct transfer_result result = {.outcome = a->done ? a->done_outcome : OUTCOME_OK};
        relay_end(x, a, &result);
    } else if (conn_full(x->conn)) {
        attempt_pause(a);
    } else {
        attempt_resume(a);
    }
}
