/*
 * workload.c -- reading, overriding, checking and writing a workload.
 *
 * One table has every field: the JSON reader, the command-line options and the writer all go by it.  A JSON scalar is
 * turned into text and takes the same way as an option, so "10k" and 10000 mean the same in both places.
 */
#include "workloads/workload.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fail.h"
#include "common/units.h"
#include "common/words.h"
#include "workloads/key.h"
#include "workloads/presets.h"

#define FILE_BYTES_MAX (1 << 20)
#define SECONDS_MAX    (30.0 * 24 * 3600)

static const char *const kind_words[]         = {"read", "update", "insert", "delete", "rmw", "scan", "miss", NULL};
static const char *const distribution_words[] = {
    "uniform", "zipfian", "hotset", "latest", "sequential", "exponential", NULL,
};
static const char *const size_words[]         = {"fixed", "uniform", "zipfian", NULL};
static const char *const arrival_words[]      = {"unthrottled", "paced", "poisson", "consistent", "bursty", NULL};
static const char *const order_words[]        = {"random", "ordered", NULL};

enum field_type {
    FIELD_COUNT,   /* uint64_t */
    FIELD_COUNT32, /* uint32_t */
    FIELD_BYTES32, /* uint32_t, byte units */
    FIELD_NS,      /* uint64_t, ns, or a text with its unit */
    FIELD_SECONDS, /* uint64_t ns, written in seconds, or a text with its unit */
    FIELD_REAL,    /* double */
    FIELD_RATE,    /* double, count units */
    FIELD_BOOL,    /* bool */
    FIELD_WORD,    /* an enum */
    FIELD_ORDER,   /* bool with words of its own */
    FIELD_MIX,     /* double[OP_KINDS] */
    FIELD_SIZE,    /* value_bytes_min and value_bytes_max at once; not written back */
    FIELD_TEXT     /* char array of max bytes; files only */
};

enum field_place {
    IN_WORKLOAD,
    IN_PHASE,      /* also allowed at the top, for all phases, and as an option */
    IN_PHASE_ONLY  /* within "phases" */
};

struct field {
    const char        *name;
    enum field_type    type;
    enum field_place   place;
    size_t             offset;
    double             min, max;
    const char *const *words;
    const char        *metavar;
    const char        *help;
};

#define AT(member)    offsetof(struct workload, member)
#define PHASE(member) offsetof(struct phase, member)

