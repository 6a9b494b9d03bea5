/* SPDX-License-Identifier: MIT */
/*
 * Formatting of error details. Owns nothing, allocates nothing, never fails.
 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

int err_set(struct err *err, const char *fmt, ...) {
    if (!err) {
        return -1;
    }
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    if (n < 0) {
        err->text[0] = '\0';
    }
    return -1;
}
