/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets. Addresses are "host:port", "[v6]:port", ":port"; port 0 takes a free one.
 * Names are resolved (blocking) at start only.
 *
 * The end of a listening socket. close(2) resets what is still in its queue, and with SO_REUSEPORT
 * nothing moves over to its neighbours; so a socket of our own is drained first: the kernel is told
 * to drop new SYNs (a client asks again after a second, by when the socket is gone or another one
 * answers), what is half open may become whole, and what is whole is accepted. A socket that lives
 * on in another process (a service manager's, or one handed over) is left as it is, with its queue.
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
/* Does nobody listen there? SO_REUSEPORT lets two processes of one user share a port, and each gets
 * some of the connections: wanted when one follows the other, else a mistake. -1 with err. */
int listen_check_free(const char *address, struct err *err) __attribute__((warn_unused_result));
int listen_port(int fd);                         /* the bound port, or -1 */
int listen_name(int fd, char *out, size_t size); /* "127.0.0.1:8080" */

/* For a socket that came from elsewhere (borrowed): makes it non-blocking and close-on-exec. -1
 * with err when it is no listening TCP socket. */
int listen_adopt(int fd, struct err *err);
/* Is it bound at that address? Port 0 stands for any. 1, 0, or -1 with err: the address is
 * malformed or cannot be resolved. */
int listen_matches(int fd, const char *address, struct err *err);
/* May others be bound beside it (SO_REUSEPORT)? */
bool listen_is_shareable(int fd);

/* Accepts from fd (taken: closed by listener_free) on base's thread. `accepted` takes the new
 * non-blocking socket. When descriptors run out, accepting pauses for 100 ms and goes on; `paused`
 * counts that. */
typedef void (*listener_accepted)(void *ctx, int fd);
/* NULL: memory (fd is closed). `accepted` may call listener_stop, not listener_free. */
struct listener *listener_new(struct event_base *base, int fd, listener_accepted accepted,
                              void *ctx);
void listener_free(struct listener *l); /* NULL is a no-op */
void listener_stop(struct listener *l); /* closes the socket now; no more connections */
/* Takes what waits and what is half open, then closes the socket and calls `drained` once, with the
 * listener's ctx: after LISTEN_LINGER, or LISTEN_LINGER_LOCAL on a loopback address. A kept socket
 * is left at once, its queue untouched, and stays open until listener_free. `drained` is not called
 * after listener_stop, and may come from inside this function. */
void listener_drain(struct listener *l, void (*drained)(void *ctx));
/* The socket lives on elsewhere. Any thread, before listener_drain is called. */
void listener_keep(struct listener *l);
bool listener_kept(const struct listener *l);
int listener_fd(const struct listener *l);               /* borrowed; any thread while it accepts */
unsigned long listener_pauses(const struct listener *l); /* any thread */

#endif