static const struct field fields[] = {
    {"name", FIELD_TEXT, IN_WORKLOAD, AT(name), 1, WORKLOAD_NAME_BYTES_MAX},
    {"summary", FIELD_TEXT, IN_WORKLOAD, AT(summary), 0, sizeof((struct workload *)0)->summary},
    {"records", FIELD_COUNT, IN_WORKLOAD, AT(records), 0, 1e12, NULL, "N", "keys loaded, and drawn from"},
    {"load", FIELD_BOOL, IN_WORKLOAD, AT(load), 0, 0, NULL, "true|false", "load the records before the phases"},
    {"warmup_ops", FIELD_COUNT, IN_WORKLOAD, AT(warmup_ops), 0, 1e15, NULL, "N",
     "operations before the first phase, not measured"},
    {"key_bytes", FIELD_BYTES32, IN_WORKLOAD, AT(key_bytes), 0, 65535, NULL, "N",
     "size of a key: 8 or more, or 0 for short keys"},
    {"key_order", FIELD_ORDER, IN_WORKLOAD, AT(key_in_order), 0, 0, order_words, "WORD",
     "random or ordered: how keys sort against their numbers"},
    {"value_bytes", FIELD_SIZE, IN_WORKLOAD, 0, 0, 0x1p28, NULL, "N", "size of every value"},
    {"value_sizes", FIELD_WORD, IN_WORKLOAD, AT(value_size), 0, 0, size_words, "WORD", "fixed, uniform or zipfian"},
    {"value_bytes_min", FIELD_BYTES32, IN_WORKLOAD, AT(value_bytes_min), 0, 0x1p28, NULL, "N",
     "smallest value, when sizes vary"},
    {"value_bytes_max", FIELD_BYTES32, IN_WORKLOAD, AT(value_bytes_max), 0, 0x1p28, NULL, "N",
     "largest value, when sizes vary"},
    {"value_exponent", FIELD_REAL, IN_WORKLOAD, AT(value_exponent), 0, 100, NULL, "X", "of zipfian value sizes"},
    {"compressibility", FIELD_REAL, IN_WORKLOAD, AT(compressibility), 0, 1, NULL, "SHARE",
     "share of a value that a compressor can remove"},
    {"threads", FIELD_COUNT32, IN_WORKLOAD, AT(threads), 1, 1024, NULL, "N", "sessions that work at once"},
    {"batch_gets", FIELD_COUNT32, IN_WORKLOAD, AT(batch_gets), 1, 65536, NULL, "N", "reads asked for at once"},
    {"batch_writes", FIELD_COUNT32, IN_WORKLOAD, AT(batch_writes), 1, 65536, NULL, "N", "writes in an atomic batch"},
    {"arrival", FIELD_WORD, IN_WORKLOAD, AT(arrival), 0, 0, arrival_words, "WORD",
     "unthrottled, paced, poisson, consistent or bursty"},
    {"rate_per_s", FIELD_RATE, IN_WORKLOAD, AT(rate_per_s), 0, 1e9, NULL, "N",
     "paced, poisson: operations a second, of all threads"},
    {"burst_probability", FIELD_REAL, IN_WORKLOAD, AT(burst_probability), 0, 1, NULL, "SHARE",
     "bursty: share of waits that are long"},
    {"wait_min_ns", FIELD_NS, IN_WORKLOAD, AT(wait_min_ns), 0, 3600e9, NULL, "T",
     "consistent, bursty: shortest wait"},
    {"wait_max_ns", FIELD_NS, IN_WORKLOAD, AT(wait_max_ns), 0, 3600e9, NULL, "T",
     "consistent, bursty: longest (short) wait"},
    {"long_wait_min_ns", FIELD_NS, IN_WORKLOAD, AT(long_wait_min_ns), 0, 3600e9, NULL, "T",
     "bursty: shortest long wait"},
    {"long_wait_max_ns", FIELD_NS, IN_WORKLOAD, AT(long_wait_max_ns), 0, 3600e9, NULL, "T", "bursty: longest wait"},
    {"seed", FIELD_COUNT, IN_WORKLOAD, AT(seed), 0, 1e18, NULL, "N", "one seed gives one stream of operations"},
    {"name", FIELD_TEXT, IN_PHASE_ONLY, PHASE(name), 1, WORKLOAD_NAME_BYTES_MAX},
    {"ops", FIELD_COUNT, IN_PHASE, PHASE(ops), 0, 1e15, NULL, "N", "operations of a phase, over all threads"},
    {"seconds", FIELD_SECONDS, IN_PHASE, PHASE(run_ns), 0, SECONDS_MAX, NULL, "S", "length of a phase"},
    {"mix", FIELD_MIX, IN_PHASE, PHASE(mix), 0, 1, NULL, "KIND=SHARE,...",
     "read=95%,update=5%; also insert, delete, rmw, scan, miss"},
    {"distribution", FIELD_WORD, IN_PHASE, PHASE(keys.kind), 0, 0, distribution_words, "WORD",
     "uniform, zipfian, hotset, latest, sequential or exponential"},
    {"exponent", FIELD_REAL, IN_PHASE, PHASE(keys.exponent), 0, 100, NULL, "X", "zipfian, latest: 0 is uniform"},
    {"hot_fraction", FIELD_REAL, IN_PHASE, PHASE(keys.hot_fraction), 0, 1, NULL, "SHARE",
     "hotset: share of the keys that is hot"},
    {"hot_probability", FIELD_REAL, IN_PHASE, PHASE(keys.hot_probability), 0, 1, NULL, "SHARE",
     "hotset: share of the operations that go there"},
    {"drift_ops", FIELD_COUNT, IN_PHASE, PHASE(keys.drift_ops), 0, 1e15, NULL, "N",
     "hotset: a key stays hot for this many operations; 0: for ever"},
    {"percentile", FIELD_REAL, IN_PHASE, PHASE(keys.percentile), 0, 1, NULL, "SHARE",
     "exponential: this share of the operations ..."},
    {"key_fraction", FIELD_REAL, IN_PHASE, PHASE(keys.key_fraction), 0, 1, NULL, "SHARE",
     "... falls on this share of the keys"},
    {"ycsb_compat", FIELD_BOOL, IN_PHASE, PHASE(keys.ycsb_compat), 0, 0, NULL, "true|false",
     "zipfian as YCSB draws it, for figures of the literature"},
    {"scan_records_min", FIELD_COUNT32, IN_PHASE, PHASE(scan_records_min), 1, 1e9, NULL, "N", "a scan reads from this many records"},
    {"scan_records_max", FIELD_COUNT32, IN_PHASE, PHASE(scan_records_max), 1, 1e9, NULL, "N", "to this many, where there are so many"},
    {"repeat_keys", FIELD_BOOL, IN_PHASE_ONLY, PHASE(repeat_keys)},
    {"compact_before", FIELD_BOOL, IN_PHASE_ONLY, PHASE(compact_before)},
};
#define FIELD_COUNT_ALL (sizeof fields / sizeof *fields)

