/* SPDX-License-Identifier: MIT */
#include "upstream/inflate.h"

#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

#define WINDOW_ANY_HEADER (15 + 32) /* zlib finds out by itself whether gzip or zlib wraps it */

struct inflate {
    z_stream z;
    bool deflate; /* "deflate" may also come without any wrapping, as browsers learned */
    bool begun;
    bool ended;
    bool full; /* the last step filled its room: decoded bytes may wait inside */
};

bool inflate_not_needed(struct str coding) {
    return coding.n == 0 || str_case_is(coding, "identity");
}

struct inflate *inflate_new(struct str coding, bool *unknown) {
    bool deflate = str_case_is(coding, "deflate");
    *unknown = !deflate && !str_case_is(coding, "gzip") && !str_case_is(coding, "x-gzip");
    struct inflate *z = *unknown ? NULL : calloc(1, sizeof(*z));
    if (z && inflateInit2(&z->z, WINDOW_ANY_HEADER) != Z_OK) {
        free(z);
        return NULL;
    }
    if (z) {
        z->deflate = deflate;
    }
    return z;
}

void inflate_free(struct inflate *z) {
    if (z) {
        inflateEnd(&z->z);
        free(z);
    }
}

/* A zlib header's first byte names method 8 in its low half. */
static bool is_raw(const struct inflate *z, struct str in) {
    return z->deflate && !z->begun && in.n > 0 && ((unsigned char)in.p[0] & 15) != 8;
}

enum inflate_result inflate_step(struct inflate *z, struct str *in, char *out, size_t size,
                                 size_t *n) {
    *n = 0;
    if (z->ended || (in->n == 0 && !z->full)) {
        *in = (struct str){0};
        return z->ended ? INFLATE_END : INFLATE_MORE;
    }
    if (is_raw(z, *in) && inflateReset2(&z->z, -MAX_WBITS) != Z_OK) {
        return INFLATE_BAD;
    }
    z->begun = true;
    z->z.next_in = (unsigned char *)(uintptr_t)in->p;
    z->z.avail_in = (unsigned)in->n;
    z->z.next_out = (unsigned char *)out;
    z->z.avail_out = (unsigned)size;
    int code = inflate(&z->z, Z_NO_FLUSH);
    *n = size - z->z.avail_out;
    z->full = z->z.avail_out == 0;
    *in = in->n ? str_make(in->p + (in->n - z->z.avail_in), z->z.avail_in) : *in;
    z->ended = code == Z_STREAM_END;
    if (z->ended) {
        return INFLATE_END;
    }
    return code == Z_OK || code == Z_BUF_ERROR ? INFLATE_MORE : INFLATE_BAD;
}
