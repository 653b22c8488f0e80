/* text.h -- text for pages, pictures and file names: text_shortened, escaped, and numbers as people read them. */
#ifndef ASSAY_PLOT_TEXT_H
#define ASSAY_PLOT_TEXT_H

#include <stddef.h>
#include <stdio.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* What a number means. */
enum text_kind {
    TEXT_COUNT,     /* all digits */
    TEXT_PLAIN,     /* three digits */
    TEXT_RATE,      /* per second */
    TEXT_NS,
    TEXT_BYTES,
    TEXT_BANDWIDTH  /* bytes per second */
};

#define TEXT_NUMBER_MAX 48
/* "3.21 M/s", "12.3 µs"; NaN is a dash. */
char *text_number(char out[TEXT_NUMBER_MAX], enum text_kind kind, double value);

/* Text with the five characters that mean something to HTML, and control characters, made harmless. */
void text_html(FILE *stream, const char *text);

/* The next three are malloc'd, and never NULL: a report that runs out of memory ends there, and so does text_grow. */
__attribute__((format(printf, 1, 2)))
char *text_of(const char *format, ...);
/* At most `most` characters; the last is then an ellipsis. */
char *text_shortened(const char *text, size_t most);
/* A part of a file name: letters, digits and single dashes. */
char *text_slug(const char *text);

/* Characters, not bytes. */
size_t text_chars(const char *text);

/* Room for one item more than count in a malloc'd array. */
void *text_grow(void *array, size_t count, size_t *room, size_t item_bytes);

#endif
