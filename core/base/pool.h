/* SPDX-License-Identifier: MIT */
/*
 * How many bytes many buffers may hold together. A buffer that is given a pool (buf_share) takes
 * its storage's size from it as it grows and gives it back when it is released. Storage up to
 * POOL_GRAIN is not counted: how much of that there can be is bounded by the number of buffers.
 * Any thread; costs an atomic addition for each growth of a large buffer.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* How far a buffer may go. */
enum pool_claim {
    POOL_INTAKE, /* new work: up to three quarters of the pool, so that what is under way can end */
    POOL_WORK,   /* work under way: up to the whole pool */
    POOL_OUTPUT  /* counted and never refused: bounded by who fills it */
};

struct pool {
    atomic_size_t used, max; /* bytes; max 0 = no bound */
    atomic_ulong refused;    /* claims that found no room */
};

void pool_init(struct pool *p, size_t max);
/* Takes `more` bytes. False: refused, and counted. NULL takes anything. */
bool pool_take(struct pool *p, size_t more, enum pool_claim claim)
    __attribute__((warn_unused_result));
void pool_give(struct pool *p, size_t bytes); /* NULL is a no-op */
/* Could a buffer grow to this many bytes now? Counts a refusal when not. */
bool pool_has(struct pool *p, size_t bytes, enum pool_claim claim);
/* Is there room for new work? NULL has always. */
bool pool_roomy(const struct pool *p);
size_t pool_used(const struct pool *p);

#endif
