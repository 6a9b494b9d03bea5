/* SPDX-License-Identifier: MIT */
/*
 * Frames of AWS's event streams: makes them, and reads them in portions, each from memory of its
 * own size, for unit tests and the fuzz target.
 */
#ifndef SUPPORT_FRAMES_H
#define SUPPORT_FRAMES_H

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/limits.h"
#include "upstream/eventstream.h"

static inline void frames_must(int rc) {
    if (rc != BUF_OK) {
        abort();
    }
}

static inline void frames_number(struct buf *out, uint32_t n) {
    n = htonl(n);
    frames_must(buf_add(out, &n, sizeof(n)));
}

/* A field whose value is a text. */
static inline void frames_field(struct buf *out, const char *name, const char *value) {
    size_t n = strlen(value);
    frames_must(buf_addc(out, (char)strlen(name)) | buf_adds(out, name) | buf_addc(out, 7));
    frames_must(buf_addc(out, (char)(n >> 8)) | buf_addc(out, (char)n) | buf_adds(out, value));
}

/* Fields as they are, in a frame whose checksums are right. */
static inline void frames_add(struct buf *out, struct str fields, struct str payload) {
    size_t at = out->len;
    frames_number(out, (uint32_t)(16 + fields.n + payload.n));
    frames_number(out, (uint32_t)fields.n);
    frames_number(out, (uint32_t)crc32(0, (const Bytef *)out->data + at, 8));
    frames_must(buf_add_str(out, fields) | buf_add_str(out, payload));
    frames_number(out, (uint32_t)crc32(0, (const Bytef *)out->data + at, (uInt)(out->len - at)));
}

/* A frame as Bedrock sends it: "event" or "exception". */
static inline void frames_message(struct buf *out, const char *kind, const char *type,
                                  const char *payload) {
    struct buf fields;
    char name[32] = ":";
    buf_init(&fields, KIB(4));
    strcat(strcat(name, kind), "-type");
    frames_field(&fields, name, type);
    frames_field(&fields, ":content-type", "application/json");
    frames_field(&fields, ":message-type", kind);
    frames_add(out, buf_str(&fields), str_of(payload));
    buf_release(&fields);
}

struct frames_read {
    struct buf text;
    enum eventstream_result result;
    bool boundary;
};

/* The first portion has `first` bytes, the others `step`; the caller releases r->text. */
static inline void frames_read(struct frames_read *r, struct str bytes, size_t first, size_t step) {
    struct eventstream e;
    eventstream_init(&e, NULL);
    buf_init(&r->text, MIB(8));
    r->result = EVENTSTREAM_OK;
    for (size_t at = 0, n = first; at < bytes.n; at += n, n = step ? step : 1) {
        n = n < bytes.n - at ? n : bytes.n - at;
        char *copy = malloc(n ? n : 1);
        if (n) {
            memcpy(copy, bytes.p + at, n);
        }
        r->result = eventstream_feed(&e, str_make(copy, n), &r->text);
        free(copy);
    }
    r->boundary = eventstream_at_boundary(&e);
    eventstream_release(&e);
}

#endif
