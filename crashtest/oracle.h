/*
 * oracle.h -- given what was asked for and what was found after a crash: was every promise held?
 *
 * Knows no engine and no file.  Time is tickets (history.h).  For each key the writes of the life, and the value that the
 * life began with as a write before everything, are candidates for what was found.
 *
 *   never written   What was found was written to that key.
 *   horizon         A write that returned before the horizon is there, or something is that did not return before it
 *                   began.  The horizon is infinite where a tier promises every acknowledged write.  Else it is the start
 *                   of the last sync that returned, and for an interval the last end that is older than the interval.
 *   prefix          Whatever is there moves the horizon up to its own start: a write that returned before it began is
 *                   there too.  For engines with sessions' prefixes, the horizon of that session only.
 *   batches         When one write of a batch is what a key has, each other key of the batch has that batch or something
 *                   that did not return before the batch began.
 *   reads           While the life ran, a read gave what had been written, and nothing that was overwritten by a write
 *                   that had returned before the read began.  Two modifies that both returned OK were not shown the
 *                   same old value.
 *
 * An operation that did not return, or returned a failure, may have happened at any moment after its start, or never.
 * Where small values are equal, the candidate that accuses least is taken, so there are no false alarms.
 *
 * The rules for one register are those of P. Alvaro and others' register checks (Jepsen, Porcupine), simplified by values
 * that are unique; the horizon is RocksDB's db_stress "no hole" check, generalised to concurrent writers.
 */
#ifndef ASSAY_CRASHTEST_ORACLE_H
#define ASSAY_CRASHTEST_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crashtest/history.h"
#include "engines/engine.h"

#define VERDICT_LIST(X)                                                              \
    X(HELD,        "held",        "every promise was kept")                          \
    X(LOST,        "lost",        "an acknowledged write is gone")                   \
    X(HOLE,        "hole",        "a later write is there, an earlier one is not")   \
    X(RESURRECTED, "resurrected", "what was deleted or overwritten long ago is back") \
    X(CORRUPT,     "corrupt",     "what was found was never written")                \
    X(REFUSED,     "refused",     "the store does not open, or takes no writes")     \
    X(CRASHED,     "crashed",     "the engine died by itself")                       \
    X(HUNG,        "hung",        "the engine did not come back in time")

enum verdict {
#define X(name, word, meaning) VERDICT_##name,
    VERDICT_LIST(X)
#undef X
    VERDICT_COUNT
};

const char *verdict_word(enum verdict verdict);
const char *verdict_meaning(enum verdict verdict);

enum oracle_crash { ORACLE_KILL, ORACLE_POWER };

/* A timer that is due may be late by this on a busy machine: no interval is broken by it. */
#define ORACLE_SLACK_NS UINT64_C(150000000)

struct oracle_promise {
    bool     nothing;        /* only that what is found was once written to that key, or an explicit refusal */
    bool     all;            /* every acknowledged write */
    bool     prefix;
    bool     prefix_session; /* the prefix holds for each session only */
    uint64_t interval_ns;    /* what was acknowledged longer ago than this; 0: not promised */
};

/* What a tier promises for a crash; `can` is the engine's. */
struct oracle_promise oracle_promise_of(struct kv_durability durability, enum oracle_crash crash, uint32_t can);

struct oracle_found {
    struct history_value value;
    bool                 genuine;  /* says of itself that it was written to this key, some time */
    uint32_t             status;   /* HISTORY_FAILED: the get's */
};

struct oracle_case {
    const struct history_record *record;
    const struct history_value  *before; /* per key, when the life began */
    const struct oracle_found   *after;  /* per key */
    uint32_t                     keys;
    struct oracle_promise        promise;
    uint64_t                     death_ns;
};

#define ORACLE_TEXT_MAX 400

struct oracle_verdict {
    enum verdict verdict;
    uint32_t     key;   /* the first bad one; UINT32_MAX: none in particular */
    uint32_t     bad;   /* how many keys were bad */
    char         expected[ORACLE_TEXT_MAX], found[ORACLE_TEXT_MAX], why[ORACLE_TEXT_MAX];
};

/* False with fail_set(): no memory. */
bool oracle_judge(const struct oracle_case *input, struct oracle_verdict *out);

#endif