const char *op_kind_word(enum op_kind kind)
{
    return kind_words[kind];
}

const char *distribution_word(enum distribution_kind kind)
{
    return distribution_words[kind];
}

const char *arrival_word(enum arrival_kind kind)
{
    return arrival_words[kind];
}

static size_t words_count(const char *const *words)
{
    size_t count = 0;

    while (words[count])
        count++;
    return count;
}

/* ---- One field from text. ---- */

static bool out_of_range(const struct field *field, const char *text, double number)
{
    if (number >= field->min && number <= field->max)
        return false;
    fail_set("\"%s\" is %s; write %.15g to %.15g", field->name, text, field->min, field->max);
    return true;
}

static bool set_mix(double mix[OP_KINDS], const char *text)
{
    double      shares[OP_KINDS] = {0};
    const char *at = text;

    while (*at) {
        const char *end = strchr(at, ','), *equals;
        char        kind[32], share[32];
        size_t      size = end ? (size_t)(end - at) : strlen(at), row;

        equals = memchr(at, '=', size);
        if (!equals || (size_t)(equals - at) >= sizeof kind || size - (size_t)(equals - at) > sizeof share) {
            fail_set("\"mix\" is \"%s\"; write it like read=95%%,update=5%%", text);
            return false;
        }
        snprintf(kind, sizeof kind, "%.*s", (int)(equals - at), at);
        snprintf(share, sizeof share, "%.*s", (int)(size - (size_t)(equals - at) - 1), equals + 1);
        for (row = 0; row < OP_KINDS && strcmp(kind, kind_words[row]) != 0; row++)
            continue;
        if (row == OP_KINDS) {
            fail_set("\"mix\" has no operation \"%s\"%s", kind, words_hint(kind, kind_words, OP_KINDS));
            return false;
        }
        if (!units_parse_real(share, &shares[row])) {
            fail_set("\"mix\", %s: %s", kind, fail_text());
            return false;
        }
        if (shares[row] > 1) {
            fail_set("\"mix\", %s is %s; write 0 to 1, or 0%% to 100%%", kind, share);
            return false;
        }
        at = end ? end + 1 : at + size;
    }
    memcpy(mix, shares, sizeof shares);
    return true;
}

static bool all_digits(const char *text)
{
    return text[0] && text[strspn(text, "0123456789")] == '\0';
}

static bool parse_seconds(const char *text, uint64_t *out)
{
    double seconds;

    if (!units_parse_real(text, &seconds) || strchr(text, '%'))
        return units_parse_ns(text, out);
    if (seconds > SECONDS_MAX) {
        fail_set("%s seconds are too many", text);
        return false;
    }
    *out = (uint64_t)llround(seconds * (double)NS_PER_S);
    return true;
}

