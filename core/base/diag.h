/* SPDX-License-Identifier: MIT */
/*
 * Diagnostics of a load: all of them, in the order found, each with its place. A load failed if
 * there is an error among them; warnings do not stop it.
 */
#ifndef BASE_DIAG_H
#define BASE_DIAG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct diag {
    char *file; /* as the reader would name it; never NULL */
    int line;   /* 1-based; 0 = not known */
    bool warning;
    char *message; /* what was found, what was expected, the nearest valid name */
};

struct diags {
    struct diag *list;
    size_t n;
    size_t errors;
    size_t dropped; /* beyond MAX_DIAGS, or memory short; never silently: print it */
};

void diags_init(struct diags *d);
void diags_release(struct diags *d);
void diags_error(struct diags *d, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void diags_warn(struct diags *d, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* "gateway.lua:12: error: …\n" each, and a line on what was dropped. */
int diags_format(const struct diags *d, struct buf *out);

#endif
