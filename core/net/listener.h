/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets. Addresses are "host:port", "[v6]:port", ":port"; port 0 takes a free one.
 * Names are resolved (blocking) at start only.
 */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct event_base;
struct listener;

/* Binds and listens (SO_REUSEPORT when `reuse_port`, so that each worker may have its own),
 * non-blocking, close-on-exec. The fd, or -1. */
int listen_open(const char *address, bool reuse_port, struct err *err);
int listen_port(int fd);                         /* the bound port, or -1 */
int listen_name(int fd, char *out, size_t size); /* "127.0.0.1:8080" */

/* Accepts from fd (taken: closed by listener_free) on base's thread. `accepted` takes the new
 * non-blocking socket. When descriptors run out, accepting pauses for 100 ms and goes on; `paused`
 * counts that. */
typedef void (*listener_accepted)(void *ctx, int fd);
/* NULL: memory (fd is closed). `accepted` may call listener_stop, not listener_free. */
struct listener *listener_new(struct event_base *base, int fd, listener_accepted accepted,
                              void *ctx);
void listener_free(struct listener *l); /* NULL is a no-op */
void listener_stop(struct listener *l); /* closes the socket now; no more connections */
unsigned long listener_pauses(const struct listener *l); /* any thread; NULL gives 0 */

#endif