/* base: the workload, or the phase. */
static bool set_field(const struct field *field, void *base, struct workload *workload, const char *text)
{
    void    *out = (char *)base + field->offset;
    uint64_t whole = 0;
    double   real = 0;
    bool     read = true;

    switch (field->type) {
    case FIELD_COUNT:
    case FIELD_COUNT32:
        read = units_parse_count(text, &whole);
        real = (double)whole;
        break;
    case FIELD_BYTES32:
    case FIELD_SIZE:
        read = units_parse_bytes(text, &whole);
        real = (double)whole;
        break;
    case FIELD_NS:
        read = all_digits(text) ? units_parse_count(text, &whole) : units_parse_ns(text, &whole);
        real = (double)whole;
        break;
    case FIELD_SECONDS:
        read = parse_seconds(text, &whole);
        real = (double)whole / (double)NS_PER_S;
        break;
    case FIELD_RATE:
        read = units_parse_rate(text, &real);
        break;
    case FIELD_REAL:
        read = units_parse_real(text, &real);
        break;
    case FIELD_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
            fail_set("\"%s\" is \"%s\"; write true or false", field->name, text);
            return false;
        }
        *(bool *)out = text[0] == 't';
        return true;
    case FIELD_WORD:
    case FIELD_ORDER:
        while (field->words[whole] && strcmp(field->words[whole], text) != 0)
            whole++;
        if (!field->words[whole]) {
            fail_set("\"%s\" is \"%s\"%s", field->name, text,
                     words_hint(text, field->words, words_count(field->words)));
            return false;
        }
        if (field->type == FIELD_ORDER)
            *(bool *)out = whole != 0;
        else
            *(unsigned *)out = (unsigned)whole;
        return true;
    case FIELD_MIX:
        return set_mix(out, text);
    case FIELD_TEXT:
        if (strlen(text) < (size_t)field->min || strlen(text) >= (size_t)field->max) {
            fail_set("\"%s\" has %zu bytes; write %.0f to %.0f", field->name, strlen(text), field->min, field->max - 1);
            return false;
        }
        strcpy(out, text);
        return true;
    }
    if (!read) {
        fail_set("\"%s\": %s", field->name, fail_text());
        return false;
    }
    if (out_of_range(field, text, real))
        return false;
    if (field->type == FIELD_REAL || field->type == FIELD_RATE) {
        *(double *)out = real;
    } else if (field->type == FIELD_SIZE) {
        workload->value_bytes_min = workload->value_bytes_max = (uint32_t)whole;
        workload->value_size      = SIZE_FIXED;
    } else if (field->type == FIELD_COUNT32 || field->type == FIELD_BYTES32) {
        *(uint32_t *)out = (uint32_t)whole;
    } else {
        *(uint64_t *)out = whole;
    }
    return true;
}

/* ---- From JSON. ---- */

static void set_defaults(struct workload *workload)
{
    *workload = (struct workload){
        .records = 100000, .load = true, .phase_count = 1, .key_bytes = 16,
        .value_bytes_min = 100, .value_bytes_max = 100, .value_exponent = 0.99, .threads = 1,
        .batch_gets = 1, .batch_writes = 1,
        .burst_probability = 0.05, .wait_min_ns = NS_PER_US, .wait_max_ns = 20 * NS_PER_US,
        .long_wait_min_ns = 60 * NS_PER_MS, .long_wait_max_ns = 200 * NS_PER_MS, .seed = 1,
    };
    workload->phases[0] = (struct phase){
        .name = "run", .ops = 1000000, .scan_records_min = 1, .scan_records_max = 100,
        .keys = {.exponent = 0.99, .hot_fraction = 0.2, .hot_probability = 0.9, .percentile = 0.95,
                 .key_fraction = 0.8571428571},
    };
    workload->phases[0].mix[OP_READ] = workload->phases[0].mix[OP_UPDATE] = 0.5;
}

/* A field by its name at the top (in_phase false) or in a phase; a sentence when there is none. */
static const struct field *find_field(const char *name, bool in_phase)
{
    const char *names[FIELD_COUNT_ALL + 1];
    size_t      count = 0;

    for (size_t i = 0; i < FIELD_COUNT_ALL; i++) {
        if (in_phase ? fields[i].place == IN_WORKLOAD : fields[i].place == IN_PHASE_ONLY)
            continue;
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
        names[count++] = fields[i].name;
    }
    if (!in_phase)
        names[count++] = "phases";
    fail_set("there is no field \"%.64s\"%s", name,
             words_nearest(name, names, count) ? words_hint(name, names, count) : "; workloads/README.md has them all");
    return NULL;
}

static bool mix_from_json(const json_t *object, double mix[OP_KINDS])
{
    double      shares[OP_KINDS] = {0};
    const char *kind;
    json_t     *share;

    if (!json_is_object(object)) {
        fail_set("\"mix\" must be an object such as {\"read\": 0.95, \"update\": 0.05}");
        return false;
    }
    json_object_foreach((json_t *)object, kind, share) {
        int row = 0;

        while (row < OP_KINDS && strcmp(kind, kind_words[row]) != 0)
            row++;
        if (row == OP_KINDS) {
            fail_set("\"mix\" has no operation \"%.64s\"%s", kind, words_hint(kind, kind_words, OP_KINDS));
            return false;
        }
        if (json_is_number(share)) {
            shares[row] = json_number_value(share);
        } else if (!json_is_string(share) || !units_parse_real(json_string_value(share), &shares[row])) {
            fail_set("\"mix\", \"%s\" must be a share such as 0.5 or \"50%%\"", kind);
            return false;
        }
        if (!(shares[row] >= 0 && shares[row] <= 1)) {
            fail_set("\"mix\", \"%s\" is %g; write 0 to 1", kind, shares[row]);
            return false;
        }
    }
    memcpy(mix, shares, sizeof shares);
    return true;
}

