/* SPDX-License-Identifier: MIT */
/*
 * Facts on targets. One lock covers all of it: what is done under it is a look-up and a few
 * numbers, less than a lock per target would cost in look-ups. Owns entries, verdicts of probes and
 * suspensions; knows names only, no configuration. Never calls anybody with the lock held.
 */
#include "state/targets.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "state/targets_parts.h"

enum { WINDOW_SECONDS = 30 };

static const double EWMA_SHARE = 0.2; /* of the newest sample */

struct second {
    int64_t number; /* monotonic time in seconds; older ones count for nothing */
    uint32_t successes, failures;
};

struct target {
    struct targets *owner;
    char *group; /* owned; the quota group it was last asked for with */
    unsigned refs;
    bool unnamed;
    struct target *prev, *next; /* in the idle list while refs is 0 */
    int inflight;
    double ewma_first_token, ewma_total;
    struct second seconds[WINDOW_SECONDS];
    unsigned streak;
    char last_error[256];
    usec last_error_at;
    size_t name_len;
    char name[]; /* terminated */
};

struct provider_state {
    bool up;
    usec up_since;
};

struct targets *targets_new(size_t max) {
    struct targets *t = calloc(1, sizeof(*t));
    if (!t) {
        return NULL;
    }
    t->max = max;
    t->entries = map_new(max);
    t->providers = map_new(MAX_SLOTS);
    if (!t->entries || !t->providers || suspensions_init(&t->suspensions) ||
        pthread_mutex_init(&t->lock, NULL)) {
        suspensions_release(&t->suspensions);
        map_free(t->providers);
        map_free(t->entries);
        free(t);
        return NULL;
    }
    return t;
}

static void target_free(struct target *e) {
    free(e->group);
    free(e);
}

