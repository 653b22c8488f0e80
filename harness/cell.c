/* cell.c -- one engine in one round, phase by phase. */
#include "harness/cell.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fail.h"
#include "harness/meters.h"
#include "harness/space.h"
#include "harness/sweep.h"
#include "results/facts.h"
#include "results/result.h"

#define SETTLE_POLL_NS    (20 * NS_PER_MS)
#define SETTLE_STEADY_NS  (3 * NS_PER_S)   /* debt that stands still this long will not be worked off */
#define SETTLE_MAX_NS     (120 * NS_PER_S)
#define SWEEP_MAX_NS      (60 * NS_PER_S)
#define CHECK_OPS_MAX     250000
#define SLOW_CALL_NS      2000             /* from here on a stamp costs little, so every operation is sampled */
#define SAMPLING          8
#define STEADY_BINS       5
#define STEADY_SLOPE      0.10             /* SNIA PTS: drift over the window, and spread, by the mean */
#define STEADY_EXCURSION  0.20
#define LATE_SHARE        0.01
#define WATCH_NS          NS_PER_S         /* how often what the engine tells of itself is noted during a pass */

/* What a cell knows while it runs; one a process. */
struct run {
    struct cell  *cell;
    struct crew   crew;
    json_t       *json, *phases;
    char          device[PATH_MAX];
    bool          has_device, durable;
    struct meters at_begin;
    uint64_t      begin_ns, wall_ns;
    uint64_t      written_bytes;  /* keys and values put in load and run */
    struct meters written;        /* what load and run used, for amplification */
    uint64_t      loaded_bytes, inserted_bytes;
    bool          deletes;
    uint64_t      run_ns_per_op;
};

const char *cell_unfit(const struct kv_engine *engine, const struct kv_config *config, const struct workload *workload,
                       const char **status)
{
    char tier[KV_DURABILITY_TEXT_MAX];

    if ((engine->can & KV_DURABLE) && !(engine->tiers & KV_TIER_BIT(config->durability.tier))) {
        char offers[128] = "";

        for (enum kv_tier t = 0; t < KV_TIER_COUNT; t++) {
            if (engine->tiers & KV_TIER_BIT(t))
                snprintf(offers + strlen(offers), sizeof offers - strlen(offers), "%s%s", *offers ? ", " : "",
                         kv_tier_word(t));
        }
        fail_set("engine %s offers tiers %s, not %s", engine->name, offers,
                 kv_durability_text(config->durability, tier));
        *status = "refused";
        return fail_text();
    }
    *status = "unsupported";
#define NEEDS(condition, ...)      \
    if (condition) {               \
        fail_set(__VA_ARGS__);     \
        return fail_text();        \
    }
    for (size_t i = 0; i < workload->phase_count; i++)
        NEEDS(workload->phases[i].mix[OP_SCAN] > 0 && !(engine->can & KV_ORDERED),
              "engine %s has no ordered scan, and the workload scans from a key", engine->name);
    NEEDS(workload->threads > 1 && !(engine->can & KV_SESSIONS),
          "engine %s has one session at a time, and the workload %" PRIu32 " threads", engine->name, workload->threads);
    NEEDS(workload->batch_writes > 1 && !(engine->can & KV_BATCH),
          "engine %s has no batches, and the workload writes in them", engine->name);
    NEEDS(workload->key_bytes > engine->key_bytes_max, "engine %s takes keys of up to %" PRIu32 " bytes, and the workload has %" PRIu32,
          engine->name, engine->key_bytes_max, workload->key_bytes);
    NEEDS(workload->value_bytes_max > engine->value_bytes_max,
          "engine %s takes values of up to %" PRIu32 " bytes, and the workload has %" PRIu32, engine->name,
          engine->value_bytes_max, workload->value_bytes_max);
#undef NEEDS
    return NULL;
}

/* The JSON so far, whole, over what was there. */
static void publish(struct run *run)
{
    result_publish(run->json, run->cell->out);
}

static void enter(struct run *run, const char *pass)
{
    snprintf(run->cell->page->pass, sizeof run->cell->page->pass, "%s", pass);
}

/* The figures of a pass. */

static json_t *by_kind_json(const struct tally *tally)
{
    json_t *object = json_object();

    for (enum op_kind kind = 0; kind < OP_KINDS; kind++) {
        uint64_t ops = tally_kind_ops(tally, kind);
        json_t  *one;

        if (ops == 0)
            continue;
        one =
            json_pack("{s:I, s:I}", "ops", (json_int_t)ops, "not_found", (json_int_t)tally->count[kind][KV_NOT_FOUND]);
        if (kind == OP_SCAN)
            json_object_set_new(one, "records", json_integer((json_int_t)tally->scanned));
        json_object_set_new(object, op_kind_word(kind), one);
    }
    return object;
}

