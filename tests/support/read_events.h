/* SPDX-License-Identifier: MIT */
/*
 * Reads an event stream that arrives in portions and writes down its events, for unit tests and the
 * fuzz target.
 */
#ifndef SUPPORT_READ_EVENTS_H
#define SUPPORT_READ_EVENTS_H

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "net/sse.h"

struct events {
    struct buf account; /* "[type|data]" or "[-]" for one without data */
    enum sse_result result;
    bool boundary;
    size_t count;
};

static void events_init(struct events *e) {
    *e = (struct events){0};
    buf_init(&e->account, MIB(16));
}

static void events_release(struct events *e) {
    buf_release(&e->account);
}

static void events_note(struct events *e, const struct sse_event *event) {
    int r = buf_addc(&e->account, '[');
    if (r == BUF_OK && event->has_data) {
        r = buf_add_str(&e->account, event->type);
    }
    if (r == BUF_OK) {
        r = buf_addc(&e->account, event->has_data ? '|' : '-');
    }
    if (r == BUF_OK) {
        r = buf_add_str(&e->account, event->data);
    }
    if (r == BUF_OK) {
        r = buf_addc(&e->account, ']');
    }
    if (r != BUF_OK) {
        abort();
    }
    e->count++;
}

static void events_portion(struct events *e, struct sse *s, const char *data, size_t n) {
    char *copy = malloc(n);
    memcpy(copy, data, n);
    for (size_t at = 0; at < n;) {
        struct sse_event event;
        size_t used = 0;
        e->result = sse_feed(s, str_make(copy + at, n - at), &used, &event);
        if (e->result < 0) {
            break;
        }
        if (used > n - at || (e->result == SSE_MORE && used != n - at) || used == 0) {
            abort();
        }
        if (e->result == SSE_EVENT) {
            events_note(e, &event);
            if (!sse_at_boundary(s)) {
                abort();
            }
        }
        at += used;
    }
    free(copy);
}

/* The first portion has `first` bytes, the others `step`. */
static void events_run(struct events *e, const char *data, size_t n, size_t first, size_t step) {
    struct sse s;
    sse_init(&s);
    for (size_t at = 0; at < n && e->result >= 0;) {
        size_t size = at < first ? first - at : step;
        size = size == 0 ? 1 : size;
        size = n - at < size ? n - at : size;
        events_portion(e, &s, data + at, size);
        at += size;
    }
    e->boundary = sse_at_boundary(&s);
    sse_release(&s);
}

#endif
