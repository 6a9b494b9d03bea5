/* SPDX-License-Identifier: MIT */
/*
 * Clocks, and dates as text. Calendar arithmetic is our own (proleptic Gregorian, UTC): the C
 * library's reads the time zone under a lock and its parsers follow the locale. Holds one value per
 * thread: the virtual clock in use, set around a turn of a simulated gateway and put back after it.
 */
#include "base/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/str.h"

#define SECONDS_MAX (10.0 * 365.25 * 86400.0)

static usec read_clock(clockid_t id) {
    struct timespec ts = {0, 0};
    clock_gettime(id, &ts);
    return (usec)ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000;
}

static _Thread_local struct clock_virtual *in_use;

struct clock_virtual *clock_use(struct clock_virtual *clock) {
    struct clock_virtual *before = in_use;
    in_use = clock;
    return before;
}

usec clock_now(void) {
    return in_use ? in_use->now : read_clock(CLOCK_MONOTONIC);
}

usec clock_steady(void) {
    return read_clock(CLOCK_MONOTONIC);
}

usec clock_thread_cpu(void) {
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

usec clock_wall(void) {
    return in_use ? in_use->wall : read_clock(CLOCK_REALTIME);
}

usec usec_from_seconds(double s) {
    if (!(s > 0)) { /* NaN as well */
        return 0;
    }
    return (usec)((s < SECONDS_MAX ? s : SECONDS_MAX) * 1e6 + 0.5);
}

double usec_to_seconds(usec t) {
    return (double)t / 1e6;
}

struct timeval usec_to_timeval(usec t) {
    struct timeval tv = {0, 0};
    if (t > 0) {
        tv.tv_sec = (time_t)(t / USEC_PER_SEC);
        tv.tv_usec = (suseconds_t)(t % USEC_PER_SEC);
    }
    return tv;
}

/* Days since 1970-01-01, years counted from March so that the leap day comes last (Hinnant's
 * days_from_civil). */
static int64_t days_from_date(int64_t year, int month, int day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_from_days(int64_t days, int64_t *year, int *month, int *day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int mp = (int)((5 * doy + 2) / 153);
    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = mp < 10 ? mp + 3 : mp - 9;
    *year = yoe + era * 400 + (*month <= 2);
}

void clock_format(usec wall, char *out, size_t size) {
    if (wall < 0) {
        wall = 0;
    }
    int64_t seconds = wall / USEC_PER_SEC;
    int64_t rest = seconds % 86400;
    int64_t year = 0;
    int month = 0;
    int day = 0;
    date_from_days(seconds / 86400, &year, &month, &day);
    snprintf(out, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (int)(year <= 9999 ? year : 9999),
             month, day, (int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60),
             (int)(wall % USEC_PER_SEC / 1000));
}

static const char *const MONTHS[12] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char *const WEEKDAYS[7] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

static void put_digits(char *out, int n, int64_t value) {
    while (n-- > 0) {
        out[n] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* Without formatted printing: each answer has a date. */
void clock_format_http(usec wall, char *out, size_t size) {
    char text[] = "Thu, 01 Jan 1970 00:00:00 GMT";
    int64_t seconds = wall > 0 ? wall / USEC_PER_SEC : 0, year = 0;
    int month = 0, day = 0;
    date_from_days(seconds / 86400, &year, &month, &day);
    memcpy(text, WEEKDAYS[(seconds / 86400 + 4) % 7], 3);
    put_digits(text + 5, 2, day);
    memcpy(text + 8, MONTHS[month - 1], 3);
    put_digits(text + 12, 4, year <= 9999 ? year : 9999);
    put_digits(text + 17, 2, seconds / 3600 % 24);
    put_digits(text + 20, 2, seconds / 60 % 60);
    put_digits(text + 23, 2, seconds % 60);
    str_copy(out, size, str_make(text, sizeof(text) - 1));
}

/* What is left of the date being read; each take_ returns false and the whole date is refused. */
struct cursor {
    const char *p, *end;
};

static bool take(struct cursor *c, const char *text) {
    size_t n = strlen(text);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, text, n) != 0) {
        return false;
    }
    c->p += n;
    return true;
}

static bool take_digits(struct cursor *c, int n, int *out) {
    *out = 0;
    for (int i = 0; i < n; i++) {
        if (c->p == c->end || *c->p < '0' || *c->p > '9') {
            return false;
        }
        *out = *out * 10 + (*c->p++ - '0');
    }
    return true;
}

/* One of the names, by its index + 1; 0 when none stands here. */
static int take_name(struct cursor *c, const char *const *names, int n) {
    for (int i = 0; i < n; i++) {
        if (take(c, names[i])) {
            return i + 1;
        }
    }
    return 0;
}

static bool take_month(struct cursor *c, int *month) {
    *month = take_name(c, MONTHS, 12);
    return *month != 0;
}

struct moment {
    int year, month, day, hour, minute, second;
};

static bool take_time(struct cursor *c, struct moment *m) {
    return take_digits(c, 2, &m->hour) && take(c, ":") && take_digits(c, 2, &m->minute) &&
           take(c, ":") && take_digits(c, 2, &m->second);
}

/* Sun, 06 Nov 1994 08:49:37 GMT */
static bool take_imf(struct cursor *c, struct moment *m) {
    return take(c, ", ") && take_digits(c, 2, &m->day) && take(c, " ") &&
           take_month(c, &m->month) && take(c, " ") && take_digits(c, 4, &m->year) &&
           take(c, " ") && take_time(c, m) && take(c, " GMT");
}

/* Sunday, 06-Nov-94 08:49:37 GMT */
static bool take_rfc850(struct cursor *c, struct moment *m) {
    if (!take(c, ", ") || !take_digits(c, 2, &m->day) || !take(c, "-") ||
        !take_month(c, &m->month) || !take(c, "-") || !take_digits(c, 2, &m->year) ||
        !take(c, " ") || !take_time(c, m)) {
        return false;
    }
    int64_t now = 0;
    int month = 0;
    int day = 0;
    date_from_days(clock_wall() / USEC_PER_SEC / 86400, &now, &month, &day);
    m->year += (int)(now / 100 * 100);
    /* RFC 9110 5.6.7: a year that seems more than 50 years ahead is the last past one with those
     * digits. */
    if (m->year > now + 50) {
        m->year -= 100;
    }
    return take(c, " GMT");
}

/* Sun Nov  6 08:49:37 1994 */
static bool take_asctime(struct cursor *c, struct moment *m) {
    return take(c, " ") && take_month(c, &m->month) && take(c, " ") &&
           (take(c, " ") ? take_digits(c, 1, &m->day) : take_digits(c, 2, &m->day)) &&
           take(c, " ") && take_time(c, m) && take(c, " ") && take_digits(c, 4, &m->year);
}

static bool take_date(struct cursor *c, struct moment *m) {
    static const char *const long_days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                            "Thursday", "Friday", "Saturday"};
    if (take_name(c, long_days, 7)) {
        return take_rfc850(c, m);
    }
    if (!take_name(c, WEEKDAYS, 7) || c->p == c->end) {
        return false;
    }
    return *c->p == ',' ? take_imf(c, m) : take_asctime(c, m);
}

static int month_days(const struct moment *m) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (m->year % 4 == 0 && m->year % 100 != 0) || m->year % 400 == 0;
    return days[m->month - 1] + (m->month == 2 && leap ? 1 : 0);
}

usec clock_parse_http_date(const char *text, size_t n) {
    struct str s = str_trim(str_make(text, n));
    struct cursor c = {s.p, s.p + s.n};
    struct moment m = {0, 0, 0, 0, 0, 0};
    if (s.n == 0 || !take_date(&c, &m) || c.p != c.end) {
        return -1;
    }
    if (m.day < 1 || m.day > month_days(&m) || m.hour > 23 || m.minute > 59 || m.second > 60) {
        return -1;
    }
    int64_t seconds =
        days_from_date(m.year, m.month, m.day) * 86400 + m.hour * 3600 + m.minute * 60 + m.second;
    return seconds < 0 ? -1 : seconds * USEC_PER_SEC;
}
