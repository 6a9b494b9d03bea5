/* SPDX-License-Identifier: MIT */
/*
 * The body of a provider's answer, from the bytes of a connection: how it is framed (length,
 * chunks, or the connection's end), and its content coding undone. Knows no socket. Malformed
 * chunks are found with the same rules as those of clients (net/http_chunks.c).
 */
#ifndef UPSTREAM_ANSWER_BODY_H
#define UPSTREAM_ANSWER_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "net/http.h"
#include "upstream/answer.h"
#include "upstream/outcome.h"

enum framing { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_TO_CLOSE };

struct answer_body {
    enum framing framing;
    bool complete; /* its last byte is here; decoded bytes may still wait for a user who paused */
    bool surplus;  /* and more that nobody asked for: the connection is not to be used again */
    enum outcome fault; /* of BODY_FAILED */
    const char *detail; /* why; a constant */
    uint64_t left;      /* BODY_LENGTH */
    struct http_chunks chunks;
    struct buf
        payload; /* unchunked bytes of one read; to be decoded ones also wait here in a pause */
    size_t used; /* of the payload */
    struct inflate *inflate; /* NULL: not needed */
};

/* Who gets the decoded bytes. */
struct body_sink {
    bool (*take)(void *ctx, const char *data, size_t n); /* n > 0; false: give no more, ever */
    void *ctx;
    const bool *paused; /* true: what can wait is to wait */
    char *room;         /* for decoding; may be shared, its contents do not last */
    size_t size;
};

enum body_step {
    BODY_MORE,    /* bytes, or a body_resume when the user is paused */
    BODY_WHOLE,   /* all was given */
    BODY_STOPPED, /* the sink wants no more: touch nothing of what may be gone */
    BODY_FAILED   /* see fault and detail */
};

void answer_body_init(struct answer_body *b);
void answer_body_release(struct answer_body *b);
/* Forgets the last answer; small storage is kept. */
void answer_body_clear(struct answer_body *b);

/* Of a cleared one: the head is complete. BODY_MORE, BODY_WHOLE when there is none, BODY_FAILED. */
enum body_step answer_body_begin(struct answer_body *b, const struct answer *head, bool is_head);
enum body_step answer_body_read(struct answer_body *b, struct str in, const struct body_sink *sink);
/* After a pause: gives what waits. */
enum body_step answer_body_resume(struct answer_body *b, const struct body_sink *sink);
/* The connection has ended as it should; BODY_MORE only when the user is paused. */
enum body_step answer_body_end(struct answer_body *b, const struct body_sink *sink);

#endif
