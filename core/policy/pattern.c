/* SPDX-License-Identifier: MIT */
/*
 * See pattern.h. Every comparison of a character is a step; sets and back references cost by their
 * length. Recursion is bounded by PATTERN_DEPTH. An error sets m->error and unwinds by NULL
 * returns, so every loop that goes on after a NULL looks at it.
 */
#include "policy/pattern.h"

#include <ctype.h>
#include <stdbool.h>

#include "base/limits.h"

#define ESCAPE '%'
#define TICK_STEPS 256 /* between two reports: a few microseconds */

static const char *do_match(struct matcher *m, const char *s, const char *p);

void matcher_init(struct matcher *m, struct str src, struct str pat) {
    m->src = src;
    m->pat = pat;
    m->level = 0;
    m->depth = PATTERN_DEPTH;
    m->steps = 0;
    m->ticked = 0;
    m->error = NULL;
    m->error_arg = 0;
    m->where = 1;
    m->tick = NULL;
    m->ctx = NULL;
}

static const char *src_end(const struct matcher *m) {
    return m->src.p + m->src.n;
}

static const char *pat_end(const struct matcher *m) {
    return m->pat.p + m->pat.n;
}

static const char *fail(struct matcher *m, const char *text, int arg) {
    if (!m->error) {
        m->error = text;
        m->error_arg = arg;
    }
    return NULL;
}

/* False when the match must be given up. */
static bool spend(struct matcher *m, size_t n) {
    m->steps += n;
    if (m->steps - m->ticked >= TICK_STEPS) {
        size_t since = m->steps - m->ticked;

        m->ticked = m->steps;
        if (m->tick) {
            m->tick(m->ctx, since);
        }
        if (m->steps > LUA_PATTERN_STEPS) {
            fail(m, "pattern needs more than %d steps on this text", LUA_PATTERN_STEPS);
        }
    }
    return !m->error;
}

/* The end of the single-character class that starts at p, or NULL (malformed). */
static const char *class_end(struct matcher *m, const char *p) {
    const char *end = pat_end(m);

    if (*p++ == ESCAPE) {
        return p == end ? fail(m, "malformed pattern (ends with '%%')", 0) : p + 1;
    }
    if (p[-1] != '[') {
        return p;
    }
    if (p < end && *p == '^') {
        p++;
    }
    do { /* a ']' right at the start stands for itself */
        if (p == end) {
            return fail(m, "malformed pattern (missing ']')", 0);
        }
        if (*p++ == ESCAPE && p < end) {
            p++;
        }
    } while (p == end || *p != ']');
    return p + 1;
}

static bool in_class(int c, int class) {
    bool yes;

    switch (tolower(class)) {
    case 'a':
        yes = isalpha(c);
        break;
    case 'c':
        yes = iscntrl(c);
        break;
    case 'd':
        yes = isdigit(c);
        break;
    case 'g':
        yes = isgraph(c);
        break;
    case 'l':
        yes = islower(c);
        break;
    case 'p':
        yes = ispunct(c);
        break;
    case 's':
        yes = isspace(c);
        break;
    case 'u':
        yes = isupper(c);
        break;
    case 'w':
        yes = isalnum(c);
        break;
    case 'x':
        yes = isxdigit(c);
        break;
    case 'z':
        yes = c == 0;
        break; /* deprecated in Lua, but there */
    default:
        return class == c;
    }
    return isupper(class) ? !yes : yes;
}

/* p stands on '[', last on its ']'. */
static bool in_set(int c, const char *p, const char *last) {
    bool found = true;

    if (p[1] == '^') {
        found = false;
        p++;
    }
    while (++p < last) {
        if (*p == ESCAPE) {
            p++;
            if (in_class(c, (unsigned char)*p)) {
                return found;
            }
        } else if (p[1] == '-' && p + 2 < last) {
            p += 2;
            if ((unsigned char)p[-2] <= c && c <= (unsigned char)*p) {
                return found;
            }
        } else if ((unsigned char)*p == c) {
            return found;
        }
    }
    return !found;
}

