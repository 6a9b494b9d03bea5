/* SPDX-License-Identifier: MIT */
/*
 * The text inside JSON strings, for the JSON files of base/ and policy/body_encode.c: unescaping,
 * comparing, UTF-8.
 * Nothing here checks grammar; the raw text given must come from a string that the scanner
 * accepted.
 */
#ifndef BASE_JTEXT_H
#define BASE_JTEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

/* True when `raw` (what stands between the quotes) reads `plain` after unescaping. */
bool jtext_equal(struct str raw, struct str plain);

/* Length of the valid UTF-8 sequence at p (1-4), 0 when there is none. p < end. */
size_t utf8_sequence(const char *p, const char *end);

/* Adds the bytes, each invalid one as U+FFFD. All or nothing. */
int utf8_add(struct buf *out, struct str s) __attribute__((warn_unused_result));

#endif
