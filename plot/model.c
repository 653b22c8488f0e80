#include "plot/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/units.h"
#include "plot/text.h"
#include "results/result.h"

const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

double number_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_number(value) ? json_number_value(value) : NAN;
}

json_t *engine_at(const json_t *root, const char *name)
{
    json_t *engine;
    size_t  i;

    json_array_foreach(json_object_get(root, "engines"), i, engine) {
        if (strcmp(text_at(engine, "name"), name) == 0)
            return engine;
    }
    return NULL;
}

/* Marks. */

/*
 * The first eight are the colours of Okabe and Ito, which people who see fewer colours tell apart; grey stands in for yellow,
 * which white paper swallows.  The other eight lie between them and are drawn hatched or dashed, so that colour never says it
 * alone.  The name picks the colour, so that an engine looks the same on every page; the seed gives the usual sixteen one each.
 * On a page where two would share one, the later in the alphabet takes the next that is free; from the seventeenth on, colours
 * come again with the other pattern and symbol.
 */
static const uint32_t palette[] = {0x0072b2, 0xd55e00, 0x8c8c8c, 0x009e73, 0xcc79a7, 0xe69f00, 0x56b4e9, 0x000000,
                                   0x6a3d9a, 0x8c510a, 0x7fb800, 0xd8b365, 0x2f4b7c, 0xb2182b, 0x35b8ab, 0xb39ddb};
#define PALETTE_COUNT (sizeof palette / sizeof *palette)
#define PALETTE_SEED  149670u

/* Filled shapes for the plain half, open ones for the hatched. */
static const int points[] = {7, 5, 9, 13, 11, 15, 1, 2, 6, 4, 8, 12, 10, 14, 3, 17};
_Static_assert(sizeof points / sizeof *points == PALETTE_COUNT, "a symbol for each colour");

static int compare_marks(const void *a, const void *b)
{
    return strcmp(((const struct mark *)a)->name, ((const struct mark *)b)->name);
}

static void set_marks(struct model *model)
{
    unsigned used[PALETTE_COUNT] = {0}, round = 0;

    if (model->mark_count == 0)
        return;
    qsort(model->marks, model->mark_count, sizeof *model->marks, compare_marks);
    for (size_t i = 0; i < model->mark_count; i++) {
        struct mark *mark = &model->marks[i];
        size_t       slot = XXH64(mark->name, strlen(mark->name), PALETTE_SEED) % PALETTE_COUNT;

        while (used[slot] > round)
            slot = (slot + 1) % PALETTE_COUNT;
        mark->colour  = palette[slot];
        mark->point   = points[(slot + used[slot] * 3) % PALETTE_COUNT];
        mark->hatched = (slot >= PALETTE_COUNT / 2) != (used[slot] % 2);
        used[slot]++;
        round = (unsigned)((i + 1) / PALETTE_COUNT);
    }
}

static void add_mark(struct model *model, size_t *room, const char *name)
{
    for (size_t i = 0; i < model->mark_count; i++)
        if (strcmp(model->marks[i].name, name) == 0)
            return;
    model->marks = text_grow(model->marks, model->mark_count, room, sizeof *model->marks);
    model->marks[model->mark_count++] = (struct mark){.name = text_of("%s", name)};
}

const struct mark *model_mark(const struct model *model, const char *engine)
{
    static const struct mark unknown = {"", 0x555555, false, 6};

    for (size_t i = 0; i < model->mark_count; i++)
        if (strcmp(model->marks[i].name, engine) == 0)
            return &model->marks[i];
    return &unknown;
}

/* Labels. */

static char *stem_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char       *stem  = text_of("%s", slash ? slash + 1 : path);
    char       *dot   = strrchr(stem, '.');

    if (dot && dot != stem)
        *dot = '\0';
    return stem;
}

static char *setting_of(const json_t *settings)
{
    double memory = number_at(settings, "memory_bytes");
    char   text[TEXT_NUMBER_MAX];

    return text_of("tier %s%s%s%s", *text_at(settings, "durability") ? text_at(settings, "durability") : "unknown",
                   isfinite(memory) ? ", memory " : "",
                   isfinite(memory) ? text_number(text, TEXT_BYTES, memory) : "",
                   json_is_true(json_object_get(settings, "cold")) ? ", cold" : "");
}