static json_t *errors_json(const struct tally *tally)
{
    json_t *object = json_object();

    for (kv_status status = 0; status < KV_STATUS_COUNT; status++) {
        uint64_t count = 0;

        for (int kind = 0; kind < OP_KINDS; kind++)
            count += tally->count[kind][status];
        if (status != KV_OK && status != KV_NOT_FOUND && count)
            json_object_set_new(object, kv_status_word(status), json_integer((json_int_t)count));
    }
    return object;
}

static json_t *series_json(const struct crew *crew, uint64_t wall_ns)
{
    json_t *series = json_array();
    size_t  count = 0;

    for (uint32_t i = 0; i < crew->count; i++)
        count = crew->workers[i].series_count > count ? crew->workers[i].series_count : count;
    for (size_t slot = 0; slot < count; slot++) {
        uint64_t ops = 0;

        for (uint32_t i = 0; i < crew->count; i++)
            ops += slot < crew->workers[i].series_count ? crew->workers[i].series[slot] : 0;
        if (slot * crew->interval_ns < wall_ns)
            json_array_append_new(
                series,
                json_pack("[f, I]", (double)slot * (double)crew->interval_ns / (double)NS_PER_S, (json_int_t)ops));
    }
    return series;
}

static json_t *hists_json(const struct crew *crew, bool response)
{
    json_t      *object = json_object();
    struct hist *all = hist_new(), *one;

    for (int kind = 0; all && kind < SAMPLE_KINDS; kind++) {
        if (!(one = hist_new()))
            break;
        for (uint32_t i = 0; i < crew->count; i++) {
            const struct worker *worker = &crew->workers[i];
            const struct hist   *from = response ? worker->response[kind] : worker->service[kind];
            if (from)
                hist_merge(one, from);
        }
        if (one->count)
            json_object_set_new(object, sample_word(kind), hist_json(one));
        hist_merge(all, one);
        free(one);
    }
    if (all && all->count)
        json_object_set_new(object, "all", hist_json(all));
    free(all);
    return object;
}

double cell_rate(double sum, double ops, double stamped_ns, double cpu_ns, uint32_t threads, int processors)
{
    if (processors <= 0 || threads <= (uint32_t)processors || stamped_ns <= 0 || cpu_ns <= 0)
        return sum;
    return fmin(sum, processors * ops * (double)NS_PER_S / fmin(stamped_ns, cpu_ns));
}

/* Sum over threads of operations by stamped time: the rate of the engine alone, with all threads at it. */
static double engine_rate(const struct crew *crew)
{
    double    sum = 0, ops = 0, stamped_ns = 0, cpu_ns = 0;
    cpu_set_t set;

    for (uint32_t i = 0; i < crew->count; i++) {
        const struct tally *tally = &crew->workers[i].tally;

        if (tally->stamped_ns)
            sum += (double)tally_ops(tally) * (double)NS_PER_S / (double)tally->stamped_ns;
        ops += (double)tally_ops(tally);
        stamped_ns += (double)tally->stamped_ns;
        cpu_ns += (double)crew->workers[i].cpu_ns;
    }
    return cell_rate(sum, ops, stamped_ns, cpu_ns, crew->count, sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0);
}

/* Drift and spread of the throughput over five stretches of equal length; the last interval, which is cut, is left out.
 * Null when the pass was too short to tell. */
static json_t *steady_json(json_t *series)
{
    size_t count = json_array_size(series);
    double mean = 0, bin[STEADY_BINS] = {0}, low = INFINITY, high = 0, slope = 0;
    size_t each = count > 0 ? (count - 1) / STEADY_BINS : 0;

    if (each < 2)
        return json_null();
    for (size_t b = 0; b < STEADY_BINS; b++) {
        for (size_t i = 0; i < each; i++)
            bin[b] += json_number_value(json_array_get(json_array_get(series, b * each + i), 1));
        mean += bin[b] / STEADY_BINS;
    }
    for (size_t b = 0; b < STEADY_BINS; b++) {
        low = bin[b] < low ? bin[b] : low;
        high = bin[b] > high ? bin[b] : high;
        slope += ((double)b - 2) * bin[b] / 10; /* least squares over -2 to 2 */
    }
    if (mean <= 0)
        return json_null();
    slope = slope * (STEADY_BINS - 1) / mean;
    return json_pack("{s:b, s:f, s:f}", "reached",
                     fabs(slope) <= STEADY_SLOPE && (high - low) / mean <= STEADY_EXCURSION, "slope", slope,
                     "excursion", (high - low) / mean);
}

