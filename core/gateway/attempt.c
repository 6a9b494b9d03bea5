/* SPDX-License-Identifier: MIT */
#include "gateway/attempt.h"

#include <stdlib.h>

#include "gateway/attempt_build.h"
#include "gateway/attempt_clock.h"
#include "gateway/attempt_frames.h"
#include "gateway/attempt_mask.h"
#include "gateway/exchange.h"
#include "gateway/gate.h"
#include "gateway/relay.h"
#include "gateway/translation.h"
#include "upstream/keys.h"
#include "upstream/outbound.h"

static void release_slot(struct attempt *a) {
    if (a->holds_slot) {
        a->holds_slot = false;
        slots_release(a->slots);
    }
}

static void cancel_transfer(struct attempt *a) {
    struct transfer *transfer = a->transfer;
    if (transfer) {
        a->transfer = NULL;
        a->sent = transfer_sent(transfer);
        transfer_cancel(transfer);
    }
    release_slot(a);
}

static void leave_queue(struct attempt *a) {
    if (a->state == ATTEMPT_TRANSLATING) {
        mailbox_withdraw(&a->worker->mailbox, &a->turn);
    }
    if (a->state != ATTEMPT_QUEUED || !a->slots) {
        return;
    }
    if (!slots_cancel(a->slots, &a->waiter)) {
        mailbox_withdraw(&a->worker->mailbox, &a->granted);
        slots_release(a->slots);
    }
    a->slots = NULL;
}

static void note_outcome(const struct attempt *a) {
    double seconds = usec_to_seconds(a->ended_at - a->sent_at);
    const char *name = outcome_name(a->verdict.outcome);
    if (a->status) {
        exchange_notef(a->x, "%s: %s, status %d, after %.3f s", a->name, name, a->status, seconds);
    } else {
        exchange_notef(a->x, "%s: %s, after %.3f s", a->name, name, seconds);
    }
}

/* The outcome is known: tells the policy. A good answer is paused until it decides. */
static void report(struct attempt *a) {
    a->known = true;
    a->gate_outcome = a->verdict.outcome;
    a->ended_at = clock_now();
    note_outcome(a);
    if (a->verdict.outcome == OUTCOME_OK && a->transfer) {
        a->state = ATTEMPT_REPORTED;
        attempt_pause(a);
    } else {
        leave_queue(a);
        cancel_transfer(a);
        a->state = ATTEMPT_OVER;
        translation_settle(a);
    }
    if (a->verdict.outcome != OUTCOME_OK) {
        attempt_mask(a);
        attempt_account(a);
    }
    attempt_arm(a);
    exchange_notify(a->x);
}

static void report_as(struct attempt *a, enum outcome outcome, const char *message) {
    a->verdict.outcome = outcome;
    a->verdict.status = a->status;
    str_copy(a->verdict.message, sizeof(a->verdict.message), str_of(message));
    report(a);
}

static void after_gate(struct attempt *a, enum gate_result result) {
    result = translation_judge(a, result);
    if (result == GATE_GOOD && a->event_stream) {
        a->content_at = clock_now();
    }
    if (result != GATE_WAIT) {
        report(a);
    }
}

static void on_connected(void *ctx, bool reused) {
    struct attempt *a = ctx;
    a->connected_at = clock_now();
    a->reused = reused;
    attempt_arm(a);
}

static void on_head(void *ctx, int status, const struct headers *headers) {
    struct attempt *a = ctx;
    a->head_at = clock_now();
    a->status = status;
    for (size_t i = 0; i < headers->n; i++) {
        struct header h = headers_at(headers, i);
        if (headers_add(&a->headers, h.name, h.value) != 0) {
            report_as(a, OUTCOME_INVALID_RESPONSE, "the answer's head is too large");
            return;
        }
    }
    if (attempt_frames_begin(a) != 0) {
        report_as(a, OUTCOME_QUEUE_FULL, "the gateway has no memory to hold the answer");
        return;
    }
    a->state = ATTEMPT_HOLDING;
    after_gate(a, gate_head(a));
    if (!a->known) {
        attempt_arm(a);
    }
}

static void leftover_data(struct attempt *a, size_t n) {
    a->answer_bytes += n;
    if (a->answer_bytes > MAX_DRAIN_BYTES) {
        attempt_free(a);
    }
}

