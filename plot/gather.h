/*
 * gather.h -- what one result says of an engine, gathered over its rounds.
 *
 * Only cells that are ok count; a field that is missing or null is unknown, never 0.
 */
#ifndef ASSAY_PLOT_GATHER_H
#define ASSAY_PLOT_GATHER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "plot/model.h"

#define LABEL_CHARS 26 /* of an engine's name beside an axis */
#define GATHER_STEPS_MAX   64
#define GATHER_ROUNDS_MAX  256

/* A phase as the page names it; part "" when the workload has but one. */
struct step {
    const char *name, *part;
};

/* A quantity over rounds; NaN when n is 0. */
struct spread {
    double median, least, most;
    size_t n;
    double sample[GATHER_ROUNDS_MAX];
};

/* "per_op.cpu_user_ns" of a phase, "space.disk_bytes" of a cell. */
double gather_number(const json_t *object, const char *path);
json_t *gather_phase(const json_t *cell, struct step step);
/* The different phases whose name is one of `names` (NULL-terminated), by name, then in the order of their appearance;
 * out has room for GATHER_STEPS_MAX.  Returns how many. */
size_t gather_steps(const json_t *root, const char *const *names, struct step *out);
/* "run", "run: read"; malloc'd, as the next five. */
char *gather_step_text(struct step step);
/* The same, with the tier of a load that was not that of the run: "load (tier process)". */
char *gather_place(const json_t *root, struct step step);
/* "ok", "2 of 3 rounds ok; failed: lost a key", "refused: offers durability process, and not commit": it stands beside the
 * engine's name. */
char *gather_status(const json_t *root, const char *engine);
/* "bitcask", or "memory (volatile)" where the tier is not the one that the setting names. */
char *gather_label(const json_t *root, const json_t *engine);
char *gather_host(const json_t *root);
char *gather_build(const json_t *root);
/* Sorts the values; count > 0. */
double gather_median(double *values, size_t count);
/* step.name NULL: a quantity of the cell itself. */
struct spread gather_spread(const json_t *root, const char *engine, struct step step, const char *path);
/* False for the engine that keeps nothing and so measures the harness. */
bool gather_retains(const json_t *engine);

/* Latencies. */

struct bucket {
    json_int_t low_ns, count;
};

/* One kind of an engine's operations in one phase, all rounds together. */
struct pool {
    struct bucket *bucket; /* sorted; the caller frees it */
    size_t         count, room;
    json_int_t     samples;
    size_t         rounds;
    double         min_ns, max_ns, sum_ns;
    const json_t  *only; /* the record, when there is but one: its own percentiles are the best */
};

/* side: "", or "service" and "response" of a paced phase. */
struct pool gather_pool(const json_t *root, const char *engine, struct step step, const char *side, const char *kind);
/* The record's own field `name` ("p99") where there is one record, else from the buckets. */
double gather_quantile(const struct pool *pool, double q, const char *name);
/* The middle of a bucket; there are 128 an octave. */
double gather_middle_ns(const struct pool *pool, json_int_t low_ns);
/* The kinds that any cell has in this phase; "all" only where it stands alone. */
size_t gather_kinds(const json_t *root, struct step step, const char *side, const char **out, size_t room);

#endif
