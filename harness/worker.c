/* worker.c -- the threads of a cell, and the loops that call the engine. */
#include "harness/worker.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/rng.h"
#include "workloads/arrival.h"
#include "workloads/key.h"
#include "workloads/value.h"

#define BLOCK_OPS_FIRST 32 /* an engine that takes 10 ms a call is found out before it took a second */
#define BLOCK_NS_LONG    (20 * NS_PER_MS)
#define BLOCK_NS_SHORT   (2 * NS_PER_MS)
#define PACED_BLOCK_OPS  64
#define SPIN_NS          (60 * NS_PER_US)    /* a sleep may end this late; the rest is waited for on the processor */
#define KEY_ROOM         65536

enum call_type { CALL_ONE, CALL_READS, CALL_WRITES };

struct call {
    enum call_type type;
    kv_status      status;
    uint32_t       first, count; /* CALL_ONE: operation; else into read_keys or writes */
};

const char *sample_word(int kind)
{
    if (kind == SAMPLE_READ_MANY)
        return "read_many";
    if (kind == SAMPLE_WRITE_MANY)
        return "write_many";
    return op_kind_word((enum op_kind)kind);
}

void worker_fail(struct worker *worker, kv_status status, const char *format, ...)
{
    va_list arguments;

    atomic_store(&worker->crew->failed, true);
    if (worker->status != KV_OK)
        return;
    worker->status = status;
    va_start(arguments, format);
    vsnprintf(worker->why, sizeof worker->why, format, arguments);
    va_end(arguments);
}

static bool answered(kv_status status)
{
    return status == KV_OK || status == KV_NOT_FOUND;
}

/* Visitors. */

static bool visit_fold(void *arg, slice key, slice value)
{
    (void)key;
    worker_fold(arg, value);
    return true;
}

static void visit_many_fold(void *arg, size_t position, kv_status status, slice value)
{
    struct worker *worker = arg;

    worker->tally.count[worker->read_kinds[worker->many_first + position]][status]++;
    if (status == KV_OK)
        worker_fold(worker, value);
}

static bool visit_scan(void *arg, slice key, slice value)
{
    struct worker *worker = arg;

    (void)key;
    worker_fold(worker, value);
    worker->tally.scanned++;
    return --worker->scan_left > 0;
}

static kv_status change_fold(void *arg, const slice *old, struct buf *out)
{
    struct worker *worker = arg;

    if (old)
        worker_fold(worker, *old);
    return buf_append(out, worker->change_to.data, worker->change_to.size);
}

/* Judges a value whole.  Engines that do not retain are asked only whether the value is whole. */
static void judge(struct worker *worker, slice key, slice value)
{
    bool               retains = worker->crew->retains;
    enum value_verdict verdict = value_check(retains ? key : (slice){0}, value);

    worker->checked_values++;
    worker->tally.bytes_read += value.size;
    if (verdict == VALUE_GOOD || (!retains && value.size == 0))
        return;
    worker->wrong++;
    worker_fail(worker, KV_CORRUPT, "a read returned %s (%zu bytes, key of %zu bytes)",
                verdict == VALUE_TORN ? "a torn value" : "the value of another key", value.size, key.size);
}

static bool visit_judge(void *arg, slice key, slice value)
{
    struct worker *worker = arg;

    (void)key; /* the key that was asked for is what counts */
    judge(worker, worker->checked->key, value);
    return true;
}

static void visit_many_judge(void *arg, size_t position, kv_status status, slice value)
{
    struct worker *worker = arg;
    size_t         at = worker->many_first + position;

    worker->tally.count[worker->read_kinds[at]][status]++;
    if (status == KV_OK)
        judge(worker, worker->read_keys[at], value);
}

static bool visit_scan_judge(void *arg, slice key, slice value)
{
    struct worker *worker = arg;

    if (worker->crew->ordered && worker->last_key.size > 0 && slice_compare(key, buf_slice(&worker->last_key)) <= 0) {
        worker->wrong++;
        worker_fail(worker, KV_CORRUPT, "a scan went back: a key is not above the one before it");
    }
    worker->last_key.size = 0;
    if (buf_append(&worker->last_key, key.data, key.size) != KV_OK)
        worker->last_key.size = 0;
    judge(worker, key, value);
    worker->tally.scanned++;
    return --worker->scan_left > 0;
}

