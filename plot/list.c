#include "plot/list.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plot/text.h"

static void quote(FILE *gp, const char *text)
{
    fputc('\'', gp);
    for (; *text; text++) {
        if (*text == '\'')
            fputc('\'', gp);
        fputc((unsigned char)*text < ' ' ? ' ' : *text, gp);
    }
    fputc('\'', gp);
}

static void add(struct list *list, char *item)
{
    list->item                = text_grow(list->item, list->count, &list->room, sizeof *list->item);
    list->item[list->count++] = item;
}

void list_text(struct list *list, const char *text)
{
    char  *quoted = NULL;
    size_t bytes;
    FILE  *stream = open_memstream(&quoted, &bytes);

    quote(stream, text);
    fclose(stream);
    add(list, quoted);
}

void list_tick_text(struct list *list, const char *text)
{
    char  *doubled = text_of("%s%s", text, text), *to = doubled;

    for (; *text; text++) {
        if (*text == '%')
            *to++ = '%';
        *to++ = *text;
    }
    *to = '\0';
    list_text(list, doubled);
    free(doubled);
}

void list_number(struct list *list, double number)
{
    /* gnuplot knows no infinity; what is as large as this is no measurement. */
    add(list, text_of("%.17g", isnan(number) ? 0 : fmin(fmax(number, -1e100), 1e100)));
}

/* gnuplot knows no empty array: it gets one element that no panel asks for. */
void list_write(struct list *list, FILE *gp, const char *name)
{
    fprintf(gp, "array %s[%zu] = [", name, list->count ? list->count : 1);
    for (size_t i = 0; i < list->count; i++) {
        fprintf(gp, "%s%s", i ? ", " : "", list->item[i]);
        free(list->item[i]);
    }
    fputs(list->count ? "]\n" : "0]\n", gp);
    free(list->item);
    *list = (struct list){0};
}
