#include "plot/table.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"

static void *must(void *memory)
{
    if (memory)
        return memory;
    fputs("assay report: out of memory\n", stderr);
    exit(1);
}

char *text_of(const char *format, ...)
{
    va_list arguments;
    char   *text = NULL;
    int     length;

    va_start(arguments, format);
    length = vasprintf(&text, format, arguments);
    va_end(arguments);
    return must(length < 0 ? NULL : text);
}

void *grow(void *array, size_t count, size_t *room, size_t item_bytes)
{
    if (count < *room)
        return array;
    *room = *room ? *room * 2 : 16;
    return must(realloc(array, *room * item_bytes));
}

void html_escape(FILE *stream, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&': fputs("&amp;", stream); break;
        case '<': fputs("&lt;", stream); break;
        case '>': fputs("&gt;", stream); break;
        case '"': fputs("&quot;", stream); break;
        case '\'': fputs("&#39;", stream); break;
        default: fputc((unsigned char)*text < ' ' && *text != '\n' ? ' ' : *text, stream);
        }
    }
}

char *number_text(char out[NUMBER_TEXT_MAX], enum column_kind kind, double value)
{
    char unit[UNITS_TEXT_MAX];

    if (!isfinite(value))
        return strcpy(out, "–");
    switch (kind) {
    case COLUMN_RATE:
        units_text_count(unit, value);
        snprintf(out, NUMBER_TEXT_MAX, "%s%s/s", unit, strchr(unit, ' ') ? "" : " ");
        break;
    case COLUMN_NS:
        if (value < 0)
            snprintf(out, NUMBER_TEXT_MAX, "%.3g ns", value);
        else if (value < 999.5)
            snprintf(out, NUMBER_TEXT_MAX, "%.3g ns", value);
        else if (value < 999.5e3)
            snprintf(out, NUMBER_TEXT_MAX, "%.3g µs", value / 1e3);
        else if (value < 999.5e6)
            snprintf(out, NUMBER_TEXT_MAX, "%.3g ms", value / 1e6);
        else
            snprintf(out, NUMBER_TEXT_MAX, "%.4g s", value / 1e9);
        break;
    case COLUMN_BYTES:
        if (value >= 0 && value < 1023.5)
            snprintf(out, NUMBER_TEXT_MAX, "%.4g B", value);
        else if (value >= 0 && value < 0x1p63)
            snprintf(out, NUMBER_TEXT_MAX, "%s", units_text_bytes(unit, (uint64_t)value));
        else
            snprintf(out, NUMBER_TEXT_MAX, "%.3g B", value);
        break;
    case COLUMN_BANDWIDTH:
        snprintf(out, NUMBER_TEXT_MAX, "%.3g GB/s", value / 1e9);
        break;
    case COLUMN_COUNT:
    case COLUMN_PLACE:
        snprintf(out, NUMBER_TEXT_MAX, "%.0f", value);
        break;
    default:
        if (fabs(value) >= 999.5)
            snprintf(out, NUMBER_TEXT_MAX, "%.0f", value);
        else
            snprintf(out, NUMBER_TEXT_MAX, "%.3g", value);
    }
    return out;
}

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
    return table->cell_count / table->column_count;
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

    table->tsv  = grow(table->tsv, table->cell_count, &room, sizeof *table->tsv);
    room        = table->cell_room;
    table->html = grow(table->html, table->cell_count, &room, sizeof *table->html);
    table->cell_room              = room;
    table->tsv[table->cell_count] = tsv;
    table->html[table->cell_count++] = html;
}

static char *escaped(const char *text)
{
    char  *html = NULL;
    size_t bytes;
    FILE  *stream = must(open_memstream(&html, &bytes));

    html_escape(stream, text);
    fclose(stream);
    return must(html);
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

void table_value(struct table *table, double value)
{
    table_amount(table, next_kind(table), value);
}

void table_amount(struct table *table, enum column_kind kind, double value)
{
    char text[NUMBER_TEXT_MAX];
    bool whole = value == floor(value) && fabs(value) < 0x1p53;

    number_text(text, kind, value);
    add(table, isfinite(value) ? text_of(whole ? "%.0f" : "%.17g", value) : text_of("%s", ""), text_of("%s", text));
}

void table_json(struct table *table, const json_t *number)
{
    char text[NUMBER_TEXT_MAX];

    if (!json_is_integer(number)) {
        table_value(table, json_is_real(number) ? json_real_value(number) : NAN);
        return;
    }
    if (next_kind(table) == COLUMN_COUNT)
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(number));
    else
        number_text(text, next_kind(table), (double)json_integer_value(number));
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
