/* SPDX-License-Identifier: MIT */
/*
 * The JSON scanner. One pass, no recursion, no memory: containers are remembered as one byte each
 * up to MAX_JSON_DEPTH. Nearly all bytes of a chat request stand inside strings, so that loop takes
 * sixteen at a time. Errors name the byte and what was expected, never the text.
 */
#include "base/jscan.h"

#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/jtext.h"
#include "base/limits.h"

struct scan {
    const char *start, *p, *end;
    struct err *err;
};

static struct scan scan_of(struct str text, struct err *err) {
    const char *p = text.p ? text.p : "";
    return (struct scan){p, p, p + text.n, err};
}

/* Every failure goes through here, so that each names its byte. */
static int bad(const struct scan *s, const char *expected) {
    size_t at = (size_t)(s->p - s->start);
    if (s->p >= s->end) {
        err_set(s->err, "invalid JSON at byte %zu: the text ends, expected %s", at, expected);
    } else {
        err_set(s->err, "invalid JSON at byte %zu: found byte 0x%02x, expected %s", at,
                (unsigned)(unsigned char)*s->p, expected);
    }
    return JSCAN_BAD;
}

static inline void skip_space(struct scan *s) {
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t')) {
        s->p++;
    }
}

static inline bool at(const struct scan *s, char c) {
    return s->p < s->end && *s->p == c;
}

static inline bool plain(char c) {
    return (unsigned char)c >= 0x20 && c != '"' && c != '\\';
}

/* The first byte that ends a run of plain string bytes: a quote, a backslash, a control character,
 * or the end. */
static const char *string_run(const char *p, const char *end) {
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i slash = _mm_set1_epi8('\\');
    const __m128i last_control = _mm_set1_epi8(0x1f);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, last_control), v);
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
        int mask = _mm_movemask_epi8(_mm_or_si128(stop, control));
        if (mask) {
            return p + __builtin_ctz((unsigned)mask);
        }
        p += 16;
    }
#else
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t highs = UINT64_C(0x8080808080808080);
    while (end - p >= 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        uint64_t q = v ^ (ones * '"');
        uint64_t b = v ^ (ones * '\\');
        /* A borrow can mark a byte too many, never one too few: the loop below settles it. */
        uint64_t hit = ((q - ones) & ~q) | ((b - ones) & ~b) | ((v - ones * 0x20) & ~v);
        if (hit & highs) {
            break;
        }
        p += 8;
    }
#endif
    while (p < end && plain(*p)) {
        p++;
    }
    return p;
}

static bool is_hex(char c) {
    char low = (char)(c | 0x20);
    return (c >= '0' && c <= '9') || (low >= 'a' && low <= 'f');
}

/* p stands on the backslash. */
static int scan_escape(struct scan *s) {
    s->p++;
    if (s->p >= s->end || !memchr("\"\\/bfnrtu", *s->p, 9)) {
        return bad(s, "an escape character");
    }
    if (*s->p++ != 'u') {
        return JSCAN_OK;
    }
    for (int i = 0; i < 4; i++, s->p++) {
        if (s->p >= s->end || !is_hex(*s->p)) {
            return bad(s, "a hexadecimal digit");
        }
    }
    return JSCAN_OK;
}

/* p stands on the opening quote; after it, behind the closing one. */
static int scan_string(struct scan *s) {
    s->p++;
    for (;;) {
        s->p = string_run(s->p, s->end);
        if (at(s, '"')) {
            s->p++;
            return JSCAN_OK;
        }
        if (!at(s, '\\')) {
            return bad(s, "a string's closing quote (control characters must be escaped)");
        }
        if (scan_escape(s)) {
            return JSCAN_BAD;
        }
    }
}

