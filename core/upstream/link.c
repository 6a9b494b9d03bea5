/* SPDX-License-Identifier: MIT */
/*
 * One connection goes through phases, and each has one thing pending: RESOLVING its wait for a
 * name, DIALING its dial, SHAKING and READY the events of its socket. link_close ends any of them.
 */
#include "upstream/link.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/count.h"
#include "net/tls.h"
#include "upstream/dial.h"
#include "upstream/resolver.h"

#define IDLE_TIME (60 * USEC_PER_SEC)

enum phase { RESOLVING, DIALING, SHAKING, READY, BROKEN };

/* What a connection may be used for again. */
struct place {
    uint64_t tls; /* tls_client_id; 0: plain text */
    unsigned port;
    size_t host_n;
    char host[MAX_HOST_NAME + 1];
};

struct link {
    struct links *owner;
    TAILQ_ENTRY(link) place; /* in owner->idle while idle */
    struct place to;
    enum phase phase;
    void *user; /* NULL: idle */
    struct tls_client *client;
    struct resolver_wait wait; /* RESOLVING */
    struct dial *dial;         /* DIALING */
    struct wire wire;
    struct event readable, writable;
    bool named; /* its host was looked up */
    bool reading;
    bool retry; /* reading goes on when the socket can be written */
    usec idle_since;
};

TAILQ_HEAD(link_list, link);

struct links {
    struct event_base *base;
    const struct link_ops *ops;
    struct resolver *resolver; /* NULL before the first name */
    struct link_list idle;     /* youngest first */
    size_t n_idle, idle_max;
    atomic_size_t n;
    atomic_ulong opened;
};

/* ---- being made ---- */

static void fail(struct link *link, enum outcome outcome, const char *detail) {
    link->phase = BROKEN;
    link->owner->ops->connected(link->user, outcome, detail);
}

static void ready(struct link *link) {
    if (!link_watch(link, true)) {
        fail(link, OUTCOME_CONNECT_ERROR, "out of memory");
        return;
    }
    link->phase = READY;
    count_add(link->owner->opened, 1);
    link->owner->ops->connected(link->user, OUTCOME_OK, "");
}