/* What was promised to wait for its relay did not: the client will see a broken stream. */
static void break_held(struct attempt *a, enum outcome why) {
    cancel_transfer(a);
    a->done = true;
    a->done_outcome = why;
}

/* Bytes that nobody relays yet. */
static void hold(struct attempt *a, struct str data) {
    if (!a->known) {
        after_gate(a, gate_data(a, data));
    } else if (buf_add_str(&a->held, data) != BUF_OK) {
        break_held(a, OUTCOME_LIMIT_EXCEEDED);
    }
}

/* The part that still fits is looked at first: what becomes of an answer must not depend on how its
 * bytes were split on their way. */
static void hold_last(struct attempt *a, struct str data) {
    hold(a, data);
    if (!a->known) {
        report_as(a, OUTCOME_LIMIT_EXCEEDED, "the answer is longer than max_bytes");
    } else if (a->transfer) {
        break_held(a, OUTCOME_LIMIT_EXCEEDED);
    }
}

/* Bytes of the answer as gate and relay know them. False: there is no exchange any more, and no
 * attempt. */
static bool take(struct attempt *a, struct str data) {
    size_t room = a->max_bytes > a->answer_bytes ? a->max_bytes - a->answer_bytes : 0;
    bool too_much = a->max_bytes && data.n > room;
    a->answer_bytes += data.n;
    if (a->state != ATTEMPT_RELAYING && too_much) {
        hold_last(a, str_make(data.p, room));
    } else if (a->state != ATTEMPT_RELAYING) {
        hold(a, data);
    } else if (too_much) {
        relay_cut(a->x, a, OUTCOME_LIMIT_EXCEEDED);
        return false;
    } else {
        return relay_data(a->x, a, data);
    }
    return true;
}

/* Its frames cannot be read any further. */
static void break_frames(struct attempt *a, enum outcome outcome, const char *why) {
    if (a->state == ATTEMPT_RELAYING) {
        relay_cut(a->x, a, OUTCOME_STREAM_BROKEN);
    } else if (!a->known) {
        report_as(a, outcome, why);
    } else if (a->transfer) {
        break_held(a, OUTCOME_STREAM_BROKEN);
    }
}

static void take_frames(struct attempt *a, struct str data) {
    struct buf text;
    enum eventstream_result result = attempt_frames_read(a, data, &text);
    bool lives = text.len == 0 || take(a, buf_str(&text));
    buf_release(&text);
    if (lives && result == EVENTSTREAM_BAD) {
        break_frames(a, OUTCOME_INVALID_RESPONSE, a->frames->fault);
    } else if (lives && result == EVENTSTREAM_NOMEM) {
        break_frames(a, OUTCOME_QUEUE_FULL, "the gateway has no memory to hold the answer");
    }
}

static void on_data(void *ctx, const char *data, size_t n) {
    struct attempt *a = ctx;
    if (!a->x) {
        leftover_data(a, n);
    } else if (a->frames) {
        take_frames(a, str_make(data, n));
    } else {
        (void)take(a, str_make(data, n));
    }
}

static void on_done(void *ctx, const struct transfer_result *ended) {
    struct attempt *a = ctx;
    struct transfer_result in_frame = *ended;
    const struct transfer_result *result = ended;
    a->transfer = NULL;
    a->sent = ended->sent;
    release_slot(a);
    if (a->frames && ended->outcome == OUTCOME_OK && !eventstream_at_boundary(a->frames)) {
        in_frame.outcome = a->known ? OUTCOME_STREAM_BROKEN : OUTCOME_INVALID_RESPONSE;
        in_frame.detail = "the stream ends within a frame";
        result = &in_frame;
    }
    if (!a->x) {
        attempt_free(a);
    } else if (a->state == ATTEMPT_RELAYING) {
        relay_end(a->x, a, result);
    } else if (a->known) {
        a->done = true;
        a->done_outcome = result->outcome;
        a->whole = result->outcome == OUTCOME_OK;
    } else {
        after_gate(a, gate_end(a, result));
    }
}

static const struct transfer_events EVENTS = {on_connected, on_head, on_data, on_done};

