/* SPDX-License-Identifier: MIT */
/*
 * JSON by byte offset: a strict RFC 8259 scanner that finds values where they stand, and splicing
 * that changes a few top-level fields of an object and leaves every other byte as it came. Owns no
 * memory but where a buffer is passed. Depth is bounded by MAX_JSON_DEPTH (no recursion), time is
 * linear.
 */
#ifndef BASE_JSCAN_H
#define BASE_JSCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum jtype {
    JTYPE_NONE,
    JTYPE_NULL,
    JTYPE_TRUE,
    JTYPE_FALSE,
    JTYPE_NUMBER,
    JTYPE_STRING,
    JTYPE_ARRAY,
    JTYPE_OBJECT
};

struct jvalue {
    enum jtype type; /* JTYPE_NONE: not there */
    size_t off, len; /* the value's bytes in the text, quotes included */
};

struct jfield {
    const char *name;    /* in: the top-level key looked for (matched after unescaping) */
    struct jvalue value; /* out */
};

enum jscan_result {
    JSCAN_OK = 0,
    JSCAN_BAD = -1,
    JSCAN_NOT_OBJECT = -2,
    JSCAN_DUPLICATE = -3,
    JSCAN_DEEP = -4
};

/* Checks the whole text (one object, white space around it) and fills the fields. A field given
 * here that stands twice at the top level is JSCAN_DUPLICATE. err says what and at which byte. */
int jscan_object(struct str text, struct jfield *fields, size_t n, struct err *err);

/* Checks that the text is one JSON value of any type. */
int jscan_check(struct str text, struct err *err);

/* Walks to `path`: keys and zero-based indexes joined by dots ("choices.0.message"); "" is the
 * whole. 1 found, 0 not there, -1 no JSON as far as it was read (what follows the value found is
 * not read). The first of duplicate keys counts. */
int jscan_find(struct str text, const char *path, struct jvalue *out);

static inline struct str jvalue_raw(struct str text, const struct jvalue *v) {
    return str_make(text.p + v->off, v->len);
}

/* Decodes a string value to UTF-8 (lone surrogates become U+FFFD). 0, -1 when it is no string,
 * BUF_* of the buffer. */
int jscan_string(struct str text, const struct jvalue *v, struct buf *out)
    __attribute__((warn_unused_result));
/* Decodes what stands between a string's quotes, or a part of it that cuts no escape. Same results.
 */
int jscan_unescape(struct str raw, struct buf *out) __attribute__((warn_unused_result));
bool jscan_number(struct str text, const struct jvalue *v, double *out);
/* True when the value is a string that reads exactly so after unescaping. */
bool jscan_string_is(struct str text, const struct jvalue *v, const char *cstr);

/* Iterates an array or object value. Start with *pos = 0. 1 = an item (key filled for objects: raw
 * bytes between the quotes), 0 end, -1 bad. */
int jscan_next(struct str text, const struct jvalue *in, size_t *pos, struct str *key,
               struct jvalue *item);

/*
 * A walk that reads each byte once: the caller enters the containers that it cares for and passes
 * over all else. The cursor stands on a value, or (after entering or going on in an object) on a
 * key. After a -1 (no JSON, or too deep) the cursor is of no use any more.
 */
struct jcursor {
    const char *start, *p, *end;
    size_t depth;
};

void jcursor_init(struct jcursor *c, struct str text); /* on the text's value, space passed over */
enum jtype jcursor_type(const struct jcursor *c);      /* of the value here, by its first byte */
/* Into the container here: 1 it stands on the first member, 0 it was empty and is behind us. */
int jcursor_enter(struct jcursor *c);
/* Reads the key here; the cursor is then on its value. `key` is raw, between the quotes. */
int jcursor_key(struct jcursor *c, struct str *key);
/* Passes over the value here; *raw is it as written. 0 or -1. */
int jcursor_pass(struct jcursor *c, struct str *raw);
/* Behind a member of a container of that type: 1 another one is here, 0 the container is behind us.
 */
int jcursor_next(struct jcursor *c, enum jtype container);
bool jcursor_at_end(struct jcursor *c); /* nothing but space is left */

/* Writes a JSON string with its quotes; invalid UTF-8 becomes U+FFFD. */
int json_write_string(struct buf *out, struct str s) __attribute__((warn_unused_result));

/* The same without the quotes. */
int json_write_inner(struct buf *out, struct str s) __attribute__((warn_unused_result));

struct jedit {
    struct str name; /* top-level key, plain text */
    struct str raw;  /* its new value as JSON text; n == 0: remove the field */
};

/* The text with the edits made, as pieces: borrowed from `text` where nothing changed, from `owned`
 * where it did. */
struct jpieces {
    struct str *piece; /* owned array */
    size_t n;
    struct buf owned; /* bytes that are new */
};

void jpieces_init(struct jpieces *p);
void jpieces_release(struct jpieces *p);
/* `text` must be an object that jscan_object accepted. A field that is not there is added at the
 * end; later edits of the same name win. Without edits any text is one piece. At most
 * MAX_SET_FIELDS + 2 edits. 0, or -1 (memory). */
int jsplice(struct str text, const struct jedit *edits, size_t n, struct jpieces *out)
    __attribute__((warn_unused_result));

/* The same for one value whose place jscan_object told: no second pass over the text. `raw` is
 * copied. 0, or -1 (memory). */
int jsplice_value(struct str text, const struct jvalue *at, struct str raw, struct jpieces *out)
    __attribute__((warn_unused_result));

#endif
