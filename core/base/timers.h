/* SPDX-License-Identifier: MIT */
/*
 * The timers of one thread: a binary heap of structs that lie in what they are about. A timer joins
 * once, which makes room for it; after that setting and clearing it cannot fail, allocates nothing
 * and calls nobody. Knows no clock and no event loop: whoever owns the heap looks at `timers_next`
 * and calls `timers_run` when that time has come.
 */
#ifndef BASE_TIMERS_H
#define BASE_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/count.h"

struct timer {
    usec at; /* when it is due; meaningful while it is set */
    void (*fn)(void *ctx);
    void *ctx;
    uint64_t order; /* the heap's: of two that are due at once, the one set first runs first */
    size_t place;   /* the heap's: 1-based; 0 = not set */
};

struct timers {
    struct timer **heap; /* owned; the timers are their owners' */
    size_t n, cap;
    atomic_size_t joined; /* timers that have room; any thread may look */
    uint64_t order;       /* of the next one that is set */
};

void timers_init(struct timers *t);
void timers_release(struct timers *t); /* all timers must have left */

/* Makes the timer, not set. 0, or -1: memory. */
int timer_join(struct timers *t, struct timer *timer, void (*fn)(void *ctx), void *ctx)
    __attribute__((warn_unused_result));
/* Clears it and gives its room back. One that never joined (all zero) is left alone. */
void timer_leave(struct timers *t, struct timer *timer);

/* Sets it, or moves it when it is set. O(log n). */
void timer_set(struct timers *t, struct timer *timer, usec at);
void timer_clear(struct timers *t, struct timer *timer); /* one that is not set is left alone */

static inline bool timer_is_set(const struct timer *timer) {
    return timer->place != 0;
}

usec timers_next(const struct timers *t); /* when the first is due; USEC_NEVER: none is set */

/*
 * Runs those that are due at `now`, earliest first; each is cleared before its function is called,
 * which may set, clear, join and leave any timer of the heap. What is set to a time that has come
 * by one of these functions waits for the next call, so that this one always ends. Returns how many
 * were run.
 */
size_t timers_run(struct timers *t, usec now);
/* Runs the first that is due at `now`, if any is. */
bool timers_run_first(struct timers *t, usec now);

#endif