static void start_transfer(struct attempt *a) {
    struct transfer_request request = {
        .method = a->foreign ? STR("POST") : a->x->request->method,
        .url = a->url.data,
        .headers = &a->out,
        .body = a->body.piece,
        .n_body = a->body.n,
        .has_body = a->body.n > 0 || str_is(a->x->request->method, "POST"),
        .fresh = a->fresh,
        .tls = a->provider->tls,
        .proxy = a->provider->proxy,
        .libcurl = a->provider->transport == TRANSPORT_LIBCURL,
    };
    a->holds_slot = true;
    a->state = ATTEMPT_SENDING;
    a->admitted_at = clock_now();
    struct sigv4_request to_sign = {request.method, a->url.data, request.body, request.n_body};
    if (outbound_sign(a->provider, &to_sign, &a->out) == 0) {
        a->transfer = transfer_start(a->worker->transport, &request, &EVENTS, a);
    }
    if (!a->transfer) {
        report_as(a, OUTCOME_CONNECT_ERROR, "the transfer could not be started");
        return;
    }
    attempt_arm(a);
}

static void on_slot(struct mail *mail) {
    struct attempt *a = (struct attempt *)((char *)mail - offsetof(struct attempt, granted));
    start_transfer(a);
}

/* On whatever thread gave its slot back. */
static void on_granted(struct slot_waiter *waiter) {
    struct attempt *a = (struct attempt *)((char *)waiter - offsetof(struct attempt, waiter));
    mailbox_post(&a->worker->mailbox, &a->granted);
}

static void admit(struct attempt *a) {
    const struct config_provider *p = a->provider;
    a->waiter.granted = on_granted;
    a->granted.deliver = on_slot;
    a->slots =
        slots_get(a->worker->gateway->state.slots, str_of(p->name), p->max_inflight, p->queue);
    switch (a->slots ? slots_acquire(a->slots, &a->waiter) : SLOT_REFUSED) {
    case SLOT_GRANTED:
        start_transfer(a);
        break;
    case SLOT_QUEUED:
        a->queue_deadline = a->sent_at + p->queue_timeout;
        attempt_arm(a);
        break;
    case SLOT_REFUSED:
        a->slots = NULL;
        report_as(a, OUTCOME_QUEUE_FULL, "too many requests wait for this provider");
        break;
    }
}

static void on_turn(struct mail *mail) {
    struct attempt *a = (struct attempt *)((char *)mail - offsetof(struct attempt, turn));
    struct err err;
    a->state = ATTEMPT_QUEUED;
    if (translation_request(a, &err) != 0) {
        report_as(a, OUTCOME_UNSUPPORTED, err.text);
    } else {
        admit(a);
    }
}

/* The policy's run that sends it stands in the same Lua state: the translation has its own turn. */
static void translate_first(struct attempt *a) {
    a->state = ATTEMPT_TRANSLATING;
    a->turn.deliver = on_turn;
    mailbox_post(&a->worker->mailbox, &a->turn);
    attempt_arm(a);
}

struct attempt *attempt_new(struct exchange *x, const struct send_options *options,
                            struct err *err) {
    struct attempt *a = attempt_build(x, options, err);
    if (!a) {
        return NULL;
    }
    a->n = x->n_attempts + 1;
    x->attempts[x->n_attempts++] = a;
    if (!options->force && attempt_suspended_for(a) > 0) {
        report_as(a, OUTCOME_SUSPENDED, "the target is suspended");
    } else if (exchange_remaining(x) <= 0) {
        report_as(a, OUTCOME_TIMEOUT_TOTAL, "the request's deadline has passed");
    } else {
        target_begin(a->facts);
        a->begun = true;
        exchange_notef(x, "attempt %zu on %s%s%s", a->n, a->name, a->api_key ? ", key " : "",
                       a->api_key ? a->api_key->name : "");
        if (a->verdict.outcome == OUTCOME_UNSUPPORTED) {
            report(a);
        } else if (a->translation) {
            translate_first(a);
        } else {
            admit(a);
        }
    }
    return a;
}

void attempt_free(struct attempt *a) {
    if (!a) {
        return;
    }
    attempt_account(a);
    leave_queue(a);
    cancel_transfer(a);
    attempt_forget_leftover(a);
    attempt_release(a);
}

