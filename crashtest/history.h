/*
 * history.h -- what a life did, noted where its death cannot lose it: every operation's start and end in one order.
 *
 * The notes are in memory that parent and child share.  A start takes a ticket before the call and an end takes one after
 * it has returned, from one counter, so "a returned before b began" is a.end < b.start and nothing else.  What the
 * operation is about is written before its start ticket: a death between two stores loses at most a note of something
 * that had not begun, or an end that nobody was told.  A session is written by one thread only.
 *
 * A value is known by its size and its hash, so that any value, an empty one too, is compared in the same way; small
 * values may be equal by chance, and the oracle allows for that.
 */
#ifndef ASSAY_CRASHTEST_HISTORY_H
#define ASSAY_CRASHTEST_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engines/base/slice.h"
#include "engines/base/status.h"

#define HISTORY_SESSIONS_MAX 64
#define HISTORY_BATCH_MAX    16
#define HISTORY_TEXT_MAX     512

enum history_state {
    HISTORY_UNSEEN, /* nobody looked */
    HISTORY_ABSENT,
    HISTORY_PRESENT,
    HISTORY_FAILED /* the get failed */
};

struct history_value {
    uint64_t hash; /* XXH3; 0 unless present */
    uint32_t size;
    uint32_t state;
};

enum history_kind { HISTORY_WRITE, HISTORY_READ, HISTORY_MODIFY, HISTORY_SYNC };

struct history_write {
    uint32_t             key;
    struct history_value value; /* absent: a delete */
};

struct history_op {
    uint64_t start, end;                   /* tickets from 1; 0: has not begun, has not returned */
    uint64_t start_position, end_position; /* records of the trace when it began, when it had returned */
    uint64_t start_ns, end_ns;
    uint32_t session;
    uint32_t kind;
    uint32_t status;                       /* kv_status; means something when end is set */
    uint32_t key;                          /* READ, MODIFY */
    uint32_t first_write, write_count;     /* WRITE: one, or a batch; MODIFY: one */
    struct history_value seen;             /* READ: what came back; MODIFY: the old value it was last shown */
};

enum history_stage { HISTORY_FORKED, HISTORY_OPENING, HISTORY_OPENED, HISTORY_DONE, HISTORY_BROKEN };

/* One life, in shared memory.  The parent reads the first lines while the child lives, the rest after its death. */
struct history {
    uint64_t ticket;       /* the last that was taken */
    uint64_t acked_writes; /* writes that returned KV_OK, a batch counting once */
    uint32_t stage;
    uint64_t opening_ns, opened_ns;
    uint64_t opened_calls; /* I/O calls that the opening took, when they are counted */
    uint64_t merges, rotations; /* as the engine told since it was opened */
    const uint64_t *position; /* shared: how many records the trace has; NULL: nobody records */

    /* HISTORY_BROKEN, or an operation's status that no crash explains: the first one. */
    uint32_t broken_status;
    char     broken_text[HISTORY_TEXT_MAX];
    uint32_t broken_taken;

    uint32_t sessions;
    uint32_t ops_max; /* per session */
    size_t   bytes;
    struct history_session {
        uint32_t op_count, write_count;
    } session[HISTORY_SESSIONS_MAX];
};

/* NULL with fail_set().  writes_max per session is ops_max * HISTORY_BATCH_MAX in address space; pages that are not used
 * cost nothing. */
struct history *history_new(uint32_t sessions, uint32_t ops_max);
void history_free(struct history *history);
/* For the next life. */
void history_clear(struct history *history);

/* Notes an operation and takes its start ticket; NULL when the session's room is used up.  writes are copied. */
struct history_op *history_start(struct history *history, uint32_t session, enum history_kind kind, uint32_t key,
                                 const struct history_write *writes, uint32_t write_count);
/* For the calling session's operation, after its call has returned. */
void history_end(struct history *history, struct history_op *op, kv_status status);
/* The first of them stays. */
void history_broken(struct history *history, kv_status status, const char *text);

struct history_value history_value_of(slice value);
static inline bool history_same(struct history_value a, struct history_value b)
{
    return a.state == b.state && (a.state != HISTORY_PRESENT || (a.size == b.size && a.hash == b.hash));
}

/* A life's operations that began, in the order of their starts; owned by the record. */
struct history_record {
    struct history_op    *ops;
    size_t                op_count;
    struct history_write *writes; /* first_write counts from here */
    size_t                write_count;
};

/* After the child's death.  False with fail_set(): no memory. */
bool history_collect(const struct history *history, struct history_record *out);
void history_record_free(struct history_record *record);
/* What the record would be, had the life ended when the trace had `position` records: drops what had not begun, takes
 * back the ends that came later, and what was seen by then. */
void history_record_cut(struct history_record *record, uint64_t position);

#endif
