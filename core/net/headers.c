/* SPDX-License-Identifier: MIT */
/*
 * Header lists: all names and values stand in one buffer, in order and without gaps, and an array
 * says where. Removing closes the gap, so that a list whose fields are set again and again does not
 * grow.
 */
#include "net/headers.h"

#include <limits.h>
#include <stdlib.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define FIRST_TEXT 383 /* bytes: what a list mostly needs */

void headers_init(struct headers *h, size_t max_fields, size_t max_bytes) {
    *h = (struct headers){.max = max_fields};
    buf_init(&h->text, max_bytes < UINT_MAX ? max_bytes : UINT_MAX);
}

void headers_release(struct headers *h) {
    buf_release(&h->text);
    free(h->refs);
    h->refs = NULL;
    h->n = h->cap = 0;
}

void headers_clear(struct headers *h) {
    buf_clear(&h->text);
    h->n = 0;
}

static int room_for_one(struct headers *h) {
    if (h->n >= h->max) {
        return -1;
    }
    if (h->n < h->cap) {
        return 0;
    }
    size_t cap = h->cap ? h->cap * 2 : 16;
    if (cap > h->max) {
        cap = h->max;
    }
    struct header_ref *refs = realloc(h->refs, cap * sizeof(*refs));
    if (!refs) {
        return -1;
    }
    h->refs = refs;
    h->cap = cap;
    return 0;
}

int headers_add(struct headers *h, struct str name, struct str value) {
    if (room_for_one(h) != 0) {
        return -1;
    }
    size_t at = h->text.len;
    if (at == 0 && buf_reserve(&h->text, FIRST_TEXT < h->text.max ? FIRST_TEXT : h->text.max)) {
        return -1; /* one growth instead of four */
    }
    if (name.n > h->text.max || value.n > h->text.max - name.n) {
        return -1;
    }
    if (buf_add_str(&h->text, name) != BUF_OK || buf_add_str(&h->text, value) != BUF_OK) {
        buf_truncate(&h->text, at);
        return -1;
    }
    h->refs[h->n++] = (struct header_ref){
        .name_off = (unsigned)at,
        .name_len = (unsigned)name.n,
        .value_off = (unsigned)(at + name.n),
        .value_len = (unsigned)value.n,
    };
    return 0;
}

int headers_set(struct headers *h, struct str name, struct str value) {
    for (size_t i = h->n; i-- > 0;) {
        if (str_case_eq(headers_at(h, i).name, name)) {
            headers_remove_at(h, i);
        }
    }
    return headers_add(h, name, value);
}

void headers_remove(struct headers *h, const char *name) {
    for (size_t i = h->n; i-- > 0;) {
        if (str_case_is(headers_at(h, i).name, name)) {
            headers_remove_at(h, i);
        }
    }
}

void headers_remove_at(struct headers *h, size_t i) {
    unsigned at = h->refs[i].name_off;
    unsigned size = h->refs[i].name_len + h->refs[i].value_len;
    memmove(h->text.data + at, h->text.data + at + size, h->text.len - at - size);
    buf_truncate(&h->text, h->text.len - size);
    memmove(h->refs + i, h->refs + i + 1, (h->n - i - 1) * sizeof(*h->refs));
    h->n--;
    for (; i < h->n; i++) {
        h->refs[i].name_off -= size;
        h->refs[i].value_off -= size;
    }
}

struct header headers_at(const struct headers *h, size_t i) {
    const struct header_ref *r = &h->refs[i];
    return (struct header){
        .name = str_make(h->text.data + r->name_off, r->name_len),
        .value = str_make(h->text.data + r->value_off, r->value_len),
    };
}

bool headers_get(const struct headers *h, const char *name, struct str *value) {
    for (size_t i = 0; i < h->n; i++) {
        struct header f = headers_at(h, i);
        if (str_case_is(f.name, name)) {
            *value = f.value;
            return true;
        }
    }
    return false;
}

size_t headers_count(const struct headers *h, const char *name) {
    size_t count = 0;
    for (size_t i = 0; i < h->n; i++) {
        count += str_case_is(headers_at(h, i).name, name);
    }
    return count;
}

static bool list_has(struct str list, const char *token) {
    struct str part;
    while (str_split(&list, ',', &part)) {
        if (str_case_is(str_trim(part), token)) {
            return true;
        }
    }
    return false;
}

bool headers_list_has(const struct headers *h, const char *name, const char *token) {
    for (size_t i = 0; i < h->n; i++) {
        struct header f = headers_at(h, i);
        if (str_case_is(f.name, name) && list_has(f.value, token)) {
            return true;
        }
    }
    return false;
}

/* RFC 9110's token characters. A table: every byte of every name is looked at several times. */
bool header_name_char(unsigned char c) {
    static const bool token[256] = {
        ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['!'] = true,
        ['#'] = true,         ['$'] = true,         ['%'] = true,         ['&'] = true,
        ['\''] = true,        ['*'] = true,         ['+'] = true,         ['-'] = true,
        ['.'] = true,         ['^'] = true,         ['_'] = true,         ['`'] = true,
        ['|'] = true,         ['~'] = true};
    return token[c];
}

bool header_value_char(unsigned char c) {
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

bool header_name_ok(struct str name) {
    for (size_t i = 0; i < name.n; i++) {
        if (!header_name_char((unsigned char)name.p[i])) {
            return false;
        }
    }
    return name.n > 0;
}

/* How many bytes at the beginning are fine; sixteen at a time where that can be done. */
static size_t fine_run(struct str value) {
    size_t i = 0;
#if defined(__SSE2__)
    const __m128i last_control = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t');
    const __m128i delete = _mm_set1_epi8(0x7f);
    for (; value.n - i >= 16; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(value.p + i));
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, last_control), v);
        __m128i bad = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, tab), control),
                                   _mm_cmpeq_epi8(v, delete));
        if (_mm_movemask_epi8(bad)) {
            break;
        }
    }
#endif
    while (i < value.n && header_value_char((unsigned char)value.p[i])) {
        i++;
    }
    return i;
}

bool header_value_ok(struct str value) {
    return fine_run(value) == value.n;
}