/* Calls. */

static inline kv_status call_one(struct worker *worker, const struct op *op, kv_visit *visit, kv_visit *scan)
{
    struct kv_session *session = worker->session;

    /* Two tests, and no table of jumps: it would be mispredicted as often and cost more. */
    if (op->kind == OP_READ || op->kind == OP_MISS)
        return kv_get(session, op->key, visit, worker);
    if (op->kind == OP_UPDATE || op->kind == OP_INSERT)
        return kv_put(session, op->key, op->value);
    switch (op->kind) {
    case OP_DELETE:
        return kv_del(session, op->key);
    case OP_RMW:
        worker->change_to = op->value;
        return kv_modify(session, op->key, change_fold, worker);
    case OP_SCAN:
        worker->scan_left = op->scan_records;
        return kv_scan(session, op->key, scan, worker);
    default:
        return kv_fail(KV_INVALID, "no such kind of operation");
    }
}

static inline void count_one(struct worker *worker, const struct op *op, kv_status status)
{
    worker->tally.count[op->kind][status]++;
}

/* Sorts the block's operations into calls: reads and writes gather until a group is full.  A read may so come behind
 * writes that follow it in the stream, as in a client with reads in flight; writes and all else keep their order. */
static void plan(struct worker *worker, const struct op *ops, size_t count)
{
    size_t   batch_gets = worker->crew->workload->batch_gets, batch_writes = worker->crew->workload->batch_writes;
    uint32_t reads = 0, writes = 0, reads_from = 0, writes_from = 0;

    worker->call_count = 0;
#define EMIT(type_, first_, count_)                                                                                    \
    worker->calls[worker->call_count++] = (struct call)                                                                \
    {                                                                                                                  \
        .type = (type_), .first = (uint32_t)(first_), .count = (uint32_t)(count_)                                      \
    }
#define EMIT_WRITES()                                                \
    do {                                                             \
        if (writes > writes_from)                                    \
            EMIT(CALL_WRITES, writes_from, writes - writes_from);    \
        writes_from = writes;                                        \
    } while (0)
    for (size_t i = 0; i < count; i++) {
        const struct op *op = &ops[i];
        bool             puts = op->kind == OP_UPDATE || op->kind == OP_INSERT;

        if (batch_gets > 1 && (op->kind == OP_READ || op->kind == OP_MISS)) {
            worker->read_keys[reads] = op->key;
            worker->read_kinds[reads++] = (uint8_t)op->kind;
            if (reads - reads_from == batch_gets) {
                EMIT(CALL_READS, reads_from, batch_gets);
                reads_from = reads;
            }
        } else if (batch_writes > 1 && (puts || op->kind == OP_DELETE)) {
            worker->write_kinds[writes] = (uint8_t)op->kind;
            worker->writes[writes++] = (struct kv_write){puts ? KV_PUT : KV_DELETE, op->key, op->value};
            if (writes - writes_from == batch_writes)
                EMIT_WRITES();
        } else {
            EMIT_WRITES();
            EMIT(CALL_ONE, i, 1);
        }
    }
    EMIT_WRITES();
    if (reads > reads_from)
        EMIT(CALL_READS, reads_from, reads - reads_from);
#undef EMIT_WRITES
#undef EMIT
}

static bool grouped(const struct worker *worker)
{
    return worker->crew->workload->batch_gets > 1 || worker->crew->workload->batch_writes > 1;
}

static inline kv_status run_call(struct worker *worker, struct call *call, const struct op *ops)
{
    if (call->type == CALL_READS) {
        worker->many_first = call->first;
        return kv_get_many(worker->session, worker->read_keys + call->first, call->count, worker->visit_many, worker);
    }
    if (call->type == CALL_WRITES)
        return kv_write(worker->session, worker->writes + call->first, call->count);
    return call_one(worker, &ops[call->first], worker->visit, visit_scan);
}

/* What run_call leaves to be counted behind the stamps. */
static void count_call(struct worker *worker, const struct call *call, const struct op *ops)
{
    if (call->type == CALL_ONE) {
        count_one(worker, &ops[call->first], call->status);
        return;
    }
    if (!answered(call->status))
        worker->group_status = call->status;
    for (uint32_t i = 0; call->type == CALL_WRITES && i < call->count; i++)
        worker->tally.count[worker->write_kinds[call->first + i]][call->status]++;
}