static bool field_from_json(const struct field *field, const json_t *value, void *base, struct workload *workload)
{
    char text[64];

    if (field->type == FIELD_MIX)
        return mix_from_json(value, (double *)((char *)base + field->offset));
    if (json_is_string(value)) {
        if (strlen(json_string_value(value)) != json_string_length(value)) {
            fail_set("\"%s\" has a NUL byte in its text", field->name);
            return false;
        }
        return set_field(field, base, workload, json_string_value(value));
    }
    if (field->type == FIELD_TEXT || field->type == FIELD_WORD || field->type == FIELD_ORDER) {
        fail_set("\"%s\" must be a text%s", field->name,
                 field->words ? words_hint("", field->words, words_count(field->words)) : "");
        return false;
    }
    if (json_is_integer(value)) {
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        double real = json_real_value(value);
        snprintf(text, sizeof text, real == floor(real) && fabs(real) < 0x1p53 ? "%.0f" : "%.17g", real);
    } else if (json_is_boolean(value)) {
        snprintf(text, sizeof text, "%s", json_is_true(value) ? "true" : "false");
    } else {
        fail_set("\"%s\" must be %s", field->name,
                 field->type == FIELD_BOOL ? "true or false" : "a number, or a text such as \"10k\"");
        return false;
    }
    return set_field(field, base, workload, text);
}

static bool phase_from_json(struct workload *workload, size_t number, const json_t *object)
{
    const char *name;
    json_t     *value;

    if (!json_is_object(object)) {
        fail_set("phases[%zu] must be an object such as {\"name\": \"read\", \"mix\": {\"read\": 1}}", number);
        return false;
    }
    if (!json_object_get(object, "name")) {
        fail_set("phases[%zu] has no \"name\"", number);
        return false;
    }
    json_object_foreach((json_t *)object, name, value) {
        const struct field *field = find_field(name, true);
        if (!field || !field_from_json(field, value, &workload->phases[number], workload)) {
            fail_set("phases[%zu]: %s", number, fail_text());
            return false;
        }
    }
    return true;
}

static bool phases_from_json(struct workload *workload, const json_t *phases)
{
    struct phase common = workload->phases[0];

    if (!json_is_array(phases) || json_array_size(phases) == 0 || json_array_size(phases) > WORKLOAD_PHASES_MAX) {
        fail_set("\"phases\" must be a list of 1 to %d objects", WORKLOAD_PHASES_MAX);
        return false;
    }
    workload->phase_count = json_array_size(phases);
    for (size_t i = 0; i < workload->phase_count; i++) {
        workload->phases[i] = common;
        if (!phase_from_json(workload, i, json_array_get(phases, i)))
            return false;
    }
    return true;
}

static bool from_json(struct workload *workload, const json_t *root)
{
    const json_t *phases = json_object_get(root, "phases");
    const char   *name;
    json_t       *value;

    if (!json_is_object(root)) {
        fail_set("a workload is a JSON object, { ... }");
        return false;
    }
    json_object_foreach((json_t *)root, name, value) {
        const struct field *field;
        void               *base;

        if (strcmp(name, "phases") == 0)
            continue;
        field = find_field(name, false);
        if (!field)
            return false;
        base = field->place == IN_WORKLOAD ? (void *)workload : &workload->phases[0];
        if (!field_from_json(field, value, base, workload))
            return false;
    }
    return !phases || phases_from_json(workload, phases);
}

/* "dir/mine.json" is called "mine" until its own "name" says otherwise. */
static void name_after(struct workload *workload, const char *origin)
{
    const char *slash = strrchr(origin, '/'), *base = slash ? slash + 1 : origin, *dot = strrchr(base, '.');
    int         size = dot && dot > base ? (int)(dot - base) : (int)strlen(base);

    if (size >= WORKLOAD_NAME_BYTES_MAX)
        size = WORKLOAD_NAME_BYTES_MAX - 1;
    snprintf(workload->name, sizeof workload->name, "%.*s", size, base);
}

