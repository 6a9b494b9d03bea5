/* SPDX-License-Identifier: MIT */
/*
 * See resolver.h. A name that is being looked up is `busy` and stays in the table, so a finished
 * lookup finds it by its pointer. Answers that are known already wait for the loop in `ready`.
 */
#include "upstream/resolver.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"

TAILQ_HEAD(wait_list, resolver_wait);

struct known_name {
    TAILQ_ENTRY(known_name) place; /* in resolver->names, last asked for first */
    struct wait_list waiting;
    TAILQ_ENTRY(known_name) to_serve; /* in resolver->ready while `ready` */
    bool busy;                        /* being looked up */
    bool ready;                       /* what is known will be told in the loop's next turn */
    bool serving;                     /* those who wait are being told: must not go */
    bool doubted;                     /* the addresses do not work */
    struct addresses found;           /* n 0: none are known */
    char detail[128];                 /* why not */
    usec looked_at;                   /* when the last look ended */
    usec found_at;                    /* when the addresses were found */
    usec fresh_until;                 /* no other look before; 0: there was none yet */
    char host[MAX_HOST_NAME + 1];
};

TAILQ_HEAD(name_list, known_name);

struct resolver {
    struct lookups *lookups;
    struct event finished, serve;
    struct map *map; /* by host in small letters */
    struct name_list names, ready;
    usec fresh, stale, failed;
};

/* ---- looking up ---- */

/* The families by turns, beginning with the one that the system put first (RFC 8305 section 4), so
 * that one that does not work costs one head start. */
static void add_by_turns(const struct addrinfo *list, struct addresses *found) {
    const struct addrinfo *next[2] = {list, list};
    int family = list->ai_family;
    for (int turn = 0; next[0] || next[1]; turn = !turn) {
        const struct addrinfo *at = next[turn];
        while (at && (at->ai_family == family) != (turn == 0)) {
            at = at->ai_next;
        }
        if (at && at->ai_family == AF_INET) {
            addresses_add(found, AF_INET,
                          &((const struct sockaddr_in *)(const void *)at->ai_addr)->sin_addr);
        } else if (at && at->ai_family == AF_INET6) {
            addresses_add(found, AF_INET6,
                          &((const struct sockaddr_in6 *)(const void *)at->ai_addr)->sin6_addr);
        }
        next[turn] = at ? at->ai_next : NULL;
    }
}

static int system_lookup(void *ctx, const char *host, struct addresses *found, struct err *err) {
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    (void)ctx;
    int code = getaddrinfo(host, NULL, &hints, &list);
    if (code != 0) {
        return err_set(err, "%s", code == EAI_SYSTEM ? strerror(errno) : gai_strerror(code));
    }
    add_by_turns(list, found);
    freeaddrinfo(list);
    return found->n > 0 ? 0 : err_set(err, "the name has no address");
}

/* -1: it cannot be looked up now. */
static int look(struct resolver *r, struct known_name *name) {
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    if (!lookup) {
        return -1;
    }
    lookup->user = name;
    memcpy(lookup->host, name->host, sizeof(lookup->host));
    if (lookups_start(r->lookups, lookup) != 0) {
        free(lookup);
        return -1;
    }
    name->busy = true;
    return 0;
}

/* ---- serving ---- */

/* Tells those who wait now. Each may ask again from inside, for the same name, too. */
static void serve(struct known_name *name) {
    struct resolver_wait *wait;
    size_t n = 0;
    TAILQ_FOREACH(wait, &name->waiting, place) {
        n++;
    }
    name->serving = true;
    for (; n > 0 && (wait = TAILQ_FIRST(&name->waiting)); n--) {
        resolver_forget(wait);
        wait->done(wait->user, name->found.n ? &name->found : NULL, name->detail);
    }
    name->serving = false;
}

static void on_serve(evutil_socket_t fd, short what, void *arg) {
    struct resolver *r = arg;
    struct name_list now = TAILQ_HEAD_INITIALIZER(now);
    struct known_name *name;
    (void)fd;
    (void)what;
    TAILQ_CONCAT(&now, &r->ready, to_serve);
    TAILQ_FOREACH(name, &now, to_serve) {
        name->serving = true; /* stays, until its turn is over */
    }
    while ((name = TAILQ_FIRST(&now))) {
        TAILQ_REMOVE(&now, name, to_serve);
        name->ready = false;
        serve(name);
    }
}

/* A look that fails leaves what was found before, as long as that is not too old. */
static void take_result(struct resolver *r, struct lookup *lookup) {
    struct known_name *name = lookup->user;
    usec now = clock_now();
    name->busy = false;
    if (lookup->result == 0) {
        name->found = lookup->found;
        name->found_at = now;
        name->fresh_until = now + r->fresh;
    } else {
        name->fresh_until = now + r->failed;
        snprintf(name->detail, sizeof(name->detail), "%.*s", (int)sizeof(name->detail) - 1,
                 lookup->err.text);
        if (name->doubted || now >= name->found_at + r->stale) {
            name->found.n = 0;
        }
    }
    name->looked_at = now;
    name->doubted = false;
    free(lookup);
    serve(name);
}

