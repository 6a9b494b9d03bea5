/* SPDX-License-Identifier: MIT */
/*
 * Connections to providers: opened, lent to one transfer at a time, kept idle for the next. Knows
 * addresses and sockets, but no HTTP. An idle connection is watched: when the other side closes it,
 * or says something nobody asked for, it is gone. One event_base's thread.
 */
#ifndef UPSTREAM_LINK_H
#define UPSTREAM_LINK_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/str.h"

/* Where an http:// URL points, without looking anything up. */
struct origin {
    struct str authority; /* as Host says it: without the default port; a slice of the URL */
    struct str path;      /* from the first '/' on, "/" when there is none */
    const char *prefix;   /* "/" when the URL has a query right behind its host, else "" */
    struct sockaddr_storage address[2]; /* localhost has two */
    size_t n_addresses;
};
/* False: no plain-text URL of a numeric address or localhost, or with bytes that want care. */
bool origin_parse(const char *url, struct origin *o);

struct link;
struct links;

struct link_ops {
    /* The connection stands (error 0), or could not be made. Never from inside links_open. */
    void (*connected)(void *user, int error);
    void (*readable)(void *user);
    void (*writable)(void *user); /* after link_want_write, once */
};

struct links_stats {
    size_t connections; /* open sockets, idle ones included */
    unsigned long opened;
};

/* Keeps at most idle_max idle connections, none older than 60 s. `ops` is borrowed. NULL: memory.
 */
struct links *links_new(struct event_base *base, size_t idle_max, const struct link_ops *ops);
void links_free(struct links *all); /* closes the idle ones; the others must be closed before */
void links_stats(const struct links *all, struct links_stats *out);

/* An idle connection to the same place (the youngest), for `user`. NULL: none. */
struct link *links_take(struct links *all, const struct origin *to, void *user);
/* A new one, which is being made. NULL with errno. */
struct link *links_open(struct links *all, const struct origin *to, void *user);

int link_fd(const struct link *link);
void link_watch(struct link *link, bool reading); /* reads from the beginning; false holds it */
int link_want_write(struct link *link);           /* 0, or -1: memory */
void link_keep(struct link *link);                /* idle from now on; may close it */
void link_close(struct link *link);               /* NULL is a no-op */

#endif
