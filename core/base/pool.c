/* SPDX-License-Identifier: MIT */
/* The count is taken first and given back when it was too much: two that come at once may both be
 * refused, never both be granted what is there once. */
#include "base/pool.h"

#include "base/limits.h"

void pool_init(struct pool *p, size_t max) {
    atomic_init(&p->used, 0);
    atomic_init(&p->max, max);
    atomic_init(&p->refused, 0);
}

static bool allowed(const struct pool *p, size_t used, enum pool_claim claim) {
    size_t max = atomic_load_explicit(&p->max, memory_order_relaxed);
    return !max || claim == POOL_OUTPUT || used <= (claim == POOL_INTAKE ? max - max / 4 : max);
}

bool pool_take(struct pool *p, size_t more, enum pool_claim claim) {
    if (!p || !more) {
        return true;
    }
    size_t used = atomic_fetch_add_explicit(&p->used, more, memory_order_relaxed) + more;
    if (allowed(p, used, claim)) {
        return true;
    }
    pool_give(p, more);
    atomic_fetch_add_explicit(&p->refused, 1, memory_order_relaxed);
    return false;
}

void pool_give(struct pool *p, size_t bytes) {
    if (p && bytes) {
        atomic_fetch_sub_explicit(&p->used, bytes, memory_order_relaxed);
    }
}

bool pool_has(struct pool *p, size_t bytes, enum pool_claim claim) {
    if (!p || bytes <= POOL_GRAIN || allowed(p, pool_used(p) + bytes, claim)) {
        return true;
    }
    atomic_fetch_add_explicit(&p->refused, 1, memory_order_relaxed);
    return false;
}

size_t pool_used(const struct pool *p) {
    return atomic_load_explicit(&p->used, memory_order_relaxed);
}

bool pool_roomy(const struct pool *p) {
    return !p || allowed(p, pool_used(p), POOL_INTAKE);
}
