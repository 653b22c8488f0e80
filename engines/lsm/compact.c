/*
 * compact.c -- merging runs in the background, so that reads ask few of them and dead entries give back their space.
 *
 * leveled       Level 0 has the flushed tables; each further level is one run, level_ratio times as large as the one before.
 *               All of level 0 is merged into level 1 when it has `runs` runs; a level that is too large gives a table to the
 *               next.  After LevelDB and RocksDB.  A table that overlaps nothing moves down without being read.
 * count-tiered  A level with `runs` runs is merged into one run of the next level; with runs = 1 that is leveling by whole
 *               levels.  (The last level merges into itself.)
 * size-tiered   All runs are of level 0.  Runs of like size form a bucket: from bucket_low to bucket_high times its average, or all
 *               below small_bytes; threshold_min to threshold_max of one bucket become one.  After Cassandra.
 *
 * A leveled merge into tables that are there is split by their keys among merge_threads threads (RocksDB calls that
 * subcompactions): it is where the work of a tree in its steady state lies.
 *
 * Which entries survive: of each key the youngest.  Scans that began before keep the old tables through their view, so nothing is
 * kept for them.  A tombstone is dropped when no table outside of the merge can have an older entry of its key: its range, its
 * numbers and its filter are asked.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "engines/lsm/iterate.h"
#include "engines/lsm/store.h"

#define RETRY_NS       (100 * NS_PER_MS)
#define RATE_STEP      (UINT64_C(64) << 10)
#define RATE_NAP_NS    (10 * NS_PER_MS) /* how late a compaction that waits for its rate sees that it should stop */
#define MERGE_THREADS_MAX 16
#define DELAY_FIRST_NS 8000u    /* a KiB, when writers are held up first: 128 MB/s */
#define DELAY_LAST_NS  500000u  /* a KiB: 2 MB/s */

/* What is merged into what. */
struct job {
    struct table **input;
    size_t         inputs;
    uint32_t       level;  /* of the output */
    bool           joins;  /* the output becomes part of the level's run (leveled); else a run of its own */
    bool           moves;  /* one table, that nothing of its new level overlaps */
    uint64_t       bytes;
};

static bool add_input(struct job *job, struct table *table)
{
    struct table **more = realloc(job->input, (job->inputs + 1) * sizeof *more);

    if (!more)
        return false;
    job->input = more;
    job->input[job->inputs++] = table;
    job->bytes += table->bytes;
    return true;
}

static bool add_run(struct job *job, const struct run_of_tables *run)
{
    for (size_t i = 0; i < run->count; i++)
        if (!add_input(job, run->table[i]))
            return false;
    return true;
}

static bool is_input(const struct job *job, const struct table *table)
{
    for (size_t i = 0; i < job->inputs; i++)
        if (job->input[i] == table)
            return true;
    return false;
}

/* ---- Picking. ---- */

static size_t runs_of(const struct version *version, uint32_t level)
{
    size_t runs = 0;

    for (size_t i = 0; i < version->count; i++)
        runs += version->run[i].level == level;
    return runs;
}

static uint64_t bytes_of(const struct version *version, uint32_t level)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < version->count; i++)
        if (version->run[i].level == level)
            bytes += version->run[i].bytes;
    return bytes;
}

static uint64_t target_of(const struct options *options, uint32_t level)
{
    double target = (double)options->level_bytes;

    for (uint32_t i = 1; i < level; i++)
        target *= options->level_ratio;
    return (uint64_t)target;
}

/* LEVELS_MAX: it is not in the version. */
static uint32_t table_level(const struct version *version, const struct table *table)
{
    for (size_t i = 0; i < version->count; i++)
        for (size_t j = 0; j < version->run[i].count; j++)
            if (version->run[i].table[j] == table)
                return version->run[i].level;
    return LEVELS_MAX;
}

