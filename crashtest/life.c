#include "crashtest/life.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fail.h"
#include "common/rng.h"
#include "workloads/value.h"

#define COMPRESSIBILITY 0.5

/* Half of the operations fall on this many keys, so that they meet. */
#define HOT_KEYS 8

#define QUIET_VALUE_BYTES_MAX 64

/* A session looks at the engine's figures every so many operations, to know of merges. */
#define LOOK_OPS 8

struct worker {
    const struct life_plan *plan;
    struct kv_store        *store;
    struct kv_session      *session;
    struct rng              rng;
    pthread_t               thread;
    uint32_t                number;
    uint32_t                sequence;
    uint64_t                merges, rotations; /* when the store was opened */
    char                   *value; /* one for each write of a batch */
    bool                    started;
};

static uint32_t choose_key(struct worker *worker)
{
    uint32_t count = worker->plan->keys->count;

    if (count > HOT_KEYS && rng_below(&worker->rng, 2))
        count = HOT_KEYS;
    return (uint32_t)rng_below(&worker->rng, count);
}

/* Empty, tiny, up to a few hundred bytes, and now and then some that are as large as the largest allowed: a kill in the
 * middle of a write needs writes that take a while. */
static uint32_t choose_size(struct worker *worker)
{
    uint32_t max = worker->plan->quiet_ns && worker->plan->value_bytes_max > QUIET_VALUE_BYTES_MAX ? QUIET_VALUE_BYTES_MAX
                                                                                                   : worker->plan->value_bytes_max;
    uint64_t dice = rng_below(&worker->rng, 100);
    uint64_t size;

    if (dice < 4)
        size = 0;
    else if (dice < 14)
        size = 1 + rng_below(&worker->rng, 23);
    else if (dice < 80)
        size = 24 + rng_below(&worker->rng, 300);
    else if (dice < 97)
        size = 24 + rng_below(&worker->rng, 4000);
    else
        size = 24 + rng_below(&worker->rng, max);
    return size < max ? (uint32_t)size : max;
}

static slice make_value(struct worker *worker, uint32_t key, uint32_t place)
{
    uint32_t size = choose_size(worker);
    char    *out = worker->value + (size_t)place * worker->plan->value_bytes_max;

    value_make(out, size, keyspace_key(worker->plan->keys, key), worker->number,
               life_sequence(worker->plan->life, worker->sequence++), COMPRESSIBILITY);
    return slice_of(out, size);
}

/* Whatever no crash explains: the first is noted, and is the verdict. */
static bool expected(struct worker *worker, kv_status status)
{
    if (status == KV_OK || status == KV_NOT_FOUND)
        return true;
    history_broken(worker->plan->history, status, fail_text());
    return false;
}

static bool finish(struct worker *worker, struct history_op *op, kv_status status)
{
    if (worker->plan->recorder)
        worker->plan->recorder->mark(op->kind, op->start, 0); /* stores into mappings are looked for here */
    history_end(worker->plan->history, op, status);
    return expected(worker, status);
}

/* The value is lent, so all that is to be known of it is taken here. */
struct look {
    struct worker       *worker;
    slice                key;
    struct history_value value;
};

static bool look_at(void *arg, slice key, slice value)
{
    struct look *look = arg;

    (void)key;
    look->value = history_value_of(value);
    if (value_check(look->key, value) != VALUE_GOOD) {
        char text[HISTORY_TEXT_MAX];
        snprintf(text, sizeof text, "while the life ran, a read gave %zu bytes that are torn or of another key",
                 value.size);
        history_broken(look->worker->plan->history, KV_CORRUPT, text);
    }
    return true;
}

static bool write_one(struct worker *worker, bool is_delete)
{
    uint32_t             key = choose_key(worker);
    struct history_write write = {.key = key, .value = {.state = HISTORY_ABSENT}};
    slice                name = keyspace_key(worker->plan->keys, key), value = {0};
    struct history_op   *op;

    if (!is_delete) {
        value = make_value(worker, key, 0);
        write.value = history_value_of(value);
    }
    op = history_start(worker->plan->history, worker->number, HISTORY_WRITE, key, &write, 1);
    if (!op)
        return false;
    return finish(worker, op, is_delete ? kv_del(worker->session, name) : kv_put(worker->session, name, value));
}

