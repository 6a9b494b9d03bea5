/* SPDX-License-Identifier: MIT */
/*
 * For tests of memory that runs out: allocations that fail on demand. The linker sends all
 * allocations of our own objects here (see the Makefile), so one file of a test program includes
 * this. Only the thread that began fails: servers and lookups of the test go on.
 *
 * Some acts make thousands of allocations, most of them in Lua: MEMORY_ALL=1 in the environment
 * fails each of them, otherwise some hundreds over the whole length do.
 */
#ifndef SUPPORT_FAILING_MEMORY_H
#define SUPPORT_FAILING_MEMORY_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef SOME
#define SOME 200 /* failures per half of a sweep */
#endif

struct failing {
    bool on;
    size_t n;  /* allocations so far */
    size_t at; /* that one fails, counted from 1; 0: none */
    bool all;  /* and all after it */
    bool hit;
};

static inline struct failing *failing(void) {
    static _Thread_local struct failing f;
    return &f;
}

static inline bool fails(void) {
    struct failing *f = failing();
    if (!f->on || ++f->n < f->at || f->at == 0 || (f->n > f->at && !f->all)) {
        return false;
    }
    f->hit = true;
    errno = ENOMEM;
    return true;
}

static inline void begin(size_t at) {
    struct failing *f = failing();
    *f = (struct failing){.on = true, .at = at, .all = f->all};
}

/* What the test itself does in the middle of an act is spared: failing_pause, then
 * failing_go_on with what it returned. */
static inline bool failing_pause(void) {
    bool on = failing()->on;
    failing()->on = false;
    return on;
}

static inline void failing_go_on(bool on) {
    failing()->on = on;
}

/* How many allocations there were. */
static inline size_t end(void) {
    failing()->on = false;
    return failing()->n;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_asprintf(char **out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void *__wrap_malloc(size_t n) {
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size) {
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n) {
    return fails() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s) {
    return fails() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n) {
    return fails() ? NULL : __real_strndup(s, n);
}

int __wrap_asprintf(char **out, const char *fmt, ...) {
    va_list ap;
    if (fails()) {
        return -1;
    }
    va_start(ap, fmt);
    int n = vasprintf(out, fmt, ap);
    va_end(ap);
    return n;
}

/* Runs `act` with each (or each so-many-th) allocation failing, until none is left to fail: first
 * that one alone, then with it all that follow (Lua tries a second time). Returns how many. */
static inline size_t sweep(void (*act)(void *ctx, size_t at), void *ctx) {
    size_t failures = 0;
    for (int all = 0; all < 2; all++) {
        size_t at = 1, step = 1;
        failing()->all = all;
        act(ctx, 0);
        if (!getenv("MEMORY_ALL") && failing()->n > SOME) {
            step = failing()->n / SOME;
        }
        do {
            act(ctx, at);
            failures += failing()->hit;
            at += step;
        } while (failing()->hit);
    }
    return failures;
}

#endif
