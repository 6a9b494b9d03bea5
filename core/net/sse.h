/* SPDX-License-Identifier: MIT */
/*
 * Reads an event stream (text/event-stream) event by event and says where each ends in the bytes,
 * so that a relay can pass on the bytes themselves, untouched. Lines end with CR, LF or CRLF; a
 * byte order mark at the start is skipped; comments are counted, not kept.
 */
#ifndef NET_SSE_H
#define NET_SSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

struct sse_event {
    struct str type; /* "event:" field, empty when none */
    struct str data; /* "data:" lines joined by LF; both valid until the next sse_feed, and no
                        longer than `bytes` */
    bool has_data;   /* false: comments or empty fields only */
};

struct sse {
    struct buf data; /* data and type of the event being read, when they span feeds or lines */
    struct buf type;
    struct buf line;    /* an unfinished line */
    size_t event_bytes; /* raw bytes of the event being read, without the LF of a CRLF */
    bool has_data;      /* a data line was read */
    bool any;           /* a field or comment line was read */
    bool after_cr;      /* the last byte was the CR that ended a line: an LF now belongs to it */
    bool started;       /* the first line is behind us: no byte order mark any more */
    bool clean;         /* no field since the last event: comments at most */
    bool reported;      /* the event was handed out: its buffers are cleared by the next call */
};

enum sse_result { SSE_MORE = 0, SSE_EVENT = 1, SSE_TOO_LONG = -1, SSE_NOMEM = -2 };

void sse_init(struct sse *s); /* events of at most MAX_EVENT raw bytes */
void sse_release(struct sse *s);

/* Reads bytes until an event ends or they are used up; *used counts them, the blank line that ends
 * the event included (with the LF of a CRLF when it is among `bytes`; when it only comes with the
 * next call, it is counted there, and ignored). Call again with the rest. Only events with at least
 * one field or comment line are reported. No copy is made when a whole line lies in `bytes`. */
enum sse_result sse_feed(struct sse *s, struct str bytes, size_t *used, struct sse_event *event);

/* True when no event is half read (comments may be): the stream may end here without loss. */
bool sse_at_boundary(const struct sse *s);

#endif