/* Does the character at s match the class [p, ep)? */
static bool single(struct matcher *m, const char *s, const char *p, const char *ep) {
    int c;

    if (!spend(m, 1 + (size_t)(ep - p) / 8) || s >= src_end(m)) {
        return false;
    }
    c = (unsigned char)*s;
    switch (*p) {
    case '.':
        return true;
    case ESCAPE:
        return in_class(c, (unsigned char)p[1]);
    case '[':
        return in_set(c, p, ep - 1);
    default:
        return (unsigned char)*p == c;
    }
}

/* %bxy: p stands on x. */
static const char *match_balance(struct matcher *m, const char *s, const char *p) {
    int depth = 1;

    if (p + 1 >= pat_end(m)) {
        return fail(m, "malformed pattern (missing arguments to '%%b')", 0);
    }
    if (s >= src_end(m) || *s != *p) {
        return NULL;
    }
    while (++s < src_end(m) && spend(m, 1)) {
        if (*s == p[1]) {
            if (--depth == 0) {
                return s + 1;
            }
        } else if (*s == *p) {
            depth++;
        }
    }
    return NULL;
}

static const char *max_expand(struct matcher *m, const char *s, const char *p, const char *ep) {
    ptrdiff_t i = 0;

    while (single(m, s + i, p, ep)) {
        i++;
    }
    for (; i >= 0 && !m->error; i--) {
        const char *end = do_match(m, s + i, ep + 1);

        if (end) {
            return end;
        }
    }
    return NULL;
}

static const char *min_expand(struct matcher *m, const char *s, const char *p, const char *ep) {
    for (;;) {
        const char *end = do_match(m, s, ep + 1);

        if (end || m->error) {
            return end;
        }
        if (!single(m, s, p, ep)) {
            return NULL;
        }
        s++;
    }
}

static const char *open_capture(struct matcher *m, const char *s, const char *p, ptrdiff_t what) {
    const char *end;

    if (m->level >= PATTERN_CAPTURES) {
        return fail(m, "too many captures", 0);
    }
    m->capture[m->level] = (struct capture){s, what};
    m->level++;
    end = do_match(m, s, p);
    if (!end) {
        m->level--;
    }
    return end;
}

static const char *close_capture(struct matcher *m, const char *s, const char *p) {
    int i = m->level - 1;
    const char *end;

    while (i >= 0 && m->capture[i].len != CAPTURE_OPEN) {
        i--;
    }
    if (i < 0) {
        return fail(m, "invalid pattern capture", 0);
    }
    m->capture[i].len = s - m->capture[i].from;
    end = do_match(m, s, p);
    if (!end) {
        m->capture[i].len = CAPTURE_OPEN;
    }
    return end;
}

/* %1 to %9 */
static const char *match_back(struct matcher *m, const char *s, int digit) {
    int i = digit - '1';
    size_t len;

    if (i < 0 || i >= m->level || m->capture[i].len == CAPTURE_OPEN) {
        return fail(m, "invalid capture index %%%d", i + 1);
    }
    /* Lua compares the marker of a position capture as a huge length: it never fits. */
    len = (size_t)m->capture[i].len;
    if ((size_t)(src_end(m) - s) < len || !spend(m, 1 + len / 32) ||
        memcmp(m->capture[i].from, s, len) != 0) {
        return NULL;
    }
    return s + len;
}

/* %f[set]: p stands behind the 'f'. The end of the set when the frontier is here. */
static const char *match_frontier(struct matcher *m, const char *s, const char *p) {
    const char *ep;
    int previous, current;

    if (p >= pat_end(m) || *p != '[') {
        return fail(m, "missing '[' after '%%f' in pattern", 0);
    }
    ep = class_end(m, p);
    if (!ep || !spend(m, 1 + (size_t)(ep - p) / 8)) {
        return NULL;
    }
    previous = s == m->src.p ? '\0' : (unsigned char)s[-1];
    current = s == src_end(m) ? '\0' : (unsigned char)*s;
    return !in_set(previous, p, ep - 1) && in_set(current, p, ep - 1) ? ep : NULL;
}