/* Names and texts of the file stand in sentences, and a sentence is one line. */
static void fail_on_one_line(const char *origin, const char *where, const char *sentence)
{
    char line[FAIL_BYTES_MAX];

    snprintf(line, sizeof line, "%s%s: %s", origin, where, sentence);
    for (char *at = line; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = ' ';
    fail_set("%s", line);
}

bool workload_read(struct workload *workload, const char *json, size_t size, const char *origin)
{
    json_error_t error;
    json_t      *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &error);
    bool         read;

    if (!root) {
        char where[32];

        snprintf(where, sizeof where, ":%d:%d", error.line, error.column);
        fail_on_one_line(origin, where, error.text);
        return false;
    }
    set_defaults(workload);
    name_after(workload, origin);
    read = from_json(workload, root);
    if (!read)
        fail_on_one_line(origin, "", fail_text());
    json_decref(root);
    return read;
}

static bool read_file(struct workload *workload, const char *path)
{
    FILE  *file = fopen(path, "re");
    char  *text = NULL;
    size_t size;
    bool   read = false;

    if (!file) {
        fail_set("open %s: %s", path, strerror(errno));
        return false;
    }
    text = malloc(FILE_BYTES_MAX);
    if (!text) {
        fail_set("no memory to read %s", path);
        goto out;
    }
    size = fread(text, 1, FILE_BYTES_MAX, file);
    if (ferror(file))
        fail_set("read %s: %s", path, strerror(errno));
    else if (size == FILE_BYTES_MAX)
        fail_set("%s is too large for a workload file", path);
    else
        read = workload_read(workload, text, size, path);
out:
    free(text);
    fclose(file);
    return read;
}

bool workload_load(struct workload *workload, const char *name_or_path)
{
    size_t             size = strlen(name_or_path), count;
    const char *const *names = presets_names(&count);
    const char        *text;

    if (strchr(name_or_path, '/') || (size >= 5 && strcmp(name_or_path + size - 5, ".json") == 0))
        return read_file(workload, name_or_path);
    text = presets_text(name_or_path);
    if (!text) {
        fail_set("there is no workload \"%.64s\"%s", name_or_path, words_hint(name_or_path, names, count));
        return false;
    }
    return workload_read(workload, text, strlen(text), name_or_path);
}

const char *const *workload_names(void)
{
    size_t count;

    return presets_names(&count);
}

/* ---- From options. ---- */

bool workload_set(struct workload *workload, const char *name, const char *text)
{
    char                underscored[64];
    const struct field *field;
    size_t              i = 0;

    for (; name[i] && i < sizeof underscored - 1; i++)
        underscored[i] = name[i] == '-' ? '_' : name[i];
    underscored[i] = '\0';
    field = find_field(underscored, false);
    if (!field)
        return false;
    if (field->place == IN_WORKLOAD)
        return set_field(field, workload, workload, text);
    for (size_t phase = 0; phase < workload->phase_count; phase++) {
        if (!set_field(field, &workload->phases[phase], workload, text))
            return false;
        if (strcmp(field->name, "ops") == 0)
            workload->phases[phase].run_ns = 0;
        if (strcmp(field->name, "seconds") == 0)
            workload->phases[phase].ops = 0;
    }
    return true;
}

/* Option names have dashes; made once, before there are threads. */
static const char *dashed(size_t row)
{
    static char names[FIELD_COUNT_ALL][32];

    for (size_t i = 0; fields[row].name[i]; i++)
        names[row][i] = fields[row].name[i] == '_' ? '-' : fields[row].name[i];
    return names[row];
}

size_t workload_option_rows(struct workload_options *options, struct arg *rows, const char *const *except)
{
    size_t count = 0;

    *options = (struct workload_options){0};
    for (size_t i = 0; i < FIELD_COUNT_ALL; i++) {
        bool left_out = fields[i].place == IN_PHASE_ONLY || fields[i].type == FIELD_TEXT;

        for (const char *const *name = except; name && *name; name++)
            left_out = left_out || strcmp(*name, fields[i].name) == 0;
        if (!left_out)
            rows[count++] = (struct arg){dashed(i), ARG_TEXT, &options->text[i], fields[i].metavar, fields[i].help,
                                          NULL};
    }
    return count;
}

