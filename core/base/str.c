/* SPDX-License-Identifier: MIT */
/*
 * Comparing, cutting and matching of slices. Knows ASCII only: the locale of the program that
 * embeds us never changes a result. Allocates in str_dup alone.
 */
#include "base/str.h"

#include <stdlib.h>

/* Configuration keys are short; longer words are never compared by edit distance. */
enum { NEAREST_MAX = 63 };

static inline unsigned char lower(char c) {
    unsigned char u = (unsigned char)c;
    return (unsigned char)(u >= 'A' && u <= 'Z' ? u + ('a' - 'A') : u);
}

static bool case_same(const char *a, const char *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i] && lower(a[i]) != lower(b[i])) {
            return false;
        }
    }
    return true;
}

bool str_eq(struct str a, struct str b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_case_eq(struct str a, struct str b) {
    return a.n == b.n && case_same(a.p, b.p, a.n);
}

bool str_starts(struct str s, const char *prefix) {
    size_t n = strlen(prefix);
    return n <= s.n && (n == 0 || memcmp(s.p, prefix, n) == 0);
}

bool str_ends(struct str s, const char *suffix) {
    size_t n = strlen(suffix);
    return n <= s.n && (n == 0 || memcmp(s.p + s.n - n, suffix, n) == 0);
}

bool str_has(struct str s, const char *needle) {
    size_t n = strlen(needle);
    return n == 0 || (n <= s.n && memmem(s.p, s.n, needle, n) != NULL);
}

bool str_case_has(struct str s, const char *needle) {
    size_t n = strlen(needle);
    for (size_t i = 0; i + n <= s.n; i++) {
        if (case_same(s.p + i, needle, n)) {
            return true;
        }
    }
    return n == 0;
}

static bool blank(char c) {
    return c == ' ' || c == '\t';
}

struct str str_trim(struct str s) {
    while (s.n > 0 && blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && blank(s.p[s.n - 1])) {
        s.n--;
    }
    return s;
}

bool str_split(struct str *rest, char sep, struct str *part) {
    if (!rest->p) {
        return false;
    }
    const char *at = rest->n ? memchr(rest->p, sep, rest->n) : NULL;
    if (!at) {
        *part = *rest;
        *rest = str_make(NULL, 0);
        return true;
    }
    size_t n = (size_t)(at - rest->p);
    *part = str_make(rest->p, n);
    *rest = str_make(at + 1, rest->n - n - 1);
    return true;
}

char *str_dup(struct str s) {
    char *copy = malloc(s.n + 1);
    if (!copy) {
        return NULL;
    }
    if (s.n) {
        memcpy(copy, s.p, s.n);
    }
    copy[s.n] = '\0';
    return copy;
}

bool str_glob(const char *pattern, struct str s) {
    const char *p = pattern;
    const char *star = NULL; /* behind the last '*' seen: only that one ever needs to take more */
    size_t i = 0;
    size_t retry = 0;
    while (i < s.n) {
        if (*p == '*') {
            star = ++p;
            retry = i;
        } else if (*p != '\0' && (*p == '?' || *p == s.p[i])) {
            p++;
            i++;
        } else if (star) {
            p = star;
            i = ++retry;
        } else {
            return false;
        }
    }
    while (*p == '*') {
        p++;
    }
    return *p == '\0';
}

bool str_to_u64(struct str s, unsigned long long *out) {
    unsigned long long value = 0;
    if (s.n == 0 || s.n > 18) { /* 18 digits cannot overflow */
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(s.p[i] - '0');
    }
    *out = value;
    return true;
}

static size_t min3(size_t a, size_t b, size_t c) {
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Levenshtein, one row; both words have at most NEAREST_MAX bytes. */
static size_t distance(struct str a, struct str b) {
    size_t row[NEAREST_MAX + 1];
    for (size_t j = 0; j <= b.n; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a.n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t above = row[j];
            size_t change = lower(a.p[i - 1]) == lower(b.p[j - 1]) ? 0 : 1;
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + change);
            diagonal = above;
        }
    }
    return row[b.n];
}

const char *str_nearest(const char *word, const char *const *names) {
    struct str w = str_of(word);
    const char *best = NULL;
    size_t best_distance = 0;
    if (w.n > NEAREST_MAX) {
        return NULL;
    }
    for (; *names; names++) {
        struct str name = str_of(*names);
        if (name.n > NEAREST_MAX) {
            continue;
        }
        size_t longer = w.n > name.n ? w.n : name.n;
        size_t limit = longer / 3 > 2 ? longer / 3 : 2;
        size_t d = distance(w, name);
        /* d == longer: not one letter stands where it should ("up" for "id") */
        if (d <= limit && d < longer && (!best || d < best_distance)) {
            best = *names;
            best_distance = d;
        }
    }
    return best;
}

void str_copy(char *out, size_t size, struct str s) {
    size_t n = s.n < size ? s.n : size - 1;
    while (n && n < s.n && ((unsigned char)s.p[n] & 0xC0) == 0x80) {
        n--;
    }
    memcpy(out, s.p ? s.p : "", n);
    out[n] = '\0';
}
