/* SPDX-License-Identifier: MIT */
/*
 * A growing byte buffer that cannot be made without a maximum. The contents are always followed by
 * a NUL that does not count, so text in it may be used as a C string.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

#include "base/pool.h"
#include "base/str.h"

enum { BUF_OK = 0, BUF_FULL = -1, BUF_NOMEM = -2 /* of the machine, or of the pool */ };

struct buf {
    char *data; /* never NULL to readers: points at a static NUL while nothing is allocated */
    size_t len;
    size_t cap;        /* allocated, without the NUL; 0 while static */
    size_t max;        /* len never passes it */
    struct pool *pool; /* borrowed; NULL: counted nowhere */
    enum pool_claim claim;
};

void buf_init(struct buf *b, size_t max);
/* From here on its storage counts in the pool, which outlives it. For a buffer without storage. */
void buf_share(struct buf *b, struct pool *pool, enum pool_claim claim);
/* Over `size` + 1 bytes of somebody else's storage, which holds at most `size`; never grows, and
 * must not be released, taken or reused. */
void buf_over(struct buf *b, char *storage, size_t size);
void buf_release(struct buf *b); /* frees, and leaves an empty buffer with the same max and pool */
void buf_clear(struct buf *b);   /* len = 0, storage kept */
/* Clears; storage above `keep` bytes is freed. */
void buf_reuse(struct buf *b, size_t keep);

/* All or nothing: on BUF_FULL or BUF_NOMEM the contents are as before. */
int buf_add_growing(struct buf *b, const void *data, size_t n)
    __attribute__((warn_unused_result)); /* buf_add when there is no room yet */
static inline __attribute__((warn_unused_result)) int buf_add(struct buf *b, const void *data,
                                                              size_t n) {
    if (n == 0 || n > b->cap - b->len) {
        return buf_add_growing(b, data, n);
    }
    memcpy(b->data + b->len, data, n);
    b->len += n;
    b->data[b->len] = '\0';
    return BUF_OK;
}

static inline __attribute__((warn_unused_result)) int buf_add_str(struct buf *b, struct str s) {
    return buf_add(b, s.p, s.n);
}

static inline __attribute__((warn_unused_result)) int buf_adds(struct buf *b, const char *cstr) {
    return buf_add(b, cstr, strlen(cstr));
}

static inline __attribute__((warn_unused_result)) int buf_addc(struct buf *b, char c) {
    return buf_add(b, &c, 1);
}

/* With its percent escapes decoded. -1 also for a zero byte; what was added then stays. */
int buf_add_decoded(struct buf *b, struct str s) __attribute__((warn_unused_result));
int buf_addn(struct buf *b, unsigned long long n)
    __attribute__((warn_unused_result)); /* in decimal digits */
int buf_addf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), warn_unused_result));
int buf_addv(struct buf *b, const char *fmt, va_list ap) __attribute__((warn_unused_result));

int buf_reserve(struct buf *b, size_t more) __attribute__((warn_unused_result));

void buf_consume(struct buf *b, size_t n); /* drops the first n bytes; n <= len */
void buf_truncate(struct buf *b, size_t len);

static inline struct str buf_str(const struct buf *b) {
    return (struct str){b->data, b->len};
}

/* Makes spaces of the line breaks behind the first `from` bytes: a `data:` line is one. */
void buf_unfold(struct buf *b, size_t from);

/* Replaces every occurrence of `what` by `with`, which must not be longer. */
void buf_replace(struct buf *b, struct str what, struct str with);

/* The storage, terminated; the caller frees it. The buffer is empty after. NULL when memory is
 * short. */
char *buf_take(struct buf *b);

#endif