/* A call that neither succeeded nor answered, since the pass began.  Looked for behind the stamps, once a block. */
static kv_status first_error(const struct worker *worker)
{
    for (int kind = 0; kind < OP_KINDS; kind++) {
        for (kv_status status = KV_NOT_FOUND + 1; status < KV_STATUS_COUNT; status++) {
            if (worker->tally.count[kind][status])
                return status;
        }
    }
    return worker->group_status;
}

/* After a block: its bytes, the progress, and whether to go on. */
static bool block_done(struct worker *worker, const struct op *ops, size_t count)
{
    uint64_t  inserts = 0;
    kv_status status;

    for (size_t i = 0; i < count; i++) {
        if (ops[i].value.size || ops[i].kind == OP_INSERT || ops[i].kind == OP_UPDATE)
            worker->tally.bytes_written += ops[i].key.size + ops[i].value.size;
        inserts += ops[i].kind == OP_INSERT;
    }
    if (worker->crew->job != job_load)
        worker->inserted += inserts;
    worker->tally.blocks++;
    atomic_fetch_add_explicit(&worker->crew->page->ops, count, memory_order_relaxed);
    status = first_error(worker);
    if (status != KV_OK)
        worker_fail(worker, status, "%s", *fail_text() ? fail_text() : kv_status_word(status));
    return !atomic_load_explicit(&worker->crew->failed, memory_order_relaxed);
}

static void add_to_series(struct worker *worker, uint64_t at_ns, size_t count)
{
    const struct crew *crew = worker->crew;
    size_t             slot;

    if (!crew->interval_ns)
        return;
    slot = (size_t)((at_ns - crew->begin_ns) / crew->interval_ns);
    if (slot >= worker->series_room) {
        size_t    room = (slot + 1) * 2 < 256 ? 256 : (slot + 1) * 2;
        uint64_t *series = realloc(worker->series, room * sizeof *series);

        if (!series)
            return; /* the figures of the pass do not need it */
        memset(series + worker->series_room, 0, (room - worker->series_room) * sizeof *series);
        worker->series = series;
        worker->series_room = room;
    }
    worker->series[slot] += count;
    if (slot >= worker->series_count)
        worker->series_count = slot + 1;
}

static size_t smallest_block(const struct worker *worker)
{
    const struct workload *workload = worker->crew->workload;
    size_t batch = workload->batch_gets > workload->batch_writes ? workload->batch_gets : workload->batch_writes;

    return batch > 1 ? batch : 1;
}

/* Blocks of an engine that answers slowly are cut, so that a pass that ends by time ends in time. */
static void fit_block(struct worker *worker, uint64_t took_ns)
{
    size_t smallest = smallest_block(worker);

    if (took_ns > BLOCK_NS_LONG && worker->block_ops / 2 >= smallest)
        worker->block_ops /= 2;
    else if (took_ns < BLOCK_NS_SHORT && worker->block_ops * 2 <= worker->crew->block_ops)
        worker->block_ops *= 2;
}

/* One block between two stamps; returns the second. */
static uint64_t stamped_block(struct worker *worker, const struct op *ops, size_t count)
{
    uint64_t begin, end;

    if (grouped(worker)) {
        plan(worker, ops, count);
        begin = clock_now_ns();
        for (size_t i = 0; i < worker->call_count; i++)
            worker->calls[i].status = run_call(worker, &worker->calls[i], ops);
        end = clock_now_ns();
        for (size_t i = 0; i < worker->call_count; i++)
            count_call(worker, &worker->calls[i], ops);
    } else {
        begin = clock_now_ns();
        for (size_t i = 0; i < count; i++)
            count_one(worker, &ops[i], call_one(worker, &ops[i], visit_fold, visit_scan));
        end = clock_now_ns();
    }
    worker->tally.stamped_ns += end - begin;
    fit_block(worker, end - begin);
    return end;
}

/* Hands the next block to `each` until the pass is over.  `fit` (may be NULL) says how many of a block there is time
 * for. */