/* While a pass runs: space, debt and hold-ups, once a second.  A stall that a mean hides stands here at its time. */

struct watch {
    struct run     *run;
    json_t         *rows;
    uint64_t        begin_ns;
    pthread_t       thread;
    pthread_mutex_t lock;
    pthread_cond_t  over;
    bool            ends;
};

struct watched {
    uint64_t debt_bytes, stall_ns, delay_ns;
};

static void note_watched(void *arg, const char *name, uint64_t value)
{
    struct watched *seen = arg;

    if (strcmp(name, "debt_bytes") == 0)
        seen->debt_bytes = value;
    else if (strcmp(name, "stall_ns") == 0)
        seen->stall_ns = value;
    else if (strcmp(name, "delay_ns") == 0)
        seen->delay_ns = value;
}

static void watch_row(struct watch *watch)
{
    struct run    *run = watch->run;
    struct watched seen = {KV_UNKNOWN, KV_UNKNOWN, KV_UNKNOWN};
    double         at_s = (double)(clock_now_ns() - watch->begin_ns) / (double)NS_PER_S;

    kv_stats(run->crew.store, note_watched, &seen);
    json_array_append_new(watch->rows,
        json_pack("{s:f, s:o, s:o, s:o, s:o}", "t_s", at_s,
                  "disk_bytes", run->durable ? json_integer((json_int_t)space_used_bytes(run->cell->config.dir)) : json_null(),
                  "debt_bytes", result_known(seen.debt_bytes), "stall_ns", result_known(seen.stall_ns),
                  "delay_ns", result_known(seen.delay_ns)));
}

