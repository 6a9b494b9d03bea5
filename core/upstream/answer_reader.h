/* SPDX-License-Identifier: MIT */
/*
 * A whole answer of a provider from the bytes of a connection, in any portions: lines of the head
 * (answer.h), then the body (answer_body.h). Knows no socket.
 */
#ifndef UPSTREAM_ANSWER_READER_H
#define UPSTREAM_ANSWER_READER_H

#include "upstream/answer_body.h"

struct answer_reader {
    struct answer head;
    struct buf line; /* the beginning of a line whose end has not come */
    struct answer_body body;
    bool is_head; /* the request was a HEAD */
};

struct answer_sink {
    /* The final head is complete. False: give no more, ever. */
    bool (*head)(void *ctx, const struct answer *answer);
    struct body_sink body; /* its ctx is head's, too */
};

void answer_reader_init(struct answer_reader *r);
void answer_reader_release(struct answer_reader *r);
/* Ready for the next answer; small storage is kept. */
void answer_reader_clear(struct answer_reader *r, bool is_head);

/* What answer_body.h says of steps is true of all of them; fault and detail are in r->body. */
enum body_step answer_reader_feed(struct answer_reader *r, struct str in,
                                  const struct answer_sink *sink);
/* After a pause. */
enum body_step answer_reader_resume(struct answer_reader *r, const struct answer_sink *sink);
/* The connection has ended after the first byte of the answer: properly, or because of `error`
 * (else NULL; borrowed as r->body.detail). */
enum body_step answer_reader_end(struct answer_reader *r, const char *error,
                                 const struct answer_sink *sink);
/* A byte of the answer has come. */
bool answer_reader_begun(const struct answer_reader *r);
/* As far as the answer says, another one may follow on its connection. It is whole. */
bool answer_reader_may_keep(const struct answer_reader *r);

#endif
