/*
 * workload.h -- what happens: one resolved workload, from a JSON file and from options that override its fields.
 *
 * The fields, their meaning and their defaults are documented in workloads/README.md.  An unknown field, a wrong type, a value
 * out of range or a syntax error is one sentence in fail_text() that names file, line and column or field.
 */
#ifndef ASSAY_WORKLOADS_WORKLOAD_H
#define ASSAY_WORKLOADS_WORKLOAD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum op_kind { OP_READ, OP_UPDATE, OP_INSERT, OP_DELETE, OP_RMW, OP_SCAN, OP_MISS, OP_KINDS };

enum distribution_kind {
    DISTRIBUTION_UNIFORM, DISTRIBUTION_ZIPFIAN, DISTRIBUTION_HOTSET, DISTRIBUTION_LATEST, DISTRIBUTION_SEQUENTIAL,
    DISTRIBUTION_EXPONENTIAL, DISTRIBUTION_KINDS
};

enum size_kind { SIZE_FIXED, SIZE_UNIFORM, SIZE_ZIPFIAN, SIZE_KINDS };

enum arrival_kind { ARRIVAL_UNTHROTTLED, ARRIVAL_PACED, ARRIVAL_POISSON, ARRIVAL_BURSTY, ARRIVAL_KINDS };

struct distribution {
    enum distribution_kind kind;
    double   exponent;        /* zipfian, latest: any >= 0, 1 too */
    double   hot_fraction;    /* hotset: share of the keys that is hot */
    double   hot_probability; /* hotset: share of the operations that go there */
    uint64_t drift_ops;       /* hotset: the hot set moves by its own size in this many operations of a stream; 0: never */
    double   percentile;      /* exponential: this share of the operations ... */
    double   key_fraction;    /* ... falls on this share of the keys */
    bool     ycsb_compat;     /* zipfian: YCSB's scrambled generator, for figures of the literature */
};

struct workload {
    char     name[64];
    char     summary[160];
    uint64_t records;             /* keys loaded before the run */
    uint64_t ops;                 /* operations of the run, over all threads; 0: until seconds are over */
    uint64_t run_ns;              /* length of the run; 0: until ops are done */
    uint64_t warmup_ops;
    double   mix[OP_KINDS];       /* shares, their sum is 1 */
    struct distribution keys;
    uint32_t key_bytes;           /* every key has this size, 8 or more; 0: 1 to 4 bytes, as short as its number allows */
    enum size_kind value_size;
    uint32_t value_bytes_min, value_bytes_max; /* equal when fixed */
    double   value_exponent;      /* of zipfian value sizes */
    double   compressibility;     /* share of a value's bytes that a compressor can remove, 0 to 1 */
    uint32_t scan_records_max;    /* scans read 1 to this many records, uniform */
    uint32_t threads;
    uint32_t batch_gets;          /* reads are asked for in groups of this many (kv_get_many); 1: one by one */
    uint32_t batch_writes;        /* writes likewise (kv_write) */
    enum arrival_kind arrival;
    double   rate_per_s;          /* of all threads together; paced, poisson */
    double   burst_probability;   /* bursty: share of waits that are long */
    uint64_t wait_min_ns, wait_max_ns;             /* bursty: the short waits, uniform between */
    uint64_t long_wait_min_ns, long_wait_max_ns;   /* bursty: the long ones */
    bool     load;                /* false: the run begins with an empty store */
    bool     compact_after_load;
    uint32_t reads_per_phase;     /* reserved for phases; see phases[] */
    uint64_t seed;
};

/* A preset by name, or a file by path (a slash, or the ending .json). */
bool workload_load(struct workload *workload, const char *name_or_path);
/* Overrides one field as the command line writes it, units and all: ("records", "10k"). */
bool workload_set(struct workload *workload, const char *field, const char *text);
/* Contradictions between fields: shares that do not sum to 1, a paced arrival without a rate.  Call after the last set. */
bool workload_check(const struct workload *workload);
/* The resolved workload; a new reference.  workload_load reads it back to the same workload. */
json_t *workload_json(const struct workload *workload);
/* Names of the presets, sorted, NULL-terminated. */
const char *const *workload_names(void);
const char *op_kind_word(enum op_kind kind);
const char *distribution_word(enum distribution_kind kind);

#endif
