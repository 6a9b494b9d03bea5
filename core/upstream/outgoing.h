/* SPDX-License-Identifier: MIT */
/*
 * A request on its way out: its header lines as text, and its body as a sequence of bytes that is
 * read once from front to back. One allocation per request, whatever its number of fields. Knows no
 * socket and no library; any transport can use it.
 */
#ifndef UPSTREAM_OUTGOING_H
#define UPSTREAM_OUTGOING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "upstream/transport.h"

struct outgoing {
    char *block; /* everything below lies in it */
    char **line; /* terminated, "Name: value" */
    size_t n_lines;
    const char *joined; /* the whole body when it is at most MAX_JOINED_BODY, else NULL */
    size_t body_size;
    const struct str *piece; /* of the body, not yet read to its end; the bytes are borrowed */
    size_t n_pieces, piece_off;
    size_t body_read;
};

/* May the field go out as given? Not if it is the transport's own (Host, framing …) or not valid.
 */
bool outgoing_field_ok(struct header h);

/* Copies what the contract of transfer_request says is copied. Fields that are the transport's, and
 * those that would not be valid, are left out. -1: memory. */
int outgoing_init(struct outgoing *o, const struct transfer_request *request)
    __attribute__((warn_unused_result));
void outgoing_release(struct outgoing *o);

size_t outgoing_read(struct outgoing *o, char *to, size_t room); /* 0: at its end */

#endif
