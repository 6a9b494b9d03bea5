/* SPDX-License-Identifier: MIT */
/*
 * The detail of an error, in storage of the caller. A function that can fail for a reason worth
 * telling takes `struct err *` last; NULL means that the caller does not want to know. Nothing here
 * allocates.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/limits.h"

struct err {
    char text[ERR_TEXT_MAX]; /* one sentence: what was found, where, what was expected */
};

/* Formats into err (may be NULL), truncating. Always returns -1, so that `return err_set(...)`
 * reads well. */
int err_set(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
