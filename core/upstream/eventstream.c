/* SPDX-License-Identifier: MIT */
/*
 * See eventstream.h. A frame is
 *
 *   4  length of all of it          |
 *   4  length of the fields         | the prelude
 *   4  CRC-32 of these 8 bytes      |
 *      fields: name's length (1), name, type (1), value
 *      payload
 *   4  CRC-32 of everything before
 *
 * with all numbers in network byte order.
 */
#include "upstream/eventstream.h"

#include <stdint.h>
#include <zlib.h>

#include "base/jscan.h"
#include "base/limits.h"

enum { PRELUDE = 12, CHECKSUM = 4, FRAME_MIN = PRELUDE + CHECKSUM };

enum field_type { TYPE_BYTES = 6, TYPE_TEXT = 7, TYPE_COUNT = 10 };

/* What a frame says of itself. */
struct frame {
    struct str message_type, event_type, exception_type, error_code, error_message, payload;
};

bool eventstream_is(struct str content_type) {
    struct str rest = content_type, type;
    str_split(&rest, ';', &type);
    return str_case_is(str_trim(type), "application/vnd.amazon.eventstream");
}

void eventstream_init(struct eventstream *e, struct pool *pool) {
    e->fault = NULL;
    buf_init(&e->frame, MAX_EVENT_FRAME);
    if (pool) {
        buf_share(&e->frame, pool, POOL_WORK);
    }
}

void eventstream_release(struct eventstream *e) {
    buf_release(&e->frame);
}

bool eventstream_at_boundary(const struct eventstream *e) {
    return e->frame.len == 0 && !e->fault;
}

static enum eventstream_result bad(struct eventstream *e, const char *why) {
    e->fault = why;
    return EVENTSTREAM_BAD;
}

static uint32_t number(const char *p, size_t n) {
    uint32_t value = 0;
    for (size_t i = 0; i < n; i++) {
        value = value << 8 | (unsigned char)p[i];
    }
    return value;
}

static bool checks(const char *p, size_t n) {
    return crc32(0, (const Bytef *)p, (uInt)n) == number(p + n, CHECKSUM);
}

/* The first n bytes of *rest into *part. */
static bool cut(struct str *rest, size_t n, struct str *part) {
    if (n > rest->n) {
        return false;
    }
    *part = str_make(rest->p, n);
    *rest = str_make(rest->p + n, rest->n - n);
    return true;
}

static bool cut_value(struct str *rest, unsigned type, struct str *value) {
    static const size_t sizes[TYPE_COUNT] = {0, 0, 1, 2, 4, 8, 0, 0, 8, 16};
    struct str length;
    if (type == TYPE_BYTES || type == TYPE_TEXT) {
        return cut(rest, 2, &length) && cut(rest, number(length.p, 2), value);
    }
    return type < TYPE_COUNT && cut(rest, sizes[type], value);
}

/* Where a field of that name is kept; NULL: nobody asks for it. */
static struct str *place(struct frame *f, struct str name) {
    struct {
        const char *name;
        struct str *at;
    } places[] = {{":message-type", &f->message_type},
                  {":event-type", &f->event_type},
                  {":exception-type", &f->exception_type},
                  {":error-code", &f->error_code},
                  {":error-message", &f->error_message}};
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        if (str_is(name, places[i].name)) {
            return places[i].at;
        }
    }
    return NULL;
}

static const char *read_fields(struct frame *f, struct str rest) {
    while (rest.n > 0) {
        struct str length, name, type, value;
        if (!cut(&rest, 1, &length) || !cut(&rest, number(length.p, 1), &name) || name.n == 0 ||
            !cut(&rest, 1, &type) || !cut_value(&rest, number(type.p, 1), &value)) {
            return "a field of a frame is malformed";
        }
        struct str *at = place(f, name);
        if (at && (at->p || number(type.p, 1) != TYPE_TEXT)) {
            return "a field of a frame is there twice, or no text";
        }
        if (at) {
            *at = value;
        }
    }
    return NULL;
}

static bool is_type(struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i], low = (char)(c | 0x20);
        if (!(c >= '0' && c <= '9') && !(low >= 'a' && low <= 'z') && c != '-' && c != '_' &&
            c != '.') {
            return false;
        }
    }
    return s.n > 0 && s.n <= MAX_CODE;
}

static int add_payload(struct buf *out, struct str payload) {
    size_t from = out->len;
    int rc = buf_add_str(out, payload);
    buf_unfold(out, from);
    return rc;
}

static int add_message(struct buf *out, struct str message) {
    char cut_off[MAX_MESSAGE];
    str_copy(cut_off, sizeof(cut_off), message);
    int rc = buf_adds(out, "{\"message\":");
    rc = rc ? rc : json_write_string(out, str_of(cut_off));
    return rc ? rc : buf_addc(out, '}');
}

