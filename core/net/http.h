/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.1 framing, strictly RFC 9112: reading request heads and chunked bodies, writing answer
 * heads and chunks. Parsers here own no memory: they are given all bytes read so far and say how
 * many they used, "more", or which status the client deserves (TRAPS 4.1, 4.3).
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/headers.h"

/* Results: > 0 bytes used, HTTP_MORE, or minus the status to answer with (-400, -413, -414, -431,
 * -501, -505; -500 when memory is short). */
enum { HTTP_MORE = 0 };

enum http_body { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED };

struct http_head {
    struct str method; /* slices into the bytes given */
    struct str target; /* origin form; absolute form is reduced to it, its host replacing Host */
    struct str path;   /* target up to '?' */
    struct str query;  /* after '?', without it; empty when none */
    int minor;         /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;
    bool expect_continue;
    enum http_body body;
    uint64_t content_length; /* for HTTP_BODY_LENGTH */
};

/*
 * Reads a request head from data[0..n). The fields go to *headers (cleared first). Leading empty
 * lines (at most 2 CRLF) are skipped. Refused: bare CR or LF, NUL and controls, names that are
 * no tokens, space before the colon, obs-fold, no Host or two (HTTP/1.1), Content-Length that is
 * no plain number or stands twice (same value or not), any Transfer-Encoding but a single
 * "chunked" (501 for others; 400 with HTTP/1.0), both framings, a request target with control
 * bytes, a fragment or dot segments ("/../", "/./", also %2e), versions but 1.0 and 1.1 (505),
 * asterisk form but for OPTIONS, CONNECT and TRACE (501), framing fields spelt with '_'. Limits:
 * MAX_REQUEST_LINE (414), MAX_HEADER_BYTES and MAX_HEADERS (431). Must not rescan quadratically
 * when called again with more bytes: *scanned (0 at first) is kept by the caller between calls
 * on one head. What is refused, and why, does not depend on where the bytes were split; *err
 * (safe to show: it repeats nothing that was sent but field names) says why.
 */
int http_read_head(const char *data, size_t n, size_t *scanned, struct http_head *head,
                   struct headers *headers, struct err *err);

/* A chunked body, decoded in place of nothing: payload is appended to *out. */
struct http_chunks {
    int state;       /* private to http_chunks.c */
    uint64_t left;   /* of the current chunk */
    unsigned digits; /* of the size being read */
    size_t line;     /* bytes of the current size line */
    size_t trailers; /* bytes of all trailer lines */
};

void http_chunks_init(struct http_chunks *c);
/* Uses up to n bytes; *used says how many. 1 = body complete (trailers read and dropped),
 * HTTP_MORE, or minus a status: -400 bad framing, -413 when the chunk announced does not fit into
 * *out any more, -431 when the trailers are too long, -500 when memory is short. */
int http_chunks_read(struct http_chunks *c, const char *data, size_t n, size_t *used,
                     struct buf *out, struct err *err);

const char *http_reason(int status);

/* "HTTP/1.1 200 OK\r\n…\r\n" with the fields given; framing headers are the caller's. -1 when out
 * is full: nothing is added then. */
int http_write_head(struct buf *out, int status, const struct headers *headers)
    __attribute__((warn_unused_result));
/* The same in parts: a status line, then fields, then an empty line (CRLF) by the caller. -1 when
 * out is full. A field that would break the framing (its name no token, its value with controls) is
 * left out, and that is no error. */
int http_write_status(struct buf *out, int status) __attribute__((warn_unused_result));
int http_write_field(struct buf *out, struct str name, struct str value)
    __attribute__((warn_unused_result));

#endif
