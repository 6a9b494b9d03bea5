/* SPDX-License-Identifier: MIT */
/*
 * The list of remembered generations. Each holds a reference to every generation that was staged
 * for it until nobody else does; the numbers of one that goes are added to the record.
 */
#include "gateway/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void history_init(struct history *h) {
    *h = (struct history){0};
}

/* Adds the numbers of a generation that is gone and lets go of it. */
static void bury(struct history_entry *e, struct history_live *live) {
    struct lane_stats stats;
    generation_stats(live->generation, &stats);
    e->record.calls += stats.calls;
    e->record.errors += stats.errors;
    e->record.kills += stats.kills;
    generation_unref(live->generation);
    free(live);
}

static void entry_free(struct history_entry *e) {
    while (e->live) {
        struct history_live *live = e->live;
        e->live = live->next;
        bury(e, live);
    }
    snapshot_unref(e->snapshot);
    overlay_release(&e->overlay);
    free(e);
}

void history_release(struct history *h) {
    while (h->list) {
        struct history_entry *e = h->list;
        h->list = e->next;
        entry_free(e);
    }
    history_init(h);
}

struct history_entry *history_find(struct history *h, unsigned id) {
    struct history_entry *e = h->list;
    while (e && e->record.id != id) {
        e = e->next;
    }
    return e;
}

static void insert(struct history *h, struct history_entry *e) {
    struct history_entry **at = &h->list;
    while (*at && (*at)->record.id > e->record.id) {
        at = &(*at)->next;
    }
    e->next = *at;
    *at = e;
}

int history_prepare(struct history_note *note, const struct overlay *overlay) {
    note->entry = calloc(1, sizeof(*note->entry));
    note->live = calloc(1, sizeof(*note->live));
    if (note->entry && note->live && overlay_copy(&note->overlay, overlay) == 0) {
        return 0;
    }
    free(note->entry);
    free(note->live);
    return -1;
}

void history_abandon(struct history_note *note) {
    free(note->entry);
    free(note->live);
    overlay_release(&note->overlay);
}

/* The entry of that id: the one that is there, or the new one. */
static struct history_entry *entry_of(struct history *h, unsigned id, struct history_entry *fresh) {
    struct history_entry *e = history_find(h, id);
    if (e) {
        free(fresh);
        return e;
    }
    fresh->record.id = id;
    insert(h, fresh);
    return fresh;
}

void history_add(struct history *h, struct history_note *note, struct generation *g,
                 const char *who, const char *why) {
    struct history_entry *e = entry_of(h, generation_id(g), note->entry);
    note->live->generation = generation_ref(g);
    note->live->next = e->live;
    e->live = note->live;
    struct snapshot *snapshot = snapshot_ref(generation_snapshot(g));
    snapshot_unref(e->snapshot); /* NULL is a no-op */
    e->snapshot = snapshot;
    overlay_release(&e->overlay);
    e->overlay = note->overlay;
    e->turn = ++h->turn;
    memcpy(e->record.hash, generation_hash(g), HASH_SIZE);
    e->record.loaded_at = clock_wall();
    str_copy(e->record.who, sizeof(e->record.who), str_of(who));
    str_copy(e->record.why, sizeof(e->record.why), str_of(why));
}

/* Only we know the generation still: it is not in force and its last request is gone. */
static void let_go(struct history_entry *e) {
    struct history_live **at = &e->live;
    while (*at) {
        struct history_live *live = *at;
        if (generation_alone(live->generation)) {
            *at = live->next;
            bury(e, live);
        } else {
            at = &live->next;
        }
    }
}

static bool draining(const struct history_entry *e, unsigned active) {
    return e->live && e->record.id != active;
}

/* The kept one that was in force the longest ago; *kept tells how many there are, the active one
 * included. */
static struct history_entry **oldest(struct history *h, unsigned active, size_t *kept) {
    struct history_entry **found = NULL;
    *kept = 0;
    for (struct history_entry **at = &h->list; *at; at = &(*at)->next) {
        if (draining(*at, active)) {
            continue;
        }
        (*kept)++;
        if ((*at)->record.id != active && (!found || (*at)->turn < (*found)->turn)) {
            found = at;
        }
    }
    return found;
}

void history_sweep(struct history *h, unsigned active) {
    size_t kept = 0;
    for (struct history_entry *e = h->list; e; e = e->next) {
        let_go(e);
    }
    struct history_entry **at = oldest(h, active, &kept);
    while (at && kept > MAX_KEPT_GENERATIONS) {
        struct history_entry *e = *at;
        *at = e->next;
        entry_free(e);
        at = oldest(h, active, &kept);
    }
}

size_t history_live_count(const struct history *h) {
    size_t n = 0;
    for (const struct history_entry *e = h->list; e; e = e->next) {
        for (const struct history_live *live = e->live; live; live = live->next) {
            n++;
        }
    }
    return n;
}

void history_live_totals(const struct history *h, struct history_totals *out) {
    *out = (struct history_totals){.generations = history_live_count(h)};
    for (const struct history_entry *e = h->list; e; e = e->next) {
        for (const struct history_live *live = e->live; live; live = live->next) {
            struct lane_stats stats;
            generation_stats(live->generation, &stats);
            out->runs += stats.runs;
            out->coroutines += stats.coroutines;
            out->kept += stats.kept;
            out->references += stats.references;
        }
    }
}

void history_record(const struct history_entry *e, unsigned active, struct generation_record *out) {
    *out = e->record;
    for (const struct history_live *live = e->live; live; live = live->next) {
        struct lane_stats stats;
        generation_stats(live->generation, &stats);
        out->references += generation_requests(live->generation);
        out->bytes += stats.bytes;
        out->calls += stats.calls;
        out->errors += stats.errors;
        out->kills += stats.kills;
    }
    out->state = e->record.id == active ? "active" : e->live ? "draining" : "kept";
}
