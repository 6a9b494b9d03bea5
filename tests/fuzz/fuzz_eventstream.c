/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: AWS's event streams give the same text however their bytes are split, and text that
 * is whole events. The first byte says how the rest is meant: frames as they come, or fields and
 * payloads (each with its lengths in front) whose frames are made here, since no fuzzer guesses
 * checksums. Reads: upstream/eventstream.c
 */
#include <stdio.h>

#include "../support/frames.h"
#include "../support/read_events.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_events(const struct buf *text) {
    struct events e;
    size_t ends = 0;
    events_init(&e);
    events_run(&e, text->data, text->len, text->len, 1);
    for (size_t i = 0; i + 1 < text->len; i++) {
        ends += text->data[i] == '\n' && text->data[i + 1] == '\n';
    }
    if (text->len && (!e.boundary || e.count != ends || e.result < 0)) {
        fprintf(stderr, "%zu events of %zu: %s\n", e.count, ends, text->data);
        abort();
    }
    events_release(&e);
}

static void check(struct str bytes, size_t first, size_t step) {
    struct frames_read whole, split;
    frames_read(&whole, bytes, bytes.n, 1);
    frames_read(&split, bytes, first, step);
    if (!str_eq(buf_str(&whole.text), buf_str(&split.text)) || whole.result != split.result ||
        whole.boundary != split.boundary) {
        fprintf(stderr, "split at %zu, then every %zu: %s\nand in one piece: %s\n", first, step,
                split.text.data, whole.text.data);
        abort();
    }
    check_events(&whole.text);
    buf_release(&whole.text);
    buf_release(&split.text);
}

/* A length of one byte and as many bytes as there are of it. */
static struct str take(struct str *rest) {
    struct str part = {NULL, 0};
    if (rest->n > 0) {
        size_t n = (unsigned char)rest->p[0];
        n = n < rest->n - 1 ? n : rest->n - 1;
        part = str_make(rest->p + 1, n);
        *rest = str_make(rest->p + 1 + n, rest->n - 1 - n);
    }
    return part;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    struct str rest = {(const char *)data + 2, size - 2};
    struct buf bytes;
    buf_init(&bytes, MIB(1));
    while (data[0] & 1 && rest.n > 0) {
        struct str fields = take(&rest);
        frames_add(&bytes, fields, take(&rest));
    }
    if (data[0] & 1) {
        check(buf_str(&bytes), data[1], data[1] % 7 + 1u);
    } else {
        check(rest, data[1], data[1] % 7 + 1u);
    }
    buf_release(&bytes);
    return 0;
}
