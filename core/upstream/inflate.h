/* SPDX-License-Identifier: MIT */
/*
 * Content codings of an answer: we ask for identity, some providers send gzip all the same. Knows
 * no HTTP but the names. One z_stream per answer that needs it, about 44 KB while it lasts.
 */
#ifndef UPSTREAM_INFLATE_H
#define UPSTREAM_INFLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct inflate;

enum inflate_result { INFLATE_MORE, INFLATE_END, INFLATE_BAD };

/* Is there nothing to undo? True for none, "" and "identity". */
bool inflate_not_needed(struct str coding);
/* For gzip, x-gzip and deflate; NULL with *unknown set for any other coding, NULL without: memory.
 */
struct inflate *inflate_new(struct str coding, bool *unknown);
void inflate_free(struct inflate *z); /* NULL is a no-op */

/* Decodes from *in (which it moves on) into out; *n says how many bytes came out. INFLATE_MORE with
 * nothing left of *in: give it more, after another step when out was filled, since decoded bytes
 * may wait inside. Bytes behind the end are ignored. */
enum inflate_result inflate_step(struct inflate *z, struct str *in, char *out, size_t size,
                                 size_t *n);

#endif
