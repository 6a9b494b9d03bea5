/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: a request read in one piece, in two, and in small ones must come to the same, and no
 * byte beyond the given ones may be read. The first two bytes of the input choose the portions.
 * Reads: net/http_head.c net/http_chunks.c net/headers.c
 */
#include <stddef.h>
#include <stdint.h>

#include "../support/read_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const struct reading *whole, const char *data, size_t n, size_t first,
                    size_t step) {
    struct reading split;
    reading_init(&split, KIB(4));
    reading_run(&split, data, n, first, step);
    const char *what = reading_differs(whole, &split);
    if (what) {
        fprintf(stderr, "split at %zu, then every %zu: the %s differs: %d (%s), %d (%s)\n", first,
                step, what, whole->status, whole->err.text, split.status, split.err.text);
        abort();
    }
    reading_release(&split);
}

static void check_sanity(const struct reading *r, size_t n) {
    if (r->used > n ||
        (r->status != 0 && r->status != 200 && (r->status < 400 || r->status > 505))) {
        abort();
    }
    if (r->status >= 400 && r->err.text[0] == 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size > KIB(40)) {
        return 0;
    }
    const char *text = (const char *)data + 2;
    size_t n = size - 2;
    struct reading whole;
    reading_init(&whole, KIB(4));
    reading_run(&whole, text, n, n, n);
    check_sanity(&whole, n);
    size_t first = n ? ((size_t)data[0] * 256 + data[1]) % n : 0;
    compare(&whole, text, n, first, n);
    compare(&whole, text, n, first, n / 16 + data[1] % 7 + 1);
    reading_release(&whole);
    return 0;
}
