/* SPDX-License-Identifier: MIT */
/*
 * Slices of bytes that somebody else owns, and small text helpers. A slice may hold NUL and is not
 * terminated.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct str {
    const char *p; /* borrowed; may be NULL when n is 0 */
    size_t n;
};

#define STR(literal) ((struct str){("" literal), sizeof(literal) - 1})

static inline struct str str_of(const char *cstr) {
    return (struct str){cstr, cstr ? strlen(cstr) : 0};
}

static inline struct str str_make(const char *p, size_t n) {
    return (struct str){p, n};
}

bool str_eq(struct str a, struct str b);
bool str_case_eq(struct str a, struct str b); /* ASCII case only, locale never matters */

/* Most texts differ in their first byte from what they are held against. */
static inline bool str_is(struct str a, const char *cstr) {
    return !(a.n && cstr && a.p[0] != cstr[0]) && str_eq(a, str_of(cstr));
}

/* The same in any case: bytes that are equal but for their case differ in 0x20 at most. */
static inline bool str_case_is(struct str a, const char *cstr) {
    if (a.n && cstr && ((a.p[0] ^ cstr[0]) & ~0x20)) {
        return false;
    }
    struct str b = str_of(cstr);
    return a.n == b.n && str_case_eq(a, b);
}

bool str_starts(struct str s, const char *prefix);
bool str_ends(struct str s, const char *suffix);
bool str_has(struct str s, const char *needle);      /* contains, exact */
bool str_case_has(struct str s, const char *needle); /* contains, ignoring ASCII case */
struct str str_trim(struct str s);                   /* without spaces and tabs at both ends */

/* Takes the part before the first `sep` off *rest into *part. False when *rest is used up (p NULL).
 */
bool str_split(struct str *rest, char sep, struct str *part);

/* Copies into a terminated array, cut on a UTF-8 boundary where it is too long. size > 0. */
void str_copy(char *out, size_t size, struct str s);

/* A terminated heap copy, or NULL when memory is short; the caller frees it. */
char *str_dup(struct str s);

/* Glob with `*` (any run) and `?` (one byte); linear in the product of the lengths, never
 * exponential. */
bool str_glob(const char *pattern, struct str s);

/* Decimal digits only, no sign, no space, at most 18 digits. False otherwise. */
bool str_to_u64(struct str s, unsigned long long *out);

/* What a hex digit stands for, in either case; -1: it is none. */
static inline int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char low = (char)(c | 0x20);
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* The byte that the escape "%2F" at s.p[i] stands for; -1: none stands there. */
static inline int percent_byte(struct str s, size_t i) {
    if (i + 2 >= s.n || s.p[i] != '%') {
        return -1;
    }
    int high = hex_digit(s.p[i + 1]), low = hex_digit(s.p[i + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* The member of `names` (NULL-terminated) nearest to `word` by edit distance, or NULL when none is
 * near enough to be meant (distance above a third of the longer, at least 2). */
const char *str_nearest(const char *word, const char *const *names);

#endif
