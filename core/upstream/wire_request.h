/* SPDX-License-Identifier: MIT */
/*
 * A request as it goes over a connection of our own: its text, and what of it is out. Small bodies
 * stand in the text, so that they leave with the head in one write; the pieces of large ones are
 * sent from where they lie. Knows no socket.
 */
#ifndef UPSTREAM_WIRE_REQUEST_H
#define UPSTREAM_WIRE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "upstream/origin.h"
#include "upstream/transport.h"

struct wire_request {
    struct buf text;    /* request head, and the body when it is small */
    struct str *pieces; /* of a large body; their bytes are borrowed */
    size_t n_pieces, cap_pieces;
    size_t text_out;
    size_t piece, piece_out; /* the one to be sent next, and what of it is out */
};

void wire_request_init(struct wire_request *w);
void wire_request_release(struct wire_request *w);
/* Empty, ready for another; small storage is kept. */
void wire_request_clear(struct wire_request *w);

/* Of an empty one: writes the head and takes the body. -1: memory, or the fields are too long. */
int wire_request_write(struct wire_request *w, const struct transfer_request *r,
                       const struct origin *to) __attribute__((warn_unused_result));
/* What is still to be sent, the first `max` parts of it; 0: nothing is. */
int wire_request_rest(const struct wire_request *w, struct iovec *iov, int max);
/* n more bytes of that are out. */
void wire_request_sent(struct wire_request *w, size_t n);

#endif
