/* SPDX-License-Identifier: MIT */
/*
 * A transport that the test plays: `start` only notes what was asked for; the test then says what
 * the provider does, call by call. What a user of the interface does is noted too: pauses, resumes,
 * cancels. Holds the user to the rules of transport.h: nothing may be asked of a transfer that is
 * over, and what is played after that fails the test. Records stay until the transport is freed,
 * and the struct itself is the test's.
 */
#ifndef SUPPORT_SCRIPTED_TRANSPORT_H
#define SUPPORT_SCRIPTED_TRANSPORT_H

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "upstream/transport.h"

#define SCRIPTED_MAX 256

struct scripted_transfer {
    struct transfer base; /* first */
    struct scripted *of;
    struct transfer_events events;
    void *ctx;
    char *method, *url;
    struct headers headers;
    struct buf body; /* the pieces joined, as they were at the start */
    struct str *pieces;
    size_t n_pieces;
    bool has_body, fresh;
    bool live; /* neither done nor cancelled */
    bool paused;
    int pauses, resumes, cancels;
    enum transfer_sent sent; /* what is told when asked; SENT_ALL once connected */
    usec started, ended;
};

struct scripted {
    struct transport base; /* first */
    struct scripted_transfer *list[SCRIPTED_MAX];
    size_t n;    /* starts, refused ones not counted */
    size_t live; /* transfers under way */
    bool refuse; /* start fails */
};

static struct transfer *scripted_start(struct transport *t, const struct transfer_request *r,
                                       const struct transfer_events *events, void *ctx) {
    struct scripted *s = (struct scripted *)t;
    if (s->refuse) {
        return NULL;
    }
    assert_true(s->n < SCRIPTED_MAX);
    struct scripted_transfer *it = calloc(1, sizeof(*it));
    assert_non_null(it);
    it->base.ops = t->ops;
    it->of = s;
    it->events = *events;
    it->ctx = ctx;
    it->method = str_dup(r->method);
    it->url = str_dup(str_of(r->url));
    headers_init(&it->headers, MAX_HEADERS * 2, MAX_HEADER_BYTES * 2);
    for (size_t i = 0; i < r->headers->n; i++) {
        struct header h = headers_at(r->headers, i);
        assert_int_equal(headers_add(&it->headers, h.name, h.value), 0);
    }
    buf_init(&it->body, MIB(64));
    for (size_t i = 0; i < r->n_body; i++) {
        assert_int_equal(buf_add_str(&it->body, r->body[i]), BUF_OK);
    }
    it->pieces = calloc(r->n_body + 1, sizeof(*it->pieces));
    assert_non_null(it->pieces);
    if (r->n_body) {
        memcpy(it->pieces, r->body, r->n_body * sizeof(*it->pieces));
    }
    it->n_pieces = r->n_body;
    it->has_body = r->has_body;
    it->fresh = r->fresh;
    it->live = true;
    it->started = clock_now();
    s->list[s->n++] = it;
    s->live++;
    return &it->base;
}

static struct scripted_transfer *scripted_of(const struct transfer *transfer) {
    return (struct scripted_transfer *)(size_t)transfer;
}

static void scripted_pause(struct transfer *transfer) {
    struct scripted_transfer *it = scripted_of(transfer);
    assert_true(it->live);
    it->paused = true;
    it->pauses++;
}

static void scripted_resume(struct transfer *transfer) {
    struct scripted_transfer *it = scripted_of(transfer);
    assert_true(it->live);
    it->paused = false;
    it->resumes++;
}

static void scripted_over(struct scripted_transfer *it) {
    assert_true(it->live);
    it->live = false;
    it->ended = clock_now();
    it->of->live--;
}

static void scripted_cancel(struct transfer *transfer) {
    scripted_over(scripted_of(transfer));
    scripted_of(transfer)->cancels++;
}

static enum transfer_sent scripted_sent(const struct transfer *transfer) {
    assert_true(scripted_of(transfer)->live);
    return scripted_of(transfer)->sent;
}

static void scripted_stats(const struct transport *t, struct transport_stats *out) {
    const struct scripted *s = (const struct scripted *)t;
    *out = (struct transport_stats){.active = s->live, .connections = s->live, .opened = s->n};
}

static void scripted_free(struct transport *t) {
    struct scripted *s = (struct scripted *)t;
    for (size_t i = 0; i < s->n; i++) {
        struct scripted_transfer *it = s->list[i];
        free(it->method);
        free(it->url);
        free(it->pieces);
        headers_release(&it->headers);
        buf_release(&it->body);
        free(it);
    }
    s->n = 0;
}

static const struct transport_ops SCRIPTED_OPS = {
    scripted_start, scripted_pause, scripted_resume, scripted_cancel,
    scripted_sent,  scripted_stats, scripted_free,
};

static inline void scripted_init(struct scripted *s) {
    memset(s, 0, sizeof(*s));
    s->base.ops = &SCRIPTED_OPS;
}

/* The i-th transfer that was started, from 0. */
static inline struct scripted_transfer *scripted_at(struct scripted *s, size_t i) {
    assert_true(i < s->n);
    return s->list[i];
}

/* ---- what the provider does ---- */

static inline void play_connected(struct scripted_transfer *it) {
    assert_true(it->live);
    it->sent = SENT_ALL;
    it->events.connected(it->ctx, false);
}

/* `fields`: "name: value" lines, each ended by a line feed; NULL: none. */
static inline void play_head(struct scripted_transfer *it, int status, const char *fields) {
    struct headers headers;
    struct str rest = str_of(fields), line, name;
    assert_true(it->live);
    headers_init(&headers, MAX_HEADERS, MAX_ANSWER_HEAD);
    while (str_split(&rest, '\n', &line)) {
        if (line.n && str_split(&line, ':', &name)) {
            assert_int_equal(headers_add(&headers, name, str_trim(line)), 0);
        }
    }
    it->events.head(it->ctx, status, &headers);
    headers_release(&headers);
}

/* From storage of its own, so that one who keeps the pointer is caught. */
static inline void play_bytes(struct scripted_transfer *it, const char *data, size_t n) {
    assert_true(it->live);
    assert_true(n > 0);
    char *copy = malloc(n);
    assert_non_null(copy);
    memcpy(copy, data, n);
    it->events.data(it->ctx, copy, n);
    free(copy);
}

static inline void play_data(struct scripted_transfer *it, const char *text) {
    play_bytes(it, text, strlen(text));
}

/* The body's bytes are borrowed: as long as the transport may still send some, they must be there.
 */
static inline void scripted_check_body(const struct scripted_transfer *it) {
    size_t at = 0;
    for (size_t i = 0; i < it->n_pieces; i++) {
        assert_memory_equal(it->pieces[i].p, it->body.data + at, it->pieces[i].n);
        at += it->pieces[i].n;
    }
}

static inline void play_done(struct scripted_transfer *it, enum outcome outcome) {
    struct transfer_result result = {outcome, it->sent, "scripted"};
    if (it->sent != SENT_ALL) {
        scripted_check_body(it);
    }
    scripted_over(it); /* before the call: nobody may cancel what is done */
    it->events.done(it->ctx, &result);
}

/* A whole answer in one go. */
static inline void play_answer(struct scripted_transfer *it, int status, const char *fields,
                               const char *body) {
    play_connected(it);
    play_head(it, status, fields);
    if (it->live && *body) {
        play_data(it, body);
    }
    if (it->live) {
        play_done(it, OUTCOME_OK);
    }
}

#endif
