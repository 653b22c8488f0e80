#include "plot/text.h"

#include <ctype.h>
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

void *text_grow(void *array, size_t count, size_t *room, size_t item_bytes)
{
    if (count < *room)
        return array;
    *room = *room ? *room * 2 : 16;
    return must(realloc(array, *room * item_bytes));
}

void text_html(FILE *stream, const char *text)
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

char *text_number(char out[TEXT_NUMBER_MAX], enum text_kind kind, double value)
{
    char unit[UNITS_TEXT_MAX];

    if (!isfinite(value))
        return strcpy(out, "–");
    switch (kind) {
    case TEXT_RATE:
        units_text_count(unit, value);
        snprintf(out, TEXT_NUMBER_MAX, "%s%s/s", unit, strchr(unit, ' ') ? "" : " ");
        break;
    case TEXT_NS:
        if (value < 0)
            snprintf(out, TEXT_NUMBER_MAX, "%.3g ns", value);
        else if (value < 999.5)
            snprintf(out, TEXT_NUMBER_MAX, "%.3g ns", value);
        else if (value < 999.5e3)
            snprintf(out, TEXT_NUMBER_MAX, "%.3g µs", value / 1e3);
        else if (value < 999.5e6)
            snprintf(out, TEXT_NUMBER_MAX, "%.3g ms", value / 1e6);
        else
            snprintf(out, TEXT_NUMBER_MAX, "%.4g s", value / 1e9);
        break;
    case TEXT_BYTES:
        if (value >= 0 && value < 1023.5)
            snprintf(out, TEXT_NUMBER_MAX, "%.4g B", value);
        else if (value >= 0 && value < 0x1p63)
            snprintf(out, TEXT_NUMBER_MAX, "%s", units_text_bytes(unit, (uint64_t)value));
        else
            snprintf(out, TEXT_NUMBER_MAX, "%.3g B", value);
        break;
    case TEXT_BANDWIDTH:
        snprintf(out, TEXT_NUMBER_MAX, "%.3g GB/s", value / 1e9);
        break;
    case TEXT_COUNT:
        snprintf(out, TEXT_NUMBER_MAX, "%.0f", value);
        break;
    default:
        if (fabs(value) >= 999.5)
            snprintf(out, TEXT_NUMBER_MAX, "%.0f", value);
        else
            snprintf(out, TEXT_NUMBER_MAX, "%.3g", value);
    }
    return out;
}

char *text_shortened(const char *text, size_t most)
{
    size_t chars = 0, bytes = 0, cut = 0;

    for (; text[bytes]; bytes++) {
        if (((unsigned char)text[bytes] & 0xc0) == 0x80)
            continue;
        if (chars++ == most - 1)
            cut = bytes;
    }
    return chars > most ? text_of("%.*s…", (int)cut, text) : text_of("%s", text);
}

size_t text_chars(const char *text)
{
    size_t chars = 0;

    for (; *text; text++)
        chars += ((unsigned char)*text & 0xc0) != 0x80;
    return chars;
}

char *text_slug(const char *text)
{
    char  *slug = text_of("%s", text);
    size_t at   = 0;

    for (const char *c = text; *c; c++) {
        if (isalnum((unsigned char)*c))
            slug[at++] = (char)tolower((unsigned char)*c);
        else if (at && slug[at - 1] != '-')
            slug[at++] = '-';
    }
    while (at && slug[at - 1] == '-')
        at--;
    slug[at > 60 ? 60 : at] = '\0';
    return slug;
}
