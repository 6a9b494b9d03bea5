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

/* A clock that its owner moves: what a simulated gateway lives by. Both times move together. */
struct clock_virtual {
    usec now;  /* as clock_now tells it */
    usec wall; /* as clock_wall tells it */
};

/* The clock of the calling thread from here on, borrowed; NULL: the real one. Returns the one
 * before, for the caller to put back. */
struct clock_virtual *clock_use(struct clock_virtual *clock);

usec clock_now(void);        /* CLOCK_MONOTONIC, or the clock in use */
usec clock_wall(void);       /* CLOCK_REALTIME since the epoch, or the clock in use */
usec clock_steady(void);     /* CLOCK_MONOTONIC, whatever clock is in use: for what code costs */
usec clock_thread_cpu(void); /* CLOCK_THREAD_CPUTIME_ID */

/* Seconds to microseconds, clamped to [0, 10 years]; NaN is 0. */
usec usec_from_seconds(double s);
double usec_to_seconds(usec t);
struct timeval usec_to_timeval(usec t); /* negative becomes 0 */

/* "2026-11-21T12:48:22.123Z"; size >= 25. */
void clock_format(usec wall, char *out, size_t size);

/* "Sun, 06 Nov 1994 08:49:37 GMT", what Date says; size >= 30. */
void clock_format_http(usec wall, char *out, size_t size);

/* Retry-After and Date: IMF-fixdate, RFC 850 and asctime forms. Wall microseconds, or -1. */
usec clock_parse_http_date(const char *text, size_t n);

#endif