static void stream(struct worker *worker, size_t (*fit)(struct worker *worker, size_t count),
                   uint64_t (*each)(struct worker *worker, const struct op *ops, size_t count))
{
    struct crew *crew = worker->crew;
    uint64_t     left = crew->ops ? workload_share(crew->workload, crew->ops, worker->index) : UINT64_MAX;
    uint64_t     until = crew->limit_ns ? crew->begin_ns + crew->limit_ns : UINT64_MAX;

    while (left > 0) {
        size_t           count = worker->block_ops < left ? worker->block_ops : (size_t)left;
        const struct op *ops;
        uint64_t         now;

        if (fit && (count = fit(worker, count)) == 0)
            return;
        if (!(ops = ops_next(worker->ops, count))) {
            worker_fail(worker, KV_NO_MEMORY, "%s", fail_text());
            return;
        }
        now = each(worker, ops, count);
        worker->done[crew->phase] += count;
        left -= count;
        add_to_series(worker, now, count);
        if (!block_done(worker, ops, count) || now >= until)
            return;
    }
}

void job_throughput(struct worker *worker)
{
    stream(worker, NULL, stamped_block);
}

void job_load(struct worker *worker)
{
    const struct op *ops;
    size_t           count;

    while ((count = ops_next_load(worker->ops, &ops, worker->block_ops)) > 0) {
        uint64_t now;

        if (count == SIZE_MAX) {
            worker_fail(worker, KV_NO_MEMORY, "%s", fail_text());
            break;
        }
        now = stamped_block(worker, ops, count);
        add_to_series(worker, now, count);
        if (!block_done(worker, ops, count))
            break;
    }
    /* The last one syncs, so that the load's time holds all of its work. */
    if (atomic_fetch_sub(&worker->crew->running, 1) == 1 && !atomic_load(&worker->crew->failed)) {
        uint64_t begin = clock_now_ns();

        job_sync(worker);
        worker->tally.stamped_ns += clock_now_ns() - begin;
    }
}

void job_sync(struct worker *worker)
{
    kv_status status = kv_sync(worker->session);

    if (status != KV_OK && status != KV_UNSUPPORTED)
        worker_fail(worker, status, "sync: %s", fail_text());
}

void job_compact(struct worker *worker)
{
    uint64_t  begin = clock_now_ns();
    kv_status status;

    if (worker->index != 0)
        return;
    status = kv_compact(worker->session);
    worker->tally.stamped_ns += clock_now_ns() - begin;
    if (status != KV_OK)
        worker_fail(worker, status, "compact: %s", fail_text());
}

/* Latency. */

static void record(struct worker *worker, struct hist **hists, int kind, uint64_t ns)
{
    if (!hists[kind] && !(hists[kind] = hist_new())) {
        worker_fail(worker, KV_NO_MEMORY, "%s", fail_text());
        return;
    }
    hist_record(hists[kind], ns);
}

static uint64_t sampled_block(struct worker *worker, const struct op *ops, size_t count)
{
    uint64_t index = worker->done[worker->crew->phase], begin = clock_now_ns(), end = begin;
    uint32_t sampling = worker->crew->sampling;

    if (grouped(worker)) {
        plan(worker, ops, count);
        for (size_t i = 0; i < worker->call_count; i++) {
            struct call *call = &worker->calls[i];
            int kind = call->type == CALL_READS ? SAMPLE_READ_MANY
                       : call->type == CALL_WRITES ? SAMPLE_WRITE_MANY : (int)ops[call->first].kind;
            uint64_t from = clock_now_ns();

            call->status = run_call(worker, call, ops);
            end = clock_now_ns();
            count_call(worker, call, ops);
            if (answered(call->status))
                record(worker, worker->service, kind, end - from);
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            /* Chosen by the operation's place in the stream, so by nothing that the engine does. */
            if (sampling > 1 && rng_mix(index + i) % sampling != 0) {
                count_one(worker, &ops[i], call_one(worker, &ops[i], visit_fold, visit_scan));
            } else {
                uint64_t  from = clock_now_ns();
                kv_status status = call_one(worker, &ops[i], visit_fold, visit_scan);

                end = clock_now_ns();
                count_one(worker, &ops[i], status);
                if (answered(status))
                    record(worker, worker->service, (int)ops[i].kind, end - from);
            }
        }
        end = clock_now_ns();
    }
    fit_block(worker, end - begin);
    return end;
}

