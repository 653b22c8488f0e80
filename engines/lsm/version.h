/*
 * version.h -- which tables make up the tree at one moment, and the manifest that keeps it on the disk.
 *
 * A version never changes; a flush or a compaction makes the next one.  It is a list of sorted runs: first those of level 0,
 * then of level 1, and so on, within a level the youngest first.  A run is tables in key order that do not overlap.
 * An entry of an earlier run is usually younger, but size-tiered compaction may merge runs that are no neighbours, so nothing
 * relies on it: who has found an entry goes on through the tables that cover the key and have younger entries.
 *
 *     MANIFEST := magic:8 version:u32 tables:u32 next_id:u64 log_id:u64 last_seq:u64 durable_seq:u64 youngest_log:u64
 *                 log_before:u64 table* sum:u64                       xxh3 of all before
 *     table    := id:u64 level:u32 run:u32          in the order of the version; run: which of the level's, from 0
 *
 * The manifest is whole and is replaced whole: written beside, synced, renamed, and the directory synced.  It is small (16
 * bytes for each table), so this costs less than keeping a log of changes would, and there is nothing to replay.
 * log_id: logs below it are in tables.  last_seq: of everything in tables.  next_id: no file has this number or a higher one
 * but those that a crash left.
 * durable_seq: what was known to be durable when it was written.  youngest_log, log_before: logs of these numbers are there,
 * unless they are below log_id; 0: none need be.  A log is named before it is used, and again when the next one waits for its
 * turn, so one that is gone is missed.
 */
#ifndef ASSAY_ENGINES_LSM_VERSION_H
#define ASSAY_ENGINES_LSM_VERSION_H

#include "engines/lsm/table.h"

#define LEVELS_MAX        12u
#define MANIFEST_NAME     "MANIFEST"
#define MANIFEST_MAGIC    "ASSAYlsM"
#define MANIFEST_VERSION  2u
#define TABLES_MAX        (UINT32_C(1) << 24)

struct run_of_tables {
    uint32_t       level;
    uint64_t       bytes;    /* of the files */
    uint64_t       last_seq; /* of the youngest entry */
    size_t         count;
    struct table **table;    /* by key */
};

struct version {
    uint32_t             references; /* atomic */
    size_t               count;
    struct run_of_tables run[];
};

/* An empty one with room for so many runs; the caller adds them in any order and then calls version_seal.  NULL, with a
 * sentence, without memory. */
struct version *version_new(size_t runs_max);
/* Adds a run of so many tables, which the version keeps references of; they are sorted here. */
MUST_USE kv_status version_add_run(struct version *version, uint32_t level, struct table *const *tables, size_t count);
/* Puts the runs into the order of the searches. */
void version_seal(struct version *version);
void version_release(struct version *version); /* NULL is fine */
static inline void version_keep(struct version *version)
{
    __atomic_add_fetch(&version->references, 1, __ATOMIC_RELAXED);
}

uint64_t version_bytes(const struct version *version);
size_t version_tables(const struct version *version);
uint32_t version_last_level(const struct version *version);

/* The table of the run that covers the key, or NULL. */
struct table *run_find(const struct run_of_tables *run, slice key);
/* The first table of the run whose largest key is not below `first`; run->count when there is none. */
size_t run_lower_bound(const struct run_of_tables *run, slice first);

struct manifest {
    uint64_t next_id, log_id, last_seq, durable_seq, youngest_log, log_before;
};

/* Replaces the manifest.  KV_IO: which of the two is there is not known, and the store must refuse further writes.  After other
 * failures the old one is. */
MUST_USE kv_status manifest_write(const char *dir, const struct manifest *manifest, const struct version *version);
/* Reads it and opens the tables.  KV_NOT_FOUND: there is none, the store is new. */
MUST_USE kv_status manifest_read(const char *dir, struct cache *cache, struct manifest *manifest, struct version **version);

/* For dumps and fuzzing: a row of a manifest in memory.  Returns the number of tables, or -1 when the bytes are no good
 * manifest; *newer: because its format is. */
struct manifest_row {
    uint64_t id;
    uint32_t level, run;
};
long manifest_parse(slice bytes, struct manifest *manifest, const struct manifest_row **rows, bool *newer);

#endif
