/* SPDX-License-Identifier: MIT */
/* See term.h. */
#include "cli/term.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- Colours ---- */

bool term_has_colours(FILE *to) {
    const char *no = getenv("NO_COLOR"), *kind = getenv("TERM");
    bool wanted = (!no || !*no) && !(kind && strcmp(kind, "dumb") == 0);
    return wanted && isatty(fileno(to));
}

const char *term_begin(FILE *to, enum term_colour colour) {
    static const char *const sequences[] = {"",         "\033[1m",  "\033[2m",
                                            "\033[31m", "\033[32m", "\033[33m"};
    return colour != TERM_PLAIN && term_has_colours(to) ? sequences[colour] : "";
}

const char *term_end(FILE *to, enum term_colour colour) {
    return colour != TERM_PLAIN && term_has_colours(to) ? "\033[0m" : "";
}

/* ---- Text ---- */

/* The code point at p, and its length in *n; -1 (and 1) where there is no valid sequence. */
static long decode(const char *p, const char *end, size_t *n) {
    static const long least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char c = (unsigned char)*p;
    *n = c < 0x80 ? 1 : c >= 0xF0 && c < 0xF5 ? 4 : c >= 0xE0 ? 3 : c >= 0xC2 ? 2 : 0;
    if (*n == 0 || c >= 0xF5 || (size_t)(end - p) < *n) {
        *n = 1;
        return -1;
    }
    long code = *n == 1 ? c : c & (0x7F >> *n);
    for (size_t i = 1; i < *n; i++) {
        unsigned char next = (unsigned char)p[i];
        if ((next & 0xC0) != 0x80) {
            *n = 1;
            return -1;
        }
        code = code << 6 | (next & 0x3F);
    }
    if (code < least[*n] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
        *n = 1;
        return -1;
    }
    return code;
}

/* Controls, and those that turn the direction of writing around. */
static bool is_control(long code) {
    return code < 0x20 || (code >= 0x7F && code < 0xA0) || (code >= 0x202A && code <= 0x202E) ||
           (code >= 0x2066 && code <= 0x2069);
}

int term_clean(struct buf *out, struct str text) {
    const char *p = text.p, *end = text.p + text.n;
    int bad = 0;
    while (p < end) {
        size_t n;
        bad |= is_control(decode(p, end, &n)) ? buf_addc(out, '?') : buf_add(out, p, n);
        p += n;
    }
    return bad;
}

void term_put(FILE *to, struct str text) {
    struct buf clean;
    buf_init(&clean, text.n);
    if (term_clean(&clean, text) == BUF_OK) {
        fwrite(clean.data, 1, clean.len, to);
    }
    buf_release(&clean);
}

/* East Asian wide and fullwidth characters and emoji take two columns, combining ones none. */
static size_t width_of(long code) {
    static const long wide[][2] = {{0x1100, 0x115F},   {0x2E80, 0xA4CF},   {0xAC00, 0xD7A3},
                                   {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},
                                   {0xFFE0, 0xFFE6},   {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF},
                                   {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
    if ((code >= 0x300 && code <= 0x36F) || (code >= 0x200B && code <= 0x200D) ||
        (code >= 0xFE00 && code <= 0xFE0F)) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(wide) / sizeof(*wide); i++) {
        if (code >= wide[i][0] && code <= wide[i][1]) {
            return 2;
        }
    }
    return 1;
}

size_t term_width(struct str text) {
    const char *p = text.p, *end = text.p + text.n;
    size_t width = 0, n;
    for (; p < end; p += n) {
        width += width_of(decode(p, end, &n));
    }
    return width;
}

/* ---- Quantities ---- */

void term_duration(double s, char *out, size_t size) {
    if (!isfinite(s) || s < 0) {
        snprintf(out, size, "-");
    } else if (s < 0.0995) {
        snprintf(out, size, "%.2g ms", s * 1000);
    } else if (s < 0.9995) {
        snprintf(out, size, "%.0f ms", s * 1000);
    } else if (s < 9.95) {
        snprintf(out, size, "%.1f s", s);
    } else if (s < 120) {
        snprintf(out, size, "%.0f s", s);
    } else if (s < 7200) {
        snprintf(out, size, "%.0f min", floor(s / 60));
    } else if (s < 2 * 86400) {
        snprintf(out, size, "%.0f h %.0f min", floor(s / 3600), floor(fmod(s, 3600) / 60));
    } else {
        snprintf(out, size, "%.0f d %.0f h", floor(s / 86400), floor(fmod(s, 86400) / 3600));
    }
}

void term_bytes(double bytes, char *out, size_t size) {
    if (bytes < 1024) {
        snprintf(out, size, "%.0f B", bytes);
    } else if (bytes < 1024 * 1024) {
        snprintf(out, size, "%.0f KiB", bytes / 1024);
    } else {
        snprintf(out, size, "%.1f MiB", bytes / (1024 * 1024));
    }
}

void term_time(struct str time, char *out, size_t size) {
    struct buf clean;
    buf_init(&clean, 64);
    if (time.n >= 20 && time.p[10] == 'T' && time.p[time.n - 1] == 'Z' &&
        term_clean(&clean, str_make(time.p, 19)) == BUF_OK) {
        clean.data[10] = ' ';
        snprintf(out, size, "%s UTC", clean.data);
    } else if (term_clean(&clean, time) == BUF_OK) {
        str_copy(out, size, buf_str(&clean));
    } else {
        snprintf(out, size, "-");
    }
    buf_release(&clean);
}
