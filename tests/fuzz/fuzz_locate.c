/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: looking for a value in any text ends, reads nothing outside of it, and tells a line
 * that the text has. The input is the path up to the first zero byte, then the text.
 * Reads: config/locate.c config/luatok.c
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/locate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct lines {
    int last;
};

static void check_line(const struct lines *lines, int line, const char *what) {
    if (line < 0 || line > lines->last) {
        fprintf(stderr, "%s: line %d of a text of %d lines\n", what, line, lines->last);
        abort();
    }
}

static void tell(void *ctx, struct str name, int line, int first_line) {
    (void)name;
    check_line(ctx, line, "second");
    check_line(ctx, first_line, "first");
    if (first_line < 1 || first_line > line) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    if (!zero) {
        return 0;
    }
    size_t path_size = (size_t)(zero - data) + 1;
    size_t n = size - path_size;
    char *text = malloc(n ? n : 1); /* of its own, so that one byte beyond is noticed */
    if (!text) {
        return 0;
    }
    memcpy(text, data + path_size, n);
    struct lines lines = {1};
    for (size_t i = 0; i < n; i++) {
        lines.last += text[i] == '\n' || text[i] == '\r';
    }
    check_line(&lines, locate_line(str_make(text, n), (const char *)data), "path");
    locate_twice(str_make(text, n), tell, &lines);
    free(text);
    return 0;
}