static void append(char **text, const char *more)
{
    char *longer = text_of("%s%s", *text, more);

    free(*text);
    *text = longer;
}

/* Appends ", name value" where this experiment's field is not that of another one with the same workload. */
static void append_difference(struct model *model, size_t at, const char *key, const json_t *value, bool (*get)(
                              const struct experiment *, const char *, json_t **))
{
    const struct experiment *self    = &model->experiments[at];
    bool                     differs = false;
    char                     number[UNITS_TEXT_MAX];

    for (size_t i = 0; i < model->experiment_count && !differs; i++) {
        const struct experiment *other = &model->experiments[i];
        json_t                  *theirs;

        if (i != at && strcmp(other->setting, self->setting) == 0 && get(other, key, &theirs) &&
            strcmp(text_at(json_object_get(other->root, "workload"), "name"),
                   text_at(json_object_get(self->root, "workload"), "name")) == 0)
            differs = !json_equal(theirs, (json_t *)value);
    }
    if (!differs)
        return;
    append(&model->experiments[at].label, ", ");
    if (json_is_string(value)) {
        append(&model->experiments[at].label, json_string_value(value));
    } else if (json_is_number(value)) {
        append(&model->experiments[at].label, units_text_count(number, json_number_value(value)));
        append(&model->experiments[at].label, " ");
        append(&model->experiments[at].label, key);
    } else {
        append(&model->experiments[at].label, key);
    }
}

static bool workload_field(const struct experiment *experiment, const char *key, json_t **out)
{
    *out = json_object_get(json_object_get(experiment->root, "workload"), key);
    return *out != NULL;
}

static void set_labels(struct model *model)
{
    for (size_t i = 0; i < model->experiment_count; i++) {
        struct experiment *self     = &model->experiments[i];
        json_t            *workload = json_object_get(self->root, "workload"), *value;
        const char        *key;

        self->label = text_of("%s", *text_at(workload, "name") ? text_at(workload, "name") : self->stem);
        json_object_foreach(workload, key, value) {
            if (strcmp(key, "name") != 0 && strcmp(key, "summary") != 0 && strcmp(key, "seed") != 0 &&
                (json_is_string(value) || json_is_number(value)))
                append_difference(model, i, key, value, workload_field);
        }
    }
    /* What is still alike is told apart by its file, and two files of one name by their number. */
    for (size_t i = 0; i < model->experiment_count; i++) {
        struct experiment *self = &model->experiments[i];
        bool               same = false;

        for (size_t j = 0; j < model->experiment_count; j++)
            same = same || (j != i && strcmp(model->experiments[j].setting, self->setting) == 0 &&
                            strcmp(model->experiments[j].label, self->label) == 0);
        if (same) {
            char *longer = text_of(" (%s)", self->stem);
            append(&self->label, longer);
            free(longer);
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(model->experiments[j].setting, self->setting) == 0 &&
                strcmp(model->experiments[j].label, self->label) == 0) {
                char *longer = text_of(" #%zu", i + 1);
                append(&self->label, longer);
                free(longer);
            }
        }
    }
}

/* Loading. */

static void add_calibration(struct model *model, const char *path, const json_t *root)
{
    json_t *calibration = json_object_get(root, "calibration"), *old;
    size_t  i;

    if (!json_is_object(calibration))
        return;
    json_array_foreach(model->calibrations, i, old) {
        if (json_equal(json_object_get(old, "calibration"), calibration))
            return;
    }
    json_array_append_new(model->calibrations, json_pack("{s:s, s:O, s:O?}", "path", path, "calibration", calibration,
                                                         "host", json_object_get(root, "host")));
}

static struct crash crash_of(const char *path, json_t *root)
{
    struct crash crash = {.path = path, .root = root, .tried_word = "states"};
    const char  *word;
    json_t      *count;

