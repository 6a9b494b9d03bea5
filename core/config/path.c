/* SPDX-License-Identifier: MIT */
/*
 * Building of value paths. Never allocates, never fails: what does not fit is left out.
 */
#include "config/path.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void path_init(struct path *p) {
    p->text[0] = '\0';
    p->n = 0;
}

void path_cut(struct path *p, size_t n) {
    if (n <= p->n) {
        p->n = n;
        p->text[n] = '\0';
    }
}

/* All or nothing, so that a cut path never names another value. */
static void add(struct path *p, const char *text, size_t n) {
    if (p->n + n < sizeof(p->text)) {
        memcpy(p->text + p->n, text, n);
        p->n += n;
        p->text[p->n] = '\0';
    }
}

static bool is_word(const char *name) {
    if (*name >= '0' && *name <= '9') {
        return false;
    }
    for (const char *c = name; *c; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';
        if (!letter && !(*c >= '0' && *c <= '9')) {
            return false;
        }
    }
    return *name != '\0';
}

/* ["na-me"]; bytes that would disturb a terminal or the quotes become '?'. */
static void add_quoted(struct path *p, const char *name) {
    char text[96];
    size_t n = 0;
    text[n++] = '[';
    text[n++] = '"';
    for (; *name && n < sizeof(text) - 3; name++) {
        unsigned char c = (unsigned char)*name;
        text[n++] = (char)(c < ' ' || c == 127 || c == '"' || c == '\\' ? '?' : c);
    }
    text[n++] = '"';
    text[n++] = ']';
    add(p, text, n);
}

size_t path_field(struct path *p, const char *name) {
    size_t before = p->n;
    if (!is_word(name) || strlen(name) > 64) {
        add_quoted(p, name);
        return before;
    }
    char text[72];
    int n = snprintf(text, sizeof(text), "%s%s", p->n ? "." : "", name);
    add(p, text, (size_t)n);
    return before;
}

size_t path_item(struct path *p, size_t index) {
    size_t before = p->n;
    char text[32];
    int n = snprintf(text, sizeof(text), "[%zu]", index);
    add(p, text, (size_t)n);
    return before;
}