void job_latency(struct worker *worker)
{
    stream(worker, NULL, sampled_block);
}

/* Pacing.  The schedule does not wait for the engine, and what it falls behind is part of the response time. */

struct pace {
    struct arrival  next, ahead; /* the same schedule twice: what starts next, and what should have started by now */
    uint64_t        ahead_ns, arrived, started;
};

static _Thread_local struct pace *present_pace; /* stream() hands over blocks only */

/* Threads that spin would take the processor from the engine's own, so they do only where each has one to itself. */
static void wait_until(uint64_t at_ns, bool spins)
{
    uint64_t now = clock_now_ns();

    if (at_ns > now + SPIN_NS || !spins)
        clock_sleep_until_ns(spins ? at_ns - SPIN_NS : at_ns);
    while (clock_now_ns() < at_ns)
        __builtin_ia32_pause();
}

/* Operations that are due before the end: an unbounded block would run past it at a low rate. */
static size_t fit_schedule(struct worker *worker, size_t count)
{
    struct arrival peek = present_pace->next;
    size_t         fits = 0;

    if (count > PACED_BLOCK_OPS)
        count = PACED_BLOCK_OPS;
    if (!worker->crew->limit_ns)
        return count;
    while (fits < count && arrival_next_ns(&peek) < worker->crew->limit_ns)
        fits++;
    return fits;
}

static uint64_t paced_block(struct worker *worker, const struct op *ops, size_t count)
{
    struct pace *pace = present_pace;
    uint64_t     zero = worker->crew->begin_ns, end = zero;
    bool         spins = worker->crew->spins;

    for (size_t i = 0; i < count; i++) {
        uint64_t  intended = zero + arrival_next_ns(&pace->next), from;
        kv_status status;

        wait_until(intended, spins);
        from = clock_now_ns();
        status = call_one(worker, &ops[i], visit_fold, visit_scan);
        end = clock_now_ns();
        count_one(worker, &ops[i], status);
        while (zero + pace->ahead_ns <= from) {
            pace->arrived++;
            pace->ahead_ns = arrival_next_ns(&pace->ahead);
        }
        /* How many wait behind this one. */
        if (pace->arrived > pace->started + 1) {
            uint64_t backlog = pace->arrived - pace->started - 1;

            worker->backlog_sum += backlog;
            if (backlog > worker->backlog_max)
                worker->backlog_max = backlog;
        }
        pace->started++;
        worker->paced_ops++;
        worker->lateness_end_ns = from - intended;
        if (from - intended > worker->lateness_max_ns)
            worker->lateness_max_ns = from - intended;
        if (answered(status)) {
            record(worker, worker->service, (int)ops[i].kind, end - from);
            record(worker, worker->response, (int)ops[i].kind, end - intended);
        }
    }
    return end;
}

void job_paced(struct worker *worker)
{
    struct pace pace = {0};

    prctl(PR_SET_TIMERSLACK, 1); /* sleeps end when they should, not up to 50 us later */
    arrival_begin(&pace.next, worker->crew->workload, worker->crew->phase, worker->index);
    pace.ahead = pace.next;
    pace.ahead_ns = arrival_next_ns(&pace.ahead);
    present_pace = &pace;
    stream(worker, fit_schedule, paced_block);
}

/* Verification. */

static void check_absent(struct worker *worker, uint64_t key_number)
{
    static _Thread_local char room[KEY_ROOM + 8];
    slice                     key = slice_of(room, key_encode(worker->crew->workload, key_number, true, room));
    struct op                 asked = {.key = key};
    kv_status                 status;

    worker->checked = &asked;
    status = kv_get(worker->session, key, visit_fold, worker);
    worker->checked_absent++;
    if (status == KV_OK) {
        worker->wrong++;
        worker_fail(worker, KV_CORRUPT, "a key that was never written has a value");
    } else if (status != KV_NOT_FOUND) {
        worker_fail(worker, status, "%s", fail_text());
    }
}

