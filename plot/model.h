/*
 * model.h -- what the result files say, arranged for drawing: experiments, engines with their marks, crash runs, badges.
 *
 * A bench file is one experiment.  Experiments that ran under the same conditions (tier, memory limit, cold) share a
 * setting and may stand in one figure; the label tells experiments of one setting apart.
 */
#ifndef ASSAY_PLOT_MODEL_H
#define ASSAY_PLOT_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How an engine looks in every figure: the same name, the same mark. */
struct mark {
    char    *name;
    uint32_t colour; /* 0xRRGGBB */
    bool     hatched; /* bars have a pattern and lines are dashed: half of the engines */
    int      point;   /* gnuplot's point type */
};

struct experiment {
    const char *path;
    char       *stem;    /* of the file name */
    json_t     *root;
    char       *label;   /* "ycsb-a, 8 threads" */
    char       *setting; /* "tier commit, memory 256 MiB" */
};

struct crash {
    const char *path;
    json_t     *root;
    json_int_t  held, broken; /* verdicts */
    json_int_t  tried;        /* lives, states or cases: what the campaign covered */
    const char *tried_word;
};

struct model {
    struct experiment *experiments;
    size_t             experiment_count;
    struct crash      *crashes;
    size_t             crash_count;
    struct mark       *marks; /* sorted by name */
    size_t             mark_count;
    json_t            *calibrations; /* array of {path, host, calibration}; equal ones once */
};

/* False with fail_set(): names the file that cannot be read, and where.  Lends paths until model_clear. */
bool model_load(struct model *model, const char *const *paths, size_t count);
void model_clear(struct model *model);

const struct mark *model_mark(const struct model *model, const char *engine);

/* What is known about the promise of an engine's tier. */
enum badge { BADGE_NOTHING_PROMISED, BADGE_UNVERIFIED, BADGE_KILL_ONLY, BADGE_HELD, BADGE_BROKEN };

/* From the crash files given and from what the result itself carries, for the engine (an object of "engines") of a
 * bench file.  *why gets a malloc'd sentence part: "kill held (812 lives), power ext4 held (400 states)". */
enum badge model_badge(const struct model *model, const json_t *root, const json_t *engine, char **why);
const char *badge_word(enum badge badge);

/* Lenient readers of result files: "" or NaN when a field is missing or has another type. */
const char *text_at(const json_t *object, const char *key);
double      number_at(const json_t *object, const char *key);
/* The object of "engines" with that name, NULL when there is none. */
json_t *engine_at(const json_t *root, const char *name);

#endif