static void shake(struct link *link) {
    int r = wire_shake(&link->wire);
    bool waits = true;
    if (r == 0) {
        ready(link);
    } else if (r == WIRE_FAILED) {
        fail(link, OUTCOME_TLS_ERROR, link->wire.error);
    } else if (r == WIRE_AGAIN) {
        waits = link_watch(link, true);
    } else {
        link_watch(link, false);
        waits = event_add(&link->writable, NULL) == 0;
    }
    if (!waits) {
        fail(link, OUTCOME_TLS_ERROR, "out of memory");
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct link *link = arg;
    (void)fd;
    (void)what;
    if (link->phase == SHAKING) {
        shake(link);
    } else if (link->user) {
        link->owner->ops->readable(link->user);
    } else if (!wire_quiet(&link->wire)) {
        link_close(link); /* closed by the other side, or it talks out of turn */
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg) {
    struct link *link = arg;
    (void)fd;
    (void)what;
    if (link->phase == SHAKING) {
        shake(link);
    } else if (link->user) {
        link->owner->ops->writable(link->user);
    }
}

static void on_dialed(void *user, int fd, int error) {
    struct link *link = user;
    struct links *all = link->owner;
    link->dial = NULL;
    if (error) {
        if (link->named) {
            resolver_doubt(all->resolver, str_of(link->to.host));
        }
        fail(link, OUTCOME_CONNECT_ERROR, strerror(error));
        return;
    }
    if (wire_open(&link->wire, fd, link->client, link->to.host) != 0) {
        close(fd);
        fail(link, OUTCOME_CONNECT_ERROR, "out of memory");
        return;
    }
    event_assign(&link->readable, all->base, fd, EV_READ | EV_PERSIST, on_readable, link);
    event_assign(&link->writable, all->base, fd, EV_WRITE, on_writable, link);
    link->phase = SHAKING;
    shake(link);
}

static int dial(struct link *link, const struct addresses *to) {
    link->phase = DIALING;
    link->dial = dial_start(link->owner->base, to, link->to.port, on_dialed, link);
    return link->dial ? 0 : -1;
}

static void on_found(void *user, const struct addresses *found, const char *detail) {
    struct link *link = user;
    if (!found) {
        fail(link, OUTCOME_DNS_ERROR, detail);
    } else if (dial(link, found) != 0) {
        fail(link, OUTCOME_CONNECT_ERROR, "out of memory");
    }
}

static int resolve(struct link *link) {
    static const struct resolver_options usual = {0};
    struct links *all = link->owner;
    if (!all->resolver) {
        all->resolver = resolver_new(all->base, &usual);
    }
    link->named = true;
    link->phase = RESOLVING;
    link->wait.done = on_found;
    link->wait.user = link;
    return all->resolver ? resolver_ask(all->resolver, str_of(link->to.host), &link->wait) : -1;
}

/* ---- in use ---- */

ssize_t link_read(struct link *link, void *out, size_t n) {
    ssize_t r = wire_read(&link->wire, out, n);
    link->retry = r == WIRE_AGAIN_WRITABLE;
    if (r == WIRE_AGAIN_WRITABLE && event_add(&link->writable, NULL) != 0) {
        link->wire.error = "out of memory";
        return WIRE_FAILED;
    }
    return r;
}

ssize_t link_write(struct link *link, const struct iovec *iov, int n) {
    ssize_t r = wire_write(&link->wire, iov, n);
    if (r == WIRE_AGAIN_WRITABLE && event_add(&link->writable, NULL) != 0) {
        link->wire.error = "out of memory";
        return WIRE_FAILED;
    }
    return r;
}

const char *link_error(const struct link *link) {
    return link->wire.error;
}

bool link_refused(const struct link *link) {
    return link->wire.tls && strstr(link->wire.error, " alert ");
}

bool link_pending(const struct link *link) {
    return link->retry || wire_pending(&link->wire);
}

bool link_watch(struct link *link, bool reading) {
    if (reading != link->reading) {
        int r = reading ? event_add(&link->readable, NULL) : event_del(&link->readable);
        link->reading = reading && r == 0;
    }
    return link->reading == reading;
}

static void unlist(struct link *link) {
    TAILQ_REMOVE(&link->owner->idle, link, place);
    link->owner->n_idle--;
}

void link_close(struct link *link) {
    if (!link) {
        return;
    }
    if (!link->user) {
        unlist(link);
    }
    resolver_forget(&link->wait);
    dial_cancel(link->dial);
    if (link->wire.fd >= 0) {
        event_del(&link->readable);
        event_del(&link->writable);
        wire_close(&link->wire);
    }
    tls_client_unref(link->client);
    count_add(link->owner->n, -1);
    free(link);
}

/* ---- all of them ---- */

struct links *links_new(struct event_base *base, size_t idle_max, const struct link_ops *ops) {
    struct links *all = calloc(1, sizeof(*all));
    if (all) {
        all->base = base;
        all->idle_max = idle_max;
        all->ops = ops;
        TAILQ_INIT(&all->idle);
    }
    return all;
}

void links_free(struct links *all) {
    struct link *link;
    while ((link = TAILQ_FIRST(&all->idle))) {
        link_close(link);
    }
    resolver_free(all->resolver);
    free(all);
}

void links_stats(const struct links *all, struct links_stats *out) {
    *out = (struct links_stats){count_get(all->n), count_get(all->opened)};
}

static void drop_old(struct links *all) {
    usec limit = clock_now() - IDLE_TIME;
    struct link *link = TAILQ_LAST(&all->idle, link_list);
    while (link && link->idle_since < limit) {
        link_close(link);
        link = TAILQ_LAST(&all->idle, link_list);
    }
}

static bool same_place(const struct place *a, const struct origin *to, uint64_t tls) {
    return a->tls == tls && a->port == to->port && a->host_n == to->host.n &&
           memcmp(a->host, to->host.p, to->host.n) == 0;
}

struct link *links_take(struct links *all, const struct origin *to, struct tls_client *client,
                        void *user) {
    uint64_t tls = client ? tls_client_id(client) : 0;
    struct link *link, *next;
    drop_old(all);
    for (link = TAILQ_FIRST(&all->idle); link; link = next) {
        next = TAILQ_NEXT(link, place);
        if (!same_place(&link->to, to, tls)) {
            continue;
        }
        if (wire_quiet(&link->wire)) {
            unlist(link);
            link->user = user;
            return link;
        }
        link_close(link);
    }
    return NULL;
}

struct link *links_open(struct links *all, const struct origin *to, struct tls_client *client,
                        void *user) {
    struct link *link = calloc(1, sizeof(*link));
    if (!link) {
        return NULL;
    }
    link->owner = all;
    link->to = (struct place){
        .tls = client ? tls_client_id(client) : 0, .port = to->port, .host_n = to->host.n};
    str_copy(link->to.host, sizeof(link->to.host), to->host);
    link->user = user;
    link->client = client ? tls_client_ref(client) : NULL;
    link->wire.fd = -1;
    count_add(all->n, 1);
    if ((to->numeric.n ? dial(link, &to->numeric) : resolve(link)) != 0) {
        link_close(link);
        return NULL;
    }
    return link;
}

void link_keep(struct link *link) {
    struct links *all = link->owner;
    link->user = NULL;
    link->idle_since = clock_now();
    TAILQ_INSERT_HEAD(&all->idle, link, place);
    all->n_idle++;
    if (!link_watch(link, true)) {
        link_close(link); /* nobody would see it close */
    } else if (all->n_idle > all->idle_max) {
        link_close(TAILQ_LAST(&all->idle, link_list));
    }
}
