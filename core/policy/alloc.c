/* SPDX-License-Identifier: MIT */
/*
 * See alloc.h. The size that Lua passes for a new block is a type tag, not a size; it serves to
 * bound single strings, since comparing, hashing and searching them happens in C where no hook
 * runs.
 */
#include "policy/alloc.h"

#include <lua.h>
#include <stdlib.h>

#include "base/limits.h"

void alloc_init(struct alloc *a, size_t cap, size_t reserve) {
    *a = (struct alloc){.cap = cap, .reserve = reserve};
}

static void report(struct alloc *a) {
    a->churn = 0;
    if (a->on_churn) {
        a->on_churn(a->ctx);
    }
}

static bool fits(const struct alloc *a, size_t old, size_t nsize) {
    size_t limit = a->core ? a->cap + a->reserve : a->cap;
    size_t rest = a->used - old;

    return rest <= limit && nsize <= limit - rest;
}

/* A refusal costs a full collection each time, and a script may catch it and try again: it must be
 * looked at. */
static void *refuse(struct alloc *a) {
    report(a);
    return NULL;
}

static void *grow(struct alloc *a, void *ptr, size_t old, size_t nsize) {
    void *p;

    if (!fits(a, old, nsize)) {
        return refuse(a);
    }
    p = realloc(ptr, nsize);
    if (!p) {
        return refuse(a);
    }
    a->used = a->used - old + nsize;
    a->blocks += ptr ? 0 : 1;
    a->asked += nsize - old;
    a->churn += nsize;
    if (a->churn >= LUA_CHURN) {
        report(a);
    }
    return p;
}

/* Lua takes it for granted that a shrink works, so one that realloc refuses is done on paper only.
 */
static void *shrink(struct alloc *a, void *ptr, size_t old, size_t nsize) {
    void *p = realloc(ptr, nsize);

    a->used = a->used - old + nsize;
    return p ? p : ptr;
}

void *alloc_call(void *ud, void *ptr, size_t osize, size_t nsize) {
    struct alloc *a = ud;
    size_t old = ptr ? osize : 0;

    if (nsize == 0) {
        a->used -= old;
        a->blocks -= ptr ? 1 : 0;
        free(ptr);
        return NULL;
    }
    if (ptr && nsize <= old) {
        return shrink(a, ptr, old, nsize);
    }
    if (!ptr && osize == LUA_TSTRING && nsize > LUA_STRING_BLOCK) {
        return refuse(a);
    }
    return grow(a, ptr, old, nsize);
}