static int add_event(struct buf *out, struct str type, const struct frame *f) {
    int rc = buf_adds(out, "event: ");
    rc = rc ? rc : buf_add_str(out, type);
    rc = rc ? rc : buf_adds(out, "\ndata: ");
    if (rc == BUF_OK) {
        rc = f->payload.n         ? add_payload(out, f->payload)
             : f->error_message.n ? add_message(out, f->error_message)
                                  : buf_adds(out, "{}");
    }
    return rc ? rc : buf_adds(out, "\n\n");
}

static enum eventstream_result write_event(struct eventstream *e, const struct frame *f,
                                           struct buf *out) {
    struct str type = str_is(f->message_type, "event")       ? f->event_type
                      : str_is(f->message_type, "exception") ? f->exception_type
                      : str_is(f->message_type, "error")     ? f->error_code
                                                             : str_make(NULL, 0);
    if (!is_type(type)) {
        return bad(e, "a frame does not say what it is");
    }
    size_t before = out->len;
    if (add_event(out, type, f) != BUF_OK) {
        buf_truncate(out, before);
        return EVENTSTREAM_NOMEM;
    }
    return EVENTSTREAM_OK;
}

/* A whole frame, whose prelude was checked. */
static enum eventstream_result read_frame(struct eventstream *e, struct str bytes,
                                          struct buf *out) {
    struct frame f = {0};
    size_t fields = number(bytes.p + 4, 4);
    if (!checks(bytes.p, bytes.n - CHECKSUM)) {
        return bad(e, "a frame's checksum is wrong");
    }
    const char *fault = read_fields(&f, str_make(bytes.p + PRELUDE, fields));
    if (fault) {
        return bad(e, fault);
    }
    f.payload = str_make(bytes.p + PRELUDE + fields, bytes.n - FRAME_MIN - fields);
    return write_event(e, &f, out);
}

/* The length of the frame that begins with these bytes, of which there are PRELUDE at least; 0: its
 * prelude is broken. */
static size_t frame_length(struct eventstream *e, const char *p) {
    size_t total = number(p, 4), fields = number(p + 4, 4);
    if (!checks(p, PRELUDE - CHECKSUM)) {
        e->fault = "a frame's first checksum is wrong";
    } else if (total < FRAME_MIN || fields > total - FRAME_MIN) {
        e->fault = "a frame's lengths contradict each other";
    } else if (total > MAX_EVENT_FRAME) {
        e->fault = "a frame is too long";
    } else {
        return total;
    }
    return 0;
}

/* Moves bytes from *rest to the half read frame, until it has `size`. */
static enum eventstream_result fill(struct eventstream *e, struct str *rest, size_t size) {
    size_t n = size > e->frame.len ? size - e->frame.len : 0;
    struct str part = {rest->p, n < rest->n ? n : rest->n};
    if (buf_add_str(&e->frame, part) != BUF_OK) {
        return EVENTSTREAM_NOMEM;
    }
    *rest = str_make(rest->p + part.n, rest->n - part.n);
    return EVENTSTREAM_OK;
}

/* Goes on with the half read frame. */
static enum eventstream_result go_on(struct eventstream *e, struct str *rest, struct buf *out) {
    if (fill(e, rest, PRELUDE) != EVENTSTREAM_OK) {
        return EVENTSTREAM_NOMEM;
    }
    if (e->frame.len < PRELUDE) {
        return EVENTSTREAM_OK;
    }
    size_t length = frame_length(e, e->frame.data);
    if (length == 0) {
        return EVENTSTREAM_BAD;
    }
    if (fill(e, rest, length) != EVENTSTREAM_OK) {
        return EVENTSTREAM_NOMEM;
    }
    if (e->frame.len < length) {
        return EVENTSTREAM_OK;
    }
    enum eventstream_result result = read_frame(e, buf_str(&e->frame), out);
    buf_reuse(&e->frame, TRANSFER_STORAGE_KEPT);
    return result;
}

enum eventstream_result eventstream_feed(struct eventstream *e, struct str bytes, struct buf *out) {
    enum eventstream_result result = e->fault ? EVENTSTREAM_BAD : EVENTSTREAM_OK;
    while (result == EVENTSTREAM_OK && bytes.n > 0) {
        size_t length = 0;
        if (e->frame.len == 0 && bytes.n >= PRELUDE) {
            length = frame_length(e, bytes.p);
            if (length == 0) {
                return EVENTSTREAM_BAD;
            }
        }
        struct str whole;
        result = length && cut(&bytes, length, &whole) ? read_frame(e, whole, out)
                                                       : go_on(e, &bytes, out);
    }
    return result;
}
