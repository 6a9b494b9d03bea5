/* SPDX-License-Identifier: MIT */
/*
 * The growing buffer. Storage doubles up to the maximum; a buffer without storage points at one
 * shared NUL that is never written to.
 */
#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"

enum { FIRST_CAP = 63 }; /* with its NUL one cache line */

static const char nothing[1] = "";

static char *no_storage(void) {
    return (char *)(uintptr_t)nothing;
}

void buf_init(struct buf *b, size_t max) {
    b->data = no_storage();
    b->len = 0;
    b->cap = 0;
    b->max = max < SIZE_MAX - 1 ? max : SIZE_MAX - 1; /* room for the NUL */
    b->pool = NULL;
    b->claim = POOL_OUTPUT;
}

void buf_share(struct buf *b, struct pool *pool, enum pool_claim claim) {
    b->pool = pool;
    b->claim = claim;
}

static size_t counted(size_t cap) {
    return cap > POOL_GRAIN ? cap : 0;
}

/* Without storage: it was freed, or is somebody else's now. */
static void forget(struct buf *b) {
    pool_give(b->pool, counted(b->cap));
    b->data = no_storage();
    b->len = b->cap = 0;
}

void buf_over(struct buf *b, char *storage, size_t size) {
    *b = (struct buf){.data = storage, .cap = size, .max = size};
    storage[0] = '\0';
}

void buf_release(struct buf *b) {
    if (b->cap) {
        free(b->data);
    }
    forget(b);
}

void buf_clear(struct buf *b) {
    buf_truncate(b, 0);
}

void buf_reuse(struct buf *b, size_t keep) {
    if (b->cap > keep) {
        buf_release(b);
    } else {
        buf_clear(b);
    }
}

int buf_reserve(struct buf *b, size_t more) {
    if (more > b->max - b->len) {
        return BUF_FULL;
    }
    size_t need = b->len + more;
    if (need <= b->cap) {
        return BUF_OK;
    }
    size_t cap = b->cap ? b->cap : FIRST_CAP;
    while (cap < need) {
        cap = cap > b->max / 2 ? b->max : cap * 2 + 1;
    }
    if (cap > b->max) {
        cap = b->max;
    }
    size_t growth = counted(cap) - counted(b->cap);
    if (!pool_take(b->pool, growth, b->claim)) {
        return BUF_NOMEM;
    }
    char *data = realloc(b->cap ? b->data : NULL, cap + 1);
    if (!data) {
        pool_give(b->pool, growth);
        return BUF_NOMEM;
    }
    data[b->len] = '\0';
    b->data = data;
    b->cap = cap;
    return BUF_OK;
}

int buf_add_growing(struct buf *b, const void *data, size_t n) {
    if (n == 0) {
        return BUF_OK;
    }
    int rc = buf_reserve(b, n);
    if (rc != BUF_OK) {
        return rc;
    }
    memcpy(b->data + b->len, data, n);
    b->len += n;
    b->data[b->len] = '\0';
    return BUF_OK;
}

int buf_add_decoded(struct buf *b, struct str s) {
    int bad = 0;
    for (size_t i = 0; i < s.n && !bad; i++) {
        int escaped = percent_byte(s, i);
        bad = escaped ? buf_addc(b, escaped < 0 ? s.p[i] : (char)escaped) : -1;
        i += escaped < 0 ? 0 : 2;
    }
    return bad;
}

int buf_addn(struct buf *b, unsigned long long n) {
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    return buf_add(b, digits + at, sizeof(digits) - at);
}

int buf_addf(struct buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int rc = buf_addv(b, fmt, ap);
    va_end(ap);
    return rc;
}

int buf_addv(struct buf *b, const char *fmt, va_list ap) {
    va_list again;
    va_copy(again, ap);
    size_t room = b->cap ? b->cap - b->len + 1 : 0;
    int n = vsnprintf(room ? b->data + b->len : NULL, room, fmt, ap);
    int rc = n < 0 ? BUF_NOMEM : BUF_OK;
    if (n > 0 && (size_t)n >= room) {
        rc = buf_reserve(b, (size_t)n);
        if (rc == BUF_OK) {
            vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        }
    }
    va_end(again);
    if (rc == BUF_OK) {
        b->len += (size_t)n;
    } else if (b->cap) {
        b->data[b->len] = '\0'; /* what the first try wrote is not ours to show */
    }
    return rc;
}

void buf_consume(struct buf *b, size_t n) {
    if (n == 0) {
        return;
    }
    if (n >= b->len) {
        buf_clear(b);
        return;
    }
    b->len -= n;
    memmove(b->data, b->data + n, b->len + 1);
}

void buf_truncate(struct buf *b, size_t len) {
    if (len < b->len) {
        b->len = len;
        b->data[len] = '\0';
    }
}

void buf_unfold(struct buf *b, size_t from) {
    for (size_t i = from; i < b->len; i++) {
        if (b->data[i] == '\n' || b->data[i] == '\r') {
            b->data[i] = ' ';
        }
    }
}

char *buf_take(struct buf *b) {
    char *data = b->cap ? b->data : calloc(1, 1);
    if (data) {
        forget(b);
    }
    return data;
}

void buf_replace(struct buf *b, struct str what, struct str with) {
    size_t from = 0, to = 0;
    while (what.n && from < b->len) {
        bool here = b->len - from >= what.n && memcmp(b->data + from, what.p, what.n) == 0;
        size_t n = here ? with.n : 1;
        memmove(b->data + to, here ? with.p : b->data + from, n);
        to += n;
        from += here ? what.n : 1;
    }
    if (what.n) {
        buf_truncate(b, to);
    }
}
