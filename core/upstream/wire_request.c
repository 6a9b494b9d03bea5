/* SPDX-License-Identifier: MIT */
#include "upstream/wire_request.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/limits.h"
#include "upstream/outgoing.h"

void wire_request_init(struct wire_request *w) {
    *w = (struct wire_request){0};
    buf_init(&w->text, MAX_HEADER_BYTES * 4 + MAX_JOINED_BODY);
}

void wire_request_release(struct wire_request *w) {
    buf_release(&w->text);
    free(w->pieces);
    w->pieces = NULL;
    w->n_pieces = w->cap_pieces = 0;
}

void wire_request_clear(struct wire_request *w) {
    buf_reuse(&w->text, TRANSFER_STORAGE_KEPT);
    w->n_pieces = w->text_out = w->piece = w->piece_out = 0;
}

static int write_fields(struct buf *out, const struct headers *headers) {
    int bad = 0;
    for (size_t i = 0; i < headers->n; i++) {
        struct header h = headers_at(headers, i);
        if (!outgoing_field_ok(h)) {
            continue;
        }
        bad |= buf_add_str(out, h.name) | buf_addc(out, ':');
        bad |= h.value.n ? buf_addc(out, ' ') | buf_add_str(out, h.value) : 0;
        bad |= buf_add(out, "\r\n", 2);
    }
    return bad;
}

static int write_head(struct buf *out, const struct transfer_request *r, const struct origin *to,
                      size_t body) {
    int bad = buf_reserve(out, 256 + r->headers->text.len + 4 * r->headers->n);
    bad |= buf_add_str(out, r->method) | buf_addc(out, ' ') | buf_adds(out, to->prefix);
    bad |= buf_add_str(out, to->path) | buf_adds(out, " HTTP/1.1\r\nHost: ");
    bad |= buf_add_str(out, to->authority) | buf_adds(out, "\r\nAccept-Encoding: identity\r\n");
    bad |= write_fields(out, r->headers);
    bad |= r->has_body ? buf_addf(out, "Content-Length: %zu\r\n", body) : 0;
    return bad | buf_add(out, "\r\n", 2);
}

static int join_body(struct buf *out, const struct transfer_request *r) {
    int bad = 0;
    for (size_t i = 0; i < r->n_body; i++) {
        bad |= buf_add_str(out, r->body[i]);
    }
    return bad;
}

static int keep_pieces(struct wire_request *w, const struct transfer_request *r) {
    if (r->n_body > w->cap_pieces) {
        struct str *more = realloc(w->pieces, r->n_body * sizeof(*more));
        if (!more) {
            return -1;
        }
        w->pieces = more;
        w->cap_pieces = r->n_body;
    }
    memcpy(w->pieces, r->body, r->n_body * sizeof(*w->pieces));
    w->n_pieces = r->n_body;
    return 0;
}

int wire_request_write(struct wire_request *w, const struct transfer_request *r,
                       const struct origin *to) {
    size_t body = 0;
    for (size_t i = 0; i < r->n_body; i++) {
        body += r->body[i].n;
    }
    if (write_head(&w->text, r, to, body) != 0) {
        return -1;
    }
    return (body <= MAX_JOINED_BODY ? join_body(&w->text, r) : keep_pieces(w, r)) ? -1 : 0;
}

int wire_request_rest(const struct wire_request *w, struct iovec *iov, int max) {
    int n = 0;
    if (w->text_out < w->text.len) {
        iov[n++] = (struct iovec){w->text.data + w->text_out, w->text.len - w->text_out};
    }
    for (size_t i = w->piece; i < w->n_pieces && n < max; i++) {
        size_t skip = i == w->piece ? w->piece_out : 0;
        if (w->pieces[i].n > skip) {
            iov[n++] =
                (struct iovec){(char *)(uintptr_t)w->pieces[i].p + skip, w->pieces[i].n - skip};
        }
    }
    return n;
}

void wire_request_sent(struct wire_request *w, size_t n) {
    size_t text = w->text.len - w->text_out;
    size_t part = n < text ? n : text;
    w->text_out += part;
    n -= part;
    while (n > 0) {
        size_t left = w->pieces[w->piece].n - w->piece_out;
        part = n < left ? n : left;
        w->piece_out += part;
        n -= part;
        if (w->piece_out == w->pieces[w->piece].n) {
            w->piece++;
            w->piece_out = 0;
        }
    }
}