static bool digit_here(const struct scan *s) {
    return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

static int scan_digits(struct scan *s) {
    if (!digit_here(s)) {
        return bad(s, "a digit");
    }
    while (digit_here(s)) {
        s->p++;
    }
    return JSCAN_OK;
}

static int scan_number(struct scan *s) {
    if (at(s, '-')) {
        s->p++;
    }
    if (at(s, '0')) {
        s->p++;
        if (digit_here(s)) {
            return bad(s, "no digit after a leading zero");
        }
    } else if (scan_digits(s)) {
        return JSCAN_BAD;
    }
    if (at(s, '.')) {
        s->p++;
        if (scan_digits(s)) {
            return JSCAN_BAD;
        }
    }
    if (at(s, 'e') || at(s, 'E')) {
        s->p++;
        if (at(s, '+') || at(s, '-')) {
            s->p++;
        }
        return scan_digits(s);
    }
    return JSCAN_OK;
}

static int scan_word(struct scan *s, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0) {
        return bad(s, "a value");
    }
    s->p += n;
    return JSCAN_OK;
}

static enum jtype type_here(const struct scan *s) {
    if (s->p >= s->end) {
        return JTYPE_NONE;
    }
    switch (*s->p) {
    case '{':
        return JTYPE_OBJECT;
    case '[':
        return JTYPE_ARRAY;
    case '"':
        return JTYPE_STRING;
    case 't':
        return JTYPE_TRUE;
    case 'f':
        return JTYPE_FALSE;
    case 'n':
        return JTYPE_NULL;
    default:
        return *s->p == '-' || digit_here(s) ? JTYPE_NUMBER : JTYPE_NONE;
    }
}

static int scan_scalar(struct scan *s, enum jtype type) {
    switch (type) {
    case JTYPE_STRING:
        return scan_string(s);
    case JTYPE_NUMBER:
        return scan_number(s);
    case JTYPE_TRUE:
        return scan_word(s, "true");
    case JTYPE_FALSE:
        return scan_word(s, "false");
    case JTYPE_NULL:
        return scan_word(s, "null");
    default:
        return bad(s, "a value");
    }
}

/* A key, its colon and the space around them; p ends on the value. `raw` is what stands between the
 * quotes. */
static int scan_key(struct scan *s, struct str *raw) {
    skip_space(s);
    if (!at(s, '"')) {
        return bad(s, "a key in quotes");
    }
    const char *from = s->p + 1;
    if (scan_string(s)) {
        return JSCAN_BAD;
    }
    *raw = str_make(from, (size_t)(s->p - 1 - from));
    skip_space(s);
    if (!at(s, ':')) {
        return bad(s, "':'");
    }
    s->p++;
    skip_space(s);
    return JSCAN_OK;
}

/* Behind a member: takes the comma, or the closing bracket. 1 = another member follows, 0 = closed.
 */
static int scan_after(struct scan *s, char close) {
    skip_space(s);
    if (at(s, ',')) {
        s->p++;
        skip_space(s);
        return 1;
    }
    if (at(s, close)) {
        s->p++;
        return 0;
    }
    return bad(s, close == '}' ? "',' or '}'" : "',' or ']'");
}

static int too_deep(const struct scan *s) {
    err_set(s->err, "JSON nested deeper than %d levels at byte %zu", MAX_JSON_DEPTH,
            (size_t)(s->p - s->start));
    return JSCAN_DEEP;
}

/* Opens the container at p. 1 = a member follows, 0 = it was empty and is closed again. */
static int scan_open(struct scan *s, char close) {
    s->p++;
    skip_space(s);
    if (at(s, close)) {
        s->p++;
        return 0;
    }
    return 1;
}

/*
 * Passes over the value at p, which stands inside `outer` containers. Each turn of the inner loop
 * leaves one container; the outer loop starts a value. A result of scan_after is 1 for "one more
 * member" and 0 for "closed".
 */
