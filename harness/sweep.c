/* sweep.c -- reads a whole store back and holds it against the history of its streams. */
#include "harness/sweep.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "workloads/key.h"
#include "workloads/value.h"

#define SWEEP_BLOCK 256
#define KEY_ROOM    65536

/* What is known of a key; found_* from reading it, the others from the history. */
enum {
    CHECKED       = 1 << 0,
    FOUND         = 1 << 1,
    ORIGIN        = 1 << 2, /* the value tells who wrote it */
    LOADED        = 1 << 3,
    LOAD_MATCHES  = 1 << 4,
    WRITTEN       = 1 << 5, /* put or deleted after the load */
    MAY_BE_ABSENT = 1 << 6, /* the last word of some thread was a delete */
    MATCHES       = 1 << 7  /* the value is the last write of the thread that wrote it */
};

struct state {
    struct crew *crew;
    uint64_t     keys, step;
    uint64_t     until_ns;
    uint8_t     *flags;
    uint32_t    *writer;
    uint64_t    *sequence;
};

struct reader {
    struct worker *worker;
    struct state  *state;
    uint64_t       number;
    slice          key;
};

static struct state *present; /* of the one sweep that runs; read by its threads */

static bool keep(void *arg, slice key, slice value)
{
    struct reader *reader = arg;
    struct state  *state = reader->state;
    uint64_t       number = reader->number;

    (void)key;
    state->flags[number] |= FOUND;
    switch (value_check(reader->key, value)) {
    case VALUE_GOOD:
        break;
    case VALUE_TORN:
        worker_fail(reader->worker, KV_CORRUPT, "key %" PRIu64 " reads back torn", number);
        return true;
    case VALUE_OF_ANOTHER_KEY:
        worker_fail(reader->worker, KV_CORRUPT, "key %" PRIu64 " reads back with the value of another key", number);
        return true;
    }
    if (value_origin(value, &state->writer[number], &state->sequence[number]))
        state->flags[number] |= ORIGIN;
    return true;
}

/* Keys in an order that a stop in the middle leaves spread over all of them. */
static void job_read_all(struct worker *worker)
{
    static _Thread_local char room[KEY_ROOM + 8];
    struct state             *state = present;
    struct reader             reader = {.worker = worker, .state = state};
    uint64_t                  threads = worker->crew->count;

    for (uint64_t i = worker->index; i < state->keys; i += threads) {
        kv_status status;

        reader.number = (uint64_t)((unsigned __int128)i * state->step % state->keys);
        reader.key = slice_of(room, key_encode(worker->crew->workload, reader.number, false, room));
        status = kv_get(worker->session, reader.key, keep, &reader);
        if (status != KV_OK && status != KV_NOT_FOUND)
            worker_fail(worker, status, "%s", fail_text());
        state->flags[reader.number] |= CHECKED;
        if (i / threads % SWEEP_BLOCK == 0) {
            atomic_fetch_add_explicit(&worker->crew->page->ops, SWEEP_BLOCK, memory_order_relaxed);
            if (clock_now_ns() > state->until_ns || atomic_load(&worker->crew->failed))
                return;
        }
    }
}

/* The history. */

static void note_load(struct state *state, const struct op *op)
{
    uint32_t writer;
    uint64_t sequence, key = op->key_number;

    state->flags[key] |= LOADED;
    if (value_origin(op->value, &writer, &sequence) && (state->flags[key] & ORIGIN) && writer == state->writer[key] &&
        sequence == state->sequence[key])
        state->flags[key] |= LOAD_MATCHES;
}

/* In `last`: the sequence of this thread's last write of a key, 0 for none, this for a delete. */
#define DELETED UINT64_MAX

static void note_write(struct state *state, uint64_t *last, const struct op *op)
{
    uint32_t writer;
    uint64_t sequence = 0;

    if (op->kind == OP_READ || op->kind == OP_MISS || op->kind == OP_SCAN || op->key_number >= state->keys)
        return;
    state->flags[op->key_number] |= WRITTEN;
    if (op->kind == OP_DELETE)
        last[op->key_number] = DELETED;
    else
        last[op->key_number] = value_origin(op->value, &writer, &sequence) ? sequence : 1;
}

