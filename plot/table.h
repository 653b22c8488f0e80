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

enum column_kind {
    COLUMN_PLACE,  /* a number that only the figure needs; not on the page */
    COLUMN_TEXT,
    COLUMN_GROUP,  /* text; on the page it stands in a line of its own above the rows that share it */
    COLUMN_COUNT,  /* all digits */
    COLUMN_NUMBER, /* three digits */
    COLUMN_RATE,   /* per second */
    COLUMN_NS,
    COLUMN_BYTES,
    COLUMN_BANDWIDTH, /* bytes per second */
    COLUMN_AMOUNT  /* a number whose kind each row chooses: table_amount */
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
void table_amount(struct table *table, enum column_kind kind, double value);
/* Text whose form on the page is ready-made HTML. */
void table_markup(struct table *table, const char *text, const char *html);

size_t table_rows(const struct table *table);
size_t table_column(const struct table *table, const char *name); /* 1-based, as gnuplot counts; asserts that it is there */

void table_write_tsv(const struct table *table, FILE *stream);
void table_write_html(const struct table *table, FILE *stream);

/* Text with the five characters that mean something to HTML, and control characters, made harmless. */
void html_escape(FILE *stream, const char *text);

#define NUMBER_TEXT_MAX 48
/* "3.21 M/s", "12.3 µs": as the column kinds show it; NaN is a dash. */
char *number_text(char out[NUMBER_TEXT_MAX], enum column_kind kind, double value);

/* malloc'd, never NULL: a report that runs out of memory ends there. */
__attribute__((format(printf, 1, 2)))
char *text_of(const char *format, ...);
void *grow(void *array, size_t count, size_t *room, size_t item_bytes);

#endif
