/* SPDX-License-Identifier: MIT */
#include "gateway/gate.h"

#include <stdio.h>

#include "gateway/exchange.h"
#include "gateway/translation.h"

static bool is_success(const struct attempt *a) {
    return a->status >= 200 && a->status < 300;
}

static enum gate_result fail(struct attempt *a, enum outcome outcome, const char *message) {
    a->verdict.outcome = outcome;
    a->verdict.status = a->status;
    snprintf(a->verdict.message, sizeof(a->verdict.message), "%s", message ? message : "");
    return GATE_FAILED;
}

static enum gate_result good(struct attempt *a) {
    a->verdict = (struct verdict){.outcome = OUTCOME_OK, .status = a->status};
    return GATE_GOOD;
}

static bool no_body_expected(const struct attempt *a) {
    struct str method = a->x->request->method;
    bool bodiless = a->status == 204 || a->status == 205 || str_is(method, "HEAD");
    return bodiless || (a->held.len == 0 && !str_is(method, "POST"));
}

static enum gate_result judge(struct attempt *a) {
    if (is_success(a) && no_body_expected(a)) {
        return good(a);
    }
    struct str path = a->path.p ? a->path : a->x->request->path;
    dialect_judge(a->dialect, path, a->status, &a->headers, buf_str(&a->held), &a->verdict);
    if (a->verdict.outcome != OUTCOME_OK) {
        return GATE_FAILED;
    }
    if (a->verdict.usage.seen) {
        a->usage = a->verdict.usage;
    } else {
        dialect_usage(a->dialect, buf_str(&a->held), &a->usage);
    }
    return GATE_GOOD;
}

enum gate_result gate_head(struct attempt *a) {
    struct str value;
    unsigned long long length;
    if (headers_get(&a->headers, "content-type", &value)) {
        a->event_stream = is_success(a) && str_case_has(value, "text/event-stream");
    }
    if (a->max_bytes && headers_get(&a->headers, "content-length", &value) &&
        str_to_u64(value, &length) && length > a->max_bytes) {
        return fail(a, OUTCOME_LIMIT_EXCEEDED, "the answer is longer than max_bytes");
    }
    return GATE_WAIT;
}

/* Keeps the error event's own words as the body: `data` may lie inside what is held. */
static void keep_error(struct attempt *a, struct str data) {
    struct buf words;
    buf_init(&words, a->held.max);
    if (buf_add_str(&words, data) != BUF_OK) {
        buf_clear(&words); /* then the client gets an error of our own making */
    }
    buf_release(&a->held);
    a->held = words;
}

static enum gate_result judge_event(struct attempt *a, const struct sse_event *event) {
    unsigned signs = dialect_event(a->dialect, event, &a->usage);
    a->signs |= signs;
    if (signs & SIGN_ERROR) {
        dialect_event_error(a->dialect, event, &a->verdict);
        keep_error(a, event->data);
        return GATE_FAILED;
    }
    if (signs & SIGN_MALFORMED) {
        return fail(a, OUTCOME_INVALID_RESPONSE, "an event of the stream is not JSON");
    }
    if (signs & SIGN_CONTENT) {
        return good(a);
    }
    if (signs & SIGN_END) {
        if (a->signs & SIGN_FILTERED) {
            return fail(a, OUTCOME_CONTENT_FILTERED, "the stream ended with content_filter");
        }
        return a->signs & SIGN_LENGTH
                   ? good(a)
                   : fail(a, OUTCOME_EMPTY_RESPONSE, "the stream ended without content");
    }
    return GATE_WAIT;
}

static enum gate_result scan_stream(struct attempt *a) {
    while (a->fed < a->held.len) {
        struct sse_event event;
        size_t used = 0;
        struct str rest = str_make(a->held.data + a->fed, a->held.len - a->fed);
        enum sse_result got = sse_feed(&a->sse, rest, &used, &event);
        a->fed += used;
        if (got == SSE_MORE) {
            break;
        }
        if (got != SSE_EVENT) {
            return fail(a, OUTCOME_INVALID_RESPONSE, "an event of the stream is too long");
        }
        a->scanned = a->fed;
        enum gate_result result = judge_event(a, &event);
        if (result != GATE_WAIT) {
            return result;
        }
    }
    return a->held.len >= MAX_HELD_STREAM ? good(a) : GATE_WAIT;
}

/* Like a queue that is full: the gateway's own limit, for which no target is blamed. */
static enum gate_result no_memory(struct attempt *a) {
    return fail(a, OUTCOME_QUEUE_FULL, "the gateway has no memory to hold the answer");
}

enum gate_result gate_data(struct attempt *a, struct str data) {
    bool failing = !is_success(a);
    bool whole = a->foreign && !a->event_stream; /* else it cannot be translated */
    size_t limit = failing                    ? MAX_ERROR_BODY
                   : a->event_stream || whole ? a->held.max
                                              : MAX_PLAIN_BODY;
    if (failing && a->held.len + data.n > limit) {
        data.n = limit - a->held.len;
        if (buf_add_str(&a->held, data) != BUF_OK) {
            return no_memory(a);
        }
        a->body_cut = true;
        return judge(a); /* the rest of an over-long error page interests nobody */
    }
    int added = buf_add_str(&a->held, data);
    if (added == BUF_FULL) {
        return fail(a, OUTCOME_LIMIT_EXCEEDED,
                    whole ? "the answer is too long to be translated"
                          : "the answer came faster than it can be held");
    }
    if (added != BUF_OK) {
        return no_memory(a);
    }
    if (a->event_stream) {
        return scan_stream(a);
    }
    return !failing && a->held.len > limit ? good(a) : GATE_WAIT;
}

static enum gate_result end_stream(struct attempt *a) {
    if (a->signs & SIGN_FILTERED) {
        return fail(a, OUTCOME_CONTENT_FILTERED, "the stream ended with content_filter");
    }
    if (a->signs & SIGN_LENGTH) {
        return good(a);
    }
    return fail(a, OUTCOME_EMPTY_RESPONSE, "the stream ended without content");
}

enum gate_result gate_end(struct attempt *a, const struct transfer_result *result) {
    a->whole = true;
    if (result->outcome == OUTCOME_OK) {
        return a->event_stream ? end_stream(a) : judge(a);
    }
    if (a->status >= 400 && result->outcome == OUTCOME_STREAM_BROKEN) {
        return judge(a); /* an error page that was cut short is an error all the same */
    }
    return fail(a, result->outcome, result->detail);
}