static void *watch_on(void *arg)
{
    struct watch *watch = arg;

    pthread_mutex_lock(&watch->lock);
    for (uint64_t next_ns = watch->begin_ns + WATCH_NS; !watch->ends; next_ns += WATCH_NS) {
        struct timespec until = {.tv_sec = (time_t)(next_ns / NS_PER_S), .tv_nsec = (long)(next_ns % NS_PER_S)};

        while (!watch->ends && pthread_cond_timedwait(&watch->over, &watch->lock, &until) == 0)
            continue;
        if (!watch->ends)
            watch_row(watch);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

/* NULL in watch->rows: it could not begin, or there was nothing to see. */
static void watch_begin(struct watch *watch, struct run *run)
{
    pthread_condattr_t monotonic;

    *watch = (struct watch){.run = run, .rows = json_array(), .begin_ns = run->begin_ns};
    pthread_mutex_init(&watch->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->over, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&watch->thread, NULL, watch_on, watch) != 0) {
        json_decref(watch->rows);
        watch->rows = NULL;
    }
}

static json_t *watch_end(struct watch *watch)
{
    if (watch->rows) {
        pthread_mutex_lock(&watch->lock);
        watch->ends = true;
        pthread_cond_signal(&watch->over);
        pthread_mutex_unlock(&watch->lock);
        pthread_join(watch->thread, NULL);
    }
    pthread_cond_destroy(&watch->over);
    pthread_mutex_destroy(&watch->lock);
    return watch->rows ? watch->rows : json_null();
}

/* A pass: begin, run, end. */

static void sync_fs(const struct run *run)
{
    int fd;

    if (!run->durable || (fd = open(run->cell->config.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return;
    syncfs(fd);
    close(fd);
}

static const char *device_of(const struct run *run)
{
    return run->durable && run->has_device ? run->device : NULL;
}

static json_t *phase_json(struct run *run, const char *name, const char *part, const struct meters *used)
{
    struct crew *crew = &run->crew;
    struct tally tally = crew_tally(crew);
    uint64_t     ops = tally_ops(&tally);
    double       wall_s = (double)run->wall_ns / (double)NS_PER_S;
    double       engine_s = (double)tally.stamped_ns / (double)crew->count / (double)NS_PER_S;
    bool         stamped = tally.stamped_ns > 0;
    double       rate = engine_rate(crew);
    json_t      *series = crew->interval_ns ? series_json(crew, run->wall_ns) : json_null();
    json_t *phase =
        json_pack("{s:s, s:s?, s:I, s:o, s:f, s:I, s:I, s:o, s:n, s:o, s:o, s:o}", "name", name, "part", part, "ops",
                  (json_int_t)ops, "errors", errors_json(&tally), "wall_s", wall_s, "bytes_written",
                  (json_int_t)tally.bytes_written, "bytes_read", (json_int_t)tally.bytes_read, "by_kind",
                  by_kind_json(&tally), "latency_ns", "timeseries", series, "meters",
                  used ? meters_json(used) : json_null(), "per_op", used ? meters_per_op_json(used, ops) : json_null());

    json_object_set_new(phase, "engine_s", stamped ? json_real(engine_s) : json_null());
    json_object_set_new(phase, "ops_per_s_engine", stamped && ops ? json_real(rate) : json_null());
    json_object_set_new(phase, "ops_per_s_all_in", ops ? result_ratio((double)ops, wall_s) : json_null());
    json_object_set_new(phase, "engine_ns_per_op",
                        stamped ? result_ratio((double)tally.stamped_ns, (double)ops) : json_null());
    json_object_set_new(phase, "all_in_ns_per_op", result_ratio((double)run->wall_ns * crew->count, (double)ops));
    json_array_append_new(run->phases, phase);
    return phase;
}

/* Whether what came back can be: keys that must be there were found, keys that never were were not. */
static bool answers_possible(struct run *run)
{
    const struct crew *crew = &run->crew;
    struct tally       tally = crew_tally(crew);
    uint64_t           lost = tally.count[OP_READ][KV_NOT_FOUND] + tally.count[OP_RMW][KV_NOT_FOUND];

    if (!crew->retains)
        return true;
    if (lost && !workload_may_miss(crew->workload, crew->phase)) {
        fail_set("%" PRIu64 " reads did not find a key that must be there", lost);
        return false;
    }
    if (tally.count[OP_MISS][KV_OK]) {
        fail_set("%" PRIu64 " reads found a key that was never written", tally.count[OP_MISS][KV_OK]);
        return false;
    }
    return true;
}

static void add_used(struct run *run, const struct meters *used)
{
#define X(meter, per_op) \
    run->written.meter = run->written.meter == KV_UNKNOWN || used->meter == KV_UNKNOWN ? KV_UNKNOWN \
                                                                                       : run->written.meter + used->meter;
    METERS_LIST(X)
#undef X
}

/* Runs one pass and appends its phase; *phase gets it for fields of its own.  used: also counts what the pass used,
 * with the file system synced before and after, so that bytes which the kernel still holds are in. */
static bool pass(struct run *run, const char *name, const char *part, void (*job)(struct worker *worker), bool metered,
                 json_t **phase)
{
    struct meters end, flushed, used;
    struct watch  watch;
    json_t       *watched = NULL;
    uint64_t      began_ns;
    bool          good;

    enter(run, name);
    crew_reset(&run->crew);
    if (metered) {
        sync_fs(run);
        meters_read(&run->at_begin, device_of(run));
    }
    began_ns = clock_read_ns(CLOCK_REALTIME);
    run->begin_ns = clock_now_ns();
    if (run->crew.interval_ns)
        watch_begin(&watch, run);
    good = crew_run(&run->crew, job);
    run->wall_ns = clock_now_ns() - run->begin_ns;
    if (run->crew.interval_ns)
        watched = watch_end(&watch);
    if (metered) {
        meters_read(&end, device_of(run));
        sync_fs(run);
        meters_read(&flushed, device_of(run));
        end.device_read_bytes = flushed.device_read_bytes;
        end.device_write_bytes = flushed.device_write_bytes;
        used = meters_delta(&run->at_begin, &end);
    }
    *phase = phase_json(run, name, part, metered ? &used : NULL);
    if (watched)
        json_object_set_new(*phase, "watch", watched);
    json_object_set_new(*phase, "started_unix_ns", json_integer((json_int_t)began_ns));
    if (metered && (job == job_load || job == job_throughput)) {
        struct tally tally = crew_tally(&run->crew);

        run->written_bytes += tally.bytes_written;
        add_used(run, &used);
    }
    return good && answers_possible(run);
}

/* Steps. */

static bool open_with(struct run *run, const struct kv_config *config)
{
    return kv_open(run->cell->engine, config, &run->crew.store) == KV_OK && crew_run(&run->crew, job_open_session);
}

static bool open_store(struct run *run)
{
    return open_with(run, &run->cell->config);
}

static bool close_store(struct run *run)
{
    struct kv_store *store = run->crew.store;

    run->crew.store = NULL;
    return crew_run(&run->crew, job_close_session) && kv_close(store) == KV_OK;
}

/* Opens the store and loads it, with the load's own tier if it has one. */
static bool load(struct run *run)
{
    struct kv_config config = run->cell->config;
    json_t          *phase;
    struct tally     tally;
    bool             other;

    enter(run, "open");
    if (!run->cell->workload->load || run->cell->workload->records == 0)
        return open_store(run);
    config.durability = run->cell->load_durability;
    other = run->durable && (config.durability.tier != run->cell->config.durability.tier ||
                             config.durability.interval_ns != run->cell->config.durability.interval_ns);
    if (!open_with(run, &config))
        return false;
    run->crew.ops = run->cell->workload->records;
    run->crew.limit_ns = 0;
    run->crew.interval_ns = 100 * NS_PER_MS;
    if (!pass(run, "load", NULL, job_load, true, &phase))
        return false;
    tally = crew_tally(&run->crew);
    run->loaded_bytes = tally.bytes_written;
    publish(run);
    return !other || (close_store(run) && open_store(run));
}

static bool compact(struct run *run, const char *part)
{
    json_t *phase;

    if (!(run->cell->engine->can & KV_COMPACT)) {
        result_warn(run->json, "the workload compacts, and engine %s has no compaction: skipped",
                    run->cell->engine->name);
        return true;
    }
    run->crew.ops = run->crew.limit_ns = run->crew.interval_ns = 0;
    if (!pass(run, "compact", part, job_compact, true, &phase))
        return false;
    publish(run);
    return true;
}

/* Until no background work is owed, or what is owed stays. */
static void settle(struct run *run, const char *part)
{
    uint64_t      begin = clock_now_ns(), changed = begin, debt = kv_stat(run->crew.store, "debt_bytes");
    struct meters end, used;
    json_t       *phase;

    if (debt == KV_UNKNOWN)
        return;
    enter(run, "settle");
    crew_reset(&run->crew);
    meters_read(&run->at_begin, device_of(run));
    while (debt > 0) {
        uint64_t now = clock_now_ns(), next;

        if (now - begin > SETTLE_MAX_NS || now - changed > SETTLE_STEADY_NS)
            break;
        clock_sleep_until_ns(now + SETTLE_POLL_NS);
        next = kv_stat(run->crew.store, "debt_bytes");
        if (next != debt)
            changed = clock_now_ns();
        debt = next;
        atomic_fetch_add(&run->cell->page->ops, 1); /* alive */
    }
    run->wall_ns = clock_now_ns() - begin;
    sync_fs(run);
    meters_read(&end, device_of(run));
    used = meters_delta(&run->at_begin, &end);
    add_used(run, &used); /* what the load left to be done belongs to its price */
    run->crew.interval_ns = 0;
    phase = phase_json(run, "settle", part, NULL);
    json_object_set_new(phase, "debt_bytes", json_integer((json_int_t)debt));
    json_object_set_new(phase, "settled", json_boolean(debt == 0));
    if (debt)
        result_warn(run->json, "the engine still owed %" PRIu64 " bytes of background work when it was measured", debt);
    publish(run);
}

/* Cold, or within a memory budget: the page cache is dropped first, because pages stay charged to whoever read them. */
static bool go_cold(struct run *run)
{
    struct cell *cell = run->cell;

    if (!cell->cold && !cell->cgroup)
        return true;
    if (!run->durable) {
        if (cell->cold)
            result_warn(run->json, "engine %s keeps nothing on disk, so there is nothing cold about it",
                        cell->engine->name);
        return true;
    }
    enter(run, "drop caches");
    if (!close_store(run))
        return false;
    if (!space_drop_cache(cell->config.dir))
        result_warn(run->json, "the page cache could not be dropped: %s", "the store may be warm");
    if (cell->cgroup && !cgroup_enter(cell->cgroup))
        return false;
    return open_store(run);
}

/* A read that finds nothing is often cheaper than one that does. */
static void warn_of_misses(struct run *run, const struct tally *tally)
{
    uint64_t reads = tally_kind_ops(tally, OP_READ), missed = tally->count[OP_READ][KV_NOT_FOUND];

    if (missed > reads / 10)
        result_warn(run->json, "%.0f %% of the reads found nothing", 100.0 * (double)missed / (double)reads);
}

static void run_figures(struct run *run, json_t *phase)
{
    struct tally tally = crew_tally(&run->crew);
    json_t      *steady = steady_json(json_object_get(phase, "timeseries"));
    uint64_t     ops = tally_ops(&tally), debt = kv_stat(run->crew.store, "debt_bytes");

    json_object_set_new(phase, "block_ops", json_integer((json_int_t)run->crew.block_ops));
    json_object_set_new(phase, "debt_bytes", result_known(debt));
    if (json_is_false(json_object_get(steady, "reached")))
        result_warn(run->json, "unsteady: throughput drifted by %.0f %% and spread over %.0f %% of its mean",
                    100 * json_real_value(json_object_get(steady, "slope")),
                    100 * json_real_value(json_object_get(steady, "excursion")));
    json_object_set_new(phase, "steady", steady);
    warn_of_misses(run, &tally);
    run->run_ns_per_op = ops ? tally.stamped_ns / ops : 0;
}

static void memory_figures(struct run *run, const struct meters *used, const struct tally *tally)
{
    uint64_t reads = tally_kind_ops(tally, OP_READ) + tally_kind_ops(tally, OP_RMW) + tally->scanned;
    json_t  *limit = json_object_get(run->json, "memory_limit");

    if (!json_is_object(limit) || reads == 0 || used->read_bytes == KV_UNKNOWN)
        return;
    json_object_set_new(limit, "miss_ratio", json_real(fmin(1, (double)used->read_bytes / 4096 / (double)reads)));
}

static bool paced(struct run *run, const struct phase *plan, const char *part)
{
    const struct crew *crew = &run->crew;
    uint64_t           ops = 0, backlog_max = 0, backlog_sum = 0, late_max = 0, late_end = 0;
    json_t            *phase;
    bool               good, sustained;

    run->crew.ops = plan->ops;
    run->crew.limit_ns = plan->run_ns;
    good = pass(run, "paced", part, job_paced, true, &phase);
    for (uint32_t i = 0; i < crew->count; i++) {
        const struct worker *worker = &crew->workers[i];

        ops += worker->paced_ops;
        backlog_sum += worker->backlog_sum;
        backlog_max = worker->backlog_max > backlog_max ? worker->backlog_max : backlog_max;
        late_max = worker->lateness_max_ns > late_max ? worker->lateness_max_ns : late_max;
        late_end = worker->lateness_end_ns > late_end ? worker->lateness_end_ns : late_end;
    }
    /* Behind at the end by more than a hundredth of the pass: the rate was more than the engine could do. */
    sustained = (double)late_end <= fmax(10.0 * (double)NS_PER_MS, LATE_SHARE * (double)run->wall_ns);
    json_object_set_new(phase, "latency_ns", json_pack("{s:o, s:o}", "service", hists_json(crew, false), "response",
                                                       hists_json(crew, true)));
    json_object_set_new(phase, "offered_per_s", crew->workload->rate_per_s > 0 ? json_real(crew->workload->rate_per_s)
                                                                               : json_null());
    json_object_set_new(phase, "backlog", json_pack("{s:I, s:o}", "max", (json_int_t)backlog_max, "mean",
                                                    result_ratio((double)backlog_sum, (double)ops)));
    json_object_set_new(phase, "lateness_ns", json_pack("{s:I, s:I}", "max", (json_int_t)late_max, "end",
                                                        (json_int_t)late_end));
    json_object_set_new(phase, "sustained", json_boolean(sustained));
    if (!sustained)
        result_warn(run->json, "fell behind: the last operation started %.1f ms after its time",
                    (double)late_end / (double)NS_PER_MS);
    publish(run);
    return good;
}

/* A share of a phase, for the passes behind the throughput pass. */
static void set_limits(struct run *run, const struct phase *plan, uint64_t divisor, uint64_t ops_max)
{
    run->crew.ops = plan->ops ? (plan->ops + divisor - 1) / divisor : 0;
    if (ops_max && (run->crew.ops == 0 || run->crew.ops > ops_max))
        run->crew.ops = ops_max;
    run->crew.limit_ns = plan->run_ns ? (plan->run_ns + divisor - 1) / divisor : 0;
}

static bool measure(struct run *run, size_t index)
{
    const struct workload *workload = run->cell->workload;
    const struct phase    *plan = &workload->phases[index];
    const char            *part = workload->phase_count > 1 ? plan->name : NULL;
    struct crew           *crew = &run->crew;
    json_t                *phase;

    crew->phase = index;
    if (!crew_run(crew, job_begin_phase) || (plan->compact_before && !compact(run, part)))
        return false;
    settle(run, part);
    if (index == 0 && !go_cold(run))
        return false;
    crew->interval_ns = 100 * NS_PER_MS;
    if (index == 0 && workload->warmup_ops && !run->cell->cold) {
        crew->ops = workload->warmup_ops;
        crew->limit_ns = plan->run_ns;
        if (!pass(run, "warmup", part, job_throughput, true, &phase))
            return false;
        publish(run);
    }
    crew->ops = plan->ops;
    crew->limit_ns = plan->run_ns;
    if (!pass(run, "run", part, job_throughput, true, &phase))
        return false;
    run_figures(run, phase);
    {
        struct tally  tally = crew_tally(crew);
        struct meters used = {.read_bytes = KV_UNKNOWN};
        json_t       *read_bytes = json_object_get(json_object_get(phase, "meters"), "read_bytes");

        if (json_is_integer(read_bytes))
            used.read_bytes = (uint64_t)json_integer_value(read_bytes);
        memory_figures(run, &used, &tally);
    }
    publish(run);
    if (run->cell->brief)
        return true;
    if (workload->arrival != ARRIVAL_UNTHROTTLED)
        return paced(run, plan, part);
    set_limits(run, plan, 2, 0);
    crew->sampling = run->run_ns_per_op > SLOW_CALL_NS ? 1 : SAMPLING;
    if (!pass(run, "latency", part, job_latency, false, &phase))
        return false;
    json_object_set_new(phase, "latency_ns", hists_json(crew, false));
    json_object_set_new(phase, "sampling", json_integer(workload->batch_gets > 1 || workload->batch_writes > 1
                                                            ? 1 : (json_int_t)crew->sampling));
    publish(run);
    return true;
}

static bool verify(struct run *run)
{
    const struct workload *workload = run->cell->workload;
    const struct phase    *plan = &workload->phases[workload->phase_count - 1];
    uint64_t               checked = 0, absent = 0;
    json_t                *phase;
    bool                   good;

    set_limits(run, plan, 4, CHECK_OPS_MAX);
    run->crew.interval_ns = 0;
    good = pass(run, "verify", NULL, job_verify, false, &phase);
    for (uint32_t i = 0; i < run->crew.count; i++) {
        checked += run->crew.workers[i].checked_values;
        absent += run->crew.workers[i].checked_absent;
    }
    json_object_set_new(phase, "checked", json_integer((json_int_t)checked));
    json_object_set_new(phase, "absent_checked", json_integer((json_int_t)absent));
    publish(run);
    return good;
}

static void add_figure(void *arg, const char *name, uint64_t value)
{
    json_object_set_new(arg, name, result_known(value));
}

/* What the engine counted from the last open to the end of the measured phases. */
static void engine_figures(struct run *run)
{
    json_t *figures = json_object();

    kv_stats(run->crew.store, add_figure, figures);
    json_object_set_new(run->json, "figures", figures);
}

/* Close, reopen, and hold every key against the history.  An engine that keeps nothing is held against it as it is. */
static bool recover(struct run *run)
{
    struct crew *crew = &run->crew;
    struct sweep sweep = {0};
    uint64_t     begin, close_ns = 0, reopen_ns = 0, records = KV_UNKNOWN, disk = 0;
    bool         good = true;
    json_t      *phase;

    enter(run, "recovery");
    crew_reset(crew);
    begin = clock_now_ns();
    if (run->durable) {
        good = close_store(run);
        close_ns = clock_now_ns() - begin;
        disk = space_used_bytes(run->cell->config.dir);
        if (good) {
            uint64_t from = clock_now_ns();
            good = open_store(run);
            reopen_ns = clock_now_ns() - from;
        }
    }
    if (good && crew->retains) {
        good = sweep_store(crew, SWEEP_MAX_NS, &sweep);
        if (good && sweep.checked < sweep.keys)
            result_warn(run->json,
                        "%" PRIu64 " of %" PRIu64 " keys were checked at the end: reading them all takes too long",
                        sweep.checked, sweep.keys);
        if (good && (run->cell->engine->can & KV_SCAN)) {
            good = sweep_count(crew, &records);
            if (good && sweep.checked == sweep.keys && records != sweep.found) {
                fail_set("a full scan visits %" PRIu64 " records, and %" PRIu64 " keys are there", records,
                         sweep.found);
                good = false;
            }
        }
    }
    run->wall_ns = clock_now_ns() - begin;
    crew->interval_ns = 0;
    phase = phase_json(run, "recovery", NULL, NULL);
    json_object_set_new(phase, "close_ns", run->durable ? json_integer((json_int_t)close_ns) : json_null());
    json_object_set_new(phase, "reopen_ns", reopen_ns ? json_integer((json_int_t)reopen_ns) : json_null());
    json_object_set_new(phase, "keys_checked", json_integer((json_int_t)sweep.checked));
    json_object_set_new(phase, "records_found", result_known(records));
    if (reopen_ns)
        json_object_set_new(run->json, "recovery_ns", json_integer((json_int_t)reopen_ns));
    if (run->durable)
        json_object_set_new(json_object_get(run->json, "space"), "disk_bytes", json_integer((json_int_t)disk));
    return good;
}

/* What a cell's figures of space and amplification are made of. */
static void space_figures(struct run *run)
{
    json_t  *space = json_object_get(run->json, "space");
    uint64_t live = kv_stat(run->crew.store, "live_bytes"), logical = KV_UNKNOWN;
    uint64_t disk;

    /* Without deletes the workload knows: updates of values of one size change nothing. */
    if (live != KV_UNKNOWN)
        logical = live;
    else if (run->cell->workload->value_bytes_min == run->cell->workload->value_bytes_max && !run->deletes &&
             run->cell->workload->load) {
        uint64_t inserted = 0,
                 each = run->cell->workload->records ? run->loaded_bytes / run->cell->workload->records : 0;

        for (uint32_t i = 0; i < run->crew.count; i++)
            inserted += run->crew.workers[i].inserted;
        logical = run->loaded_bytes + inserted * each;
    }
    json_object_set_new(space, "logical_bytes", result_known(logical));
    json_object_set_new(space, "memory_peak_bytes", result_known(meters_peak_memory_bytes()));
    disk = (uint64_t)json_integer_value(json_object_get(space, "disk_bytes"));
    json_object_set_new(run->json, "amplification", json_pack("{s:o, s:o, s:o}",
        "space", run->durable && logical != KV_UNKNOWN ? result_ratio((double)disk, (double)logical) : json_null(),
        "write_device", run->durable && run->written.device_write_bytes != KV_UNKNOWN
            ? result_ratio((double)run->written.device_write_bytes, (double)run->written_bytes) : json_null(),
        "write_calls", run->durable && run->written.wchar != KV_UNKNOWN
            ? result_ratio((double)run->written.wchar, (double)run->written_bytes) : json_null()));
}

static bool run_all(struct run *run)
{
    const struct workload *workload = run->cell->workload;

    if (run->cell->cgroup && !run->durable && !cgroup_enter(run->cell->cgroup))
        return false;
    if (!load(run))
        return false;
    json_object_set_new(run->json, "settings", result_settings(run->crew.store));
    for (size_t i = 0; i < workload->phase_count; i++) {
        if (!measure(run, i))
            return false;
        if (run->cell->brief)
            return true;
    }
    engine_figures(run);
    if (!verify(run) || !recover(run))
        return false;
    space_figures(run);
    enter(run, "close");
    return close_store(run);
}

/* The counting pass: load, then a stretch of each phase between two marks. */
static bool run_counted(struct run *run)
{
    const struct workload *workload = run->cell->workload;
    struct crew           *crew = &run->crew;
    json_t                *phase;
    struct counts          counts;
    bool                   good = load(run);

    json_array_clear(run->phases); /* that load is not what was asked for */
    for (size_t i = 0; i < workload->phase_count && good; i++) {
        const struct phase *plan = &workload->phases[i];

        crew->phase = i;
        if (!crew_run(crew, job_begin_phase))
            return false;
        if (plan->compact_before && (run->cell->engine->can & KV_COMPACT) && kv_compact(crew->workers[0].session) != KV_OK)
            return false;
        set_limits(run, plan, 1, CELL_COUNTED_OPS_MAX);
        crew->interval_ns = 0;
        counting_begin(run->cell->counted);
        good = pass(run, "meters", workload->phase_count > 1 ? plan->name : NULL, job_throughput, false, &phase);
        counting_end(run->cell->counted, &counts);
        counting_fill(phase, &counts);
        publish(run);
    }
    return good;
}

int cell_main(void *arg)
{
    struct cell *cell = arg;
    struct run   run = {.cell = cell, .durable = cell->engine->can & KV_DURABLE};
    bool         good;

    run.has_device = facts_device_path(cell->config.dir, run.device, sizeof run.device);
    for (size_t i = 0; i < cell->workload->phase_count; i++)
        run.deletes = run.deletes || cell->workload->phases[i].mix[OP_DELETE] > 0;
    run.phases = json_array();
    run.json = json_pack("{s:s, s:n, s:[], s:o, s:n, s:n, s:n}", "status", "crashed", "reason", "warnings", "phases",
                         run.phases, "amplification", "recovery_ns", "memory_limit");
    json_object_set_new(run.json, "space", json_pack("{s:n, s:n, s:n, s:n}", "logical_bytes", "disk_bytes",
                                                     "peak_disk_bytes", "memory_peak_bytes"));
    if (cell->memory_bytes)
        json_object_set_new(run.json, "memory_limit",
                            json_pack("{s:I, s:b, s:s?, s:n}", "bytes", (json_int_t)cell->memory_bytes, "limited",
                                      cell->cgroup != NULL, "cgroup",
                                      cell->cgroup ? (cell->cgroup->version == 2 ? "v2" : "v1") : NULL, "miss_ratio"));
    publish(&run);
    good = crew_start(&run.crew, cell->workload, cell->engine, cell->page) &&
           (cell->counting ? run_counted(&run) : run_all(&run));
    json_object_set_new(run.json, "status", json_string(good ? "ok" : "failed"));
    if (!good)
        json_object_set_new(run.json, "reason", json_string(fail_text()));
    publish(&run);
    if (good && !cell->counting && !cell->brief)
        crew_stop(&run.crew);
    json_decref(run.json);
    return 0;
}
