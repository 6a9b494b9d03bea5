/* SPDX-License-Identifier: MIT */
#include "upstream/dial.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

/* One address being tried. */
struct knock {
    struct dial *owner;
    int fd; /* -1: failed */
    struct event writable;
};

struct dial {
    struct event_base *base;
    struct addresses to;
    unsigned port;
    dial_done *done;
    void *user;
    struct event timer; /* the head start of the youngest knock; or: all have failed */
    int error;          /* of the last that failed */
    size_t open;        /* knocks that may still succeed */
    size_t begun;       /* addresses tried so far, in knock[0 .. begun) */
    struct knock knock[];
};

static void drop(struct knock *k) {
    event_del(&k->writable);
    if (k->fd >= 0) {
        close(k->fd);
        k->fd = -1;
    }
}

void dial_cancel(struct dial *d) {
    if (!d) {
        return;
    }
    event_del(&d->timer);
    for (size_t i = 0; i < d->begun; i++) {
        drop(&d->knock[i]);
    }
    free(d);
}

static void over(struct dial *d, int fd, int error) {
    dial_done *done = d->done;
    void *user = d->user;
    dial_cancel(d);
    done(user, fd, error);
}

static int new_socket(int family) {
    int on = 1;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    }
    return fd;
}

static void on_writable(evutil_socket_t fd, short what, void *arg);

/* 0, or an errno with no socket. */
static int knock(struct dial *d, struct knock *k, union address to) {
    socklen_t n = to.any.sa_family == AF_INET ? sizeof(to.v4) : sizeof(to.v6);
    *(to.any.sa_family == AF_INET ? &to.v4.sin_port : &to.v6.sin6_port) = htons((uint16_t)d->port);
    k->owner = d;
    k->fd = new_socket(to.any.sa_family);
    event_assign(&k->writable, d->base, k->fd, EV_WRITE, on_writable, k);
    if (k->fd < 0) {
        return errno;
    }
    if (connect(k->fd, &to.any, n) != 0 && errno != EINPROGRESS) {
        return errno;
    }
    return event_add(&k->writable, NULL) == 0 ? 0 : ENOMEM;
}

/* Begins with the next address that does not fail at once. */
static void knock_next(struct dial *d) {
    static const struct timeval head_start = {0, DIAL_HEAD_START};
    int error = -1;
    while (error != 0 && d->begun < d->to.n) {
        struct knock *k = &d->knock[d->begun];
        error = knock(d, k, d->to.at[d->begun++]);
        if (error) {
            d->error = error;
            drop(k);
        }
    }
    d->open += error == 0;
    bool more = d->begun < d->to.n;
    if (more && event_add(&d->timer, &head_start) == 0) {
        return;
    }
    if (more || d->open == 0) { /* without memory for a timer the next has to come at once */
        event_active(&d->timer, 0, 0);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    struct dial *d = arg;
    (void)fd;
    (void)what;
    if (d->begun < d->to.n) {
        knock_next(d);
    } else if (d->open == 0) {
        over(d, -1, d->error);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg) {
    struct knock *k = arg;
    struct dial *d = k->owner;
    int error = 0;
    socklen_t n = sizeof(error);
    (void)what;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0) {
        error = errno;
    }
    if (error == 0) {
        k->fd = -1; /* the callee's from here on */
        over(d, fd, 0);
        return;
    }
    d->error = error;
    d->open--;
    drop(k);
    event_del(&d->timer);
    knock_next(d);
}

struct dial *dial_start(struct event_base *base, const struct addresses *to, unsigned port,
                        dial_done *done, void *user) {
    struct dial *d = calloc(1, sizeof(*d) + to->n * sizeof(d->knock[0]));
    if (d) {
        d->base = base;
        d->to = *to;
        d->port = port;
        d->done = done;
        d->user = user;
        evtimer_assign(&d->timer, base, on_timer, d);
        knock_next(d);
    }
    return d;
}
