/* SPDX-License-Identifier: MIT */
/*
 * JSON strings and numbers as text: unescape, compare, write. Owns no memory but the caller's
 * buffers. Trusts the scanner for the grammar, but never reads past the slice it was given.
 */
#include "base/jtext.h"

#include <langinfo.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/jscan.h"

#define REPLACEMENT "\xef\xbf\xbd"

static bool continuation(const char *p) {
    return ((unsigned char)*p & 0xc0) == 0x80;
}

size_t utf8_sequence(const char *p, const char *end) {
    unsigned char c = (unsigned char)*p;
    size_t left = (size_t)(end - p);
    if (c < 0x80) {
        return 1;
    }
    if (c < 0xc2 || c > 0xf4 || left < 2 || !continuation(p + 1)) {
        return 0;
    }
    unsigned char second = (unsigned char)p[1];
    if (c < 0xe0) {
        return 2;
    }
    if (left < 3 || !continuation(p + 2)) {
        return 0;
    }
    if (c < 0xf0) { /* neither overlong nor a surrogate */
        return (c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) ? 0 : 3;
    }
    if (left < 4 || !continuation(p + 3)) {
        return 0;
    }
    return (c == 0xf0 && second < 0x90) || (c == 0xf4 && second > 0x8f) ? 0 : 4;
}

/* Bytes at p that are ASCII, eight at a time. */
static size_t ascii_words(const char *p, const char *end) {
    const char *start = p;
    uint64_t word;
    while (end - p >= 8) {
        memcpy(&word, p, 8);
        if (word & UINT64_C(0x8080808080808080)) {
            break;
        }
        p += 8;
    }
    return (size_t)(p - start);
}

static int utf8_add_parts(struct buf *out, struct str s) {
    const char *p = s.p;
    const char *end = s.p + s.n;
    const char *run = p; /* valid bytes not yet copied */
    int rc = BUF_OK;
    while (p < end && rc == BUF_OK) {
        p += ascii_words(p, end);
        size_t n = p < end ? utf8_sequence(p, end) : 0;
        if (p == end) {
            break;
        }
        if (n) {
            p += n;
            continue;
        }
        rc = buf_add(out, run, (size_t)(p - run));
        if (rc == BUF_OK) {
            rc = buf_adds(out, REPLACEMENT);
        }
        run = ++p;
    }
    return rc == BUF_OK ? buf_add(out, run, (size_t)(p - run)) : rc;
}

int utf8_add(struct buf *out, struct str s) {
    size_t before = out->len;
    if (s.n == 0) {
        return BUF_OK;
    }
    int rc = utf8_add_parts(out, s);
    if (rc != BUF_OK) {
        buf_truncate(out, before);
    }
    return rc;
}

