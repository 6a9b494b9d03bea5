/* SPDX-License-Identifier: MIT */
/*
 * Reads one request out of bytes that arrive in portions, the way a connection does, and writes
 * down what was understood. Used by unit tests and the fuzz target, which hold the accounts of
 * different portions against each other. Each call of the parser gets a block of exactly the bytes
 * that are there, so that ASan sees a read beyond them.
 */
#ifndef SUPPORT_READ_REQUEST_H
#define SUPPORT_READ_REQUEST_H

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "net/http.h"

struct reading {
    int status;  /* 0: more is needed; 200: a whole request; else what the client gets */
    size_t used; /* bytes of the request, when it is whole */
    struct err err;
    struct buf account; /* method, target, fields */
    struct buf body;
};

static void reading_init(struct reading *r, size_t body_max) {
    *r = (struct reading){0};
    buf_init(&r->account, MIB(1));
    buf_init(&r->body, body_max);
}

static void reading_release(struct reading *r) {
    buf_release(&r->account);
    buf_release(&r->body);
}

static void reading_note(struct reading *r, const char *what, struct str s) {
    if (buf_addf(&r->account, "%s=<", what) != BUF_OK || buf_add_str(&r->account, s) != BUF_OK ||
        buf_adds(&r->account, ">\n") != BUF_OK) {
        abort();
    }
}

static void reading_describe(struct reading *r, const struct http_head *head,
                             const struct headers *h) {
    reading_note(r, "method", head->method);
    reading_note(r, "target", head->target);
    reading_note(r, "path", head->path);
    reading_note(r, "query", head->query);
    for (size_t i = 0; i < h->n; i++) {
        struct header f = headers_at(h, i);
        reading_note(r, "name", f.name);
        reading_note(r, "value", f.value);
    }
    if (buf_addf(&r->account, "minor=%d keep=%d expect=%d body=%d length=%llu\n", head->minor,
                 head->keep_alive, head->expect_continue, (int)head->body,
                 (unsigned long long)head->content_length) != BUF_OK) {
        abort();
    }
}

/* The end of the portion that follows `at`: the first portion has `first` bytes, the others `step`.
 */
static size_t reading_next(size_t at, size_t n, size_t first, size_t step) {
    size_t size = at < first ? first - at : step;
    if (size == 0) {
        size = 1;
    }
    return n - at < size ? n : at + size;
}

static void reading_chunks(struct reading *r, const char *data, size_t n, size_t head, size_t first,
                           size_t step) {
    struct http_chunks chunks;
    int result = 0;
    http_chunks_init(&chunks);
    for (size_t at = head; at < n && result == 0;) {
        size_t end = reading_next(at, n, first, step);
        size_t used = 0;
        char *copy = malloc(end - at);
        memcpy(copy, data + at, end - at);
        result = http_chunks_read(&chunks, copy, end - at, &used, &r->body, &r->err);
        free(copy);
        if (result == 0 && used != end - at) {
            abort(); /* asks for more and has not used what it has */
        }
        at += used;
        r->used = at;
    }
    r->status = result > 0 ? 200 : -result;
}

static void reading_body(struct reading *r, const struct http_head *head, const char *data,
                         size_t n, size_t at, size_t first, size_t step) {
    r->used = at;
    r->status = 200;
    if (head->body == HTTP_BODY_CHUNKED) {
        reading_chunks(r, data, n, at, first, step);
        return;
    }
    if (head->body == HTTP_BODY_NONE) {
        return;
    }
    if (head->content_length > r->body.max) {
        r->status = 413; /* the connection's check, not the parser's */
        err_set(&r->err, "the body is too large");
        return;
    }
    size_t there = n - at < head->content_length ? n - at : (size_t)head->content_length;
    if (buf_add(&r->body, data + at, there) != BUF_OK) {
        abort();
    }
    r->used = at + there;
    r->status = there == head->content_length ? 200 : 0;
}

static void reading_run(struct reading *r, const char *data, size_t n, size_t first, size_t step) {
    struct headers headers;
    struct http_head head;
    size_t scanned = 0;
    int used = 0;
    headers_init(&headers, MAX_HEADERS, MAX_HEADER_BYTES);
    for (size_t at = 0; at < n && used == 0;) {
        at = reading_next(at, n, first, step);
        char *copy = malloc(at);
        memcpy(copy, data, at);
        used = http_read_head(copy, at, &scanned, &head, &headers, &r->err);
        if (used > 0) {
            if ((size_t)used > at) {
                abort();
            }
            reading_describe(r, &head, &headers);
        }
        free(copy);
    }
    r->status = used < 0 ? -used : 0;
    if (used > 0) {
        reading_body(r, &head, data, n, (size_t)used, first, step);
    }
    headers_release(&headers);
}

/* NULL when both came to the same, else what differs. */
static const char *reading_differs(const struct reading *a, const struct reading *b) {
    if (a->status != b->status) {
        return "status";
    }
    if (a->status == 200 && a->used != b->used) {
        return "bytes used";
    }
    if (a->status >= 400) {
        return strcmp(a->err.text, b->err.text) == 0 ? NULL : "message";
    }
    if (!str_eq(buf_str(&a->account), buf_str(&b->account))) {
        return "head";
    }
    return str_eq(buf_str(&a->body), buf_str(&b->body)) ? NULL : "body";
}

#endif
