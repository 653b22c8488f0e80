/* published.c -- the figures, each with its source. */
#include "plot/published.h"

#include <math.h>
#include <string.h>

#include "plot/text.h"

/* The rungs of harness/ladder.sh.  Puts ended before the first of its flushes, which came every 10 s and, the last one, in an
 * untimed close; it had no log. */
static const struct published_row crumbs[] = {
    {"1-base",            {0.409, 9.324, 15.239, 3.340}},
    {"2-buffered-writes", {0.433, 8.345, 1.414, 3.228}},
    {"3-reused-buffers",  {0.417, 6.602, 1.728, 2.479}},
    {"4-entry-layout",    {0.406, 6.185, 1.810, 2.243}},
    {"5-one-hash",        {0.395, 2.15, 1.17, 2.18}},
};

static const struct published all[] = {
    {"lsm-ladder", "agao, KV Store Performance Improvements (2025), algao1/crumbs: Go, one run, machine not named; "
     "its puts end before the first table is written, and it has no log",
     {{"load", "", "1 M puts of 128 bytes"}, {"run", "read-uncompacted", "250 k reads, not compacted"},
      {"compact", "read-compacted", "compaction"}, {"run", "read-compacted", "250 k reads, compacted"}},
     crumbs, COUNT_OF(crumbs)},
};

const struct published *published_of(const char *workload)
{
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (strcmp(all[i].workload, workload) == 0)
            return &all[i];
    return NULL;
}

double published_seconds(const struct published *published, const char *engine, size_t step)
{
    for (size_t i = 0; i < published->rows; i++)
        if (strcmp(published->row[i].engine, engine) == 0 && published->row[i].seconds[step] > 0)
            return published->row[i].seconds[step];
    return NAN;
}
