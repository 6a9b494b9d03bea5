/* SPDX-License-Identifier: MIT */
/*
 * The allocator of one Lua state: counts every byte, refuses growth beyond a cap, keeps a reserve
 * that only the core may use (so that handling an out-of-memory error does not itself run out), and
 * reports churn, so that code that spends its time in large allocations, where no hook runs, is
 * looked at sooner. Never raises, never logs.
 */
#ifndef POLICY_ALLOC_H
#define POLICY_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

struct alloc {
    size_t used;                 /* bytes held now */
    size_t blocks;               /* blocks held now */
    size_t cap;                  /* what scripts may hold */
    size_t reserve;              /* beyond the cap, while `core` is set */
    bool core;                   /* the core itself is allocating: push, take, error handling */
    unsigned long long asked;    /* bytes of new and grown blocks; the user may set it anew */
    size_t churn;                /* bytes asked for since the last report */
    void (*on_churn)(void *ctx); /* LUA_CHURN bytes were asked for, or a request was refused; must
                                    not touch the heap */
    void *ctx;
};

void alloc_init(struct alloc *a, size_t cap, size_t reserve);

/* A lua_Alloc; ud is the struct alloc. */
void *alloc_call(void *ud, void *ptr, size_t osize, size_t nsize);

#endif