/* Adds the tables of the level that overlap what is in the job. */
static bool add_overlap(struct job *job, const struct version *version, uint32_t level)
{
    slice  low = job->input[0]->smallest, high = job->input[0]->largest;
    size_t given = job->inputs;

    for (size_t i = 1; i < given; i++) {
        if (slice_compare(job->input[i]->smallest, low) < 0)
            low = job->input[i]->smallest;
        if (slice_compare(job->input[i]->largest, high) > 0)
            high = job->input[i]->largest;
    }
    for (size_t i = 0; i < version->count; i++) {
        const struct run_of_tables *run = &version->run[i];
        if (run->level != level)
            continue;
        for (size_t j = run_lower_bound(run, low); j < run->count && slice_compare(run->table[j]->smallest, high) <= 0; j++)
            if (!add_input(job, run->table[j]))
                return false;
    }
    return true;
}

static const struct run_of_tables *run_of_level(const struct version *version, uint32_t level)
{
    for (size_t i = 0; i < version->count; i++)
        if (version->run[i].level == level)
            return &version->run[i];
    return NULL;
}

static uint64_t overlap_bytes(const struct run_of_tables *run, const struct table *table)
{
    uint64_t bytes = 0;

    for (size_t i = run_lower_bound(run, table->smallest); i < run->count && slice_compare(run->table[i]->smallest, table->largest) <= 0;
         i++)
        bytes += run->table[i]->bytes;
    return bytes;
}

/* The table that makes the merge write least by its own size.  (RocksDB's kMinOverlappingRatio.)  Where tables were moved down, keys
 * are dense below and thin above: a table that is chosen in turn would there be merged into many. */
static struct table *cheapest_of(const struct run_of_tables *run, const struct run_of_tables *below)
{
    struct table *cheapest = run->table[0];
    double        least = 0;

    for (size_t i = 0; below && i < run->count; i++) {
        double ratio = (double)overlap_bytes(below, run->table[i]) / (double)run->table[i]->bytes;
        if (i == 0 || ratio < least) {
            least = ratio;
            cheapest = run->table[i];
        }
    }
    return cheapest;
}

static bool pick_leveled(const struct lsm *store, const struct version *version, struct job *job)
{
    const struct options *options = &store->options;
    double                worst = (double)runs_of(version, 0) / options->runs;
    uint32_t              level = 0;

    /* Another policy may have left a level of several runs: they become one. */
    for (job->level = 1; job->level < LEVELS_MAX; job->level++) {
        if (runs_of(version, job->level) < 2)
            continue;
        for (size_t i = 0; i < version->count; i++)
            if (version->run[i].level == job->level && !add_run(job, &version->run[i]))
                return false;
        return true;
    }
    for (uint32_t i = 1; i + 1 < LEVELS_MAX; i++) {
        double score = (double)bytes_of(version, i) / (double)target_of(options, i);
        if (score > worst) {
            worst = score;
            level = i;
        }
    }
    if (worst < 1 || (level > 0 && worst <= 1))
        return false;
    job->level = level + 1;
    job->joins = true;
    if (level == 0) {
        for (size_t i = 0; i < version->count && version->run[i].level == 0; i++)
            if (!add_run(job, &version->run[i]))
                return false;
    } else if (!add_input(job, cheapest_of(run_of_level(version, level), run_of_level(version, level + 1)))) {
        return false;
    }
    size_t given = job->inputs;
    if (!add_overlap(job, version, level + 1))
        return false;
    job->moves = given == 1 && job->inputs == 1;
    return true;
}

static bool pick_count_tiered(const struct lsm *store, const struct version *version, struct job *job)
{
    for (uint32_t level = 0; level < LEVELS_MAX; level++) {
        size_t runs = runs_of(version, level);
        if (runs < store->options.runs || runs < (level + 1 == LEVELS_MAX ? 2 : 1))
            continue;
        job->level = level + 1 < LEVELS_MAX ? level + 1 : level;
        for (size_t i = 0; i < version->count; i++) {
            /* One run a level means that the next level's run takes part. */
            bool wanted = version->run[i].level == level || (store->options.runs == 1 && version->run[i].level == job->level);
            if (wanted && !add_run(job, &version->run[i]))
                return false;
        }
        /* With one run a level, a level keeps its run until it is larger than the level may be. */
        if (store->options.runs == 1 && level > 0 && bytes_of(version, level) <= target_of(&store->options, level)) {
            free(job->input);
            *job = (struct job){0};
            continue;
        }
        return true;
    }
    return false;
}

