/* SPDX-License-Identifier: MIT */
/*
 * The table of suspensions. Not thread-safe: the targets' lock covers it.
 */
#include "state/suspensions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "state/targets_parts.h"

struct suspension_key {
    char bytes[TARGET_NAME_MAX + 1];
    struct str str;
};

static void make_key(struct suspension_key *key, struct str name, bool group) {
    struct str cut = target_name(name);
    key->bytes[0] = group ? 'g' : 't';
    if (cut.n) {
        memcpy(key->bytes + 1, cut.p, cut.n);
    }
    key->str = str_make(key->bytes, cut.n + 1);
}

int suspensions_init(struct suspensions *s) {
    s->map = map_new(MAX_SUSPENSIONS);
    return s->map ? 0 : -1;
}

void suspensions_release(struct suspensions *s) {
    size_t pos = 0;
    struct str key;
    void *value = NULL;
    if (!s->map) {
        return;
    }
    while (map_next(s->map, &pos, &key, &value)) {
        free(value);
    }
    map_free(s->map);
    s->map = NULL;
}

const struct suspension *suspensions_find(struct suspensions *s, struct str name, bool group,
                                          usec now) {
    struct suspension_key key;
    if (map_count(s->map) == 0) {
        return NULL;
    }
    make_key(&key, name, group);
    struct suspension *found = map_get(s->map, key.str);
    if (found && found->until <= now) {
        map_remove(s->map, key.str);
        free(found);
        return NULL;
    }
    return found;
}

/* Drops what has ended, and if nothing has, the one that ends soonest. */
static void make_room(struct suspensions *s, usec now) {
    size_t pos = 0;
    struct str key;
    void *value = NULL;
    struct suspension *soonest = NULL;
    if (map_count(s->map) < MAX_SUSPENSIONS) {
        return;
    }
    while (map_next(s->map, &pos, &key, &value)) {
        struct suspension *each = value;
        if (each->until <= now) {
            map_remove(s->map, key);
            free(each);
        } else if (!soonest || each->until < soonest->until) {
            soonest = each;
        }
    }
    if (soonest && map_count(s->map) >= MAX_SUSPENSIONS) {
        suspensions_remove(s, soonest->name, soonest->group);
    }
}

static struct suspension *insert(struct suspensions *s, struct str key, bool group) {
    struct suspension *new = calloc(1, sizeof(*new) + key.n);
    if (!new) {
        return NULL;
    }
    char *copy = (char *)(new + 1);
    memcpy(copy, key.p + 1, key.n - 1);
    new->name = str_make(copy, key.n - 1);
    new->group = group;
    if (map_set(s->map, key, new)) {
        free(new);
        return NULL;
    }
    return new;
}

bool suspensions_add(struct suspensions *s, struct str name, bool group, usec until,
                     const char *reason, usec now) {
    struct suspension_key key;
    make_key(&key, name, group);
    struct suspension *entry = map_get(s->map, key.str);
    if (until <= now || (entry && entry->until >= until)) {
        return false;
    }
    if (!entry) {
        make_room(s, now);
        entry = insert(s, key.str, group);
    }
    if (!entry) {
        return false;
    }
    entry->until = until;
    snprintf(entry->reason, sizeof(entry->reason), "%s", reason ? reason : "");
    return true;
}

bool suspensions_remove(struct suspensions *s, struct str name, bool group) {
    struct suspension_key key;
    make_key(&key, name, group);
    struct suspension *entry = map_remove(s->map, key.str);
    free(entry);
    return entry != NULL;
}