    json_object_foreach(json_object_get(root, "verdicts"), word, count) {
        json_int_t *sum = strcmp(word, "held") == 0 ? &crash.held : &crash.broken;

        if (__builtin_add_overflow(*sum, json_integer_value(count), sum))
            *sum = INT64_MAX; /* no real count; it must not turn into a promise kept */
    }
    crash.tried = json_integer_value(json_object_get(root, "states"));
    if (strcmp(text_at(root, "mode"), "kill") == 0) {
        crash.tried      = json_integer_value(json_object_get(root, "kills"));
        crash.tried_word = "kills";
    }
    if (crash.tried == 0) {
        crash.tried      = crash.broken ? crash.broken : crash.held;
        crash.tried_word = "verdicts";
    }
    return crash;
}

bool model_load(struct model *model, const char *const *paths, size_t count)
{
    size_t experiment_room = 0, crash_room = 0, mark_room = 0, i;

    *model = (struct model){.calibrations = json_array()};
    for (size_t at = 0; at < count; at++) {
        json_t     *root = result_read(paths[at], NULL), *engine;
        const char *kind = text_at(root, "kind");

        if (!root)
            return false;
        add_calibration(model, paths[at], root);
        if (strcmp(kind, "bench") == 0) {
            model->experiments = text_grow(model->experiments, model->experiment_count, &experiment_room,
                                      sizeof *model->experiments);
            model->experiments[model->experiment_count++] = (struct experiment){
                .path = paths[at], .root = root, .stem = stem_of(paths[at]),
                .setting = setting_of(json_object_get(root, "settings"))};
            json_array_foreach(json_object_get(root, "engines"), i, engine)
                add_mark(model, &mark_room, text_at(engine, "name"));
        } else if (strcmp(kind, "crash") == 0) {
            model->crashes = text_grow(model->crashes, model->crash_count, &crash_room, sizeof *model->crashes);
            model->crashes[model->crash_count++] = crash_of(paths[at], root);
        } else {
            json_decref(root);
        }
    }
    set_marks(model);
    set_labels(model);
    return true;
}

void model_clear(struct model *model)
{
    for (size_t i = 0; i < model->experiment_count; i++) {
        json_decref(model->experiments[i].root);
        free(model->experiments[i].stem);
        free(model->experiments[i].label);
        free(model->experiments[i].setting);
    }
    for (size_t i = 0; i < model->crash_count; i++)
        json_decref(model->crashes[i].root);
    for (size_t i = 0; i < model->mark_count; i++)
        free(model->marks[i].name);
    free(model->experiments);
    free(model->crashes);
    free(model->marks);
    json_decref(model->calibrations);
    *model = (struct model){0};
}

/* Badges. */

const char *badge_word(enum badge badge)
{
    static const char *const words[] = {
        [BADGE_NOTHING_PROMISED] = "keeps nothing", [BADGE_UNVERIFIED] = "not verified",
        [BADGE_KILL_ONLY] = "kill only",            [BADGE_HELD] = "held",
        [BADGE_BROKEN] = "broken",
    };
    return words[badge];
}

/* The engine's own name: the label of a run may be another. */
static const char *own_name(const json_t *engine)
{
    return *text_at(engine, "engine") ? text_at(engine, "engine") : text_at(engine, "name");
}

/* The same code, options and tier: only then does a crash run speak for a figure. */
static bool same_engine(const json_t *a_root, const json_t *a, const json_t *b_root, const json_t *b)
{
    const char *a_binary = text_at(a, "binary_xxh3"), *b_binary = text_at(b, "binary_xxh3");
    json_t     *a_build = json_object_get(a_root, "build"), *b_build = json_object_get(b_root, "build");

    if (strcmp(own_name(a), own_name(b)) != 0 || strcmp(text_at(a, "tier"), text_at(b, "tier")) != 0 ||
        strcmp(text_at(a, "version"), text_at(b, "version")) != 0 ||
        !json_equal(json_object_get(a, "options"), json_object_get(b, "options")))
        return false;
    if (*a_binary && *b_binary)
        return strcmp(a_binary, b_binary) == 0;
    return *text_at(a_build, "git") && strcmp(text_at(a_build, "git"), text_at(b_build, "git")) == 0 &&
           !json_is_true(json_object_get(a_build, "dirty")) && !json_is_true(json_object_get(b_build, "dirty"));
}

struct evidence {
    bool  kill_held, power_held, broken;
    char *why;
};

