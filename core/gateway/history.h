/* SPDX-License-Identifier: MIT */
/*
 * What the loader remembers of its generations: the last five (MAX_KEPT_GENERATIONS) with their
 * snapshot and overlay, to be put in force again, and those that still have requests. A record
 * outlives its generation and keeps counting when the same snapshot is staged again. Not
 * thread-safe: under the loader's lock.
 */
#ifndef GATEWAY_HISTORY_H
#define GATEWAY_HISTORY_H

#include "gateway/overlay.h"
#include "policy/policy.h"

enum { HISTORY_WHO = 64, HISTORY_WHY = 128 };

/* What readers are shown; a moment's view. */
struct generation_record {
    unsigned id;
    unsigned char hash[HASH_SIZE];
    usec loaded_at; /* wall clock: when it was put in force the last time */
    char who[HISTORY_WHO], why[HISTORY_WHY];
    const char *state;                  /* "active", "draining", "kept" */
    size_t references;                  /* runs and requests still on it */
    size_t bytes;                       /* Lua memory of its lanes */
    unsigned long calls, errors, kills; /* since it was first loaded */
};

/* A staged generation of a record; several while earlier ones of it drain. */
struct history_live {
    struct generation *generation; /* a reference */
    struct history_live *next;
};

struct history_entry {
    struct generation_record record; /* counters: of generations that are gone */
    struct snapshot *snapshot;       /* a reference */
    struct overlay overlay;          /* owned */
    unsigned long turn;              /* of being put in force; the smallest is forgotten first */
    struct history_live *live;
    struct history_entry *next; /* newest id first */
};

struct history {
    struct history_entry *list;
    unsigned long turn;
};

void history_init(struct history *h);
void history_release(struct history *h);

/* All the memory that noting a generation takes, so that the noting itself cannot fail. */
struct history_note {
    struct history_entry *entry; /* becomes the one of a new id; freed when there is one already */
    struct history_live *live;
    struct overlay overlay;
};
int history_prepare(struct history_note *note, const struct overlay *overlay)
    __attribute__((warn_unused_result)); /* 0, or -1 (memory): nothing to abandon */
void history_abandon(struct history_note *note);
/* Notes that g, just staged under the note's overlay, is put in force: makes an entry or goes on
 * with the one of its id. Takes references and the note. */
void history_add(struct history *h, struct history_note *note, struct generation *g,
                 const char *who, const char *why);
/* Lets go of generations that nobody uses any more and forgets entries beyond MAX_KEPT_GENERATIONS.
 * `active` is never forgotten. */
void history_sweep(struct history *h, unsigned active);
/* NULL when it is not known (any more). */
struct history_entry *history_find(struct history *h, unsigned id);
size_t history_live_count(const struct history *h); /* generations that somebody still uses */
/* What these hold, their lanes added up; see lane_stats. */
struct history_totals {
    size_t generations, runs, coroutines, kept, references;
};
void history_live_totals(const struct history *h, struct history_totals *out);
/* Fills the view of one entry. */
void history_record(const struct history_entry *e, unsigned active, struct generation_record *out);

#endif
