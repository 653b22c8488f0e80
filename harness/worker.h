/*
 * worker.h -- the threads of a cell, and the loops that call the engine.
 *
 * A crew is one thread for each of the workload's, each with its own session and stream of operations.  The cell's main
 * thread hands the crew one job after the other; between jobs the threads sleep at a barrier.  Operations are prepared
 * in blocks ahead of the stamped stretch, and inside the stamps there is nothing but the calls, a fold over each byte
 * of each value that was read, and one count.
 */
#ifndef ASSAY_HARNESS_WORKER_H
#define ASSAY_HARNESS_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engines/engine.h"
#include "harness/hist.h"
#include "workloads/ops.h"
#include "workloads/workload.h"

#define WORKER_BLOCK_OPS 256 /* with keys and values of 100 bytes some 45 KB: stays in the nearest caches */

/* Seen by the parent of the cell too, through shared memory. */
struct progress_page {
    _Atomic uint64_t ops;     /* calls that came back, over the life of the cell: stands still when the engine hangs */
    _Atomic uint64_t total;   /* of the present pass, 0 when it ends by time */
    _Atomic uint64_t before;  /* value of ops when the pass began */
    char             pass[32];
};

typedef uint64_t worker_lanes __attribute__((vector_size(16), aligned(1), may_alias));

/* Kinds of latency samples: the operations, and groups of them. */
enum { SAMPLE_READ_MANY = OP_KINDS, SAMPLE_WRITE_MANY, SAMPLE_KINDS };
const char *sample_word(int kind);

/* What a worker counts in one pass. */
struct tally {
    uint64_t count[OP_KINDS][KV_STATUS_COUNT]; /* calls by what came back */
    uint64_t bytes_read, bytes_written;        /* keys and values */
    uint64_t scanned;                          /* records that scans visited */
    uint64_t stamped_ns;
    uint64_t blocks;
};

struct call;
struct crew;

struct worker {
    struct crew       *crew;
    uint32_t           index;
    struct kv_session *session;
    struct ops        *ops;

    /* Hot. */
    struct tally       tally;
    worker_lanes       fold;       /* so that no read can be left out */
    kv_status          group_status; /* of a failed get_many or write; single calls are in the tally */
    uint32_t           scan_left;
    slice              change_to;  /* the new value of the present read-modify-write */
    const struct op   *checked;    /* the operation whose value is being judged */

    /* Groups of --batch, planned ahead of the stamps. */
    struct call       *calls;
    size_t             call_count;
    slice             *read_keys;
    uint8_t           *read_kinds;
    struct kv_write   *writes;
    uint8_t           *write_kinds;
    size_t             many_first; /* where the present get_many begins in read_keys */
    kv_visit          *visit;      /* fold, or judge whole values in the verify pass */
    kv_visit_many     *visit_many;
    struct buf         last_key;   /* of the present scan, when its order is judged */
    size_t             block_ops;  /* of the next block: fewer when calls are slow */

    struct hist       *service[SAMPLE_KINDS], *response[SAMPLE_KINDS]; /* made on first use */
    uint64_t          *series;      /* operations by interval */
    size_t             series_count, series_room;
    uint64_t           wrong;       /* values or answers that cannot be */
    uint64_t           checked_values, checked_absent;
    uint64_t           inserted;    /* keys of the stream's own, over the life of the cell */
    uint64_t           done[WORKLOAD_PHASES_MAX]; /* operations of each phase's stream that were executed */
    uint64_t           backlog_max, backlog_sum, lateness_max_ns, lateness_end_ns, paced_ops;
    uint64_t           cpu_ns;      /* that the present job took of processors */
    kv_status          status;      /* the first failure that ended a job */
    char               why[FAIL_BYTES_MAX];
    pthread_t          thread;
};

struct crew {
    const struct workload *workload;
    struct kv_store       *store;
    struct progress_page  *page;
    bool                   retains;
    bool                   ordered;
    bool                   spins;    /* paced: the last stretch before a start is waited for on the processor */
    uint32_t               count;
    size_t                 block_ops;
    size_t                 phase;
    struct worker         *workers;

    /* The present job. */
    void (*job)(struct worker *worker);
    uint64_t               ops;       /* over all threads; 0: no limit */
    uint64_t               limit_ns;  /* 0: no limit */
    uint64_t               begin_ns;
    uint64_t               interval_ns; /* of the time series; 0: none is kept */
    uint32_t               sampling;
    _Atomic uint32_t       running;
    _Atomic bool           failed;    /* a worker met an error: the others end too */

    pthread_barrier_t      begin, end;
    bool                   leaving;
    size_t                 started;
};

/* Starts the threads; streams are made.  False with fail_set(). */
bool crew_start(struct crew *crew, const struct workload *workload, const struct kv_engine *engine,
                struct progress_page *page);
/* Ends the threads.  Sessions are closed already. */
void crew_stop(struct crew *crew);
/* All threads run job; returns when the last is done.  False with fail_set() when one of them failed. */
bool crew_run(struct crew *crew, void (*job)(struct worker *worker));
/* Empties what the passes count; streams and `done` go on. */
void crew_reset(struct crew *crew);
struct tally crew_tally(const struct crew *crew);

/* Jobs. */
void job_open_session(struct worker *worker);
void job_close_session(struct worker *worker);
void job_begin_phase(struct worker *worker);
void job_load(struct worker *worker);       /* inserts, the last one to finish syncs */
void job_throughput(struct worker *worker); /* warm-up and run */
void job_latency(struct worker *worker);    /* 1 in crew->sampling operations is stamped */
void job_paced(struct worker *worker);
void job_verify(struct worker *worker);
void job_sync(struct worker *worker);       /* worker 0 only */
void job_compact(struct worker *worker);    /* worker 0 only */

/* Calls that succeeded: done, or an answer. */
uint64_t tally_ops(const struct tally *tally);
uint64_t tally_kind_ops(const struct tally *tally, enum op_kind kind);

/* Notes a failure; the first one of a worker stays. */
__attribute__((format(printf, 3, 4)))
void worker_fail(struct worker *worker, kv_status status, const char *format, ...);

/* Reads every byte of a value, in the same way for every engine. */
static inline void worker_fold(struct worker *worker, slice value)
{
    const char  *at = value.data;
    size_t       left = value.size;
    worker_lanes a = worker->fold, b = {0}, c = {0}, d = {0};
    uint64_t     rest = 0;

    for (; left >= 64; left -= 64, at += 64) {
        const worker_lanes *lane = (const worker_lanes *)at;
        a += lane[0];
        b += lane[1];
        c += lane[2];
        d += lane[3];
    }
    /* Tests, and no loops: what waits for a value that comes from memory fills the processor's window, and the fewer
     * instructions that are, the more calls overlap there. */
    if (left & 32) {
        const worker_lanes *lane = (const worker_lanes *)at;
        a += lane[0];
        b += lane[1];
        at += 32;
    }
    if (left & 16) {
        c += *(const worker_lanes *)at;
        at += 16;
    }
    if (left & 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        rest += word;
        at += 8;
    }
    if (left & 4) {
        uint32_t word;
        memcpy(&word, at, 4);
        rest += word;
        at += 4;
    }
    for (left &= 3; left; left--)
        rest += (unsigned char)*at++;
    a += b + c + d;
    a[0] += rest;
    worker->fold = a;
    worker->tally.bytes_read += value.size;
}

#endif