bool workload_set_options(struct workload *workload, const struct workload_options *options)
{
    struct phase *first = &workload->phases[0];
    uint64_t      ops = 0;
    bool          ops_given = false, seconds_given = false;

    _Static_assert(FIELD_COUNT_ALL <= WORKLOAD_OPTIONS_MAX, "one slot for each field");
    for (size_t i = 0; i < FIELD_COUNT_ALL; i++) {
        if (!options->text[i])
            continue;
        if (!workload_set(workload, fields[i].name, options->text[i]))
            return false;
        if (strcmp(fields[i].name, "ops") == 0) {
            ops_given = true;
            ops       = first->ops;
        }
        seconds_given = seconds_given || strcmp(fields[i].name, "seconds") == 0;
    }
    for (size_t phase = 0; ops_given && seconds_given && phase < workload->phase_count; phase++)
        workload->phases[phase].ops = ops;
    return true;
}

/* ---- Contradictions. ---- */

static bool wrong(const struct workload *workload, const struct phase *phase, const char *sentence)
{
    if (phase && workload->phase_count > 1)
        fail_set("workload %s, phase %s: %s", workload->name, phase->name, sentence);
    else
        fail_set("workload %s: %s", workload->name, sentence);
    return false;
}

static bool draws_keys(const struct phase *phase)
{
    return phase->mix[OP_INSERT] < 1;
}

static bool check_keys(const struct workload *workload, const struct phase *phase)
{
    const struct distribution *keys = &phase->keys;
    char   sentence[256];
    double hot_keys = keys->hot_fraction * (double)workload->records;

    if (draws_keys(phase) && workload->records == 0)
        return wrong(workload, phase, "\"records\" is 0, but the mix has operations on existing keys");
    if (keys->ycsb_compat && (keys->kind != DISTRIBUTION_ZIPFIAN || keys->exponent != 0.99))
        return wrong(workload, phase, "\"ycsb_compat\" needs the distribution zipfian and the exponent 0.99, "
                                      "which is built into it");
    if (keys->kind == DISTRIBUTION_HOTSET && (keys->hot_fraction <= 0 || keys->hot_fraction > 1))
        return wrong(workload, phase, "\"hot_fraction\" is 0: no key is hot; write 0.2 for a fifth");
    if (keys->kind == DISTRIBUTION_HOTSET && keys->drift_ops &&
        (double)keys->drift_ops * keys->hot_probability < 2 * fmax(hot_keys, 1)) {
        /* A hot set that moves on before its keys were asked for again is a uniform distribution in disguise. */
        snprintf(sentence, sizeof sentence, "\"drift_ops\" %" PRIu64 " moves the hot set before its %.0f keys are "
                 "asked for twice; write %.0f or more, or 0 for a hot set that stays",
                 keys->drift_ops, fmax(hot_keys, 1), ceil(2 * fmax(hot_keys, 1) / fmax(keys->hot_probability, 1e-9)));
        return wrong(workload, phase, sentence);
    }
    if (keys->kind == DISTRIBUTION_EXPONENTIAL &&
        (keys->percentile <= 0 || keys->percentile >= 1 || keys->key_fraction <= 0))
        return wrong(workload, phase, "\"percentile\" must lie between 0 and 1 and \"key_fraction\" above 0");
    return true;
}

static bool check_phase(const struct workload *workload, size_t number)
{
    const struct phase *phase = &workload->phases[number];
    char   sentence[256];
    double sum = 0;

    for (size_t before = 0; before < number; before++)
        if (strcmp(workload->phases[before].name, phase->name) == 0)
            return wrong(workload, phase, "two phases have this name");
    for (int kind = 0; kind < OP_KINDS; kind++)
        sum += phase->mix[kind];
    if (fabs(sum - 1) > 1e-6) {
        snprintf(sentence, sizeof sentence, "the shares of \"mix\" sum to %.6g; they must sum to 1", sum);
        return wrong(workload, phase, sentence);
    }
    if (phase->ops == 0 && phase->run_ns == 0)
        return wrong(workload, phase, "\"ops\" and \"seconds\" are both 0, so it would never end; set one");
    if (phase->repeat_keys && number == 0)
        return wrong(workload, phase, "\"repeat_keys\" repeats the phase before, and there is none");
    if (phase->scan_records_min > phase->scan_records_max) {
        snprintf(sentence, sizeof sentence, "\"scan_records_min\" %" PRIu32 " is above \"scan_records_max\" %" PRIu32,
                 phase->scan_records_min, phase->scan_records_max);
        return wrong(workload, phase, sentence);
    }
    return check_keys(workload, phase);
}

