/* SPDX-License-Identifier: MIT */
/*
 * Lua's lexical rules (manual 3.1), without judging. Always moves on by at least one byte until the
 * end.
 */
#include "config/luatok.h"

#include <stddef.h>

void luatok_init(struct luatok_lexer *x, struct str text) {
    x->p = text.p;
    x->end = text.p + text.n;
    x->line = 1;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c);
}

static char at(const struct luatok_lexer *x, size_t i) {
    return (size_t)(x->end - x->p) > i ? x->p[i] : '\0';
}

/* Moves over one byte, or over a line end, which Lua lets be any of \n \r \r\n \n\r. */
static void step(struct luatok_lexer *x) {
    char c = *x->p++;
    if (c != '\n' && c != '\r') {
        return;
    }
    x->line++;
    if (x->p < x->end && (*x->p == '\n' || *x->p == '\r') && *x->p != c) {
        x->p++;
    }
}

/* At "[[", "[=[" …: moves over all of it and gives what is inside. False, nothing moved, when it is
 * none. */
static bool long_bracket(struct luatok_lexer *x, struct str *inside) {
    size_t level = 0;
    if (at(x, 0) != '[') {
        return false;
    }
    while (at(x, 1 + level) == '=') {
        level++;
    }
    if (at(x, 1 + level) != '[') {
        return false;
    }
    x->p += level + 2;
    const char *start = x->p;
    while (x->p < x->end) {
        size_t n = 0;
        while (at(x, 0) == ']' && at(x, 1 + n) == '=' && n < level) {
            n++;
        }
        if (at(x, 0) == ']' && n == level && at(x, 1 + n) == ']') {
            *inside = str_make(start, (size_t)(x->p - start));
            x->p += level + 2;
            return true;
        }
        step(x);
    }
    *inside = str_make(start, (size_t)(x->p - start));
    return true;
}

static void skip_blank(struct luatok_lexer *x) {
    while (x->p < x->end) {
        char c = *x->p;
        if (c == ' ' || (c >= '\t' && c <= '\r')) {
            step(x);
        } else if (c == '-' && at(x, 1) == '-') {
            struct str ignored;
            x->p += 2;
            if (!long_bracket(x, &ignored)) {
                while (x->p < x->end && *x->p != '\n' && *x->p != '\r') {
                    x->p++;
                }
            }
        } else {
            return;
        }
    }
}

/* Ends at the closing quote, or at a bare line end, where Lua would report an unfinished string. */
static struct str short_string(struct luatok_lexer *x) {
    char quote = *x->p++;
    const char *start = x->p;
    while (x->p < x->end && *x->p != quote && *x->p != '\n' && *x->p != '\r') {
        if (*x->p++ != '\\' || x->p == x->end) {
            continue;
        }
        if (*x->p != 'z') {
            step(x);
            continue;
        }
        x->p++; /* \z takes the blanks that follow, line ends too */
        while (x->p < x->end && (*x->p == ' ' || (*x->p >= '\t' && *x->p <= '\r'))) {
            step(x);
        }
    }
    struct str inside = str_make(start, (size_t)(x->p - start));
    if (x->p < x->end && *x->p == quote) {
        x->p++;
    }
    return inside;
}

static void skip_number(struct luatok_lexer *x) {
    char before = '\0';
    while (x->p < x->end) {
        char c = *x->p;
        bool exponent = before == 'e' || before == 'E' || before == 'p' || before == 'P';
        if (!is_name(c) && c != '.' && !(exponent && (c == '+' || c == '-'))) {
            return;
        }
        before = c;
        x->p++;
    }
}

static void skip_symbol(struct luatok_lexer *x) {
    static const char *const longer[] = {
        "...", "==", "~=", "<=", ">=", "..", "::", "//", "<<", ">>"};
    struct str rest = str_make(x->p, (size_t)(x->end - x->p));
    for (size_t i = 0; i < sizeof(longer) / sizeof(*longer); i++) {
        if (str_starts(rest, longer[i])) {
            x->p += strlen(longer[i]);
            return;
        }
    }
    x->p++;
}

struct luatok luatok_next(struct luatok_lexer *x) {
    skip_blank(x);
    struct luatok t = {LUATOK_END, str_make(x->p, 0), x->line};
    if (x->p >= x->end) {
        return t;
    }
    const char *start = x->p;
    char c = *start;
    if (c == '"' || c == '\'') {
        t.kind = LUATOK_STRING;
        t.text = short_string(x);
        return t;
    }
    if (long_bracket(x, &t.text)) {
        t.kind = LUATOK_STRING;
        return t;
    }
    if (is_digit(c) || (c == '.' && is_digit(at(x, 1)))) {
        t.kind = LUATOK_NUMBER;
        skip_number(x);
    } else if (is_name(c)) {
        t.kind = LUATOK_NAME;
        while (x->p < x->end && is_name(*x->p)) {
            x->p++;
        }
    } else {
        t.kind = LUATOK_SYMBOL;
        skip_symbol(x);
    }
    t.text = str_make(start, (size_t)(x->p - start));
    return t;
}

struct luatok luatok_peek(const struct luatok_lexer *x) {
    struct luatok_lexer copy = *x;
    return luatok_next(&copy);
}

bool luatok_is(const struct luatok *t, const char *word) {
    return (t->kind == LUATOK_NAME || t->kind == LUATOK_SYMBOL) && str_is(t->text, word);
}

int luatok_nesting(const struct luatok *t) {
    static const char *const open[] = {"(", "[", "{", "function", "if", "do", "repeat"};
    static const char *const close[] = {")", "]", "}", "end", "until"};
    for (size_t i = 0; i < sizeof(open) / sizeof(*open); i++) {
        if (luatok_is(t, open[i])) {
            return 1;
        }
    }
    for (size_t i = 0; i < sizeof(close) / sizeof(*close); i++) {
        if (luatok_is(t, close[i])) {
            return -1;
        }
    }
    return 0;
}