static int scan_value(struct scan *s, struct jvalue *value, size_t outer) {
    char close[MAX_JSON_DEPTH]; /* the bracket that ends each open container */
    size_t depth = 0;
    struct str key;
    skip_space(s);
    value->type = type_here(s);
    value->off = (size_t)(s->p - s->start);
    do {
        enum jtype type = type_here(s);
        bool member = false;
        if (type == JTYPE_OBJECT || type == JTYPE_ARRAY) {
            if (outer + depth >= MAX_JSON_DEPTH) {
                return too_deep(s);
            }
            close[depth] = type == JTYPE_OBJECT ? '}' : ']';
            member = scan_open(s, close[depth]) == 1;
            depth += member ? 1 : 0;
        } else if (scan_scalar(s, type)) {
            return JSCAN_BAD;
        }
        while (!member && depth > 0) {
            int more = scan_after(s, close[depth - 1]);
            if (more < 0) {
                return more;
            }
            member = more == 1;
            depth -= member ? 0 : 1;
        }
        if (depth > 0 && close[depth - 1] == '}' && scan_key(s, &key)) {
            return JSCAN_BAD;
        }
    } while (depth > 0);
    value->len = (size_t)(s->p - s->start) - value->off;
    return JSCAN_OK;
}

static int scan_end(struct scan *s) {
    skip_space(s);
    return s->p == s->end ? JSCAN_OK : bad(s, "nothing after the value");
}

int jscan_check(struct str text, struct err *err) {
    struct scan s = scan_of(text, err);
    struct jvalue whole;
    int rc = scan_value(&s, &whole, 0);
    return rc == JSCAN_OK ? scan_end(&s) : rc;
}

/* Notes the value if its key is one that is looked for. */
static int note_field(struct str key, const struct jvalue *value, struct jfield *fields, size_t n,
                      struct err *err) {
    for (size_t i = 0; i < n; i++) {
        if (!jtext_equal(key, str_of(fields[i].name))) {
            continue;
        }
        if (fields[i].value.type != JTYPE_NONE) {
            err_set(err, "\"%s\" stands twice in the object, the second time at byte %zu",
                    fields[i].name, value->off);
            return JSCAN_DUPLICATE;
        }
        fields[i].value = *value;
    }
    return JSCAN_OK;
}

static int scan_fields(struct scan *s, struct jfield *fields, size_t n) {
    int more = scan_open(s, '}');
    while (more == 1) {
        struct str key;
        struct jvalue value;
        if (scan_key(s, &key)) {
            return JSCAN_BAD;
        }
        int rc = scan_value(s, &value, 1);
        if (rc == JSCAN_OK) {
            rc = note_field(key, &value, fields, n, s->err);
        }
        if (rc != JSCAN_OK) {
            return rc;
        }
        more = scan_after(s, '}');
    }
    return more;
}

int jscan_object(struct str text, struct jfield *fields, size_t n, struct err *err) {
    struct scan s = scan_of(text, err);
    for (size_t i = 0; i < n; i++) {
        fields[i].value = (struct jvalue){JTYPE_NONE, 0, 0};
    }
    skip_space(&s);
    enum jtype type = type_here(&s);
    if (type != JTYPE_OBJECT) {
        bad(&s, "'{': the text must be a JSON object");
        return type == JTYPE_NONE ? JSCAN_BAD : JSCAN_NOT_OBJECT;
    }
    int rc = scan_fields(&s, fields, n);
    return rc == JSCAN_OK ? scan_end(&s) : rc;
}

/* From the container at p to its member called (or numbered) `step`; p ends on that value. 1, 0 or
 * -1. */
static int step_into(struct scan *s, struct str step, size_t outer) {
    bool object = at(s, '{');
    unsigned long long index = 0;
    if (!object && (!at(s, '[') || !str_to_u64(step, &index))) {
        return 0;
    }
    char close = object ? '}' : ']';
    int more = scan_open(s, close);
    for (unsigned long long i = 0; more == 1; i++) {
        struct str key = {NULL, 0};
        struct jvalue skipped;
        if (object && scan_key(s, &key)) {
            return -1;
        }
        if (object ? jtext_equal(key, step) : i == index) {
            return 1;
        }
        if (scan_value(s, &skipped, outer) != JSCAN_OK) {
            return -1;
        }
        more = scan_after(s, close);
    }
    return more;
}

