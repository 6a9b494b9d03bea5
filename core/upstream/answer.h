/* SPDX-License-Identifier: MIT */
/*
 * Reads the head of a provider's answer line by line and judges its framing, so that an answer that
 * frames itself in two ways is refused whatever the transport's library makes of it. Knows no
 * socket and no library; any transport can use it.
 */
#ifndef UPSTREAM_ANSWER_H
#define UPSTREAM_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "net/headers.h"

enum answer_phase { ANSWER_STATUS_LINE, ANSWER_FIELDS, ANSWER_BODY };

struct answer {
    enum answer_phase phase;
    int status;   /* of the head being read */
    int minor;    /* HTTP/1.minor */
    size_t bytes; /* of all heads so far, skipped 1xx ones included: that bounds them too */
    struct headers headers;
    const char *fault; /* why ANSWER_BAD; a constant */
};

enum answer_result { ANSWER_MORE, ANSWER_HEAD, ANSWER_BAD };

void answer_init(struct answer *a);
void answer_release(struct answer *a);
void answer_reset(struct answer *a); /* ready for the next answer; storage is kept */

/* Takes one line with its CRLF (a lone LF is refused, as it is from clients). ANSWER_HEAD: status
 * and headers of the final answer are complete (1xx are skipped). Lines after that are trailers:
 * ignored. */
enum answer_result answer_line(struct answer *a, struct str line);

#endif
