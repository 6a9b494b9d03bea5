/* SPDX-License-Identifier: MIT */
/*
 * Numbers that one thread writes and any may read, a moment's view of what is alive. Reading and
 * writing back is enough where nobody else writes: it costs no locked instruction, so that the
 * busiest paths can afford it.
 */
#ifndef BASE_COUNT_H
#define BASE_COUNT_H

#include <stdatomic.h>

/* `number` is an _Atomic of any arithmetic type; `by` may be negative. Its owner's thread only. */
#define count_add(number, by)                                                                      \
    atomic_store_explicit(&(number), atomic_load_explicit(&(number), memory_order_relaxed) + (by), \
                          memory_order_relaxed)

/* Any thread. */
#define count_get(number) atomic_load_explicit(&(number), memory_order_relaxed)

#endif
