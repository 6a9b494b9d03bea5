/* SPDX-License-Identifier: MIT */
/*
 * The list of diagnostics. Owns copies of what it is told; what it cannot keep it counts.
 */
#include "base/diag.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"

enum { FIRST_DIAGS = 8, MAX_DIAG_TEXT = 2048 };

void diags_init(struct diags *d) {
    *d = (struct diags){0};
}

void diags_release(struct diags *d) {
    for (size_t i = 0; i < d->n; i++) {
        free(d->list[i].file);
        free(d->list[i].message);
    }
    free(d->list);
    diags_init(d);
}

/* Capacity is 8, 16, 32 …: the list is full when n has reached one of these. */
static int make_room(struct diags *d) {
    size_t cap = 0;
    if (d->n >= MAX_DIAGS) {
        return -1;
    }
    if (d->n == 0 && !d->list) {
        cap = FIRST_DIAGS;
    } else if (d->n >= FIRST_DIAGS && (d->n & (d->n - 1)) == 0) {
        cap = d->n * 2;
    } else {
        return 0;
    }
    struct diag *list = realloc(d->list, cap * sizeof(*list));
    if (!list) {
        return -1;
    }
    d->list = list;
    return 0;
}

/* Longer texts are cut, which a person sees by the "...". */
static char *format_message(const char *fmt, va_list ap) {
    char text[MAX_DIAG_TEXT];
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    if (n < 0) {
        return NULL;
    }
    if ((size_t)n >= sizeof(text)) {
        memcpy(text + sizeof(text) - sizeof(" ..."), " ...", sizeof(" ..."));
    }
    return str_dup(str_of(text));
}

static void add(struct diags *d, const struct diag *what, const char *fmt, va_list ap) {
    struct diag diag = *what;
    if (!diag.warning) {
        d->errors++; /* even when it is dropped: the load has failed */
    }
    if (make_room(d)) {
        d->dropped++;
        return;
    }
    diag.file = str_dup(str_of(what->file));
    diag.message = format_message(fmt, ap);
    if (!diag.file || !diag.message) {
        free(diag.file);
        free(diag.message);
        d->dropped++;
        return;
    }
    d->list[d->n++] = diag;
}

void diags_error(struct diags *d, const char *file, int line, const char *fmt, ...) {
    struct diag diag = {(char *)(uintptr_t)file, line, false, NULL};
    va_list ap;
    va_start(ap, fmt);
    add(d, &diag, fmt, ap);
    va_end(ap);
}

void diags_warn(struct diags *d, const char *file, int line, const char *fmt, ...) {
    struct diag diag = {(char *)(uintptr_t)file, line, true, NULL};
    va_list ap;
    va_start(ap, fmt);
    add(d, &diag, fmt, ap);
    va_end(ap);
}

static int format_one(const struct diag *diag, struct buf *out) {
    const char *kind = diag->warning ? "warning" : "error";
    if (diag->line > 0) {
        return buf_addf(out, "%s:%d: %s: %s\n", diag->file, diag->line, kind, diag->message);
    }
    return buf_addf(out, "%s: %s: %s\n", diag->file, kind, diag->message);
}

int diags_format(const struct diags *d, struct buf *out) {
    for (size_t i = 0; i < d->n; i++) {
        int rc = format_one(&d->list[i], out);
        if (rc != BUF_OK) {
            return rc;
        }
    }
    if (d->dropped) {
        return buf_addf(out, "%zu more not shown\n", d->dropped);
    }
    return BUF_OK;
}
