/* SPDX-License-Identifier: MIT */
/*
 * Changing top-level fields of a JSON object without touching the rest: the result is a list of
 * pieces, borrowed from the original where nothing changed. The text must have been accepted by
 * jscan_object. New bytes are written into one buffer whose size is known beforehand, so that
 * pieces pointing into it stay where they are.
 */
#include <stdlib.h>
#include <string.h>

#include "base/jscan.h"
#include "base/jtext.h"
#include "base/limits.h"

enum { MAX_EDITS = MAX_SET_FIELDS + 2, FIRST_PIECES = 8 };

enum edit_state { EDIT_PENDING, EDIT_DONE, EDIT_SUPERSEDED };

struct splice {
    struct str text;
    const struct jedit *edits;
    size_t n_edits;
    enum edit_state state[MAX_EDITS];
    struct jpieces *out;
    size_t last_end; /* end of the field before the current one, kept or not; 0 before the first */
    size_t kept;     /* fields written so far */
};

void jpieces_init(struct jpieces *p) {
    p->piece = NULL;
    p->n = 0;
    buf_init(&p->owned, MAX_SPLICE_BYTES);
}

void jpieces_release(struct jpieces *p) {
    free(p->piece);
    buf_release(&p->owned);
    jpieces_init(p);
}

/* Capacity is 8, 16, 32 …: full when n has reached one of these. */
static int make_room(struct jpieces *p) {
    size_t cap = 0;
    if (!p->piece) {
        cap = FIRST_PIECES;
    } else if (p->n >= FIRST_PIECES && (p->n & (p->n - 1)) == 0) {
        cap = p->n * 2;
    } else {
        return 0;
    }
    if (cap > MAX_SPLICE_PIECES) {
        return -1;
    }
    struct str *piece = realloc(p->piece, cap * sizeof(*piece));
    if (!piece) {
        return -1;
    }
    p->piece = piece;
    return 0;
}

/* Pieces that follow each other in memory become one. */
static int add_piece(struct jpieces *p, const char *from, size_t n) {
    if (n == 0) {
        return 0;
    }
    if (p->n > 0 && p->piece[p->n - 1].p + p->piece[p->n - 1].n == from) {
        p->piece[p->n - 1].n += n;
        return 0;
    }
    if (make_room(p)) {
        return -1;
    }
    p->piece[p->n++] = str_make(from, n);
    return 0;
}

static int add_text(struct splice *s, size_t from, size_t to) {
    return add_piece(s->out, s->text.p + from, to - from);
}

/* The bytes written into the owned buffer since `from`. */
static int add_owned(struct splice *s, size_t from) {
    return add_piece(s->out, s->out->owned.data + from, s->out->owned.len - from);
}

/* Room for all that is new, at once. An escaped byte takes six at most; quotes, colon and comma
 * come on top. */
static int reserve(struct splice *s) {
    size_t need = 0;
    for (size_t i = 0; i < s->n_edits; i++) {
        need += s->edits[i].name.n * 6 + s->edits[i].raw.n + 4;
    }
    return buf_reserve(&s->out->owned, need) == BUF_OK ? 0 : -1;
}

static void mark_superseded(struct splice *s) {
    for (size_t i = 0; i < s->n_edits; i++) {
        for (size_t j = i + 1; j < s->n_edits; j++) {
            if (str_eq(s->edits[i].name, s->edits[j].name)) {
                s->state[i] = EDIT_SUPERSEDED;
                break;
            }
        }
    }
}

/* The index of the edit that counts for this key, or n_edits. */
static size_t find_edit(const struct splice *s, struct str key) {
    size_t i = 0;
    while (i < s->n_edits &&
           (s->state[i] == EDIT_SUPERSEDED || !jtext_equal(key, s->edits[i].name))) {
        i++;
    }
    return i;
}

/*
 * One field that stands in the text. It brings along the separator before it, unless it is the
 * first one kept: so a removed field takes exactly one comma with it, wherever it stood. A second
 * field of an edited name goes, or a reader that takes the last of two would see the old value.
 */
static int splice_field(struct splice *s, struct str key, const struct jvalue *value) {
    size_t key_start = (size_t)(key.p - 1 - s->text.p);
    size_t before = s->kept > 0 ? s->last_end : key_start;
    size_t end = value->off + value->len;
    size_t i = find_edit(s, key);
    bool first = i < s->n_edits && s->state[i] == EDIT_PENDING;
    s->last_end = end;
    if (i == s->n_edits) {
        s->kept++;
        return add_text(s, before, end);
    }
    s->state[i] = EDIT_DONE;
    if (s->edits[i].raw.n == 0 || !first) {
        return 0;
    }
    s->kept++;
    size_t mark = s->out->owned.len;
    if (add_text(s, before, value->off) || buf_add_str(&s->out->owned, s->edits[i].raw) != BUF_OK) {
        return -1;
    }
    return add_owned(s, mark);
}

/* The edits whose field was not there. */
static int add_new_fields(struct splice *s) {
    struct buf *owned = &s->out->owned;
    size_t mark = owned->len;
    for (size_t i = 0; i < s->n_edits; i++) {
        if (s->state[i] != EDIT_PENDING || s->edits[i].raw.n == 0) {
            continue;
        }
        if ((s->kept++ > 0 && buf_addc(owned, ',') != BUF_OK) ||
            json_write_string(owned, s->edits[i].name) != BUF_OK ||
            buf_addc(owned, ':') != BUF_OK || buf_add_str(owned, s->edits[i].raw) != BUF_OK) {
            return -1;
        }
    }
    return add_owned(s, mark);
}

static int splice_all(struct splice *s, const struct jvalue *whole) {
    size_t pos = 0;
    struct str key;
    struct jvalue value;
    int more = 0;
    bool opened = false;
    while ((more = jscan_next(s->text, whole, &pos, &key, &value)) == 1) {
        if (!opened && add_text(s, 0, (size_t)(key.p - 1 - s->text.p))) {
            return -1;
        }
        opened = true;
        if (splice_field(s, key, &value)) {
            return -1;
        }
    }
    if (more < 0) {
        return -1;
    }
    if (!opened) { /* an empty object */
        s->last_end = whole->off + 1;
        if (add_text(s, 0, s->last_end)) {
            return -1;
        }
    }
    return add_new_fields(s) || add_text(s, s->last_end, s->text.n) ? -1 : 0;
}

int jsplice(struct str text, const struct jedit *edits, size_t n, struct jpieces *out) {
    struct splice s = {.text = text, .edits = edits, .n_edits = n, .out = out};
    size_t start = 0;
    jpieces_release(out);
    if (n == 0) {
        return add_piece(out, text.p, text.n);
    }
    while (start < text.n && text.p[start] != '{') {
        start++;
    }
    struct jvalue whole = {JTYPE_OBJECT, start, text.n - start};
    if (n > MAX_EDITS || start == text.n || reserve(&s)) {
        return -1;
    }
    mark_superseded(&s);
    if (splice_all(&s, &whole)) {
        jpieces_release(out);
        return -1;
    }
    return 0;
}

int jsplice_value(struct str text, const struct jvalue *at, struct str raw, struct jpieces *out) {
    size_t end = at->off + at->len;
    jpieces_release(out);
    if (buf_add_str(&out->owned, raw) != BUF_OK || add_piece(out, text.p, at->off) ||
        add_piece(out, out->owned.data, out->owned.len) ||
        add_piece(out, text.p + end, text.n - end)) {
        jpieces_release(out);
        return -1;
    }
    return 0;
}