static void add_evidence(struct evidence *evidence, const char *mode, const char *profile, bool held, json_int_t tried,
                         const char *tried_word)
{
    bool  power = strcmp(mode, "power") == 0;
    char *more  = text_of("%s%s%s%s %s (%lld %s)", *evidence->why ? ", " : "", power ? "power loss" : mode,
                          power && *profile ? " " : "", power ? profile : "", held ? "held" : "BROKEN", (long long)tried,
                          tried_word);

    append(&evidence->why, more);
    free(more);
    if (!held)
        evidence->broken = true;
    else if (power)
        evidence->power_held = true;
    else if (strcmp(mode, "kill") == 0)
        evidence->kill_held = true;
}

static void add_embedded(struct evidence *evidence, const char *mode, const char *profile, const json_t *verdict)
{
    bool power = strcmp(mode, "power") == 0;

    if (json_is_object(verdict))
        add_evidence(evidence, mode, profile, json_is_true(json_object_get(verdict, "held")),
                     json_integer_value(json_object_get(verdict, power ? "states" : "lives")),
                     power ? "states" : "lives");
}

static bool is_embedded(const json_t *verified, const char *run_id)
{
    const char *profile;
    json_t     *verdict;

    if (strcmp(text_at(json_object_get(verified, "kill"), "run_id"), run_id) == 0)
        return true;
    json_object_foreach(json_object_get(verified, "power"), profile, verdict) {
        if (strcmp(text_at(verdict, "run_id"), run_id) == 0)
            return true;
    }
    return false;
}

/* What the tier check saw: syncs that were not asked for break a promise without any crash; those that were are no proof. */
static void add_tier_check(struct evidence *evidence, const json_t *check)
{
    json_t *ok   = json_object_get(check, "ok");
    char   *more = NULL;

    if (!json_is_object(check))
        return;
    if (json_is_null(ok))
        more = text_of("%swhether it syncs is not known", *evidence->why ? ", " : "");
    else if (json_is_true(ok))
        more = text_of("%ssyncs as the tier needs", *evidence->why ? ", " : "");
    else
        more = text_of("%sSYNCS ARE MISSING: %s", *evidence->why ? ", " : "", text_at(check, "why"));
    append(&evidence->why, more);
    free(more);
    evidence->broken = evidence->broken || json_is_false(ok);
}

enum badge model_badge(const struct model *model, const json_t *root, const json_t *engine, char **why)
{
    struct evidence evidence = {.why = text_of("%s", "")};
    const char     *tier     = text_at(engine, "tier"), *profile;
    json_t         *verified = json_object_get(engine, "verified"), *verdict;
    bool            needs_power = strcmp(tier, "ordered") == 0 || strncmp(tier, "interval", 8) == 0 ||
                       strcmp(tier, "commit") == 0;

    if (strcmp(tier, "volatile") == 0) {
        append(&evidence.why, "an engine in memory promises nothing");
        *why = evidence.why;
        return BADGE_NOTHING_PROMISED;
    }
    add_embedded(&evidence, "kill", "", json_object_get(verified, "kill"));
    json_object_foreach(json_object_get(verified, "power"), profile, verdict)
        add_embedded(&evidence, "power", profile, verdict);
    for (size_t i = 0; i < model->crash_count; i++) {
        const struct crash *crash = &model->crashes[i];

        /* The result may have been written with this very run at hand. */
        if ((crash->held > 0 || crash->broken > 0) && !is_embedded(verified, text_at(crash->root, "run_id")) &&
            same_engine(root, engine, crash->root, json_object_get(crash->root, "engine")))
            add_evidence(&evidence, text_at(crash->root, "mode"), text_at(crash->root, "profile"), crash->broken == 0,
                         crash->tried, crash->tried_word);
    }
    add_tier_check(&evidence, json_object_get(engine, "tier_check"));
    if (!*evidence.why)
        append(&evidence.why, "no crash run of this build, tier and options was given");
    *why = evidence.why;
    if (evidence.broken)
        return BADGE_BROKEN;
    if (needs_power ? evidence.power_held : evidence.kill_held || evidence.power_held)
        return BADGE_HELD;
    return evidence.kill_held ? BADGE_KILL_ONLY : BADGE_UNVERIFIED;
}