static int by_bytes(const void *a, const void *b)
{
    const struct run_of_tables *x = *(const struct run_of_tables *const *)a, *y = *(const struct run_of_tables *const *)b;

    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static bool pick_size_tiered(const struct lsm *store, const struct version *version, struct job *job)
{
    const struct options        *options = &store->options;
    const struct run_of_tables **runs = calloc(version->count ? version->count : 1, sizeof *runs);
    size_t                       best = 0, best_count = 0;

    if (!runs)
        return false;
    for (size_t i = 0; i < version->count; i++)
        runs[i] = &version->run[i];
    qsort(runs, version->count, sizeof *runs, by_bytes);
    /* Sorted by size, a bucket is neighbours; the smallest full one is the cheapest. */
    for (size_t first = 0, end; first < version->count && !best_count; first = end) {
        double average = (double)runs[first]->bytes;
        for (end = first + 1; end < version->count; end++) {
            double size = (double)runs[end]->bytes;
            bool   alike = size >= options->bucket_low * average && size <= options->bucket_high * average;
            if (!alike && !(runs[end]->bytes < options->small_bytes && runs[first]->bytes < options->small_bytes))
                break;
            average += (size - average) / (double)(end - first + 1);
        }
        if (end - first >= options->threshold_min) {
            best = first;
            best_count = end - first < options->threshold_max ? end - first : options->threshold_max;
        }
    }
    job->level = 0;
    for (size_t i = 0; i < best_count; i++)
        if (!add_run(job, runs[best + i]))
            best_count = 0;
    free(runs);
    return best_count > 0;
}

static bool pick(const struct lsm *store, const struct version *version, struct job *job)
{
    bool picked = false;

    *job = (struct job){0};
    switch (store->options.policy) {
    case POLICY_LEVELED:
        picked = pick_leveled(store, version, job);
        break;
    case POLICY_COUNT_TIERED:
        picked = pick_count_tiered(store, version, job);
        break;
    case POLICY_SIZE_TIERED:
        picked = pick_size_tiered(store, version, job);
        break;
    }
    if (!picked)
        free(job->input);
    return picked;
}

/* ---- Merging. ---- */

struct outputs {
    struct table **table;
    size_t         count;
};

static void release_outputs(struct outputs *outputs, bool obsolete)
{
    for (size_t i = 0; i < outputs->count; i++) {
        if (obsolete)
            __atomic_store_n(&outputs->table[i]->obsolete, true, __ATOMIC_RELEASE);
        table_release(outputs->table[i]);
    }
    free(outputs->table);
}

/* Whether a table outside of the job may have an older entry of the key. */
static bool buries_something(const struct version *version, const struct job *job, const struct entry *tombstone)
{
    uint64_t hash = key_hash(tombstone->key);

    for (size_t i = 0; i < version->count; i++) {
        struct table *table = run_find(&version->run[i], tombstone->key);
        if (table && !is_input(job, table) && table->is.base_seq < tombstone->seq && table_may_have(table, tombstone->key, hash))
            return true;
    }
    return false;
}

static kv_status finish_table(struct lsm *store, struct table_writer *writer, uint64_t id, struct outputs *outputs)
{
    struct table **more = realloc(outputs->table, (outputs->count + 1) * sizeof *more);
    uint64_t       bytes;

    if (!more) {
        table_writer_abandon(writer);
        return kv_fail(KV_NO_MEMORY, "no memory for a compaction");
    }
    outputs->table = more;
    TRY(table_writer_finish(writer, &bytes));
    count(&store->counters.compaction_write_bytes, bytes);
    TRY(table_open(store->dir.path, id, store->cache, &outputs->table[outputs->count]));
    outputs->count++;
    return KV_OK;
}

static bool stops(struct lsm *store, bool manual)
{
    return tree_failed(store) || (!manual && __atomic_load_n(&store->background.compactor_stops, __ATOMIC_RELAXED));
}

/* Holds the compaction to its rate. */
static void pace(struct lsm *store, bool manual, uint64_t started_ns, uint64_t bytes)
{
    uint64_t until_ns = store->options.rate ? started_ns + (uint64_t)((double)bytes / (double)store->options.rate * NS_PER_S) : 0;

    for (uint64_t now_ns; (now_ns = clock_now_ns()) < until_ns && !stops(store, manual);)
        clock_sleep_until_ns(until_ns - now_ns < RATE_NAP_NS ? until_ns : now_ns + RATE_NAP_NS);
}

/* One range of the keys of a job, which one thread merges. */
struct part {
    struct lsm           *store;
    const struct version *version;
    const struct job     *job;
    bool                  manual;
    struct table_options  options;
    struct epoch_slot    *slot;
    slice                 from, until; /* until is not of it; empty: to the end */
    uint64_t             *written;     /* atomic; by all parts, in bytes */
    bool                 *given_up;    /* atomic; another part has failed */
    uint64_t              started_ns;
    struct outputs        outputs;
    kv_status             status;
    char                  said[FAIL_BYTES_MAX];
};

/* What is left of the job; something is, until it is installed. */
static kv_status note_written(struct part *part, uint64_t bytes)
{
    uint64_t written = __atomic_add_fetch(part->written, bytes, __ATOMIC_RELAXED);

    __atomic_store_n(&part->store->background.compaction_debt, part->job->bytes > written ? part->job->bytes - written : 1,
                     __ATOMIC_RELAXED);
    pace(part->store, part->manual, part->started_ns, written);
    /* The store closes: what was written so far is dropped. */
    return stops(part->store, part->manual) || __atomic_load_n(part->given_up, __ATOMIC_RELAXED) ? KV_BUSY : KV_OK;
}

static kv_status merge_part(struct part *part)
{
    struct lsm           *store = part->store;
    const struct version *version = part->version;
    const struct job     *job = part->job;
    struct iterator       iterator;
    struct table_writer  *writer = NULL;
    uint64_t              id = 0, done = 0, noted = 0;
    kv_status             status = iterator_open(&iterator, job->inputs);

    for (size_t i = 0, end; status == KV_OK && i < job->inputs; i = end) {
        /* Neighbours in a run are one source. */
        for (end = i + 1; end < job->inputs && slice_compare(job->input[end - 1]->largest, job->input[end]->smallest) < 0;)
            end++;
        status = iterator_add_tables(&iterator, &job->input[i], end - i, part->slot, true);
    }
    if (status == KV_OK) {
        for (bool more = iterator_seek(&iterator, part->from); more && status == KV_OK; more = iterator_next_key(&iterator)) {
            const struct entry *entry = iterator_entry(&iterator);
            if (part->until.size && slice_compare(entry->key, part->until) >= 0)
                break;
            if (entry->type == ENTRY_DELETE && !buries_something(version, job, entry))
                continue;
            if (writer && table_writer_bytes(writer) >= store->options.table_bytes) {
                done += table_writer_bytes(writer);
                status = finish_table(store, writer, id, &part->outputs);
                writer = NULL;
            }
            if (status == KV_OK && !writer)
                status = table_writer_open(store->dir.path, id = file_id(store), &part->options, &writer);
            if (status == KV_OK)
                status = table_writer_add(writer, entry);
            if (status == KV_OK && writer && done + table_writer_bytes(writer) >= noted + RATE_STEP) {
                status = note_written(part, done + table_writer_bytes(writer) - noted);
                noted = done + table_writer_bytes(writer);
            }
        }
        if (status == KV_OK)
            status = iterator.status;
    }
    if (status == KV_OK && writer)
        status = finish_table(store, writer, id, &part->outputs);
    else
        table_writer_abandon(writer);
    iterator_close(&iterator);
    return status;
}

static void *run_part(void *arg)
{
    struct part *part = arg;

    part->status = merge_part(part);
    if (part->status != KV_OK) {
        snprintf(part->said, sizeof part->said, "%s", fail_text());
        __atomic_store_n(part->given_up, true, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* The keys at which the job falls into parts of like size, by the tables of its level that take part; how many parts. */
static size_t split(const struct lsm *store, const struct version *version, const struct job *job, slice at[MERGE_THREADS_MAX])
{
    size_t   parts = store->options.merge_threads, found = 1;
    uint64_t all = 0, before = 0;

    for (size_t i = 0; i < job->inputs; i++)
        all += table_level(version, job->input[i]) == job->level ? job->input[i]->bytes : 0;
    for (size_t i = 0; i < job->inputs && found < parts; i++) { /* those of one level lie in key order */
        if (table_level(version, job->input[i]) != job->level)
            continue;
        if (before && before >= all * found / parts && slice_compare(job->input[i]->smallest, at[found - 1]) > 0)
            at[found++] = job->input[i]->smallest;
        before += job->input[i]->bytes;
    }
    return found;
}

static kv_status merge(struct lsm *store, struct epoch_slot *slot, const struct version *version, const struct job *job, bool manual,
                       struct outputs *outputs)
{
    struct part parts[MERGE_THREADS_MAX] = {0};
    pthread_t   thread[MERGE_THREADS_MAX];
    bool        started[MERGE_THREADS_MAX] = {0}, last = job->level >= version_last_level(version), given_up = false;
    slice       at[MERGE_THREADS_MAX] = {0};
    size_t      count = job->joins ? split(store, version, job, at) : 1;
    uint64_t    base_seq = SEQ_MAX, written = 0;
    kv_status   status = KV_OK;

    for (size_t i = 0; i < job->inputs; i++)
        if (job->input[i]->is.base_seq < base_seq)
            base_seq = job->input[i]->is.base_seq;
    for (size_t i = 0; i < count; i++)
        parts[i] = (struct part){.store = store, .version = version, .job = job, .manual = manual, .slot = i == 0 ? slot : NULL, .from = at[i],
                                 .until = i + 1 < count ? at[i + 1] : (slice){0}, .written = &written, .given_up = &given_up,
                                 .options = table_options_of(store, job->level, base_seq, last), .started_ns = clock_now_ns()};
    for (size_t i = 1; i < count; i++)
        started[i] = epoch_slot_open(store->epoch, &parts[i].slot) == KV_OK && pthread_create(&thread[i], NULL, run_part, &parts[i]) == 0;
    run_part(&parts[0]);
    for (size_t i = 1; i < count; i++) {
        if (started[i])
            pthread_join(thread[i], NULL);
        else if (parts[i].slot)
            run_part(&parts[i]); /* no thread is to be had: one after the other */
        else
            parts[i].status = KV_NO_MEMORY;
        epoch_slot_close(parts[i].slot); /* NULL is fine */
    }
    /* All that was made is the caller's, to install or to drop; the sentence is that of the part that failed by itself. */
    for (size_t i = 0; i < count; i++) {
        struct table **more = realloc(outputs->table, (outputs->count + parts[i].outputs.count + 1) * sizeof *more);
        if (more) {
            outputs->table = more;
            for (size_t j = 0; j < parts[i].outputs.count; j++)
                outputs->table[outputs->count++] = parts[i].outputs.table[j];
            free(parts[i].outputs.table);
        } else {
            release_outputs(&parts[i].outputs, true);
            status = kv_fail(KV_NO_MEMORY, "no memory for a compaction");
        }
        if (parts[i].status != KV_OK && (status == KV_OK || status == KV_BUSY)) {
            status = parts[i].status;
            fail_set("%s", parts[i].said);
        }
    }
    if (status == KV_OK && outputs->count)
        status = file_sync_dir(store->dir.path);
    return status;
}

/* ---- Installing. ---- */

/* The tables of the run that are not inputs, and the outputs where they belong. */
static kv_status next_version(const struct version *now, const struct job *job, struct table **output, size_t outputs, struct version **out)
{
    struct version *next = version_new(now->count + 1);
    struct table  **kept = calloc(version_tables(now) + outputs + 1, sizeof *kept);
    kv_status       status = next && kept ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for a version of the tree");
    bool            joined = false;

    for (size_t i = 0; status == KV_OK && i < now->count; i++) {
        const struct run_of_tables *run = &now->run[i];
        size_t                      count = 0;
        for (size_t j = 0; j < run->count; j++)
            if (!is_input(job, run->table[j]))
                kept[count++] = run->table[j];
        if (job->joins && run->level == job->level) {
            for (size_t j = 0; j < outputs; j++)
                kept[count++] = output[j];
            joined = true;
        }
        status = version_add_run(next, run->level, kept, count);
    }
    if (status == KV_OK && !joined)
        status = version_add_run(next, job->level, output, outputs);
    free(kept);
    if (status != KV_OK) {
        version_release(next);
        next = NULL;
    } else {
        version_seal(next);
    }
    *out = next;
    return status;
}

static kv_status install(struct lsm *store, struct epoch_slot *slot, const struct job *job, struct table **output, size_t outputs)
{
    struct version *next;
    kv_status       status;

    pthread_mutex_lock(&store->tree_lock);
    status = next_version(store->tree, job, output, outputs, &next);
    if (status == KV_OK)
        status = tree_install(store, slot, next, &store->manifest, NULL);
    pthread_mutex_unlock(&store->tree_lock);
    return status;
}

static kv_status run_job(struct lsm *store, struct epoch_slot *slot, const struct version *version, const struct job *job, bool manual)
{
    struct outputs outputs = {0};
    kv_status      status;

    if (job->moves) {
        count(&store->counters.trivial_moves, 1);
        return install(store, slot, job, job->input, 1);
    }
    status = merge(store, slot, version, job, manual, &outputs);
    if (status == KV_OK)
        status = install(store, slot, job, outputs.table, outputs.count);
    if (status == KV_OK) {
        count(&store->counters.compactions, 1);
        count(&store->counters.compaction_read_bytes, job->bytes);
        for (size_t i = 0; i < job->inputs; i++)
            __atomic_store_n(&job->input[i]->obsolete, true, __ATOMIC_RELEASE);
    }
    /* After a failed install it is not known which manifest is there: the files stay, and the next open decides. */
    release_outputs(&outputs, status != KV_OK && !tree_failed(store));
    return status;
}

/* ---- The thread. ---- */

/* Writers are held up a little more with every run above the limit. */
void compact_set_delay(struct lsm *store, const struct version *version)
{
    size_t   runs = store->options.policy == POLICY_LEVELED ? runs_of(version, 0) : version->count;
    uint64_t delay_ns = 0;

    if (runs >= store->options.slowdown_runs) {
        double part = (double)(runs - store->options.slowdown_runs) / (double)(store->options.stop_runs - store->options.slowdown_runs + 1);
        delay_ns = (uint64_t)(DELAY_FIRST_NS + (DELAY_LAST_NS - DELAY_FIRST_NS) * (part < 1 ? part * part : 1));
    }
    __atomic_store_n(&store->run_delay_ns, delay_ns, __ATOMIC_RELAXED);
}

void compactor_wake(struct lsm *store)
{
    pthread_mutex_lock(&store->background.lock);
    store->background.changes++;
    pthread_cond_broadcast(&store->background.cond);
    pthread_mutex_unlock(&store->background.lock);
}

/* One compaction, if there is need for one. */
static kv_status compact_if_due(struct lsm *store, struct epoch_slot *slot, bool *done)
{
    struct view *view = view_keep(store, slot);
    struct job   job;
    kv_status    status = KV_OK;
    bool         picked = !tree_failed(store) && pick(store, view->version, &job);

    compact_set_delay(store, view->version);
    __atomic_store_n(&store->background.compaction_debt, picked ? job.bytes : 0, __ATOMIC_RELAXED);
    *done = picked;
    if (picked) {
        status = run_job(store, slot, view->version, &job, false);
        free(job.input);
    }
    view_release(view);
    return status;
}

static void rest(struct lsm *store)
{
    uint64_t        until_ns = clock_now_ns() + RETRY_NS;
    struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_S), .tv_nsec = (long)(until_ns % NS_PER_S)};

    while (!store->background.compactor_stops &&
           pthread_cond_timedwait(&store->background.cond, &store->background.lock, &until) == 0)
        continue;
}

static void *compact_on_and_on(void *arg)
{
    struct lsm *store = arg;
    uint64_t    seen = 0;
    bool        done = true;

    pthread_mutex_lock(&store->background.lock);
    while (!store->background.compactor_stops) {
        kv_status status;
        if ((!done && seen == store->background.changes) || store->background.manual) {
            pthread_cond_wait(&store->background.cond, &store->background.lock);
            continue;
        }
        seen = store->background.changes;
        store->background.compacting = true;
        pthread_mutex_unlock(&store->background.lock);
        status = compact_if_due(store, store->compactor_slot, &done);
        epoch_collect(store->compactor_slot, false);
        pthread_mutex_lock(&store->background.lock);
        store->background.compacting = false;
        pthread_cond_broadcast(&store->background.cond);
        if (status != KV_OK && status != KV_BUSY) {
            count(&store->counters.compaction_failures, 1);
            rest(store); /* a full disk may be emptied; the tree is as it was */
        }
    }
    pthread_mutex_unlock(&store->background.lock);
    return NULL;
}

kv_status compactor_start(struct lsm *store)
{
    int failed;

    TRY(epoch_slot_open(store->epoch, &store->compactor_slot));
    store->compactor_runs = true; /* before it does */
    failed = pthread_create(&store->compactor, NULL, compact_on_and_on, store);
    if (failed)
        store->compactor_runs = false;
    return failed ? kv_fail(KV_NO_MEMORY, "no thread for compactions: %s", strerror(failed)) : KV_OK;
}

void compactor_stop(struct lsm *store)
{
    pthread_mutex_lock(&store->background.lock);
    __atomic_store_n(&store->background.compactor_stops, true, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&store->background.cond);
    pthread_mutex_unlock(&store->background.lock);
    if (store->compactor_runs)
        pthread_join(store->compactor, NULL);
    store->compactor_runs = false;
    epoch_slot_close(store->compactor_slot);
    store->compactor_slot = NULL;
}

/* ---- By hand. ---- */

static kv_status merge_all(struct lsm *store, struct epoch_slot *slot)
{
    struct view *view = view_keep(store, slot);
    struct job   job = {.joins = store->options.policy == POLICY_LEVELED};
    kv_status    status = KV_OK;

    job.level = version_last_level(view->version);
    if (job.joins && job.level == 0)
        job.level = 1;
    for (size_t i = 0; i < view->version->count && status == KV_OK; i++)
        if (!add_run(&job, &view->version->run[i]))
            status = kv_fail(KV_NO_MEMORY, "no memory for a compaction");
    if (status == KV_OK && job.inputs)
        status = run_job(store, slot, view->version, &job, true);
    free(job.input);
    view_release(view);
    return status;
}

kv_status compact_everything(struct lsm *store, struct epoch_slot *slot)
{
    kv_status status;

    pthread_mutex_lock(&store->background.lock);
    while (store->background.manual && !tree_failed(store)) /* another's */
        pthread_cond_wait(&store->background.cond, &store->background.lock);
    store->background.manual = true;
    while (store->background.compacting)
        pthread_cond_wait(&store->background.cond, &store->background.lock);
    pthread_mutex_unlock(&store->background.lock);
    status = log_rotate(store, slot);
    if (status == KV_OK)
        status = flush_wait(store);
    if (status == KV_OK)
        status = merge_all(store, slot);
    pthread_mutex_lock(&store->background.lock);
    store->background.manual = false;
    store->background.changes++;
    pthread_cond_broadcast(&store->background.cond);
    pthread_mutex_unlock(&store->background.lock);
    epoch_collect(slot, true); /* with the old view go the old tables */
    return status;
}