static bool write_batch(struct worker *worker)
{
    struct history_write notes[HISTORY_BATCH_MAX];
    struct kv_write      writes[HISTORY_BATCH_MAX];
    uint32_t             asked = 2 + (uint32_t)rng_below(&worker->rng, HISTORY_BATCH_MAX - 2), count = 0;
    struct history_op   *op;

    for (uint32_t i = 0; i < asked; i++) {
        uint32_t key = choose_key(worker), twice = 0;
        for (uint32_t w = 0; w < count; w++)
            twice |= notes[w].key == key;
        if (twice)
            continue;
        notes[count]  = (struct history_write){.key = key, .value = {.state = HISTORY_ABSENT}};
        writes[count] = (struct kv_write){.kind = KV_DELETE, .key = keyspace_key(worker->plan->keys, key)};
        if (rng_below(&worker->rng, 4)) {
            writes[count].kind  = KV_PUT;
            writes[count].value = make_value(worker, key, count);
            notes[count].value  = history_value_of(writes[count].value);
        }
        count++;
    }
    op = history_start(worker->plan->history, worker->number, HISTORY_WRITE, UINT32_MAX, notes, count);
    if (!op)
        return false;
    return finish(worker, op, kv_write(worker->session, writes, count));
}

struct change {
    struct history_op *op;
    slice              value;
};

static kv_status change_value(void *arg, const slice *old, struct buf *out)
{
    struct change *change = arg;

    change->op->seen = old ? history_value_of(*old) : (struct history_value){.state = HISTORY_ABSENT};
    return buf_append(out, change->value.data, change->value.size);
}

static bool modify(struct worker *worker)
{
    uint32_t             key = choose_key(worker);
    struct history_write write = {.key = key};
    struct change        change;

    change.value = make_value(worker, key, 0);
    write.value  = history_value_of(change.value);
    change.op    = history_start(worker->plan->history, worker->number, HISTORY_MODIFY, key, &write, 1);
    if (!change.op)
        return false;
    return finish(worker, change.op,
                  kv_modify(worker->session, keyspace_key(worker->plan->keys, key), change_value, &change));
}

static bool read_one(struct worker *worker)
{
    uint32_t           key = choose_key(worker);
    struct look        look = {.worker = worker, .key = keyspace_key(worker->plan->keys, key)};
    struct history_op *op = history_start(worker->plan->history, worker->number, HISTORY_READ, key, NULL, 0);
    kv_status          status;

    if (!op)
        return false;
    status = kv_get(worker->session, look.key, look_at, &look);
    if (status == KV_NOT_FOUND)
        look.value.state = HISTORY_ABSENT;
    op->seen = look.value;
    return finish(worker, op, status);
}

static void look_at_many(void *arg, size_t position, kv_status status, slice value)
{
    struct look *look = (struct look *)arg + position;

    if (status == KV_OK)
        look_at(look, look->key, value);
    else if (status == KV_NOT_FOUND)
        look->value.state = HISTORY_ABSENT;
    else
        history_broken(look->worker->plan->history, status, fail_text());
}

/* Noted as so many reads that began and ended together. */
static bool read_many(struct worker *worker)
{
    enum { COUNT = 4 };
    slice              keys[COUNT];
    struct look        looks[COUNT];
    struct history_op *ops[COUNT];
    kv_status          status;
    bool               fine = true;

    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t key = choose_key(worker);
        keys[i]  = keyspace_key(worker->plan->keys, key);
        looks[i] = (struct look){.worker = worker, .key = keys[i]};
        ops[i]   = history_start(worker->plan->history, worker->number, HISTORY_READ, key, NULL, 0);
        if (!ops[i])
            return false;
    }
    status = kv_get_many(worker->session, keys, COUNT, look_at_many, looks);
    for (uint32_t i = 0; i < COUNT; i++) {
        ops[i]->seen = looks[i].value;
        fine &= finish(worker, ops[i], status);
    }
    return fine;
}

static bool sync_now(struct worker *worker)
{
    struct history_op *op = history_start(worker->plan->history, worker->number, HISTORY_SYNC, UINT32_MAX, NULL, 0);

    return op && finish(worker, op, kv_sync(worker->session));
}

