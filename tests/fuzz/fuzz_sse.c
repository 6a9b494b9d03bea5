/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: an event stream gives the same events however its bytes are split. The first two
 * bytes of the input choose the portions.
 * Reads: net/sse.c
 */
#include <stddef.h>
#include <stdint.h>

#include "../support/read_events.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const struct events *whole, const char *data, size_t n, size_t first,
                    size_t step) {
    struct events split;
    events_init(&split);
    events_run(&split, data, n, first, step);
    bool same = str_eq(buf_str(&whole->account), buf_str(&split.account)) &&
                whole->boundary == split.boundary;
    if (!same || (whole->result < 0) != (split.result < 0)) {
        fprintf(stderr, "split at %zu, then every %zu: %s\nand in one piece: %s\n", first, step,
                split.account.data, whole->account.data);
        abort();
    }
    events_release(&split);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    const char *text = (const char *)data + 2;
    size_t n = size - 2;
    struct events whole;
    events_init(&whole);
    events_run(&whole, text, n, n, n);
    size_t first = n ? ((size_t)data[0] * 256 + data[1]) % n : 0;
    compare(&whole, text, n, first, n);
    compare(&whole, text, n, first, data[1] % 5 + 1u);
    events_release(&whole);
    return 0;
}