static uint64_t verified_block(struct worker *worker, const struct op *ops, size_t count)
{
    if (grouped(worker)) {
        plan(worker, ops, count);
        for (size_t i = 0; i < worker->call_count; i++) {
            struct call *call = &worker->calls[i];

            if (call->type == CALL_ONE) {
                worker->checked = &ops[call->first];
                worker->last_key.size = 0;
                call->status = call_one(worker, &ops[call->first], visit_judge, visit_scan_judge);
            } else {
                call->status = run_call(worker, call, ops);
            }
            count_call(worker, call, ops);
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            worker->checked = &ops[i];
            worker->last_key.size = 0;
            count_one(worker, &ops[i], call_one(worker, &ops[i], visit_judge, visit_scan_judge));
        }
    }
    for (size_t i = 0; worker->crew->retains && i < count; i++)
        check_absent(worker, ops[i].key_number);
    return clock_now_ns();
}

void job_verify(struct worker *worker)
{
    worker->visit = visit_judge;
    worker->visit_many = visit_many_judge;
    stream(worker, NULL, verified_block);
    worker->visit = visit_fold;
    worker->visit_many = visit_many_fold;
}

/* Sessions and phases. */

void job_open_session(struct worker *worker)
{
    kv_status status = kv_session_open(worker->crew->store, &worker->session);

    if (status != KV_OK)
        worker_fail(worker, status, "%s", fail_text());
}

void job_close_session(struct worker *worker)
{
    kv_session_close(worker->session);
    worker->session = NULL;
}

void job_begin_phase(struct worker *worker)
{
    if (!ops_begin_phase(worker->ops, worker->crew->phase))
        worker_fail(worker, KV_NO_MEMORY, "%s", fail_text());
}

/* The crew. */

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct crew   *crew = worker->crew;
    uint64_t       cpu_ns;

    for (;;) {
        pthread_barrier_wait(&crew->begin);
        if (crew->leaving)
            return NULL;
        cpu_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
        crew->job(worker);
        worker->cpu_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
        pthread_barrier_wait(&crew->end);
    }
}

static bool make_worker(struct crew *crew, uint32_t index)
{
    struct worker *worker = &crew->workers[index];
    size_t         room = crew->block_ops;

    *worker = (struct worker){.crew = crew, .index = index, .visit = visit_fold, .visit_many = visit_many_fold};
    worker->ops = ops_new(crew->workload, index);
    if (!worker->ops)
        return false;
    worker->calls = calloc(room + 2, sizeof *worker->calls);
    worker->read_keys = calloc(room, sizeof *worker->read_keys);
    worker->read_kinds = calloc(room, 1);
    worker->writes = calloc(room, sizeof *worker->writes);
    worker->write_kinds = calloc(room, 1);
    if (worker->calls && worker->read_keys && worker->read_kinds && worker->writes && worker->write_kinds)
        return true;
    fail_set("no memory for a block of %zu operations", room);
    return false;
}

bool crew_start(struct crew *crew, const struct workload *workload, const struct kv_engine *engine,
                struct progress_page *page)
{
    size_t batch = workload->batch_gets > workload->batch_writes ? workload->batch_gets : workload->batch_writes;

    *crew = (struct crew){.workload = workload, .page = page, .count = workload->threads, .sampling = 1,
                          .retains = engine->can & KV_RETAINS, .ordered = engine->can & KV_ORDERED,
                          .spins = workload->threads < sysconf(_SC_NPROCESSORS_ONLN)};
    /* Blocks hold whole groups, so that a mixed stream fills most of them. */
    crew->block_ops = batch > 1 ? (batch * 4 > WORKER_BLOCK_OPS ? batch * 4 : WORKER_BLOCK_OPS) : WORKER_BLOCK_OPS;
    /* Large values: a block is what it costs to prepare, and should not push the engine out of the caches. */
    while (crew->block_ops / 2 >= (batch > 1 ? batch : 1) && crew->block_ops * workload->value_bytes_max > (1u << 20))
        crew->block_ops /= 2;
    crew->workers = calloc(crew->count, sizeof *crew->workers);
    if (!crew->workers) {
        fail_set("no memory for %" PRIu32 " threads", crew->count);
        return false;
    }
    pthread_barrier_init(&crew->begin, NULL, crew->count + 1);
    pthread_barrier_init(&crew->end, NULL, crew->count + 1);
    for (uint32_t i = 0; i < crew->count; i++) {
        if (!make_worker(crew, i))
            return false;
    }
    crew_reset(crew);
    for (; crew->started < crew->count; crew->started++) {
        struct worker *worker = &crew->workers[crew->started];
        int            error = pthread_create(&worker->thread, NULL, worker_main, worker);

        if (error) {
            fail_set("cannot start thread %zu of %" PRIu32 ": %s", crew->started + 1, crew->count, strerror(error));
            return false; /* the cell's process ends, and with it those that wait at the barrier */
        }
    }
    return true;
}

