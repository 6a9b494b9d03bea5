/* SPDX-License-Identifier: MIT */
#include "upstream/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tls.h"

int wire_open(struct wire *w, int fd, struct tls_client *client, const char *host) {
    struct tls *tls = client ? tls_connect(client, fd, host) : NULL;
    if (client && !tls) {
        return -1;
    }
    *w = (struct wire){.fd = fd, .tls = tls, .error = ""};
    return 0;
}

void wire_close(struct wire *w) {
    if (w->fd >= 0) {
        tls_free(w->tls);
        w->tls = NULL;
        close(w->fd);
        w->fd = -1;
    }
}

/* What TLS said, in terms of ours. */
static int tls_result(struct wire *w, ssize_t r) {
    switch (r) {
    case TLS_WANT_READ:
        return WIRE_AGAIN;
    case TLS_WANT_WRITE:
        return WIRE_AGAIN_WRITABLE;
    case TLS_TRUNCATED:
        w->error = "the provider closed the connection without ending TLS";
        return WIRE_FAILED;
    default:
        w->error = tls_error(w->tls);
        return WIRE_FAILED;
    }
}

int wire_shake(struct wire *w) {
    int r = w->tls ? tls_handshake(w->tls) : 0;
    return r == 0 ? 0 : tls_result(w, r);
}

ssize_t wire_read(struct wire *w, void *out, size_t n) {
    if (w->tls) {
        ssize_t r = tls_read(w->tls, out, n);
        return r >= 0 ? r : tls_result(w, r);
    }
    ssize_t r = recv(w->fd, out, n, MSG_DONTWAIT);
    if (r >= 0) {
        return r;
    }
    if (errno == EAGAIN || errno == EINTR) {
        return WIRE_AGAIN;
    }
    w->error = strerror(errno);
    return WIRE_FAILED;
}

static ssize_t write_tls(struct wire *w, const struct iovec *iov, int n) {
    size_t all = 0;
    for (int i = 0; i < n; i++) {
        ssize_t r = tls_write(w->tls, iov[i].iov_base, iov[i].iov_len);
        if (r <= 0) {
            return all ? (ssize_t)all : tls_result(w, r);
        }
        all += (size_t)r;
        if ((size_t)r < iov[i].iov_len) {
            break;
        }
    }
    return (ssize_t)all;
}

ssize_t wire_write(struct wire *w, const struct iovec *iov, int n) {
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};
    ssize_t r;
    if (w->tls) {
        return write_tls(w, iov, n);
    }
    do {
        r = sendmsg(w->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (r < 0 && errno == EINTR);
    if (r > 0) {
        return r;
    }
    if (r < 0 && errno == EAGAIN) {
        return WIRE_AGAIN_WRITABLE;
    }
    w->error = strerror(errno);
    return WIRE_FAILED;
}

bool wire_pending(const struct wire *w) {
    return w->tls && tls_pending(w->tls);
}

bool wire_quiet(struct wire *w) {
    char byte;
    if (w->tls) { /* what comes of TLS itself, session tickets above all, is no answer */
        return tls_read(w->tls, &byte, 1) == TLS_WANT_READ;
    }
    return recv(w->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}
