/* SPDX-License-Identifier: MIT */
/*
 * Lua patterns with a step budget: the matching algorithm of Lua's lstrlib.c (MIT, PUC-Rio),
 * written anew so that it counts what it does, can be stopped, and reports mistakes as values.
 * Knows no Lua state. Owns nothing: `tick` may leave by a jump.
 */
#ifndef POLICY_PATTERN_H
#define POLICY_PATTERN_H

#include <stddef.h>

#include "base/str.h"

#define PATTERN_CAPTURES 32 /* as in Lua */
#define PATTERN_DEPTH 200   /* recursion of one match, as in Lua */

#define CAPTURE_OPEN (-1)     /* its end has not been seen */
#define CAPTURE_POSITION (-2) /* "()": a position, not text */

struct capture {
    const char *from;
    ptrdiff_t len;
};

struct matcher {
    struct str src, pat; /* borrowed; pat without its leading '^' */
    struct capture capture[PATTERN_CAPTURES];
    int level;         /* captures so far, open or closed */
    int depth;         /* recursion left */
    size_t steps;      /* all tries with this matcher together */
    size_t ticked;     /* of these reported */
    const char *error; /* a mistake in the pattern or too much work: static text, may hold one %d */
    int error_arg;
    int where;                             /* for the caller: how many levels up its script is; 1 */
    void (*tick)(void *ctx, size_t steps); /* every few hundred steps; NULL: nobody wants to know */
    void *ctx;
};

void matcher_init(struct matcher *m, struct str src, struct str pat);

/* Tries at exactly `from` (within src). The end of the match; NULL when there is none, or with
 * m->error set. */
const char *matcher_try(struct matcher *m, const char *from);

/* Values a match yields: its captures, or the whole when it has none. */
int matcher_count(const struct matcher *m);
/* The i-th of them (0-based) of the match [from, to). 0, or -1 with m->error set. len may be
 * CAPTURE_POSITION. */
int matcher_get(struct matcher *m, int i, const char *from, const char *to, struct capture *out);

#endif
