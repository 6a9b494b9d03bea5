/* SPDX-License-Identifier: MIT */
/*
 * Event stream scanning (WHATWG HTML, section 9.2). Lines are looked at where they lie; only what
 * spans two calls, and data of several lines, is copied. The bytes themselves are the caller's to
 * pass on: nothing here alters, drops or invents any.
 */
#include "net/sse.h"

#include "base/limits.h"

/* The fields of the event being read, as far as they lie in the bytes of this call. They move to
 * the buffers of struct sse when the event goes on beyond them. */
struct pending {
    struct str data, type;
    bool data_here, type_here;
};

void sse_init(struct sse *s) {
    *s = (struct sse){.clean = true};
    buf_init(&s->data, MAX_EVENT);
    buf_init(&s->type, MAX_EVENT);
    buf_init(&s->line, MAX_EVENT);
}

void sse_release(struct sse *s) {
    buf_release(&s->data);
    buf_release(&s->type);
    buf_release(&s->line);
}

bool sse_at_boundary(const struct sse *s) {
    return s->clean && s->line.len == 0;
}

/* The first CR or LF. In windows, so that a stream without any LF is not searched to its end once a
 * line. */
static const char *find_eol(const char *p, size_t n) {
    enum { WINDOW = 256 };
    while (n > 0) {
        size_t w = n < WINDOW ? n : WINDOW;
        const char *lf = memchr(p, '\n', w);
        const char *cr = memchr(p, '\r', lf ? (size_t)(lf - p) : w);
        if (cr || lf) {
            return cr ? cr : lf;
        }
        p += w;
        n -= w;
    }
    return NULL;
}

static enum sse_result spill_result(int buf_result) {
    if (buf_result == BUF_OK) {
        return SSE_MORE;
    }
    return buf_result == BUF_FULL ? SSE_TOO_LONG : SSE_NOMEM;
}

static int spill_data(struct sse *s, struct pending *p) {
    if (!p->data_here) {
        return BUF_OK;
    }
    p->data_here = false;
    return buf_add_str(&s->data, p->data);
}

static int spill_type(struct sse *s, struct pending *p) {
    if (!p->type_here) {
        return BUF_OK;
    }
    p->type_here = false;
    buf_clear(&s->type);
    return buf_add_str(&s->type, p->type);
}

static int add_data(struct sse *s, struct pending *p, struct str value, bool stays) {
    if (!s->has_data && stays) {
        p->data = value;
        p->data_here = true;
        return BUF_OK;
    }
    int r = spill_data(s, p);
    if (r == BUF_OK && s->has_data) {
        r = buf_addc(&s->data, '\n');
    }
    return r == BUF_OK ? buf_add_str(&s->data, value) : r;
}

static int set_type(struct sse *s, struct pending *p, struct str value, bool stays) {
    p->type = value;
    p->type_here = true;
    return stays ? BUF_OK : spill_type(s, p);
}

/* One line with something in it. `stays`: it lies in the caller's bytes. */
static enum sse_result take_line(struct sse *s, struct pending *p, struct str line, bool stays) {
    if (line.p[0] == ':') {
        return SSE_MORE;
    }
    s->clean = false;
    const char *colon = memchr(line.p, ':', line.n);
    struct str name = str_make(line.p, colon ? (size_t)(colon - line.p) : line.n);
    struct str value = str_make(line.p + line.n, 0);
    if (colon) {
        value = str_make(colon + 1, line.n - name.n - 1);
    }
    if (value.n > 0 && value.p[0] == ' ') {
        value = str_make(value.p + 1, value.n - 1);
    }
    if (str_is(name, "data")) {
        int r = add_data(s, p, value, stays);
        s->has_data = true;
        return spill_result(r);
    }
    if (str_is(name, "event")) {
        return spill_result(set_type(s, p, value, stays));
    }
    return SSE_MORE;
}

static void begin_event(struct sse *s) {
    buf_clear(&s->data);
    buf_clear(&s->type);
    s->event_bytes = 0;
    s->has_data = false;
    s->any = false;
    s->clean = true;
    s->reported = false;
}

static enum sse_result end_event(struct sse *s, const struct pending *p, struct sse_event *event) {
    if (!s->any) {
        begin_event(s);
        return SSE_MORE;
    }
    event->data = p->data_here ? p->data : buf_str(&s->data);
    event->type = p->type_here ? p->type : buf_str(&s->type);
    event->has_data = s->has_data;
    s->clean = true;
    s->reported = true;
    return SSE_EVENT;
}

/* A whole line, its end taken off: joined with what came before it, then a field, or the end of an
 * event. */
static enum sse_result whole_line(struct sse *s, struct pending *p, struct str line,
                                  struct sse_event *event) {
    bool stays = s->line.len == 0;
    if (!stays) {
        int r = buf_add_str(&s->line, line);
        if (r != BUF_OK) {
            return spill_result(r);
        }
        line = buf_str(&s->line);
    }
    if (!s->started && str_starts(line, "\xef\xbb\xbf")) {
        line = str_make(line.p + 3, line.n - 3);
    }
    s->started = true;
    if (s->event_bytes > MAX_EVENT) {
        return SSE_TOO_LONG;
    }
    enum sse_result r;
    if (line.n == 0) {
        r = end_event(s, p, event);
    } else {
        s->any = true;
        r = take_line(s, p, line, stays);
    }
    buf_clear(&s->line);
    return r;
}

/* The bytes are used up in the middle of an event: what they hold of it is kept. */
static enum sse_result keep_rest(struct sse *s, struct pending *p, struct str rest) {
    s->event_bytes += rest.n;
    if (s->event_bytes > MAX_EVENT) {
        return SSE_TOO_LONG;
    }
    int r = buf_add_str(&s->line, rest);
    if (r == BUF_OK) {
        r = spill_data(s, p);
    }
    if (r == BUF_OK) {
        r = spill_type(s, p);
    }
    return spill_result(r);
}

enum sse_result sse_feed(struct sse *s, struct str bytes, size_t *used, struct sse_event *event) {
    struct pending p = {0};
    size_t pos = 0;
    enum sse_result r = SSE_MORE;
    if (s->reported) {
        begin_event(s);
    }
    if (s->after_cr && bytes.n > 0) {
        pos = bytes.p[0] == '\n';
        s->after_cr = false;
    }
    while (pos < bytes.n && r == SSE_MORE) {
        const char *start = bytes.p + pos;
        const char *eol = find_eol(start, bytes.n - pos);
        if (!eol) {
            r = keep_rest(s, &p, str_make(start, bytes.n - pos));
            *used = bytes.n;
            return r;
        }
        s->event_bytes += (size_t)(eol - start) + 1;
        pos = (size_t)(eol - bytes.p) + 1;
        r = whole_line(s, &p, str_make(start, (size_t)(eol - start)), event);
        if (*eol == '\r') {
            s->after_cr = pos == bytes.n;
            pos += pos < bytes.n && bytes.p[pos] == '\n';
        }
    }
    *used = pos;
    return r == SSE_MORE ? keep_rest(s, &p, str_make(NULL, 0)) : r;
}
