/* SPDX-License-Identifier: MIT */
/*
 * Makes one TCP connection to a host that may have several addresses: the next one is tried when
 * the one before fails, or has not answered within DIAL_HEAD_START, and the first that stands wins
 * (RFC 8305, in its simplest form). Knows sockets and nothing that is said over them.
 */
#ifndef UPSTREAM_DIAL_H
#define UPSTREAM_DIAL_H

#include "upstream/address.h"

struct event_base;
struct dial;

/* The connection stands: `fd` is the callee's, non-blocking, and error is 0. Or none could be made:
 * fd -1, errno of the last try. The dial is gone by then. */
typedef void dial_done(void *user, int fd, int error);

/* `to` is copied and holds at least one. `done` is called once, never from inside. Sets no bound on
 * time: dial_cancel does. NULL: memory. */
struct dial *dial_start(struct event_base *base, const struct addresses *to, unsigned port,
                        dial_done *done, void *user);
void dial_cancel(struct dial *dial); /* `done` will not be called; NULL is a no-op */

#endif
