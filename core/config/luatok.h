/* SPDX-License-Identifier: MIT */
/*
 * A tokenizer of Lua source that is just good enough to find out where things stand: it never
 * refuses a text, and on a broken one it only finds less. Owns nothing: tokens are slices of the
 * text. A lexer is a plain value: a copy is a bookmark.
 */
#ifndef CONFIG_LUATOK_H
#define CONFIG_LUATOK_H

#include <stdbool.h>

#include "base/str.h"

enum luatok_kind { LUATOK_END, LUATOK_NAME, LUATOK_STRING, LUATOK_NUMBER, LUATOK_SYMBOL };

struct luatok {
    enum luatok_kind kind;
    struct str text; /* of a string: what stands between its quotes, escapes as written */
    int line;        /* 1-based, of its first byte */
};

struct luatok_lexer {
    const char *p, *end;
    int line;
};

void luatok_init(struct luatok_lexer *x, struct str text);
struct luatok luatok_next(struct luatok_lexer *x);
struct luatok luatok_peek(const struct luatok_lexer *x);

bool luatok_is(const struct luatok *t, const char *word); /* a name or symbol; never a string */
/* By how many levels the token opens (1) or closes (-1) brackets and blocks; 0 for all others. */
int luatok_nesting(const struct luatok *t);

#endif
