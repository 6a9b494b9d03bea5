/* SPDX-License-Identifier: MIT */
/*
 * Open addressing with linear probing over pointers to entries. A removed entry leaves a mark, so
 * that a walk and the probe sequences behind it stay valid; marks go away when the table is next
 * rebuilt.
 */
#include "base/map.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum { FIRST_SLOTS = 16 };

struct entry {
    uint64_t hash;
    void *value;
    size_t n;
    char key[]; /* terminated, so that debuggers can show it */
};

struct map {
    struct entry **slots; /* NULL until the first entry; n_slots is a power of two */
    size_t n_slots;
    size_t count; /* live entries */
    size_t used;  /* live entries and marks */
    size_t max;
};

/* The mark. Its address is all that is used of it. */
static const struct entry removed;

static bool live(const struct entry *e) {
    return e && e != &removed;
}

struct map *map_new(size_t max) {
    struct map *m = calloc(1, sizeof(*m));
    if (m) {
        m->max = max;
    }
    return m;
}

void map_free(struct map *m) {
    if (!m) {
        return;
    }
    for (size_t i = 0; i < m->n_slots; i++) {
        if (live(m->slots[i])) {
            free(m->slots[i]);
        }
    }
    free(m->slots);
    free(m);
}

size_t map_count(const struct map *m) {
    return m->count;
}

/* The slot that holds the key, or NULL. */
static struct entry **find(const struct map *m, struct str key, uint64_t hash) {
    if (m->count == 0) {
        return NULL;
    }
    size_t mask = m->n_slots - 1;
    for (size_t i = hash & mask; m->slots[i]; i = (i + 1) & mask) {
        struct entry *e = m->slots[i];
        if (live(e) && e->hash == hash && str_eq(str_make(e->key, e->n), key)) {
            return &m->slots[i];
        }
    }
    return NULL;
}

void *map_get(const struct map *m, struct str key) {
    struct entry **slot = find(m, key, hash_quick(key));
    return slot ? (*slot)->value : NULL;
}

struct str map_key(const struct map *m, struct str key) {
    struct entry **slot = find(m, key, hash_quick(key));
    return slot ? str_make((*slot)->key, (*slot)->n) : str_make(NULL, 0);
}

static void place(struct entry **slots, size_t n_slots, struct entry *e) {
    size_t i = e->hash & (n_slots - 1);
    while (slots[i]) {
        i = (i + 1) & (n_slots - 1);
    }
    slots[i] = e;
}

/* Room for one more entry at a load of three quarters, marks counted; rebuilding drops the marks.
 */
static int make_room(struct map *m) {
    if (m->n_slots && (m->used + 1) * 4 <= m->n_slots * 3) {
        return 0;
    }
    size_t n_slots = FIRST_SLOTS;
    while ((m->count + 1) * 2 > n_slots) {
        n_slots *= 2;
    }
    struct entry **slots = calloc(n_slots, sizeof(*slots));
    if (!slots) {
        return -1;
    }
    for (size_t i = 0; i < m->n_slots; i++) {
        if (live(m->slots[i])) {
            place(slots, n_slots, m->slots[i]);
        }
    }
    free(m->slots);
    m->slots = slots;
    m->n_slots = n_slots;
    m->used = m->count;
    return 0;
}

static struct entry *entry_new(struct str key, uint64_t hash, void *value) {
    struct entry *e = malloc(sizeof(*e) + key.n + 1);
    if (!e) {
        return NULL;
    }
    e->hash = hash;
    e->value = value;
    e->n = key.n;
    if (key.n) {
        memcpy(e->key, key.p, key.n);
    }
    e->key[key.n] = '\0';
    return e;
}

int map_set(struct map *m, struct str key, void *value) {
    uint64_t hash = hash_quick(key);
    struct entry **slot = find(m, key, hash);
    if (slot) {
        (*slot)->value = value;
        return 0;
    }
    if (m->count >= m->max || make_room(m)) {
        return -1;
    }
    struct entry *e = entry_new(key, hash, value);
    if (!e) {
        return -1;
    }
    place(m->slots, m->n_slots, e);
    m->count++;
    m->used++;
    return 0;
}

void *map_remove(struct map *m, struct str key) {
    struct entry **slot = find(m, key, hash_quick(key));
    if (!slot) {
        return NULL;
    }
    void *value = (*slot)->value;
    free(*slot);
    *slot = (struct entry *)(uintptr_t)&removed;
    m->count--;
    return value;
}

bool map_next(const struct map *m, size_t *pos, struct str *key, void **value) {
    while (*pos < m->n_slots) {
        const struct entry *e = m->slots[(*pos)++];
        if (live(e)) {
            *key = str_make(e->key, e->n);
            *value = e->value;
            return true;
        }
    }
    return false;
}
