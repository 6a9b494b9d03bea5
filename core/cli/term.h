/* SPDX-License-Identifier: MIT */
/*
 * What is shown to people: colours, text that may hold anything, durations and sizes. Text that
 * came from a gateway (which has it from providers) is never printed raw: a control sequence in it
 * would be obeyed by the terminal.
 */
#ifndef CLI_TERM_H
#define CLI_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/str.h"

enum term_colour { TERM_PLAIN, TERM_BOLD, TERM_DIM, TERM_RED, TERM_GREEN, TERM_YELLOW };

/* `to` is a terminal, NO_COLOR is unset or empty, and TERM is not "dumb". */
bool term_has_colours(FILE *to);
/* The sequence that begins a colour, "" for TERM_PLAIN or where there are no colours. */
const char *term_begin(FILE *to, enum term_colour colour);
/* The one that ends it. */
const char *term_end(FILE *to, enum term_colour colour);

/* Adds text with controls (C0, C1, DEL, line ends too) and bytes that are no UTF-8 as "?". */
int term_clean(struct buf *out, struct str text) __attribute__((warn_unused_result));
/* Prints text cleaned that way. */
void term_put(FILE *to, struct str text);
/* Columns that clean text takes: roughly, wide and combining characters of the common blocks. */
size_t term_width(struct str text);

/* "0.4 ms", "312 ms", "1.2 s", "45 s", "12 min", "3 h 12 min", "4 d 3 h". size >= 32. */
void term_duration(double seconds, char *out, size_t size);
/* "512 B", "12 KiB", "3.4 MiB". size >= 32. */
void term_bytes(double bytes, char *out, size_t size);
/* "2026-11-21T12:48:22.123Z" as "2026-11-21 12:48:22 UTC"; anything else cleaned. size >= 32. */
void term_time(struct str time, char *out, size_t size);

#endif
