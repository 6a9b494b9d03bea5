/* SPDX-License-Identifier: MIT */
/*
 * A table on a terminal: columns as wide as their widest cell, two spaces between them, the last
 * one unpadded. Cells are given row by row and cleaned (term.h).
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/buf.h"
#include "cli/term.h"

struct table_column {
    const char *title;
    bool right; /* numbers */
};

struct table_cell {
    size_t start, n; /* in text */
    size_t width;    /* columns */
    enum term_colour colour;
};

struct table {
    const struct table_column *columns; /* borrowed */
    size_t n_columns;
    struct buf text;
    struct table_cell *cells;
    size_t n_cells, room;
    bool bad; /* a cell was lost: memory, or more than MAX_TABLE_CELLS */
};

void table_init(struct table *t, const struct table_column *columns, size_t n_columns);
void table_release(struct table *t);

/* The next cell; an empty one is shown as "-". */
void table_add(struct table *t, enum term_colour colour, struct str text);
void table_addf(struct table *t, enum term_colour colour, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A count. */
void table_num(struct table *t, double n);

/* Titles and rows. A column's width stops at TABLE_WIDEST: a longer cell pushes its own row only.
 * -1 when cells were lost (said on stderr). */
int table_print(const struct table *t, FILE *to);

#endif
