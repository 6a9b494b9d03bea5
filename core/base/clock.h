/* SPDX-License-Identifier: MIT */
/*
 * Time. Durations and deadlines are monotonic microseconds; wall time is only for people and for
 * HTTP dates.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>

typedef int64_t usec;

#define USEC_PER_SEC INT64_C(1000000)
#define USEC_NEVER INT64_MAX

usec clock_now(void);        /* CLOCK_MONOTONIC */
usec clock_thread_cpu(void); /* CLOCK_THREAD_CPUTIME_ID */
usec clock_wall(void);       /* CLOCK_REALTIME, since the epoch */

/* Seconds to microseconds, clamped to [0, 10 years]; NaN is 0. */
usec usec_from_seconds(double s);
double usec_to_seconds(usec t);
struct timeval usec_to_timeval(usec t); /* negative becomes 0 */

/* "2026-11-21T12:48:22.123Z"; size >= 25. */
void clock_format(usec wall, char *out, size_t size);

/* Retry-After and Date: IMF-fixdate, RFC 850 and asctime forms. Wall microseconds, or -1. */
usec clock_parse_http_date(const char *text, size_t n);

#endif