static void free_hists(struct worker *worker)
{
    for (int kind = 0; kind < SAMPLE_KINDS; kind++) {
        free(worker->service[kind]);
        free(worker->response[kind]);
        worker->service[kind] = worker->response[kind] = NULL;
    }
}

void crew_stop(struct crew *crew)
{
    if (crew->started == crew->count) {
        crew->leaving = true;
        pthread_barrier_wait(&crew->begin);
        for (uint32_t i = 0; i < crew->count; i++)
            pthread_join(crew->workers[i].thread, NULL);
    }
    for (uint32_t i = 0; i < crew->count; i++) {
        struct worker *worker = &crew->workers[i];

        ops_free(worker->ops);
        free(worker->calls);
        free(worker->read_keys);
        free(worker->read_kinds);
        free(worker->writes);
        free(worker->write_kinds);
        free(worker->series);
        buf_free(&worker->last_key);
        free_hists(worker);
    }
    pthread_barrier_destroy(&crew->begin);
    pthread_barrier_destroy(&crew->end);
    free(crew->workers);
}

bool crew_run(struct crew *crew, void (*job)(struct worker *worker))
{
    crew->job = job;
    atomic_store(&crew->running, crew->count);
    atomic_store(&crew->page->before, atomic_load(&crew->page->ops));
    atomic_store(&crew->page->total, crew->ops);
    crew->begin_ns = clock_now_ns();
    pthread_barrier_wait(&crew->begin);
    pthread_barrier_wait(&crew->end);
    for (uint32_t i = 0; i < crew->count; i++) {
        if (crew->workers[i].status != KV_OK) {
            fail_set("%s", crew->workers[i].why);
            return false;
        }
    }
    return true;
}

void crew_reset(struct crew *crew)
{
    for (uint32_t i = 0; i < crew->count; i++) {
        struct worker *worker = &crew->workers[i];

        worker->tally = (struct tally){0};
        worker->group_status = KV_OK;
        worker->series_count = 0;
        if (worker->series)
            memset(worker->series, 0, worker->series_room * sizeof *worker->series);
        worker->wrong = worker->checked_values = worker->checked_absent = 0;
        worker->backlog_max = worker->backlog_sum = worker->lateness_max_ns = worker->lateness_end_ns = 0;
        worker->paced_ops = 0;
        worker->block_ops = smallest_block(worker) > BLOCK_OPS_FIRST ? smallest_block(worker) : BLOCK_OPS_FIRST;
        if (worker->block_ops > crew->block_ops)
            worker->block_ops = crew->block_ops;
        free_hists(worker);
    }
}

struct tally crew_tally(const struct crew *crew)
{
    struct tally sum = {0};

    for (uint32_t i = 0; i < crew->count; i++) {
        const struct tally *one = &crew->workers[i].tally;

        for (int kind = 0; kind < OP_KINDS; kind++)
            for (int status = 0; status < KV_STATUS_COUNT; status++)
                sum.count[kind][status] += one->count[kind][status];
        sum.bytes_read += one->bytes_read;
        sum.bytes_written += one->bytes_written;
        sum.scanned += one->scanned;
        sum.stamped_ns += one->stamped_ns;
        sum.blocks += one->blocks;
    }
    return sum;
}

uint64_t tally_kind_ops(const struct tally *tally, enum op_kind kind)
{
    return tally->count[kind][KV_OK] + tally->count[kind][KV_NOT_FOUND];
}

uint64_t tally_ops(const struct tally *tally)
{
    uint64_t sum = 0;

    for (int kind = 0; kind < OP_KINDS; kind++)
        sum += tally_kind_ops(tally, (enum op_kind)kind);
    return sum;
}
