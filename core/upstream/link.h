/* SPDX-License-Identifier: MIT */
/*
 * Connections to providers: opened (the name looked up, an address reached, TLS agreed on), lent to
 * one transfer at a time, kept idle for the next. Knows no HTTP. An idle connection is watched:
 * when the other side closes it, or says something nobody asked for, it is gone. One event_base's
 * thread.
 */
#ifndef UPSTREAM_LINK_H
#define UPSTREAM_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "upstream/origin.h"
#include "upstream/outcome.h"
#include "upstream/wire.h"

struct event_base;
struct link;
struct links;

struct link_ops {
    /* The connection is ready (OUTCOME_OK), or there is none: dns_error, connect_error or tls_error
     * with the reason, borrowed for the call; it is then to be closed. Never from inside
     * links_open. */
    void (*connected)(void *user, enum outcome outcome, const char *detail);
    void (*readable)(void *user);
    void (*writable)(void *user); /* after a write that the socket did not take whole, once */
};

struct links_stats {
    size_t connections; /* open, idle or being opened */
    unsigned long opened;
};

/* Keeps at most idle_max idle connections, and lends none that was idle for 60 s. `ops` is
 * borrowed. NULL: memory. */
struct links *links_new(struct event_base *base, size_t idle_max, const struct link_ops *ops);
void links_free(struct links *all); /* closes the idle ones; the others must be closed before */
void links_stats(const struct links *all, struct links_stats *out);

/* An idle connection to the same place, spoken to in the same way (the youngest), for `user`. NULL:
 * none. `client`: for TLS, NULL for plain text. */
struct link *links_take(struct links *all, const struct origin *to, struct tls_client *client,
                        void *user);
/* A new one, which is being made. NULL: memory, no descriptor for the resolver, or
 * MAX_KNOWN_NAMES are being looked up. */
struct link *links_open(struct links *all, const struct origin *to, struct tls_client *client,
                        void *user);

/* As wire_read and wire_write say; what the socket does not take is waited for. */
ssize_t link_read(struct link *link, void *out, size_t n) __attribute__((warn_unused_result));
ssize_t link_write(struct link *link, const struct iovec *iov, int n)
    __attribute__((warn_unused_result));
const char *link_error(const struct link *link); /* of WIRE_FAILED */
/* It failed because the other side said so in terms of TLS: it wants a certificate of ours, say,
 * which TLS 1.3 tells only after the handshake. */
bool link_refused(const struct link *link);
/* Bytes wait that `readable` will not tell of. */
bool link_pending(const struct link *link);
/* Reads from the beginning; false holds it. False: it should read and cannot, for want of memory.
 */
bool link_watch(struct link *link, bool reading);
void link_keep(struct link *link);  /* idle from now on; may close it */
void link_close(struct link *link); /* at any moment; NULL is a no-op */

#endif
