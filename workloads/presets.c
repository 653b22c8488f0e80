/* presets.c -- the table that the Makefile makes from workloads/NAME.json. */
#include "workloads/presets.h"

#include <string.h>

#define PRESET(name, text) name,
static const char *const names[] = {
#include "presets.inc"
    NULL,
};
#undef PRESET
#define PRESET(name, text) text,
static const char *const texts[] = {
#include "presets.inc"
    NULL,
};
#undef PRESET

const char *presets_text(const char *name)
{
    for (size_t i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return texts[i];
    return NULL;
}

const char *const *presets_names(size_t *count)
{
    *count = sizeof names / sizeof *names - 1;
    return names;
}
