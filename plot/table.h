/*
 * table.h -- the table behind a figure: the same rows as TSV for gnuplot and as HTML for people.
 *
 * Cells are added left to right, row after row.  A number is exact in the TSV and rounded, with its unit, on the page.
 * Unknown is an empty cell in the TSV and a dash on the page.
 */
#ifndef ASSAY_PLOT_TABLE_H
#define ASSAY_PLOT_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "plot/text.h"

/* What a column holds; the first six are numbers that text_number knows. */
enum column_kind {
    COLUMN_COUNT     = TEXT_COUNT,
    COLUMN_NUMBER    = TEXT_PLAIN,
    COLUMN_RATE      = TEXT_RATE,
    COLUMN_NS        = TEXT_NS,
    COLUMN_BYTES     = TEXT_BYTES,
    COLUMN_BANDWIDTH = TEXT_BANDWIDTH,
    COLUMN_AMOUNT, /* a number whose kind each row chooses: table_amount */
    COLUMN_PLACE,  /* a number that only the figure needs; not on the page */
    COLUMN_TEXT,
    COLUMN_GROUP   /* text; on the page it stands in a line of its own above the rows that share it */
};

struct column {
    const char      *name;    /* in the TSV */
    const char      *heading; /* on the page */
    enum column_kind kind;
};

struct table {
    const struct column *columns; /* not owned */
    size_t               column_count;
    char               **tsv;
    char               **html;
    size_t               cell_count, cell_room;
};

void table_init(struct table *table, const struct column *columns, size_t column_count);
void table_clear(struct table *table);

void table_text(struct table *table, const char *text);
void table_value(struct table *table, double value); /* NaN: unknown */
void table_json(struct table *table, const json_t *number); /* NULL, null: unknown */
void table_amount(struct table *table, enum text_kind kind, double value);
/* Text whose form on the page is ready-made HTML. */
void table_markup(struct table *table, const char *text, const char *html);

size_t table_rows(const struct table *table);
size_t table_column(const struct table *table, const char *name); /* 1-based, as gnuplot counts; asserts that it is there */

void table_write_tsv(const struct table *table, FILE *stream);
void table_write_html(const struct table *table, FILE *stream);

#endif