int jscan_find(struct str text, const char *path, struct jvalue *out) {
    struct scan s = scan_of(text, NULL);
    struct str rest = str_of(path);
    struct str step;
    size_t depth = 0;
    *out = (struct jvalue){JTYPE_NONE, 0, 0};
    skip_space(&s);
    while (path[0] != '\0' && str_split(&rest, '.', &step)) {
        if (++depth > MAX_JSON_DEPTH) {
            return 0;
        }
        if (type_here(&s) == JTYPE_NONE) {
            return -1;
        }
        int rc = step_into(&s, step, depth);
        if (rc <= 0) {
            return rc < 0 ? -1 : 0;
        }
    }
    struct jvalue found;
    if (scan_value(&s, &found, depth) != JSCAN_OK) {
        return -1;
    }
    *out = found;
    return 1;
}

int jscan_next(struct str text, const struct jvalue *in, size_t *pos, struct str *key,
               struct jvalue *item) {
    struct scan s = scan_of(str_make(text.p, in->off + in->len), NULL);
    bool object = in->type == JTYPE_OBJECT;
    int more = 0;
    if (!object && in->type != JTYPE_ARRAY) {
        return 0;
    }
    *key = str_make(NULL, 0);
    if (*pos == 0) {
        s.p = s.start + in->off;
        more = scan_open(&s, object ? '}' : ']');
    } else if (*pos >= in->off + in->len) {
        return 0;
    } else {
        s.p = s.start + *pos;
        more = scan_after(&s, object ? '}' : ']');
    }
    if (more == 1 && object && scan_key(&s, key)) {
        return -1;
    }
    if (more == 1 && scan_value(&s, item, 1) != JSCAN_OK) {
        return -1;
    }
    *pos = (size_t)(s.p - s.start);
    return more < 0 ? -1 : more;
}

/* ---- The cursor ---- */

void jcursor_init(struct jcursor *c, struct str text) {
    struct scan s = scan_of(text, NULL);
    skip_space(&s);
    *c = (struct jcursor){s.start, s.p, s.end, 0};
}

static inline struct scan scan_here(const struct jcursor *c) {
    return (struct scan){c->start, c->p, c->end, NULL};
}

enum jtype jcursor_type(const struct jcursor *c) {
    struct scan s = scan_here(c);
    return type_here(&s);
}

int jcursor_enter(struct jcursor *c) {
    struct scan s = scan_here(c);
    if (c->depth >= MAX_JSON_DEPTH) {
        return -1;
    }
    int more = scan_open(&s, *s.p == '{' ? '}' : ']');
    c->depth += more == 1 ? 1 : 0;
    c->p = s.p;
    return more;
}

int jcursor_key(struct jcursor *c, struct str *key) {
    struct scan s = scan_here(c);
    int rc = scan_key(&s, key);
    c->p = s.p;
    return rc;
}

int jcursor_pass(struct jcursor *c, struct str *raw) {
    struct scan s = scan_here(c);
    struct jvalue value;
    int rc = at(&s, '"') ? scan_string(&s) : scan_value(&s, &value, c->depth);
    *raw = str_make(c->p, (size_t)(s.p - c->p));
    c->p = s.p;
    return rc == JSCAN_OK ? 0 : -1;
}

int jcursor_next(struct jcursor *c, enum jtype container) {
    struct scan s = scan_here(c);
    int more = scan_after(&s, container == JTYPE_OBJECT ? '}' : ']');
    c->depth -= more == 0 ? 1 : 0;
    c->p = s.p;
    return more;
}

bool jcursor_at_end(struct jcursor *c) {
    struct scan s = scan_here(c);
    skip_space(&s);
    return s.p == s.end;
}
