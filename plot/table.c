#include "plot/table.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void table_init(struct table *table, const struct column *columns, size_t column_count)
{
    *table = (struct table){.columns = columns, .column_count = column_count};
}

void table_clear(struct table *table)
{
    for (size_t i = 0; i < table->cell_count; i++) {
        free(table->tsv[i]);
        free(table->html[i]);
    }
    free(table->tsv);
    free(table->html);
    *table = (struct table){0};
}

size_t table_rows(const struct table *table)
{
    return table->column_count ? table->cell_count / table->column_count : 0;
}

size_t table_column(const struct table *table, const char *name)
{
    size_t i = 0;

    while (i < table->column_count && strcmp(table->columns[i].name, name) != 0)
        i++;
    assert(i < table->column_count);
    return i + 1;
}

static void add(struct table *table, char *tsv, char *html)
{
    size_t room = table->cell_room;

    table->tsv  = text_grow(table->tsv, table->cell_count, &room, sizeof *table->tsv);
    room        = table->cell_room;
    table->html = text_grow(table->html, table->cell_count, &room, sizeof *table->html);
    table->cell_room              = room;
    table->tsv[table->cell_count] = tsv;
    table->html[table->cell_count++] = html;
}

static char *escaped(const char *text)
{
    char  *html = NULL;
    size_t bytes;
    FILE  *stream = open_memstream(&html, &bytes);

    text_html(stream, text);
    fclose(stream);
    return html;
}

/* A tab or a line end would begin another cell, and gnuplot takes a double quote for the beginning of a quoted cell. */
static char *tsv_text(const char *text)
{
    char *copy = text_of("%s", text);

    for (char *c = copy; *c; c++) {
        if ((unsigned char)*c < ' ')
            *c = ' ';
        else if (*c == '"')
            *c = '\'';
    }
    return copy;
}

void table_markup(struct table *table, const char *text, const char *html)
{
    add(table, tsv_text(text), text_of("%s", html));
}

void table_text(struct table *table, const char *text)
{
    add(table, tsv_text(text), escaped(text));
}

static enum column_kind next_kind(const struct table *table)
{
    return table->columns[table->cell_count % table->column_count].kind;
}

static enum text_kind number_kind(const struct table *table)
{
    enum column_kind kind = next_kind(table);

    return kind <= COLUMN_BANDWIDTH ? (enum text_kind)kind : TEXT_PLAIN;
}

void table_value(struct table *table, double value)
{
    table_amount(table, number_kind(table), value);
}

void table_amount(struct table *table, enum text_kind kind, double value)
{
    char text[TEXT_NUMBER_MAX];
    bool whole = value == floor(value) && fabs(value) < 0x1p53;

    text_number(text, kind, value);
    add(table, isfinite(value) ? text_of(whole ? "%.0f" : "%.17g", value) : text_of("%s", ""), text_of("%s", text));
}

void table_json(struct table *table, const json_t *number)
{
    char text[TEXT_NUMBER_MAX];

    if (!json_is_integer(number)) {
        table_value(table, json_is_real(number) ? json_real_value(number) : NAN);
        return;
    }
    if (next_kind(table) == COLUMN_COUNT)
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(number));
    else
        text_number(text, number_kind(table), (double)json_integer_value(number));
    add(table, text_of("%lld", (long long)json_integer_value(number)), text_of("%s", text));
}

void table_write_tsv(const struct table *table, FILE *stream)
{
    for (size_t i = 0; i < table->column_count; i++)
        fprintf(stream, "%s%c", table->columns[i].name, i + 1 < table->column_count ? '\t' : '\n');
    for (size_t i = 0; i < table->cell_count; i++)
        fprintf(stream, "%s%c", table->tsv[i], (i + 1) % table->column_count ? '\t' : '\n');
}

static bool on_the_page(enum column_kind kind)
{
    return kind != COLUMN_PLACE && kind != COLUMN_GROUP;
}

/* The line above a row that begins a group: what its group columns say, where they do not repeat the row before. */
static void write_group(const struct table *table, size_t row, size_t width, FILE *stream)
{
    const struct column *columns = table->columns;
    size_t               at      = row * table->column_count;
    bool                 differs = row == 0;
    const char          *dot     = "";

    for (size_t i = 0; i < table->column_count; i++)
        if (columns[i].kind == COLUMN_GROUP && row > 0)
            differs = differs || strcmp(table->tsv[at + i], table->tsv[at + i - table->column_count]) != 0;
    if (!differs)
        return;
    for (size_t i = 0; i < table->column_count; i++) {
        if (columns[i].kind != COLUMN_GROUP || !*table->html[at + i])
            continue;
        if (*dot)
            fputs(dot, stream);
        else
            fprintf(stream, "<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"%zu\">", width);
        fputs(table->html[at + i], stream);
        dot = " · ";
    }
    if (*dot)
        fputs("</th></tr>\n", stream);
}

void table_write_html(const struct table *table, FILE *stream)
{
    size_t width = 0;

    fputs("<div class=\"scroll\"><table>\n<thead><tr>", stream);
    for (size_t i = 0; i < table->column_count; i++) {
        if (!on_the_page(table->columns[i].kind))
            continue;
        width++;
        fprintf(stream, "<th scope=\"col\"%s>%s</th>", table->columns[i].kind == COLUMN_TEXT ? "" : " class=\"n\"",
                table->columns[i].heading);
    }
    fputs("</tr></thead>\n<tbody>\n", stream);
    for (size_t row = 0; row < table_rows(table); row++) {
        write_group(table, row, width, stream);
        fputs("<tr>", stream);
        for (size_t i = 0; i < table->column_count; i++) {
            const char *html = table->html[row * table->column_count + i];

            if (on_the_page(table->columns[i].kind))
                fprintf(stream, "<td%s>%s</td>",
                        table->columns[i].kind != COLUMN_TEXT ? " class=\"n\""
                        : strlen(html) > 30 && *html != '<'   ? " class=\"long\""
                                                              : "",
                        html);
        }
        fputs("</tr>\n", stream);
    }
    fputs("</tbody></table></div>\n", stream);
}
