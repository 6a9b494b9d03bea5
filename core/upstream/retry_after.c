/* SPDX-License-Identifier: MIT */
/*
 * How long a provider asks to wait. What cannot be read is treated as if it were not there. (The
 * SDKs read the same three fields in this order.)
 */
#include "base/clock.h"
#include "upstream/dialect.h"

/* Digits with at most one point; longer numbers than any wait are cut off at ten years. -1: it is
 * none. */
static double number(struct str s) {
    double value = 0, scale = 0;
    size_t digits = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' && scale == 0) {
            scale = 1;
        } else if (s.p[i] >= '0' && s.p[i] <= '9') {
            digits++;
            value = value * 10 + (s.p[i] - '0');
            scale *= 10;
        } else {
            return -1;
        }
    }
    if (digits == 0 || digits > 300) {
        return -1;
    }
    return scale > 1 ? value / scale : value;
}

static double capped(double seconds) {
    const double ten_years = 10 * 366 * 86400.0;
    return seconds < ten_years ? seconds : ten_years;
}

double retry_after_said(struct str text) {
    bool unit = text.n > 0 && text.p[text.n - 1] == 's';
    double seconds = number(str_make(text.p, unit ? text.n - 1 : text.n));
    return seconds > 0 ? capped(seconds) : 0;
}

double retry_after_seconds(const struct headers *headers, long long wall_now) {
    static const char *const milliseconds[] = {"retry-after-ms", "x-ms-retry-after-ms"};
    struct str value;
    for (size_t i = 0; i < 2; i++) {
        if (headers_get(headers, milliseconds[i], &value) && number(value) >= 0) {
            return capped(number(value) / 1000);
        }
    }
    if (!headers_get(headers, "Retry-After", &value)) {
        return -1;
    }
    if (number(value) >= 0) {
        return capped(number(value));
    }
    usec when = clock_parse_http_date(value.p, value.n);
    if (when < 0) {
        return -1;
    }
    return when > wall_now ? capped(usec_to_seconds(when - wall_now)) : 0;
}
