/* SPDX-License-Identifier: MIT */
/*
 * Suspensions as JSON and back. Ends are written as wall-clock time, since the monotonic clock
 * starts anew with the machine, beside the time of saving, since the wall clock may be set back.
 * Reading checks the whole document before it changes anything.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "state/targets_parts.h"

/* Under the lock. */
static void add_running(const struct targets *t, struct json *list) {
    usec now = clock_now();
    usec wall = clock_wall();
    size_t pos = 0;
    struct str key;
    void *value = NULL;
    while (map_next(t->suspensions.map, &pos, &key, &value)) {
        const struct suspension *s = value;
        if (s->until > now) {
            struct json *one = json_push_object(list);
            json_add_str(one, "name", s->name);
            json_add_bool(one, "group", s->group);
            json_add_num(one, "until_ms", (double)((wall + (s->until - now)) / 1000));
            json_add_str(one, "reason", str_of(s->reason));
        }
    }
}

int targets_save(struct targets *t, struct buf *json) {
    struct json *doc = json_object();
    int rc = -1;
    json_add_num(doc, "version", 1);
    json_add_num(doc, "saved_ms", (double)(clock_wall() / 1000));
    struct json *list = json_add_array(doc, "suspended");
    pthread_mutex_lock(&t->lock);
    add_running(t, list);
    pthread_mutex_unlock(&t->lock);
    if (doc && list) {
        rc = json_print(doc, json);
    }
    json_free(doc);
    return rc == BUF_OK ? 0 : -1;
}

struct loaded {
    struct str name, reason;
    bool group;
    double until_ms;
};

static bool read_one(const struct json *one, struct loaded *out) {
    return json_str(json_get(one, "name"), &out->name) && out->name.n > 0 &&
           json_bool(json_get(one, "group"), &out->group) &&
           json_num(json_get(one, "until_ms"), &out->until_ms) &&
           json_str(json_get(one, "reason"), &out->reason);
}

/* NULL when the document is not ours. */
static const struct json *suspended_of(const struct json *doc) {
    double version = 0;
    struct loaded one;
    const struct json *list = json_get(doc, "suspended");
    if (!json_num(json_get(doc, "version"), &version) || version != 1 || !json_is_array(list)) {
        return NULL;
    }
    for (const struct json *it = json_at(list, 0); it; it = json_next(it)) {
        if (!read_one(it, &one)) {
            return NULL;
        }
    }
    return list;
}

/* A wall clock that went back since must not make it longer than it was when it was saved. */
static void restore(struct targets *t, const struct loaded *one, double saved_ms) {
    double wall_ms = (double)(clock_wall() / 1000);
    double left = (one->until_ms - (wall_ms > saved_ms ? wall_ms : saved_ms)) / 1000;
    if (left > 0) {
        targets_suspend(t, one->name, one->group ? one->name : STR(""), one->group,
                        usec_from_seconds(left), one->reason.p);
    }
}

int targets_load(struct targets *t, struct str json) {
    struct json *doc = json_parse(json);
    const struct json *list = suspended_of(doc);
    double saved_ms = 0; /* absent in files of earlier versions */
    (void)json_num(json_get(doc, "saved_ms"), &saved_ms);
    for (const struct json *it = list ? json_at(list, 0) : NULL; it; it = json_next(it)) {
        struct loaded one;
        if (read_one(it, &one)) {
            restore(t, &one, saved_ms);
        }
    }
    json_free(doc);
    return list ? 0 : -1;
}