static bool replay(struct state *state, uint32_t thread, uint64_t *last)
{
    const struct workload *workload = state->crew->workload;
    struct worker         *worker = &state->crew->workers[thread];
    struct ops            *ops = ops_new(workload, thread);
    const struct op       *block;
    size_t                 count;
    bool                   good = ops != NULL;

    memset(last, 0, state->keys * sizeof *last);
    while (good && workload->load && (count = ops_next_load(ops, &block, SWEEP_BLOCK)) > 0) {
        if (!(good = count != SIZE_MAX))
            break;
        for (size_t i = 0; i < count; i++)
            note_load(state, &block[i]);
    }
    for (size_t phase = 0; good && phase < workload->phase_count; phase++) {
        good = ops_begin_phase(ops, phase);
        for (uint64_t done = 0; good && done < worker->done[phase]; done += count) {
            uint64_t left = worker->done[phase] - done;

            count = left < SWEEP_BLOCK ? (size_t)left : SWEEP_BLOCK;
            good = (block = ops_next(ops, count)) != NULL;
            for (size_t i = 0; good && i < count; i++)
                note_write(state, last, &block[i]);
            atomic_fetch_add_explicit(&state->crew->page->ops, count, memory_order_relaxed);
        }
    }
    ops_free(ops);
    for (uint64_t key = 0; good && key < state->keys; key++) {
        if (last[key] == DELETED)
            state->flags[key] |= MAY_BE_ABSENT;
        else if (last[key] != 0 && (!(state->flags[key] & ORIGIN) ||
                                    (state->writer[key] == thread && state->sequence[key] == last[key])))
            state->flags[key] |= MATCHES;
    }
    return good;
}

/* NULL: as it must be. */
static const char *judge(uint8_t flags)
{
    bool must_be = flags & WRITTEN ? !(flags & MAY_BE_ABSENT) : (flags & LOADED) != 0;

    if (!(flags & FOUND))
        return must_be ? "is lost" : NULL;
    if (!(flags & WRITTEN) && !(flags & LOADED))
        return "was never written and is there";
    if (flags & WRITTEN ? !(flags & MATCHES) : (flags & ORIGIN) && !(flags & LOAD_MATCHES))
        return flags & MAY_BE_ABSENT ? "was deleted and is there again" : "holds an old value";
    return NULL;
}

static uint64_t greatest_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static uint64_t key_count(const struct crew *crew)
{
    uint64_t keys = crew->workload->records;

    for (uint32_t i = 0; i < crew->count; i++) {
        uint64_t inserted = crew->workers[i].inserted;
        uint64_t end = inserted ? crew->workload->records + i + (inserted - 1) * crew->count + 1 : 0;

        if (end > keys)
            keys = end;
    }
    return keys;
}

bool sweep_store(struct crew *crew, uint64_t limit_ns, struct sweep *out)
{
    struct state state = {.crew = crew, .keys = key_count(crew), .step = UINT64_C(2654435761)};
    uint64_t    *last = NULL, bad = 0;
    bool         good = false;

    *out = (struct sweep){.keys = state.keys};
    if (state.keys == 0)
        return true;
    while (greatest_divisor(state.step, state.keys) != 1)
        state.step++;
    state.until_ns = limit_ns ? clock_now_ns() + limit_ns : UINT64_MAX;
    state.flags = calloc(state.keys, sizeof *state.flags);
    state.writer = malloc(state.keys * sizeof *state.writer);
    state.sequence = malloc(state.keys * sizeof *state.sequence);
    last = malloc(state.keys * sizeof *last);
    if (!state.flags || !state.writer || !state.sequence || !last) {
        fail_set("no memory to check %" PRIu64 " keys", state.keys);
        goto out;
    }
    present = &state;
    crew->ops = state.keys;
    if (!crew_run(crew, job_read_all))
        goto out;
    for (uint32_t thread = 0; thread < crew->count; thread++) {
        if (!replay(&state, thread, last))
            goto out;
    }
    for (uint64_t key = 0; key < state.keys; key++) {
        const char *wrong = state.flags[key] & CHECKED ? judge(state.flags[key]) : NULL;

        out->checked += (state.flags[key] & CHECKED) != 0;
        out->found += (state.flags[key] & FOUND) != 0;
        if (wrong && bad++ == 0)
            fail_set("key %" PRIu64 " %s", key, wrong);
    }
    if (bad > 1)
        fail_set("%s, and %" PRIu64 " more are wrong", fail_text(), bad - 1);
    good = bad == 0;
out:
    free(state.flags);
    free(state.writer);
    free(state.sequence);
    free(last);
    return good;
}

struct counter {
    struct crew *crew;
    uint64_t     records;
};

static bool count_record(void *arg, slice key, slice value)
{
    struct counter *counter = arg;

    (void)key, (void)value;
    if (++counter->records % SWEEP_BLOCK == 0)
        atomic_fetch_add_explicit(&counter->crew->page->ops, SWEEP_BLOCK, memory_order_relaxed);
    return true;
}

static struct counter present_counter;

static void job_count(struct worker *worker)
{
    kv_status status;

    if (worker->index != 0)
        return;
    status = kv_scan(worker->session, (slice){0}, count_record, &present_counter);
    if (status != KV_OK)
        worker_fail(worker, status, "scan: %s", fail_text());
}

bool sweep_count(struct crew *crew, uint64_t *records)
{
    present_counter = (struct counter){.crew = crew};
    if (!crew_run(crew, job_count))
        return false;
    *records = present_counter.records;
    return true;
}