/*
 * A single class with what may follow it. Sets *s and *p and returns true when the walk goes on
 * there; otherwise the result of the whole is in *s (NULL: no match).
 */
static bool match_item(struct matcher *m, const char **s, const char **p) {
    const char *start = *s, *class = *p, *ep = class_end(m, class);
    int suffix = ep && ep < pat_end(m) ? *ep : '\0';
    bool here = ep && single(m, start, class, ep);

    if (m->error) {
        *s = NULL;
        return false;
    }
    if (!here) { /* what may be absent is, and costs no recursion */
        *s = suffix == '*' || suffix == '?' || suffix == '-' ? start : NULL;
        *p = ep + 1;
        return *s != NULL;
    }
    switch (suffix) {
    case '*':
    case '+':
        *s = max_expand(m, suffix == '+' ? start + 1 : start, class, ep);
        return false;
    case '-':
        *s = min_expand(m, start, class, ep);
        return false;
    case '?':
        *s = do_match(m, start + 1, ep + 1);
        if (*s || m->error) {
            return false;
        }
        *s = start;
        *p = ep + 1;
        return true;
    default:
        *s = start + 1;
        *p = ep;
        return true;
    }
}

/* The items that begin with an escape and are no class. True when *s and *p moved on (or *s became
 * NULL). */
static bool match_escape(struct matcher *m, const char **s, const char **p) {
    const char *next = *p + 1;

    if (next >= pat_end(m)) {
        return false;
    }
    if (*next == 'b') {
        *s = match_balance(m, *s, next + 1);
        *p = next + 3;
        return true;
    }
    if (*next == 'f') {
        const char *ep = match_frontier(m, *s, next + 1);

        *s = ep ? *s : NULL;
        *p = ep;
        return true;
    }
    if (isdigit((unsigned char)*next)) {
        *s = match_back(m, *s, (unsigned char)*next);
        *p = next + 1;
        return true;
    }
    return false;
}

static const char *walk(struct matcher *m, const char *s, const char *p) {
    while (p < pat_end(m)) {
        if (!spend(m, 1)) {
            return NULL;
        }
        if (*p == '(') {
            bool position = p + 1 < pat_end(m) && p[1] == ')';

            return open_capture(m, s, p + (position ? 2 : 1),
                                position ? CAPTURE_POSITION : CAPTURE_OPEN);
        }
        if (*p == ')') {
            return close_capture(m, s, p + 1);
        }
        if (*p == '$' && p + 1 == pat_end(m)) {
            return s == src_end(m) ? s : NULL;
        }
        if (*p == ESCAPE && match_escape(m, &s, &p)) {
            if (!s) {
                return NULL;
            }
            continue;
        }
        if (!match_item(m, &s, &p)) {
            return s;
        }
    }
    return s;
}

static const char *do_match(struct matcher *m, const char *s, const char *p) {
    const char *end;

    if (m->depth == 0) {
        return fail(m, "pattern too complex", 0);
    }
    m->depth--;
    end = walk(m, s, p);
    m->depth++;
    return end;
}

const char *matcher_try(struct matcher *m, const char *from) {
    const char *end;

    m->level = 0;
    m->depth = PATTERN_DEPTH;
    if (!spend(m, 1)) {
        return NULL;
    }
    end = do_match(m, from, m->pat.p);
    return m->error ? NULL : end;
}

int matcher_count(const struct matcher *m) {
    return m->level == 0 ? 1 : m->level;
}

int matcher_get(struct matcher *m, int i, const char *from, const char *to, struct capture *out) {
    if (i >= m->level) {
        if (i != 0) {
            fail(m, "invalid capture index %%%d", i + 1);
            return -1;
        }
        *out = (struct capture){from, to - from};
        return 0;
    }
    *out = m->capture[i];
    if (out->len == CAPTURE_OPEN) {
        fail(m, "unfinished capture", 0);
        return -1;
    }
    return 0;
}
