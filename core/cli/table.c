/* SPDX-License-Identifier: MIT */
/* See table.h. */
#include "cli/table.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/limits.h"

#define TABLE_WIDEST 48

void table_init(struct table *t, const struct table_column *columns, size_t n_columns) {
    *t = (struct table){.columns = columns, .n_columns = n_columns};
    buf_init(&t->text, MAX_FETCH_BODY);
}

void table_release(struct table *t) {
    buf_release(&t->text);
    free(t->cells);
    t->cells = NULL;
}

static bool has_room(struct table *t) {
    if (t->n_cells < t->room) {
        return true;
    }
    size_t room = t->room ? t->room * 2 : 64;
    struct table_cell *cells =
        room <= MAX_TABLE_CELLS ? realloc(t->cells, room * sizeof(*cells)) : NULL;
    if (!cells) {
        return false;
    }
    t->cells = cells;
    t->room = room;
    return true;
}

void table_add(struct table *t, enum term_colour colour, struct str text) {
    size_t start = t->text.len;
    text = text.n > 0 ? text : STR("-");
    if (!has_room(t) || term_clean(&t->text, text) != BUF_OK) {
        t->bad = true;
        return;
    }
    struct str clean = str_make(t->text.data + start, t->text.len - start);
    t->cells[t->n_cells++] = (struct table_cell){start, clean.n, term_width(clean), colour};
}

void table_addf(struct table *t, enum term_colour colour, const char *fmt, ...) {
    struct buf text;
    va_list ap;
    buf_init(&text, MAX_FETCH_BODY);
    va_start(ap, fmt);
    if (buf_addv(&text, fmt, ap) == BUF_OK) {
        table_add(t, colour, buf_str(&text));
    } else {
        t->bad = true;
    }
    va_end(ap);
    buf_release(&text);
}

void table_num(struct table *t, double n) {
    table_addf(t, TERM_PLAIN, "%.0f", n);
}

static size_t column_width(const struct table *t, size_t column) {
    size_t width = strlen(t->columns[column].title);
    for (size_t i = column; i < t->n_cells; i += t->n_columns) {
        size_t cell = t->cells[i].width < TABLE_WIDEST ? t->cells[i].width : TABLE_WIDEST;
        width = cell > width ? cell : width;
    }
    return width;
}

/* One cell of a column `width` wide, with what stands between it and its neighbours. */
static void print_cell(const struct table *t, FILE *to, size_t column, size_t width,
                       struct str text, const struct table_cell *cell) {
    bool last = column + 1 == t->n_columns, right = t->columns[column].right;
    int pad = cell->width < width ? (int)(width - cell->width) : 0;
    fprintf(to, "%*s%s%.*s%s%*s%s", right ? pad : 0, "", term_begin(to, cell->colour), (int)text.n,
            text.p, term_end(to, cell->colour), !right && !last ? pad : 0, "", last ? "\n" : "  ");
}

int table_print(const struct table *t, FILE *to) {
    size_t *widths = calloc(t->n_columns, sizeof(*widths));
    if (!widths || t->bad) {
        free(widths);
        fprintf(stderr, "moongate: memory is short for the table; --json needs less\n");
        return -1;
    }
    for (size_t c = 0; c < t->n_columns; c++) {
        struct str title = str_of(t->columns[c].title);
        struct table_cell cell = {0, title.n, title.n, TERM_BOLD};
        widths[c] = column_width(t, c);
        print_cell(t, to, c, widths[c], title, &cell);
    }
    for (size_t i = 0; i < t->n_cells; i++) {
        const struct table_cell *cell = &t->cells[i];
        size_t c = i % t->n_columns;
        print_cell(t, to, c, widths[c], str_make(t->text.data + cell->start, cell->n), cell);
    }
    free(widths);
    return 0;
}