static void on_finished(evutil_socket_t fd, short what, void *arg) {
    struct resolver *r = arg;
    struct lookup *lookup = lookups_finished(r->lookups);
    (void)fd;
    (void)what;
    while (lookup) {
        struct lookup *next = lookup->next;
        take_result(r, lookup);
        lookup = next;
    }
}

/* ---- names ---- */

static void lower(char *out, struct str host) {
    str_copy(out, MAX_HOST_NAME + 1, host);
    for (char *c = out; *c; c++) {
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c);
    }
}

static void drop_name(struct resolver *r, struct known_name *name) {
    if (name->ready) {
        TAILQ_REMOVE(&r->ready, name, to_serve);
    }
    map_remove(r->map, str_of(name->host));
    TAILQ_REMOVE(&r->names, name, place);
    free(name);
}

/* Makes room by forgetting the one that was asked for longest ago. */
static void drop_oldest(struct resolver *r) {
    struct known_name *name;
    TAILQ_FOREACH_REVERSE(name, &r->names, name_list, place) {
        if (!name->busy && !name->serving && TAILQ_EMPTY(&name->waiting)) {
            drop_name(r, name);
            return;
        }
    }
}

static struct known_name *add_name(struct resolver *r, const char *host) {
    if (map_count(r->map) == MAX_KNOWN_NAMES) {
        drop_oldest(r);
    }
    struct known_name *name = calloc(1, sizeof(*name));
    if (!name || map_set(r->map, str_of(host), name) != 0) {
        free(name);
        return NULL;
    }
    TAILQ_INIT(&name->waiting);
    TAILQ_INSERT_HEAD(&r->names, name, place);
    str_copy(name->host, sizeof(name->host), str_of(host));
    return name;
}

static struct known_name *find_name(struct resolver *r, struct str host) {
    char text[MAX_HOST_NAME + 1];
    lower(text, host);
    struct known_name *name = map_get(r->map, str_of(text));
    if (!name) {
        return add_name(r, text);
    }
    TAILQ_REMOVE(&r->names, name, place);
    TAILQ_INSERT_HEAD(&r->names, name, place);
    return name;
}

/* May what is known of it be told now? */
static bool may_tell(const struct resolver *r, const struct known_name *name, usec now) {
    if (now < name->fresh_until) {
        return true;
    }
    return name->found.n > 0 && !name->doubted && now < name->found_at + r->stale;
}

int resolver_ask(struct resolver *r, struct str host, struct resolver_wait *wait) {
    struct known_name *name = find_name(r, host);
    usec now = clock_now();
    if (!name) {
        return -1;
    }
    bool told = may_tell(r, name, now);
    if (!name->busy && now >= name->fresh_until && look(r, name) != 0 && !told) {
        return -1;
    }
    TAILQ_INSERT_TAIL(&name->waiting, wait, place);
    wait->name = name;
    if (told && !name->ready) {
        name->ready = true;
        TAILQ_INSERT_TAIL(&r->ready, name, to_serve);
        event_active(&r->serve, 0, 0);
    }
    return 0;
}

void resolver_forget(struct resolver_wait *wait) {
    if (wait->name) {
        TAILQ_REMOVE(&wait->name->waiting, wait, place);
        wait->name = NULL;
    }
}

void resolver_doubt(struct resolver *r, struct str host) {
    char text[MAX_HOST_NAME + 1];
    lower(text, host);
    struct known_name *name = map_get(r->map, str_of(text));
    usec now = clock_now();
    if (name && name->found.n > 0 && now >= name->looked_at + r->failed) {
        name->doubted = true;
        name->fresh_until = now;
    }
}

/* ---- all of it ---- */

struct resolver *resolver_new(struct event_base *base, const struct resolver_options *options) {
    struct resolver *r = calloc(1, sizeof(*r));
    if (!r) {
        return NULL;
    }
    TAILQ_INIT(&r->names);
    TAILQ_INIT(&r->ready);
    r->fresh = options->fresh ? options->fresh : NAME_FRESH;
    r->stale = options->stale ? options->stale : NAME_STALE;
    r->failed = options->failed ? options->failed : NAME_FAILED;
    r->map = map_new(MAX_KNOWN_NAMES);
    r->lookups = lookups_new(options->lookup ? options->lookup : system_lookup, options->ctx);
    if (!r->map || !r->lookups) {
        map_free(r->map);
        lookups_close(r->lookups);
        free(r);
        return NULL;
    }
    evtimer_assign(&r->serve, base, on_serve, r);
    event_assign(&r->finished, base, lookups_fd(r->lookups), EV_READ | EV_PERSIST, on_finished, r);
    if (event_add(&r->finished, NULL) != 0) {
        resolver_free(r);
        return NULL;
    }
    return r;
}

void resolver_free(struct resolver *r) {
    struct known_name *name;
    if (!r) {
        return;
    }
    event_del(&r->finished);
    event_del(&r->serve);
    lookups_close(r->lookups);
    while ((name = TAILQ_FIRST(&r->names))) {
        drop_name(r, name);
    }
    map_free(r->map);
    free(r);
}