bool workload_check(const struct workload *workload)
{
    char sentence[160];

    if (workload->key_bytes && workload->key_bytes < 8) {
        snprintf(sentence, sizeof sentence,
                 "\"key_bytes\" is %" PRIu32 "; write 8 or more, or 0 for keys of 1 to 4 bytes", workload->key_bytes);
        return wrong(workload, NULL, sentence);
    }
    if (workload->value_bytes_min > workload->value_bytes_max) {
        snprintf(sentence, sizeof sentence, "\"value_bytes_min\" %" PRIu32 " is above \"value_bytes_max\" %" PRIu32,
                 workload->value_bytes_min, workload->value_bytes_max);
        return wrong(workload, NULL, sentence);
    }
    if (workload->value_size == SIZE_FIXED && workload->value_bytes_min != workload->value_bytes_max)
        return wrong(workload, NULL, "\"value_sizes\" is fixed, but \"value_bytes_min\" and \"value_bytes_max\" "
                                     "differ; write \"value_sizes\": \"uniform\" or one \"value_bytes\"");
    if ((workload->arrival == ARRIVAL_PACED || workload->arrival == ARRIVAL_POISSON) && workload->rate_per_s <= 0) {
        snprintf(sentence, sizeof sentence, "\"arrival\" %s needs \"rate_per_s\"", arrival_words[workload->arrival]);
        return wrong(workload, NULL, sentence);
    }
    if (workload->rate_per_s > 0 && workload->arrival != ARRIVAL_PACED && workload->arrival != ARRIVAL_POISSON)
        return wrong(workload, NULL, "\"rate_per_s\" has no effect without \"arrival\" paced or poisson");
    if (workload->wait_min_ns > workload->wait_max_ns)
        return wrong(workload, NULL, "\"wait_min_ns\" is above \"wait_max_ns\"");
    if (workload->long_wait_min_ns > workload->long_wait_max_ns)
        return wrong(workload, NULL, "\"long_wait_min_ns\" is above \"long_wait_max_ns\"");
    for (size_t phase = 0; phase < workload->phase_count; phase++)
        if (!check_phase(workload, phase))
            return false;
    return true;
}

bool workload_may_miss(const struct workload *workload, size_t phase)
{
    if (!workload->load)
        return true;
    for (size_t i = 0; i <= phase; i++)
        if (workload->phases[i].mix[OP_DELETE] > 0)
            return true;
    return false;
}

uint64_t workload_share(const struct workload *workload, uint64_t total, uint32_t thread)
{
    return total / workload->threads + (thread < total % workload->threads);
}

/* ---- To JSON. ---- */

static json_t *mix_json(const double mix[OP_KINDS])
{
    json_t *object = json_object();

    for (int kind = 0; kind < OP_KINDS; kind++)
        if (mix[kind] > 0)
            json_object_set_new(object, kind_words[kind], json_real(mix[kind]));
    return object;
}

static json_t *field_json(const struct field *field, const void *base)
{
    const void *at = (const char *)base + field->offset;
    uint64_t    ns;

    switch (field->type) {
    case FIELD_COUNT:
    case FIELD_NS:
        return json_integer((json_int_t)*(const uint64_t *)at);
    case FIELD_COUNT32:
    case FIELD_BYTES32:
        return json_integer(*(const uint32_t *)at);
    case FIELD_SECONDS:
        ns = *(const uint64_t *)at;
        return ns % NS_PER_S ? json_real((double)ns / (double)NS_PER_S) : json_integer((json_int_t)(ns / NS_PER_S));
    case FIELD_REAL:
    case FIELD_RATE:
        return json_real(*(const double *)at);
    case FIELD_BOOL:
        return json_boolean(*(const bool *)at);
    case FIELD_WORD:
        return json_string(field->words[*(const unsigned *)at]);
    case FIELD_ORDER:
        return json_string(field->words[*(const bool *)at]);
    case FIELD_MIX:
        return mix_json(at);
    case FIELD_TEXT:
        return json_string(at);
    case FIELD_SIZE:
        break;
    }
    return NULL;
}

static json_t *object_of(const void *base, bool in_phase)
{
    json_t *object = json_object();

    for (size_t i = 0; i < FIELD_COUNT_ALL; i++)
        if ((fields[i].place != IN_WORKLOAD) == in_phase && fields[i].type != FIELD_SIZE)
            json_object_set_new(object, fields[i].name, field_json(&fields[i], base));
    return object;
}

json_t *workload_json(const struct workload *workload)
{
    json_t *root = object_of(workload, false), *phases = json_array();

    for (size_t i = 0; i < workload->phase_count; i++)
        json_array_append_new(phases, object_of(&workload->phases[i], true));
    json_object_set_new(root, "phases", phases);
    return root;
}
