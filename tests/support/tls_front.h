/* SPDX-License-Identifier: MIT */
/*
 * TLS in front of a scripted server, so that what is written for plain text can be run through TLS,
 * too: each connection is passed on to a port of its own, bytes and ends alike. What one side does
 * not take holds back the other.
 */
#ifndef SUPPORT_TLS_FRONT_H
#define SUPPORT_TLS_FRONT_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "certs.h"

#define FRONT_BLOCK 16384
#define FRONT_CONNECTIONS 256 /* in the life of one front */

struct front_keys { /* who it is, and a client that believes it */
    struct cert ca, cert;
    struct tls_server *server;
    struct tls_client *client;
};

struct front {
    struct front_keys *keys;
    int listener, port, target;
    pthread_t thread, relays[FRONT_CONNECTIONS];
    size_t n;
    atomic_int resumed; /* sessions */
    atomic_bool rude;   /* ends connections without ending TLS */
};

/* Bytes on their way in one direction. */
struct front_pipe {
    char data[FRONT_BLOCK];
    size_t at, n;
};

struct front_relay {
    struct tls *tls;
    int outer, inner;
    struct front_pipe in, out; /* towards the server, towards the client */
    bool inner_ended;          /* the server said all: what is left goes out, then it is over */
};

static inline void front_keys_make(struct front_keys *k) {
    k->ca = cert_ca("front");
    k->cert = cert_for(&k->ca, "DNS:localhost,DNS:front.test,IP:127.0.0.1");
    struct tls_identity identity = cert_identity(&k->cert);
    struct tls_client_options options = {.ca = str_of(k->ca.pem), .verify = true};
    k->server = tls_server_new(&identity, 1, NULL);
    k->client = tls_client_new(&options, NULL);
    assert(k->server && k->client);
}

static inline void front_keys_release(struct front_keys *k) {
    tls_server_unref(k->server);
    tls_client_unref(k->client);
    cert_release(&k->cert);
    cert_release(&k->ca);
}

/* False: this side has ended. */
static inline bool front_read_tls(struct front_relay *r) {
    if (r->in.n > 0) {
        return true;
    }
    ssize_t n = tls_read(r->tls, r->in.data, sizeof r->in.data);
    r->in.at = 0;
    r->in.n = n > 0 ? (size_t)n : 0;
    return n > 0 || n == TLS_WANT_READ || n == TLS_WANT_WRITE;
}

static inline bool front_read_inner(struct front_relay *r) {
    if (r->out.n > 0 || r->inner_ended) {
        return true;
    }
    ssize_t n = recv(r->inner, r->out.data, sizeof r->out.data, MSG_DONTWAIT);
    r->out.at = 0;
    r->out.n = n > 0 ? (size_t)n : 0;
    r->inner_ended = n == 0;
    return n >= 0 || errno == EAGAIN;
}

static inline bool front_write(struct front_relay *r) {
    if (r->out.n > 0) {
        ssize_t n = tls_write(r->tls, r->out.data + r->out.at, r->out.n);
        if (n < 0 && n != TLS_WANT_READ && n != TLS_WANT_WRITE) {
            return false;
        }
        r->out.at += n > 0 ? (size_t)n : 0;
        r->out.n -= n > 0 ? (size_t)n : 0;
    }
    if (r->in.n > 0) {
        ssize_t n = send(r->inner, r->in.data + r->in.at, r->in.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) {
            /* The server reads no more, but may have answered. */
            return front_read_inner(r) && r->out.n > 0;
        }
        r->in.at += n > 0 ? (size_t)n : 0;
        r->in.n -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

static inline bool front_shake(struct front_relay *r) {
    int state;
    while ((state = tls_handshake(r->tls)) == TLS_WANT_READ || state == TLS_WANT_WRITE) {
        struct pollfd p = {r->outer, state == TLS_WANT_READ ? POLLIN : POLLOUT, 0};
        poll(&p, 1, -1);
    }
    return state == 0;
}

static inline void front_pass(struct front *f, struct front_relay *r) {
    bool on = front_shake(r);
    f->resumed += on && tls_resumed(r->tls);
    while (on && !(r->inner_ended && r->out.n == 0)) {
        struct pollfd p[2] = {{r->outer, 0, 0}, {r->inner, 0, 0}};
        p[0].events = (short)((r->in.n ? 0 : POLLIN) | (r->out.n ? POLLOUT : 0));
        p[1].events = (short)((r->out.n || r->inner_ended ? 0 : POLLIN) | (r->in.n ? POLLOUT : 0));
        poll(p, 2, tls_pending(r->tls) && r->in.n == 0 ? 0 : -1);
        on = front_read_tls(r) && front_read_inner(r) && front_write(r);
    }
}

struct front_start {
    struct front *front;
    int fd;
};

static inline void *front_relay_main(void *arg) {
    struct front_start *start = arg;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)start->front->target),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct front_relay *r = calloc(1, sizeof *r);
    r->outer = start->fd;
    r->inner = socket(AF_INET, SOCK_STREAM, 0);
    fcntl(r->outer, F_SETFL, O_NONBLOCK);
    r->tls = tls_accept(start->front->keys->server, r->outer);
    if (r->tls && connect(r->inner, (struct sockaddr *)&a, sizeof a) == 0) {
        front_pass(start->front, r);
    }
    if (start->front->rude) {
        shutdown(r->outer, SHUT_WR);
    }
    tls_free(r->tls); /* says that it ends */
    close(r->inner);
    close(r->outer);
    free(r);
    free(start);
    return NULL;
}

static inline void *front_main(void *arg) {
    struct front *f = arg;
    int fd;
    while ((fd = accept(f->listener, NULL, NULL)) >= 0) {
        struct front_start *start = malloc(sizeof *start);
        *start = (struct front_start){f, fd};
        assert(f->n < FRONT_CONNECTIONS);
        if (pthread_create(&f->relays[f->n++], NULL, front_relay_main, start) != 0) {
            abort();
        }
    }
    return NULL;
}

static inline struct front *front_start(struct front_keys *keys, int target) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    struct front *f = calloc(1, sizeof *f);
    f->keys = keys;
    f->target = target;
    f->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(f->listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(f->listener, 16) != 0) {
        abort();
    }
    getsockname(f->listener, (struct sockaddr *)&a, &n);
    f->port = ntohs(a.sin_port);
    if (pthread_create(&f->thread, NULL, front_main, f) != 0) {
        abort();
    }
    return f;
}

/* When the server behind it has ended, so that no relay goes on. NULL is a no-op. */
static inline void front_stop(struct front *f) {
    if (!f) {
        return;
    }
    shutdown(f->listener, SHUT_RDWR);
    pthread_join(f->thread, NULL);
    for (size_t i = 0; i < f->n; i++) {
        pthread_join(f->relays[i], NULL);
    }
    close(f->listener);
    free(f);
}

#endif