static size_t utf8_encode(uint32_t c, char out[4]) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | (c >> 6));
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | (c >> 12));
        out[1] = (char)(0x80 | ((c >> 6) & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | (c >> 18));
    out[1] = (char)(0x80 | ((c >> 12) & 0x3f));
    out[2] = (char)(0x80 | ((c >> 6) & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* The four digits at p, or -1. */
static int32_t hex4(const char *p, const char *end) {
    int32_t value = 0;
    if (end - p < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/* The code point of \uXXXX with *p behind the 'u'; takes the second half of a surrogate pair along.
 */
static uint32_t unescape_u(const char **p, const char *end) {
    int32_t c = hex4(*p, end);
    if (c < 0) {
        *p = end;
        return 0xfffd;
    }
    *p += 4;
    if (c < 0xd800 || c > 0xdfff) {
        return (uint32_t)c;
    }
    if (c <= 0xdbff && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u') {
        int32_t low = hex4(*p + 2, end);
        if (low >= 0xdc00 && low <= 0xdfff) {
            *p += 6;
            return 0x10000 + (((uint32_t)c - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
        }
    }
    return 0xfffd; /* half a pair */
}

/* Decodes the escape at *p, which is the backslash, into out; returns the number of bytes. */
static size_t unescape(const char **p, const char *end, char out[4]) {
    if (end - *p < 2) {
        *p = end;
        return utf8_encode(0xfffd, out);
    }
    char c = (*p)[1];
    *p += 2;
    switch (c) {
    case 'u':
        return utf8_encode(unescape_u(p, end), out);
    case 'b':
        out[0] = '\b';
        return 1;
    case 'f':
        out[0] = '\f';
        return 1;
    case 'n':
        out[0] = '\n';
        return 1;
    case 'r':
        out[0] = '\r';
        return 1;
    case 't':
        out[0] = '\t';
        return 1;
    default: /* quote, backslash, slash stand for themselves */
        out[0] = c;
        return 1;
    }
}

bool jtext_equal(struct str raw, struct str plain) {
    if (raw.n == 0 || !memchr(raw.p, '\\', raw.n)) {
        return str_eq(raw, plain);
    }
    const char *p = raw.p;
    const char *end = raw.p + raw.n;
    size_t at = 0;
    while (p < end) {
        char bytes[4];
        size_t n = 1;
        if (*p == '\\') {
            n = unescape(&p, end, bytes);
        } else {
            bytes[0] = *p++;
        }
        if (n > plain.n - at || memcmp(plain.p + at, bytes, n) != 0) {
            return false;
        }
        at += n;
    }
    return at == plain.n;
}

static struct str inner(struct str text, const struct jvalue *v) {
    return str_make(text.p + v->off + 1, v->len - 2);
}

static int decode(struct str raw, struct buf *out) {
    const char *p = raw.p;
    const char *end = raw.p + raw.n;
    int rc = BUF_OK;
    while (p < end && rc == BUF_OK) {
        char bytes[4];
        const char *stop = memchr(p, '\\', (size_t)(end - p));
        stop = stop ? stop : end;
        rc = utf8_add(out, str_make(p, (size_t)(stop - p)));
        p = stop;
        if (rc == BUF_OK && p < end) {
            size_t n = unescape(&p, end, bytes);
            rc = buf_add(out, bytes, n);
        }
    }
    return rc;
}

int jscan_string(struct str text, const struct jvalue *v, struct buf *out) {
    size_t before = out->len;
    if (v->type != JTYPE_STRING) {
        return -1;
    }
    int rc = decode(inner(text, v), out);
    if (rc != BUF_OK) {
        buf_truncate(out, before);
    }
    return rc;
}

int jscan_unescape(struct str raw, struct buf *out) {
    size_t before = out->len;
    int rc = decode(raw, out);
    if (rc != BUF_OK) {
        buf_truncate(out, before);
    }
    return rc;
}

bool jscan_string_is(struct str text, const struct jvalue *v, const char *cstr) {
    return v->type == JTYPE_STRING && jtext_equal(inner(text, v), str_of(cstr));
}

/* strtod follows the locale of the program around us: give it the decimal point it wants. */
static double local_strtod(const char *number, size_t n) {
    char text[512];
    const char *point = nl_langinfo(RADIXCHAR);
    size_t at = 0;
    for (size_t i = 0; i < n && at + 8 < sizeof(text); i++) {
        if (number[i] == '.') {
            for (const char *p = point; *p && at + 8 < sizeof(text); p++) {
                text[at++] = *p;
            }
        } else {
            text[at++] = number[i];
        }
    }
    text[at] = '\0';
    return strtod(text, NULL);
}

bool jscan_number(struct str text, const struct jvalue *v, double *out) {
    /* No number that anybody means is longer, and cutting digits would change its size. */
    if (v->type != JTYPE_NUMBER || v->len > 400) {
        return false;
    }
    double value = local_strtod(text.p + v->off, v->len);
    if (!isfinite(value)) {
        return false;
    }
    *out = value;
    return true;
}

static int write_escape(struct buf *out, unsigned char c) {
    switch (c) {
    case '"':
        return buf_adds(out, "\\\"");
    case '\\':
        return buf_adds(out, "\\\\");
    case '\b':
        return buf_adds(out, "\\b");
    case '\f':
        return buf_adds(out, "\\f");
    case '\n':
        return buf_adds(out, "\\n");
    case '\r':
        return buf_adds(out, "\\r");
    case '\t':
        return buf_adds(out, "\\t");
    default:
        return buf_addf(out, "\\u%04x", c);
    }
}

static int write_inner(struct buf *out, struct str s) {
    size_t run = 0; /* start of what needs no escape and is not yet written */
    int rc = BUF_OK;
    for (size_t i = 0; i < s.n && rc == BUF_OK; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        rc = utf8_add(out, str_make(s.p + run, i - run));
        if (rc == BUF_OK) {
            rc = write_escape(out, c);
        }
        run = i + 1;
    }
    return rc == BUF_OK && run < s.n ? utf8_add(out, str_make(s.p + run, s.n - run)) : rc;
}

int json_write_inner(struct buf *out, struct str s) {
    size_t before = out->len;
    int rc = write_inner(out, s);
    if (rc != BUF_OK) {
        buf_truncate(out, before);
    }
    return rc;
}

int json_write_string(struct buf *out, struct str s) {
    size_t before = out->len;
    int rc = buf_addc(out, '"');
    if (rc == BUF_OK) {
        rc = write_inner(out, s);
    }
    if (rc == BUF_OK) {
        rc = buf_addc(out, '"');
    }
    if (rc != BUF_OK) {
        buf_truncate(out, before);
    }
    return rc;
}