static bool one_op(struct worker *worker)
{
    const struct life_mix *mix = &worker->plan->mix;
    uint32_t               can = worker->plan->engine->can;
    bool                   quiet = worker->plan->quiet_ns != 0;
    double                 batch = can & KV_BATCH && !quiet ? mix->batch : 0, sync = quiet ? 0 : mix->sync;
    double                 compact = can & KV_COMPACT && !quiet ? mix->compact : 0;
    double                 put = quiet && mix->put <= 0 ? 1 : mix->put; /* a mix of batches alone has none */
    double                 dice = rng_unit(&worker->rng) * (put + mix->del + batch + mix->modify + mix->read +
                                                            mix->read_many + sync + compact);

    if ((dice -= put) < 0)
        return write_one(worker, false);
    if ((dice -= mix->del) < 0)
        return write_one(worker, true);
    if ((dice -= batch) < 0)
        return write_batch(worker);
    if ((dice -= mix->modify) < 0)
        return modify(worker);
    if ((dice -= mix->read) < 0)
        return read_one(worker);
    if ((dice -= mix->read_many) < 0)
        return read_many(worker);
    if ((dice -= sync) < 0)
        return sync_now(worker);
    return expected(worker, kv_compact(worker->session));
}

static uint64_t figure(struct kv_store *store, const char *name)
{
    uint64_t value = kv_stat(store, name);

    return value == KV_UNKNOWN ? 0 : value;
}

static void look_at_figures(struct worker *worker)
{
    struct history *history = worker->plan->history;

    history->merges    = figure(worker->store, "merges") - worker->merges;
    history->rotations = figure(worker->store, "rotations") - worker->rotations;
}

/* Sessions take turns, more or less, so that LIFE_QUIET_WRITES operations take quiet_ns. */
static void pause_a_while(struct worker *worker)
{
    const struct life_plan *plan = worker->plan;

    if (plan->quiet_ns)
        clock_sleep_until_ns(clock_now_ns() + rng_below(&worker->rng, 2 * plan->quiet_ns * plan->threads / LIFE_QUIET_WRITES + 1));
}

static void *work(void *arg)
{
    struct worker *worker = arg;

    for (uint32_t i = 0; (!worker->plan->calm_ops || i < worker->plan->calm_ops) && one_op(worker); i++) {
        if (worker->number == 0 && i % LOOK_OPS == 0)
            look_at_figures(worker);
        pause_a_while(worker);
    }
    return NULL;
}

static int broken(struct history *history, kv_status status)
{
    history_broken(history, status, fail_text());
    __atomic_store_n(&history->stage, HISTORY_BROKEN, __ATOMIC_SEQ_CST);
    return 3;
}

static kv_status prepare(struct worker *worker, const struct life_plan *plan, struct kv_store *store, uint32_t number)
{
    *worker = (struct worker){.plan = plan, .store = store, .number = number, .merges = figure(store, "merges"),
                              .rotations = figure(store, "rotations")};
    rng_seed(&worker->rng, plan->seed, (uint64_t)plan->life * HISTORY_SESSIONS_MAX + number);
    worker->value = malloc((size_t)plan->value_bytes_max * HISTORY_BATCH_MAX + 1);
    if (!worker->value)
        return kv_fail(KV_NO_MEMORY, "no memory for a worker's values");
    return kv_session_open(store, &worker->session);
}

int life_body(void *arg)
{
    static struct worker    workers[HISTORY_SESSIONS_MAX];
    const struct life_plan *plan = arg;
    struct history         *history = plan->history;
    struct kv_store        *store;
    kv_status               status;

    if (plan->recorder) {
        const char *reason = plan->recorder->start(plan->record);
        if (reason) {
            fail_set("%s", reason);
            return broken(history, KV_INVALID);
        }
    }
    history->opening_ns = clock_now_ns();
    __atomic_store_n(&history->stage, HISTORY_OPENING, __ATOMIC_SEQ_CST);
    status = kv_open(plan->engine, plan->config, &store);
    if (status != KV_OK)
        return broken(history, status);
    history->opened_ns = clock_now_ns();
    history->opened_calls = plan->recorder ? plan->recorder->calls() : 0;
    __atomic_store_n(&history->stage, HISTORY_OPENED, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < plan->threads && !plan->recovery_only; i++)
        if ((status = prepare(&workers[i], plan, store, i)) != KV_OK)
            return broken(history, status);
    for (uint32_t i = 0; i < plan->threads && !plan->recovery_only; i++)
        workers[i].started = pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0;
    for (uint32_t i = 0; i < plan->threads; i++)
        if (workers[i].started)
            pthread_join(workers[i].thread, NULL);
    if (plan->calm_ops && (plan->engine->can & KV_COMPACT) && !history->broken_taken)
        expected(&workers[0], kv_compact(workers[0].session));
    if (!plan->recovery_only)
        __atomic_store_n(&history->stage, history->broken_taken ? HISTORY_BROKEN : HISTORY_DONE, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
}