void attempt_stop(struct attempt *a, enum outcome outcome) {
    if (a->accounted) {
        cancel_transfer(a);
        return;
    }
    a->verdict.outcome = outcome;
    if (!a->known) {
        report(a);
        return;
    }
    a->gate_outcome = outcome; /* what is held may be half an answer: it is none any more */
    attempt_account(a);
    cancel_transfer(a);
    a->state = ATTEMPT_OVER;
}

void attempt_fail(struct attempt *a, enum outcome outcome, struct str message) {
    a->verdict.outcome = outcome;
    str_copy(a->verdict.message, sizeof(a->verdict.message), message);
    attempt_account(a);
    release_slot(a); /* the next attempt may need it; the paused answer may still be returned */
}

void attempt_commit(struct attempt *a) {
    a->state = a->transfer ? ATTEMPT_RELAYING : ATTEMPT_OVER;
    a->last_progress = clock_now();
    attempt_arm(a);
}

void attempt_pause(struct attempt *a) {
    if (a->transfer && !a->paused) {
        a->paused = true;
        a->paused_since = clock_now();
        transfer_pause(a->transfer);
    }
}

void attempt_resume(struct attempt *a) {
    if (a->transfer && a->paused) {
        a->paused = false;
        a->last_progress = clock_now();
        a->paused_for += a->last_progress - a->paused_since;
        attempt_arm(a);
        transfer_resume(a->transfer);
    }
}

void attempt_rearm(struct attempt *a) {
    if (!a->known) {
        attempt_arm(a);
    }
}

void attempt_progress(struct attempt *a) {
    a->last_progress = clock_now();
}

void attempt_expire(struct attempt *a, enum outcome why) {
    if (!a->x) {
        attempt_free(a);
    } else if (a->state == ATTEMPT_RELAYING) {
        relay_cut(a->x, a, why);
    } else if (!a->known) {
        report_as(a, why, "time is up");
    }
}

bool attempt_has_answer(const struct attempt *a) {
    if (a->foreign && a->gate_outcome == OUTCOME_CONTENT_FILTERED && a->status < 400) {
        return a->event_stream ? a->x->stream : translation_done(a);
    }
    switch (a->gate_outcome) {
    case OUTCOME_OK:
    case OUTCOME_CONTENT_FILTERED:
        return true;
    case OUTCOME_OVERLOADED:
    case OUTCOME_SERVER_ERROR:
    case OUTCOME_RATE_LIMITED:
    case OUTCOME_QUOTA_EXHAUSTED:
    case OUTCOME_CREDENTIAL_ERROR:
    case OUTCOME_MODEL_UNAVAILABLE:
    case OUTCOME_CONTEXT_TOO_LONG:
    case OUTCOME_TOO_LARGE:
    case OUTCOME_CLIENT_ERROR:
        return a->status >= 400;
    default:
        return false;
    }
}

bool attempt_may_leave(const struct attempt *a) {
    return a->transfer && transfer_sent(a->transfer) == SENT_ALL;
}

void attempt_leave(struct attempt *a) {
    translation_free(a);
    a->x = NULL;
    a->provider = NULL; /* of the exchange's configuration, like its key */
    a->api_key = NULL;
    a->answer_bytes = 0;
    a->ended_at = clock_now();
    a->next_leftover = a->worker->leftovers;
    a->worker->leftovers = a;
    timer_clear(&a->worker->timers, &a->timer);
    attempt_resume(a);
    attempt_arm(a);
}

const char *attempt_dropped(const struct attempt *a) {
    return a->dropped ? a->dropped : "";
}

usec attempt_suspended_for(const struct attempt *a) {
    struct targets *targets = a->worker->gateway->state.targets;
    struct str name = str_of(a->name);
    return a->key_named ? targets_suspended_for(targets, name, attempt_group(a))
                        : keys_target_suspended_for(a->provider, targets, name);
}

double attempt_retry_after(const struct attempt *a) {
    double hint = a->status ? retry_after_seconds(&a->headers, clock_wall()) : -1;
    return hint < 0 && a->verdict.retry_after > 0 ? a->verdict.retry_after : hint;
}

enum outcome attempt_outcome(const struct attempt *a) {
    return a->known ? a->verdict.outcome : OUTCOME_CANCELLED;
}
