/*
 * list.h -- arrays of a gnuplot script, as they fill.
 *
 * Strings reach gnuplot only in single quotes, where it expands nothing, and terminals draw them without markup: the name of
 * an engine may hold any character.
 */
#ifndef ASSAY_PLOT_LIST_H
#define ASSAY_PLOT_LIST_H

#include <stddef.h>
#include <stdio.h>

struct list {
    char **item; /* ready for gnuplot: quoted, or a number */
    size_t count, room;
};

void list_text(struct list *list, const char *text);
/* Text beside a tick, which gnuplot takes for a format. */
void list_tick_text(struct list *list, const char *text);
void list_number(struct list *list, double number);

/* Writes "array NAME[n] = [...]" and empties the list. */
void list_write(struct list *list, FILE *gp, const char *name);

#endif
