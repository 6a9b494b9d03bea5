/* SPDX-License-Identifier: MIT */
/*
 * Admission to a provider: at most `max` transfers (0 = any number) in flight over all workers,
 * then a first-come queue of bounded length. The waiter's own clock decides how long it waits. Kept
 * by provider name over reloads; a reload may change max and queue. Thread-safe.
 */
#ifndef STATE_SLOTS_H
#define STATE_SLOTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct slots_table; /* all providers */
struct slots;       /* one provider's; lives as long as the table */

/* Embedded in the one who waits. `granted` is called from whatever thread gave its slot back, with
 * the slots' lock held: it must only pass the word on (post to the waiter's own thread) and take no
 * lock that is held around slots_* calls. */
struct slot_waiter {
    void (*granted)(struct slot_waiter *waiter);
    struct slot_waiter *next, *prev; /* the queue's */
    bool queued;                     /* the queue's */
};

enum slots_result { SLOT_GRANTED, SLOT_QUEUED, SLOT_REFUSED };

struct slots_table *slots_table_new(void);
void slots_table_free(struct slots_table *t);
struct slots *slots_get(struct slots_table *t, struct str provider, int max,
                        int queue); /* made or adjusted; NULL: memory */

enum slots_result slots_acquire(struct slots *s, struct slot_waiter *waiter);
/* Leaves the queue. True: it was still waiting. False: it has been granted meanwhile, and the slot
 * must be released. */
bool slots_cancel(struct slots *s, struct slot_waiter *waiter);
void slots_release(struct slots *s);

struct slots_stats {
    int inflight, queued;
    unsigned long refused;
};
void slots_stats(struct slots *s, struct slots_stats *out);
void slots_table_stats(struct slots_table *t, struct slots_stats *sum); /* of all providers */

#endif