void targets_free(struct targets *t) {
    size_t pos = 0;
    struct str key;
    void *value = NULL;
    if (!t) {
        return;
    }
    while (map_next(t->entries, &pos, &key, &value)) {
        target_free(value);
    }
    pos = 0;
    while (map_next(t->providers, &pos, &key, &value)) {
        free(value);
    }
    suspensions_release(&t->suspensions);
    map_free(t->providers);
    map_free(t->entries);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static struct str name_of(const struct target *e) {
    return str_make(e->name, e->name_len);
}

struct target_name target_split(struct str name) {
    struct target_name split = {name, {NULL, 0}, {NULL, 0}};
    size_t n = 0;
    while (n < name.n && name.p[n] != '/' && name.p[n] != '#') {
        n++;
    }
    if (n < name.n) {
        struct str *rest = name.p[n] == '/' ? &split.model : &split.key;
        split.provider.n = n;
        *rest = str_make(name.p + n + 1, name.n - n - 1);
    }
    return split;
}

static void idle_unlink(struct targets *t, struct target *e) {
    *(e->prev ? &e->prev->next : &t->idle_first) = e->next;
    *(e->next ? &e->next->prev : &t->idle_last) = e->prev;
    e->prev = e->next = NULL;
}

static void idle_append(struct targets *t, struct target *e) {
    e->prev = t->idle_last;
    e->next = NULL;
    *(t->idle_last ? &t->idle_last->next : &t->idle_first) = e;
    t->idle_last = e;
}

/* The idle entry seen longest ago that is not suspended; if all are, the first: its suspension
 * stands on its own. */
static void evict_one(struct targets *t) {
    usec now = clock_now();
    struct target *e = t->idle_first;
    while (e && suspensions_find(&t->suspensions, name_of(e), false, now)) {
        e = e->next;
    }
    e = e ? e : t->idle_first;
    if (e) {
        idle_unlink(t, e);
        map_remove(t->entries, name_of(e));
        target_free(e);
    }
}

static struct target *entry_new(struct targets *t, struct str name) {
    if (map_count(t->entries) >= t->max) {
        evict_one(t);
    }
    struct target *e = calloc(1, sizeof(*e) + name.n + 1);
    if (!e) {
        return NULL;
    }
    e->owner = t;
    e->name_len = name.n;
    if (name.n) {
        memcpy(e->name, name.p, name.n);
    }
    if (map_set(t->entries, name, e)) {
        free(e);
        return NULL;
    }
    idle_append(t, e);
    return e;
}

static int set_group(struct target *e, struct str group) {
    if (str_eq(str_of(e->group), group)) {
        return 0;
    }
    char *copy = group.n ? str_dup(group) : NULL;
    if (group.n && !copy) {
        return -1;
    }
    free(e->group);
    e->group = copy;
    return 0;
}

struct target *target_get(struct targets *t, struct str name, struct str group) {
    struct str cut = target_name(name);
    pthread_mutex_lock(&t->lock);
    struct target *e = map_get(t->entries, cut);
    if (!e) {
        e = entry_new(t, cut);
    }
    if (e && set_group(e, group)) {
        e = NULL; /* stays as an idle entry */
    }
    if (e && e->refs++ == 0) {
        idle_unlink(t, e);
    }
    pthread_mutex_unlock(&t->lock);
    return e;
}

void target_put(struct target *target) {
    if (!target) {
        return;
    }
    struct targets *t = target->owner;
    pthread_mutex_lock(&t->lock);
    if (--target->refs == 0) {
        idle_append(t, target);
    }
    pthread_mutex_unlock(&t->lock);
}

void target_set_unnamed(struct target *target) {
    pthread_mutex_lock(&target->owner->lock);
    target->unnamed = true;
    pthread_mutex_unlock(&target->owner->lock);
}

void target_begin(struct target *target) {
    pthread_mutex_lock(&target->owner->lock);
    target->inflight++;
    pthread_mutex_unlock(&target->owner->lock);
}

static void average(double *ewma, double sample) {
    if (sample > 0) {
        *ewma = *ewma > 0 ? *ewma + EWMA_SHARE * (sample - *ewma) : sample;
    }
}

static struct second *this_second(struct target *e) {
    int64_t number = clock_now() / USEC_PER_SEC;
    struct second *s = &e->seconds[number % WINDOW_SECONDS];
    if (s->number != number) {
        *s = (struct second){number, 0, 0};
    }
    return s;
}

void target_done(struct target *target, const struct target_end *end) {
    pthread_mutex_lock(&target->owner->lock);
    if (target->inflight > 0) {
        target->inflight--;
    }
    average(&target->ewma_first_token, end->first_token);
    average(&target->ewma_total, end->total);
    if (end->failed) {
        this_second(target)->failures++;
        target->streak++;
        snprintf(target->last_error, sizeof(target->last_error), "%s",
                 end->error ? end->error : "");
        target->last_error_at = clock_wall();
    } else if (end->succeeded) {
        this_second(target)->successes++;
        target->streak = 0;
    }
    pthread_mutex_unlock(&target->owner->lock);
}

/* Under the lock: the suspension that lasts longer, its own or its group's; NULL when there is
 * none. */
static const struct suspension *longest(struct targets *t, struct str name, struct str group,
                                        usec now) {
    const struct suspension *own = suspensions_find(&t->suspensions, name, false, now);
    const struct suspension *all =
        group.n ? suspensions_find(&t->suspensions, group, true, now) : NULL;
    atomic_store(&t->n_suspensions, map_count(t->suspensions.map));
    return !own || (all && all->until > own->until) ? all : own;
}

static void note_change(struct targets *t) {
    atomic_store(&t->n_suspensions, map_count(t->suspensions.map));
    atomic_fetch_add(&t->serial, 1);
}

usec targets_suspend(struct targets *t, struct str name, struct str group, bool whole_group,
                     usec duration, const char *reason) {
    bool as_group = whole_group && group.n > 0;
    usec longest_kept =
        usec_from_seconds(INFINITY); /* so that it can be written down as wall-clock time */
    pthread_mutex_lock(&t->lock);
    usec now = clock_now(); /* under the lock: so that its times never step back */
    usec until = now + (duration < longest_kept ? duration : longest_kept);
    if (suspensions_add(&t->suspensions, as_group ? group : name, as_group, until, reason, now)) {
        note_change(t);
    }
    const struct suspension *s = longest(t, name, group, now);
    usec left = s ? s->until - now : 0;
    pthread_mutex_unlock(&t->lock);
    return left;
}

void targets_resume(struct targets *t, struct str name, struct str group) {
    pthread_mutex_lock(&t->lock);
    bool own = suspensions_remove(&t->suspensions, name, false);
    bool all = group.n > 0 && suspensions_remove(&t->suspensions, group, true);
    if (own || all) {
        note_change(t);
    }
    pthread_mutex_unlock(&t->lock);
}

usec targets_suspended_for(struct targets *t, struct str name, struct str group) {
    if (atomic_load(&t->n_suspensions) == 0) {
        return 0;
    }
    pthread_mutex_lock(&t->lock);
    usec now = clock_now();
    const struct suspension *s = longest(t, name, group, now);
    usec left = s ? s->until - now : 0;
    pthread_mutex_unlock(&t->lock);
    return left;
}

static void fill_entry(const struct target *e, struct target_facts *out) {
    int64_t oldest = clock_now() / USEC_PER_SEC - WINDOW_SECONDS;
    out->unnamed = e->unnamed;
    out->inflight = e->inflight;
    out->ewma_first_token = e->ewma_first_token;
    out->ewma_total = e->ewma_total;
    out->streak = e->streak;
    out->last_error_at = e->last_error_at;
    str_copy(out->last_error, sizeof(out->last_error), str_of(e->last_error));
    for (int i = 0; i < WINDOW_SECONDS; i++) {
        if (e->seconds[i].number > oldest) {
            out->successes += e->seconds[i].successes;
            out->failures += e->seconds[i].failures;
        }
    }
}

/* Under the lock. */
static void fill(struct targets *t, struct str name, struct str group, struct target_facts *out) {
    usec now = clock_now();
    const struct target *e = map_get(t->entries, name);
    const struct provider_state *p = map_get(t->providers, target_split(name).provider);
    const struct suspension *s = longest(t, name, group, now);
    memset(out, 0, sizeof(*out));
    str_copy(out->name, sizeof(out->name), name);
    str_copy(out->provider, sizeof(out->provider), target_split(name).provider);
    out->up = p ? p->up : true;
    out->up_since = p ? p->up_since : 0;
    if (s) {
        out->suspended_for = s->until - now;
        str_copy(out->reason, sizeof(out->reason), str_of(s->reason));
    }
    if (e) {
        fill_entry(e, out);
    }
}

void targets_facts(struct targets *t, struct str name, struct str group, struct target_facts *out) {
    pthread_mutex_lock(&t->lock);
    fill(t, target_name(name), group, out);
    pthread_mutex_unlock(&t->lock);
}

void targets_set_up(struct targets *t, struct str provider, bool up) {
    pthread_mutex_lock(&t->lock);
    struct provider_state *p = map_get(t->providers, provider);
    bool was_up = p && p->up;
    if (!p) {
        p = calloc(1, sizeof(*p));
        if (p && map_set(t->providers, provider, p)) {
            free(p);
            p = NULL;
        }
    }
    if (p) { /* without memory it stays up, and its failures speak for themselves */
        p->up = up;
        if (up && !was_up) {
            p->up_since = clock_now();
        }
    }
    pthread_mutex_unlock(&t->lock);
}

bool targets_is_up(struct targets *t, struct str provider, usec *up_since) {
    pthread_mutex_lock(&t->lock);
    const struct provider_state *p = map_get(t->providers, provider);
    bool up = p ? p->up : true;
    if (up_since) {
        *up_since = p ? p->up_since : 0;
    }
    pthread_mutex_unlock(&t->lock);
    return up;
}

/* Names copied out of the table, each with its group behind it: name, NUL, group, NUL. */
struct names {
    char **list;
    size_t n;
};

static void names_free(struct names *names) {
    for (size_t i = 0; i < names->n; i++) {
        free(names->list[i]);
    }
    free(names->list);
}

static int names_add(struct names *names, struct str name, const char *group) {
    size_t n_group = group ? strlen(group) : 0;
    char *both = malloc(name.n + n_group + 2);
    if (!both) {
        return -1;
    }
    memcpy(both, name.p, name.n);
    both[name.n] = '\0';
    memcpy(both + name.n + 1, group ? group : "", n_group + 1);
    names->list[names->n++] = both;
    return 0;
}

/* Under the lock: all entries, and the suspended targets that have none. */
static int names_collect(struct targets *t, struct names *names) {
    size_t most = map_count(t->entries) + map_count(t->suspensions.map);
    size_t pos = 0;
    struct str key;
    void *value = NULL;
    int rc = 0;
    names->list = calloc(most + 1, sizeof(*names->list));
    if (!names->list) {
        return -1;
    }
    while (!rc && map_next(t->entries, &pos, &key, &value)) {
        const struct target *e = value;
        rc = names_add(names, name_of(e), e->group);
    }
    pos = 0;
    while (!rc && map_next(t->suspensions.map, &pos, &key, &value)) {
        const struct suspension *s = value;
        if (!s->group && s->until > clock_now() && !map_get(t->entries, s->name)) {
            rc = names_add(names, s->name, NULL);
        }
    }
    return rc;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int targets_each(struct targets *t, void (*fn)(void *ctx, const struct target_facts *facts),
                 void *ctx) {
    struct names names = {NULL, 0};
    pthread_mutex_lock(&t->lock);
    int rc = names_collect(t, &names);
    pthread_mutex_unlock(&t->lock);
    if (rc == 0 && names.n > 0) {
        qsort(names.list, names.n, sizeof(*names.list), by_text);
    }
    for (size_t i = 0; rc == 0 && i < names.n; i++) {
        struct target_facts facts;
        struct str name = str_of(names.list[i]);
        targets_facts(t, name, str_of(name.p + name.n + 1), &facts);
        fn(ctx, &facts);
    }
    names_free(&names);
    return rc;
}

unsigned long targets_serial(const struct targets *t) {
    return atomic_load(&t->serial);
}
