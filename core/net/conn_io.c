/* SPDX-License-Identifier: MIT */
/*
 * The bytes of a connection, plain or through TLS. Speaks as recv and send do, so that the rest of
 * the connection need not know which it is; only the handshake shows.
 */
#include "net/conn_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

static ssize_t as_errno(int error) {
    errno = error;
    return -1;
}

/* What a session says, as the system would say it. */
static ssize_t told(struct conn *c, ssize_t r) {
    if (r >= 0) {
        return r;
    }
    if (r == TLS_WANT_WRITE && event_add(&c->writable, NULL) == 0) {
        c->read_on = true;
        return as_errno(EAGAIN);
    }
    return as_errno(r == TLS_WANT_READ ? EAGAIN : ECONNRESET);
}

ssize_t conn_recv(struct conn *c, void *out, size_t n) {
    if (!c->tls || c->state == CONN_LINGERING) { /* what comes after our end is dropped anyway */
        return recv(c->fd, out, n, MSG_DONTWAIT);
    }
    return told(c, tls_read(c->tls, out, n));
}

ssize_t conn_send(struct conn *c, const void *data, size_t n) {
    if (!c->tls) { /* MSG_NOSIGNAL, since an embedding program may not ignore SIGPIPE */
        return send(c->fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    ssize_t r = tls_write(c->tls, data, n);
    return r > 0 ? r : as_errno(r == TLS_WANT_WRITE || r == TLS_WANT_READ ? EAGAIN : EPIPE);
}

bool conn_input_waits(const struct conn *c) {
    return c->tls && !c->dead && c->state != CONN_LINGERING && tls_pending(c->tls);
}

int conn_say_end(struct conn *c) {
    if (c->tls) {
        tls_close(c->tls);
    }
    return shutdown(c->fd, SHUT_WR);
}

void conn_drop_tls(struct conn *c) {
    if (c->tls && (c->state == CONN_ANSWERING || c->reset)) {
        tls_silence(c->tls); /* the peer must not take this for the end of the answer */
    }
    tls_free(c->tls);
    c->tls = NULL;
}

/* ---- The handshake ---- */

int conn_start_tls(struct conn *c, struct tls_server *server) {
    c->tls = tls_accept(server, c->fd);
    if (!c->tls) {
        return -1;
    }
    c->shaking = true;
    conn_set_timer(c);
    return 0;
}

static void tell(struct conn *c, const char *reason, const char *why) {
    if (c->ops->tls_failed) {
        c->ops->tls_failed(c->ctx, c->peer, reason, why);
    }
}

void conn_shake_late(struct conn *c) {
    tell(c, "timeout", "it was not complete in time");
    conn_shut(c);
}

static void refuse_plain(struct conn *c) {
    tell(c, "plain_http", tls_error(c->tls));
    conn_drop_tls(c);
    c->shaking = false;
    conn_refuse(c, 400, "plain HTTP was sent to a TLS port: expected https://");
}

bool conn_shake(struct conn *c) {
    int r = tls_handshake(c->tls);
    switch (r) {
    case 0:
        c->shaking = false;
        c->phase_since = clock_now();
        c->drain_until = c->phase_since + c->drain_grace; /* the client could not send before */
        return true;
    case TLS_WANT_READ:
        return false;
    case TLS_WANT_WRITE:
        if (event_add(&c->writable, NULL) != 0) {
            conn_shut(c);
        }
        return false;
    case TLS_PLAIN_HTTP:
        refuse_plain(c);
        return false;
    default:
        tell(c, r == TLS_TRUNCATED ? "closed" : "failed", tls_error(c->tls));
        conn_shut(c);
        return false;
    }
}
