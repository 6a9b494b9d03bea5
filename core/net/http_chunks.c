/* SPDX-License-Identifier: MIT */
/*
 * Decoding a chunked body (RFC 9112 section 7.1), one byte of framing at a time and payload by the
 * run, so that it may be given bytes in any portions. Sizes are plain hex digits; extensions and
 * trailers are checked for form and dropped.
 */
#include "net/http.h"

enum chunk_state {
    CHUNK_SIZE,      /* hex digits */
    CHUNK_SPACE,     /* blank after the size: only ';' may follow */
    CHUNK_EXTENSION, /* after ';', to the end of the line */
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER, /* first byte of a trailer line, or of the last, empty one */
    CHUNK_TRAILER_NAME,
    CHUNK_TRAILER_VALUE,
    CHUNK_TRAILER_LF,
    CHUNK_END_LF,
    CHUNK_DONE,
};

void http_chunks_init(struct http_chunks *c) {
    *c = (struct http_chunks){.state = CHUNK_SIZE};
}

static int bad(struct err *err, const char *text) {
    err_set(err, "chunked body: %s", text);
    return -400;
}

static int size_byte(struct http_chunks *c, char byte, struct err *err) {
    int digit = hex_digit(byte);
    if (digit >= 0) {
        if (++c->digits > MAX_CHUNK_DIGITS) {
            return bad(err, "a chunk size has too many digits");
        }
        c->left = c->left * 16 + (uint64_t)digit;
        return 0;
    }
    if (c->digits == 0) {
        return bad(err, "expected a chunk size in hex digits");
    }
    if (byte == '\r') {
        c->state = CHUNK_SIZE_LF;
    } else if (byte == ';') {
        c->state = CHUNK_EXTENSION;
    } else if (byte == ' ' || byte == '\t') {
        c->state = CHUNK_SPACE;
    } else {
        return bad(err, "a chunk size holds something that is no hex digit");
    }
    return 0;
}

static int size_line_end(struct http_chunks *c, char byte, const struct buf *out, struct err *err) {
    if (byte != '\n') {
        return bad(err, "a chunk size line does not end with CRLF");
    }
    c->state = c->left ? CHUNK_DATA : CHUNK_TRAILER;
    if (c->left <= out->max - out->len) {
        return 0;
    }
    err_set(err, "the body is larger than %zu bytes", out->max);
    return -413;
}

/* A byte of a size line. */
static int line_byte(struct http_chunks *c, char byte, const struct buf *out, struct err *err) {
    if (++c->line > MAX_CHUNK_LINE) {
        return bad(err, "a chunk size line is too long");
    }
    switch (c->state) {
    case CHUNK_SIZE:
        return size_byte(c, byte, err);
    case CHUNK_SPACE:
        if (byte == ';') {
            c->state = CHUNK_EXTENSION;
        } else if (byte != ' ' && byte != '\t') {
            return bad(err, "a chunk size is followed by something that is no extension");
        }
        return 0;
    case CHUNK_EXTENSION:
        if (byte == '\r') {
            c->state = CHUNK_SIZE_LF;
        } else if (!header_value_char((unsigned char)byte)) {
            return bad(err, "a chunk extension holds a control character");
        }
        return 0;
    default:
        return size_line_end(c, byte, out, err);
    }
}

static int data_end_byte(struct http_chunks *c, char byte, struct err *err) {
    if (byte != (c->state == CHUNK_DATA_CR ? '\r' : '\n')) {
        return bad(err, "a chunk's data is not followed by CRLF");
    }
    if (c->state == CHUNK_DATA_CR) {
        c->state = CHUNK_DATA_LF;
        return 0;
    }
    http_chunks_init(c);
    return 0;
}

static int trailer_start(struct http_chunks *c, char byte, struct err *err) {
    if (byte == '\r') {
        c->state = CHUNK_END_LF;
    } else if (header_name_char((unsigned char)byte)) {
        c->state = CHUNK_TRAILER_NAME;
    } else {
        return bad(err, "expected a trailer field or an empty line");
    }
    return 0;
}

/* A byte behind the last chunk. 1 = that was the last. */
static int trailer_byte(struct http_chunks *c, char byte, struct err *err) {
    if (++c->trailers > MAX_TRAILER_BYTES) {
        err_set(err, "chunked body: the trailer fields are too long");
        return -431;
    }
    switch (c->state) {
    case CHUNK_TRAILER:
        return trailer_start(c, byte, err);
    case CHUNK_TRAILER_NAME:
        if (byte == ':') {
            c->state = CHUNK_TRAILER_VALUE;
        } else if (!header_name_char((unsigned char)byte)) {
            return bad(err, "a trailer field has no name followed by ':'");
        }
        return 0;
    case CHUNK_TRAILER_VALUE:
        if (byte == '\r') {
            c->state = CHUNK_TRAILER_LF;
        } else if (!header_value_char((unsigned char)byte)) {
            return bad(err, "a trailer field holds a control character");
        }
        return 0;
    default:
        if (byte != '\n') {
            return bad(err, "a trailer line does not end with CRLF");
        }
        if (c->state == CHUNK_END_LF) {
            c->state = CHUNK_DONE;
            return 1;
        }
        c->state = CHUNK_TRAILER;
        return 0;
    }
}

static int framing_byte(struct http_chunks *c, char byte, const struct buf *out, struct err *err) {
    if (c->state <= CHUNK_SIZE_LF) {
        return line_byte(c, byte, out, err);
    }
    if (c->state <= CHUNK_DATA_LF) {
        return data_end_byte(c, byte, err);
    }
    return trailer_byte(c, byte, err);
}

/* The room in *out was checked when the size was read. */
static int take_data(struct http_chunks *c, const char *data, size_t n, struct buf *out,
                     struct err *err) {
    int r = buf_add(out, data, n);
    if (r != BUF_OK) {
        err_set(err, r == BUF_FULL ? "the body is too large" : "memory is short");
        return r == BUF_FULL ? -413 : -500;
    }
    c->left -= n;
    if (c->left == 0) {
        c->state = CHUNK_DATA_CR;
    }
    return 0;
}

int http_chunks_read(struct http_chunks *c, const char *data, size_t n, size_t *used,
                     struct buf *out, struct err *err) {
    size_t i = 0;
    int r = c->state == CHUNK_DONE ? 1 : 0;
    while (i < n && r == 0) {
        if (c->state == CHUNK_DATA) {
            size_t run = n - i < c->left ? n - i : (size_t)c->left;
            r = take_data(c, data + i, run, out, err);
            i += run;
        } else {
            r = framing_byte(c, data[i++], out, err);
        }
    }
    *used = i;
    return r;
}
