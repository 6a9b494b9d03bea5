/* SPDX-License-Identifier: MIT */
/*
 * AWS's binary event streams (application/vnd.amazon.eventstream): frames with lengths, checksums
 * and typed fields of their own. Turns them into the text of an event stream (text/event-stream),
 * one event for each frame, so that whoever reads events need not know where they came from.
 * Strict: what is broken once stays broken. Knows no JSON and no provider.
 *
 * The event's type is the frame's :event-type, :exception-type or :error-code; its data is the
 * payload, CR and LF in it made spaces (in JSON they mean the same outside of texts, and may not
 * stand within). An empty payload becomes {}; that of an error {"message":":error-message"}.
 */
#ifndef UPSTREAM_EVENTSTREAM_H
#define UPSTREAM_EVENTSTREAM_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

struct eventstream {
    struct buf frame;  /* the beginning of a frame whose end has not come */
    const char *fault; /* why it is broken; a constant, NULL while it is not */
};

enum eventstream_result {
    EVENTSTREAM_OK,
    EVENTSTREAM_BAD,  /* see fault; the text of all whole frames before stands in `out` */
    EVENTSTREAM_NOMEM /* what was read is lost: give it no more */
};

/* Is this value of Content-Type AWS's? */
bool eventstream_is(struct str content_type);

/* The pool, borrowed, counts a half read frame; NULL: nobody does. */
void eventstream_init(struct eventstream *e, struct pool *pool);
void eventstream_release(struct eventstream *e);

/* Adds the text of each frame that ends in `bytes` to out. Their text is no longer than the frames
 * are, but for a few KiB of an error without payload. Frames of at most MAX_EVENT_FRAME bytes.
 * Copies nothing but the text when whole frames lie in `bytes`. */
enum eventstream_result eventstream_feed(struct eventstream *e, struct str bytes, struct buf *out)
    __attribute__((warn_unused_result));

/* True when no frame is half read, or broken: the stream may end here without loss. */
bool eventstream_at_boundary(const struct eventstream *e);

#endif
