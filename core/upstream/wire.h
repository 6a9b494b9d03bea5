/* SPDX-License-Identifier: MIT */
/*
 * Bytes over one connected socket, in plain text or through TLS, without waiting. Knows no events:
 * the caller watches the socket.
 */
#ifndef UPSTREAM_WIRE_H
#define UPSTREAM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct tls;
struct tls_client;

enum { WIRE_AGAIN = -1, WIRE_AGAIN_WRITABLE = -2, WIRE_FAILED = -3 };

struct wire {
    int fd;            /* -1: closed */
    struct tls *tls;   /* NULL: plain text */
    const char *error; /* of WIRE_FAILED; borrowed until wire_close */
};

/* Takes fd. With `client` TLS comes first: wire_shake until it is done. -1: memory; fd stays the
 * caller's. */
int wire_open(struct wire *w, int fd, struct tls_client *client, const char *host)
    __attribute__((warn_unused_result));
void wire_close(struct wire *w); /* a closed one: no-op */

/* 0: done; WIRE_AGAIN: when the socket can be read; WIRE_AGAIN_WRITABLE; WIRE_FAILED. */
int wire_shake(struct wire *w) __attribute__((warn_unused_result));
/* > 0; 0: the peer has ended it properly; or as above. TLS that ends without saying so has failed.
 */
ssize_t wire_read(struct wire *w, void *out, size_t n) __attribute__((warn_unused_result));
/* > 0: so many bytes are taken, perhaps not all; or as above, WIRE_AGAIN apart. After
 * WIRE_AGAIN_WRITABLE the same bytes come first again. */
ssize_t wire_write(struct wire *w, const struct iovec *iov, int n)
    __attribute__((warn_unused_result));
/* Bytes wait that no event of the socket will tell of. */
bool wire_pending(const struct wire *w);
/* Nothing has come that was not asked for: neither bytes nor an end. */
bool wire_quiet(struct wire *w);

#endif
