/*
 * bench.c -- assay bench: engines by rounds, each cell in a process of its own, one result.
 *
 * What can be wrong is found before anything is touched.  Then rounds: each has every engine once, in an order shuffled
 * by the seed.  The parent of a cell forks it, watches it (progress, disk space, how long a process has to wait for the
 * processor), and takes its JSON from a memory file, so that it outlives whatever happens to the cell.
 *
 * The passes that count calls and allocations, and that look for the syncs of a tier, run this command again in a traced process;
 * ASSAY_BENCH_TRACED tells that process which pass and which engine it is for.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/args.h"
#include "common/child.h"
#include "common/clock.h"
#include "common/commands.h"
#include "common/fail.h"
#include "common/outfile.h"
#include "common/progress.h"
#include "common/rng.h"
#include "common/scratch.h"
#include "common/stop.h"
#include "common/units.h"
#include "common/words.h"
#include "engines/engine.h"
#include "harness/calibrate.h"
#include "harness/cell.h"
#include "harness/compare.h"
#include "harness/meters.h"
#include "harness/space.h"
#include "harness/tiercheck.h"
#include "harness/traced.h"
#include "results/facts.h"
#include "results/result.h"
#include "workloads/ops.h"
#include "workloads/workload.h"

#define ENGINES_MAX     32
#define ROUNDS_MAX      1000
#define WATCH_NS        (10 * NS_PER_MS)
#define DISK_SAMPLE_NS  (250 * NS_PER_MS)
#define TRACED_VARIABLE "ASSAY_BENCH_TRACED"
#define CALIBRATION_NS  (3 * NS_PER_S)
#define LABEL_LETTERS   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_+" /* safe in tables, files and --set */
#define OTHERS_SHARE    0.10 /* from here on what else ran is worth a warning */
#define STEAL_SHARE     0.02
#define IDLE_OPS        300000
#define IDLE_OPS_MIN    16
#define IDLE_BYTES      (UINT64_C(1) << 28) /* large values would make it longer than what it is the background of */
#define IDLE_RUNS       3       /* the cheapest counts: noise only ever adds */
#define GAP_NS          (50 * NS_PER_MS)

/* One contender: an engine, its settings, and the name that this run gives it. */
struct entry {
    char                    label[64];
    const char             *wanted; /* as written on the command line */
    const struct kv_engine *engine;
    struct kv_config        config;
    const char             *unfit_status; /* "refused", "unsupported", or NULL */
    char                    unfit[256];
};

struct bench {
    struct arg_list engine_list, set_list, verified_list;
    const char     *workload_name, *baseline_text, *durability_text, *load_durability_text, *base_dir, *out_path;
    uint64_t        batch, memory_bytes, rounds, timeout_ns;
    bool            batch_given, memory_given;
    bool            cold, force, no_meters, no_calibration, verify_tier;

    struct workload         workload;
    struct workload_options options;
    struct kv_durability    durability, load_durability;
    struct entry            entries[ENGINES_MAX];
    size_t                  entry_count, baseline; /* the entry that ratios are to */
    struct scratch          scratch;          /* of this run, below base_dir */
    char                    dir[PATH_MAX];    /* the same, as an absolute path */
    char                    device[PATH_MAX];
    struct cgroup           cgroup;
    struct progress_page   *page;
    struct counting_page   *counted;
    struct tiercheck_page  *checked;
    int                     page_fd, counted_fd, checked_fd;
    struct progress         progress;
    json_t                 *result, *cells;
    char                  **argv;
    bool                    broken; /* a promise was broken: exit 1 */
};

#define OWN_OPTIONS 17

static const char usage[] = "--engine A,B --workload W [options]";
static const char examples[] =
    "  assay bench --engine memory,bitcask --workload ycsb-a --out r.json\n"
    "  assay bench --engine bitcask --workload uniform --records 10M --seconds 30 --threads 2 --durability commit\n"
    "  assay bench --engine a=bitcask,b=bitcask --set b.segment_bytes=16M --workload ycsb-a --rounds 10\n"
    "  assay bench --engine ./mine.so --workload ./mine.json --batch 64\n";

/* Engines. */

static struct entry *entry_named(struct bench *bench, const char *name, size_t length)
{
    for (size_t i = 0; i < bench->entry_count; i++) {
        struct entry *entry = &bench->entries[i];

        if (strlen(entry->label) == length && strncmp(entry->label, name, length) == 0)
            return entry;
    }
    return NULL;
}

static bool add_engine(struct bench *bench, const char *item)
{
    struct entry *entry = &bench->entries[bench->entry_count];
    const char   *equals = strchr(item, '=');
    size_t        label = equals ? (size_t)(equals - item) : 0;

    if (bench->entry_count == ENGINES_MAX) {
        fail_set("more than %d engines", ENGINES_MAX);
        return false;
    }
    *entry = (struct entry){.wanted = equals ? equals + 1 : item};
    if (kv_engine_find(entry->wanted, &entry->engine) != KV_OK)
        return false;
    if (label >= sizeof entry->label || (equals && (label == 0 || strspn(item, LABEL_LETTERS) != label))) {
        fail_set("\"%s\" wants a name of 1 to %zu letters, digits, - or _ before =", item, sizeof entry->label - 1);
        return false;
    }
    if (equals && entry_named(bench, item, label)) {
        fail_set("\"%s\": there is a %.*s already; give each engine a name of its own", item, (int)label, item);
        return false;
    }
    if (equals)
        snprintf(entry->label, sizeof entry->label, "%.*s", (int)label, item);
    else
        snprintf(entry->label, sizeof entry->label, "%s", entry->engine->name);
    /* The same engine twice is an A/A comparison: the second gets a number. */
    for (int number = 2; entry_named(bench, entry->label, strlen(entry->label)); number++)
        snprintf(entry->label, sizeof entry->label, "%.48s#%d", entry->engine->name, number);
    kv_config_init(entry->engine, &entry->config);
    bench->entry_count++;
    return true;
}

/* "LABEL.OPTION=VALUE", or ENGINE.OPTION=VALUE for every entry of that engine. */
static bool set_option(struct bench *bench, const char *text)
{
    const char *equals = strchr(text, '='), *dot = NULL;
    bool        found = false;

    /* The name of a plug-in may be a path with dots, that of an option has none. */
    for (const char *at = text; equals && at < equals; at++)
        dot = *at == '.' ? at : dot;
    if (!equals || !dot) {
        fail_set("--set %s: write ENGINE.OPTION=VALUE", text);
        return false;
    }
    for (size_t i = 0; i < bench->entry_count; i++) {
        struct entry *entry = &bench->entries[i];
        size_t        length = (size_t)(dot - text);
        char          option[128];

        if ((strlen(entry->label) != length || strncmp(entry->label, text, length) != 0) &&
            (strlen(entry->engine->name) != length || strncmp(entry->engine->name, text, length) != 0) &&
            (strlen(entry->wanted) != length || strncmp(entry->wanted, text, length) != 0))
            continue;
        found = true;
        snprintf(option, sizeof option, "%.*s", (int)(equals - dot - 1), dot + 1);
        if (kv_config_set(entry->engine, &entry->config, option, equals + 1) != KV_OK) {
            char why[FAIL_BYTES_MAX];

            snprintf(why, sizeof why, "%s", fail_text());
            fail_set("--set %s: %s", text, why);
            return false;
        }
    }
    if (!found)
        fail_set("--set %s: no engine \"%.*s\" is in --engine", text, (int)(dot - text), text);
    return found;
}

/* What the run may need on disk: the data three times (engines merge before they delete), and the writes. */
static uint64_t space_needed(const struct workload *workload)
{
    double record = (workload->key_bytes ? workload->key_bytes : 8) + 40.0 +
                    (workload->value_bytes_min + (double)workload->value_bytes_max) / 2;
    double written = 0;

    for (size_t i = 0; i < workload->phase_count; i++) {
        const struct phase *phase = &workload->phases[i];
        double              ops = phase->ops ? (double)phase->ops : (double)phase->run_ns / (double)NS_PER_S * 200000;

        written += ops * (phase->mix[OP_UPDATE] + phase->mix[OP_INSERT] + phase->mix[OP_RMW]);
    }
    return (uint64_t)(3 * record * (double)workload->records + 1.75 * record * written) + (16u << 20);
}

static bool check_dir(struct bench *bench)
{
    struct stat stat_;
    uint64_t    needed = space_needed(&bench->workload), available;
    bool        durable = false;
    char        need[UNITS_TEXT_MAX], have[UNITS_TEXT_MAX];

    for (size_t i = 0; i < bench->entry_count; i++)
        durable |= !bench->entries[i].unfit_status && (bench->entries[i].engine->can & KV_DURABLE);
    if (stat(bench->base_dir, &stat_) != 0) {
        fail_set("--dir %s: %s", bench->base_dir, strerror(errno));
        return false;
    }
    if (!S_ISDIR(stat_.st_mode) || access(bench->base_dir, W_OK | X_OK) != 0) {
        fail_set("--dir %s: %s", bench->base_dir, S_ISDIR(stat_.st_mode) ? "cannot be written" : "is no directory");
        return false;
    }
    if (durable && bench->durability.tier >= KV_TIER_ORDERED && facts_fs_is_memory(bench->base_dir) && !bench->force) {
        fail_set("--dir %s is in memory (tmpfs), where a sync means nothing; choose a disk, or --force",
                 bench->base_dir);
        return false;
    }
    available = space_free_bytes(bench->base_dir);
    if (durable && available != KV_UNKNOWN && available < needed) {
        fail_set("--dir %s has %s free, and the run may need %s; choose another, or fewer --records", bench->base_dir,
                 units_text_bytes(have, available), units_text_bytes(need, needed));
        return false;
    }
    return true;
}

/* The one that is named; else the first that can run and keeps what it is given, else the first. */
static bool set_baseline(struct bench *bench)
{
    const char *labels[ENGINES_MAX];

    for (size_t i = 0; i < bench->entry_count; i++)
        labels[i] = bench->entries[i].label;
    if (bench->baseline_text) {
        struct entry *entry = entry_named(bench, bench->baseline_text, strlen(bench->baseline_text));

        if (!entry) {
            fail_set("--baseline %s: no engine of that name is in --engine%s", bench->baseline_text,
                     words_hint(bench->baseline_text, labels, bench->entry_count));
            return false;
        }
        bench->baseline = (size_t)(entry - bench->entries);
        if (entry->unfit_status)
            fail_set("--baseline %s: %s", bench->baseline_text, entry->unfit);
        return !entry->unfit_status;
    }
    for (size_t i = bench->entry_count; i-- > 0;)
        if (!bench->entries[i].unfit_status && (bench->entries[i].engine->can & KV_RETAINS))
            bench->baseline = i;
    return true;
}

static bool resolve(struct bench *bench)
{
    size_t fit = 0;
    char   batch[UNITS_TEXT_MAX];

    if (bench->engine_list.count == 0) {
        fail_set("--engine wants a name; \"assay engines\" lists them");
        return false;
    }
    if (!bench->workload_name) {
        fail_set("--workload wants a name or a file; \"assay workloads\" lists them");
        return false;
    }
    for (size_t i = 0; i < bench->engine_list.count; i++) {
        if (!add_engine(bench, bench->engine_list.item[i]))
            return false;
    }
    if (kv_durability_parse(bench->durability_text, &bench->durability) != KV_OK)
        return false;
    if (!bench->load_durability_text)
        bench->load_durability = bench->durability;
    else if (kv_durability_parse(bench->load_durability_text, &bench->load_durability) != KV_OK)
        return false;
    if (!workload_load(&bench->workload, bench->workload_name) ||
        !workload_set_options(&bench->workload, &bench->options))
        return false;
    if (bench->batch_given) {
        snprintf(batch, sizeof batch, "%" PRIu64, bench->batch);
        if (!workload_set(&bench->workload, "batch_gets", batch))
            return false;
    }
    if (!workload_check(&bench->workload))
        return false;
    if (bench->rounds == 0 || bench->rounds > ROUNDS_MAX) {
        fail_set("--rounds %" PRIu64 ": write 1 to %d", bench->rounds, ROUNDS_MAX);
        return false;
    }
    if (bench->timeout_ns == 0 || (bench->memory_given && bench->memory_bytes == 0)) {
        fail_set(bench->timeout_ns ? "--memory 0 is no budget; leave --memory out for no limit"
                                   : "--timeout 0 gives a cell no time at all; write it like 30s or 2m");
        return false;
    }
    for (size_t i = 0; i < bench->set_list.count; i++) {
        if (!set_option(bench, bench->set_list.item[i]))
            return false;
    }
    for (size_t i = 0; i < bench->entry_count; i++) {
        struct entry *entry = &bench->entries[i];
        const char   *why;

        entry->config.memory_bytes = bench->memory_bytes;
        if (kv_config_check(entry->engine, &entry->config) != KV_OK) {
            char said[FAIL_BYTES_MAX];

            snprintf(said, sizeof said, "%s", fail_text());
            fail_set("--set: %s: %s", entry->label, said);
            return false;
        }
        entry->config.durability = bench->load_durability;
        why = cell_unfit(entry->engine, &entry->config, &bench->workload, &entry->unfit_status);
        entry->config.durability = bench->durability;
        if (why || (why = cell_unfit(entry->engine, &entry->config, &bench->workload, &entry->unfit_status)))
            snprintf(entry->unfit, sizeof entry->unfit, "%s", why);
        else
            entry->unfit_status = NULL;
        fit += !why;
    }
    if (fit == 0) {
        fail_set("%s", bench->entries[0].unfit);
        return false;
    }
    return set_baseline(bench) && check_dir(bench);
}

/* The traced processes: this command again. */

static void *share_memory(int *fd, size_t bytes, const char *name)
{
    void *page;

    if ((*fd = memfd_create(name, 0)) < 0 || ftruncate(*fd, (off_t)bytes) != 0 ||
        (page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0)) == MAP_FAILED) {
        fail_set("cannot share memory with a child: %s", strerror(errno));
        return NULL;
    }
    return page;
}

static void *shared_memory(int fd, size_t bytes)
{
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/* What a traced process is told: which engine, where its JSON goes, the pages it shares, and where to work. */
#define COUNT_ORDER "count,%zu,%d,%d,%d,%s"
#define CHECK_ORDER "check,%zu,%d,%d,%d,%s"

static int count_cell(struct bench *bench, size_t index, int out, struct progress_page *page, int counted_fd, const char *dir)
{
    struct cell cell = {.workload = &bench->workload, .counting = true, .load_durability = bench->load_durability,
                        .out = out, .page = page, .engine = bench->entries[index].engine,
                        .config = bench->entries[index].config};

    cell.config.dir = dir;
    cell.counted = shared_memory(counted_fd, sizeof *cell.counted);
    return cell.counted == MAP_FAILED ? 126 : cell_main(&cell);
}

static int check_tier(struct bench *bench, size_t index, int out, struct progress_page *page, int checked_fd, const char *dir)
{
    struct tiercheck_page *checked = shared_memory(checked_fd, sizeof *checked);
    struct entry          *entry = &bench->entries[index];
    json_t                *json;
    bool                   good;

    if (checked == MAP_FAILED)
        return 126;
    entry->config.dir = dir;
    snprintf(page->pass, sizeof page->pass, "tier check");
    good = tiercheck_write(checked, entry->engine, &entry->config, &page->ops);
    json = json_pack("{s:s, s:s?, s:[], s:[]}", "status", good ? "ok" : "failed", "reason", good ? NULL : fail_text(),
                     "warnings", "phases");
    result_publish(json, out);
    return 0;
}

static int run_traced(struct bench *bench, const char *order)
{
    struct progress_page *page;
    char                  pass[8];
    size_t                index;
    int                   out, page_fd, shared_fd, at = 0;

    if (sscanf(order, "%7[a-z],%zu,%d,%d,%d,%n", pass, &index, &out, &page_fd, &shared_fd, &at) != 5 || !at ||
        index >= bench->entry_count || (page = shared_memory(page_fd, sizeof *page)) == MAP_FAILED)
        return 126;
    unsetenv("LD_PRELOAD");
    unsetenv(TRACED_VARIABLE);
    _exit((strcmp(pass, "check") == 0 ? check_tier : count_cell)(bench, index, out, page, shared_fd, order + at));
}

/* Cells. */

struct watched {
    bool     hung, stopped;
    uint64_t peak_disk_bytes, gap_max_ns;
};

/* Until the child ends: shows progress, samples the disk, finds a hang, looks for Ctrl-C. */
static struct watched watch(struct bench *bench, pid_t pid, const char *label, const char *dir, bool durable)
{
    struct watched seen = {0};
    int            fd = (int)syscall(SYS_pidfd_open, pid, 0);
    uint64_t       ops = 0, moved_ns = clock_now_ns(), disk_ns = 0;
    char           text[192];

    for (;;) {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        uint64_t      before = clock_now_ns(), now, done;
        int           ready = poll(&waiting, 1, (int)(WATCH_NS / NS_PER_MS));

        now = clock_now_ns();
        if (ready > 0)
            break;
        /* We wanted to run after 10 ms: what it took longer is what others took from us. */
        if (ready == 0 && now - before > WATCH_NS + seen.gap_max_ns)
            seen.gap_max_ns = now - before - WATCH_NS;
        done = atomic_load(&bench->page->ops);
        if (done != ops)
            moved_ns = now;
        ops = done;
        if (now - moved_ns > bench->timeout_ns || stop_requested()) {
            seen.stopped = stop_requested();
            seen.hung = !seen.stopped;
            child_kill(pid);
            break;
        }
        if (durable && now - disk_ns > DISK_SAMPLE_NS) {
            uint64_t used = space_used_bytes(dir);

            seen.peak_disk_bytes = used > seen.peak_disk_bytes ? used : seen.peak_disk_bytes;
            disk_ns = clock_now_ns();
        }
        snprintf(text, sizeof text, "%s %.31s", label, bench->page->pass);
        progress_show(&bench->progress, text, done - atomic_load(&bench->page->before));
    }
    if (fd >= 0)
        close(fd);
    return seen;
}

/* Runs one child over a fresh directory; its JSON, or what can be said without. */
static json_t *run_child(struct bench *bench, const struct entry *entry, struct cell *cell, const char *label,
                         struct watched *seen)
{
    char                    dir[PATH_MAX + 64], variable[PATH_MAX + 160];
    struct counting_start   counting = {bench->argv, variable, bench->counted};
    struct traced           checking = {.argv = bench->argv, .variable = variable, .entered = tiercheck_entered,
                                        .left = tiercheck_left, .arg = bench->checked};
    struct child_result     ended;
    json_t                 *json;
    pid_t                   pid;
    static uint32_t         number;

    snprintf(dir, sizeof dir, "%s/%" PRIu32, bench->dir, number++);
    if (mkdir(dir, 0755) != 0 || (cell->out = memfd_create("assay-cell", 0)) < 0) {
        fail_set("cannot make %s: %s", dir, strerror(errno));
        return NULL;
    }
    cell->config.dir = dir;
    memset(bench->page, 0, sizeof *bench->page);
    memset(bench->counted, 0, sizeof *bench->counted);
    if (cell->checking)
        snprintf(variable, sizeof variable, TRACED_VARIABLE "=" CHECK_ORDER, (size_t)(entry - bench->entries), cell->out,
                 bench->page_fd, bench->checked_fd, dir);
    else
        snprintf(variable, sizeof variable, TRACED_VARIABLE "=" COUNT_ORDER, (size_t)(entry - bench->entries), cell->out,
                 bench->page_fd, bench->counted_fd, dir);
    pid = cell->checking   ? child_start(traced_main, &checking)
          : cell->counting ? child_start(counting_trace, &counting)
                           : child_start(cell_main, cell);
    if (pid < 0) {
        close(cell->out);
        space_remove(dir);
        return NULL;
    }
    *seen = watch(bench, pid, label, dir, entry->engine->can & KV_DURABLE);
    ended = child_wait(pid, 0);
    progress_end(&bench->progress);
    json = result_take(cell->out);
    close(cell->out);
    space_remove(dir);
    if (!json)
        json = json_pack("{s:s, s:n, s:[], s:[]}", "status", "crashed", "reason", "warnings", "phases");
    if (seen->stopped || seen->hung || ended.end != CHILD_EXITED || ended.code != 0) {
        char reason[160];

        if (seen->hung)
            snprintf(reason, sizeof reason, "no progress for %" PRIu64 " s in \"%.31s\"", bench->timeout_ns / NS_PER_S,
                     bench->page->pass);
        else
            snprintf(reason, sizeof reason, "%s in \"%.31s\"%s", seen->stopped ? "stopped" : child_text(ended),
                     bench->page->pass, ended.end == CHILD_SIGNALLED && ended.code == SIGKILL && *bench->cgroup.path
                         ? "; the memory limit may be too small" : "");
        json_object_set_new(json, "status", json_string(seen->stopped ? "stopped" : seen->hung ? "hung" : "crashed"));
        json_object_set_new(json, "reason", json_string(reason));
    }
    return json;
}

static const char *status_of(const json_t *cell)
{
    return json_string_value(json_object_get(cell, "status"));
}

static const char *reason_of(const json_t *cell)
{
    const char *reason = json_string_value(json_object_get(cell, "reason"));

    return reason ? reason : "";
}

/* Every cell has every field, whatever became of it. */
static void complete_cell(json_t *cell)
{
    static const char *const fields[] = {"space", "amplification", "recovery_ns", "contamination", "memory_limit"};

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!json_object_get(cell, fields[i]))
            json_object_set_new(cell, fields[i], json_null());
    }
}

static void warn_of_machine(json_t *cell, const json_t *contamination)
{
    double     others = json_number_value(json_object_get(contamination, "other_cpu_share"));
    double     steal = json_number_value(json_object_get(contamination, "steal_share"));
    json_int_t gap = json_integer_value(json_object_get(contamination, "gap_max_ns"));

    if (others > OTHERS_SHARE)
        result_warn(cell, "contaminated: other processes used %.0f %% of the machine", 100 * others);
    if (steal > STEAL_SHARE)
        result_warn(cell, "contaminated: the hypervisor took %.0f %% of the machine", 100 * steal);
    if (gap > (json_int_t)GAP_NS)
        result_warn(cell, "contaminated: a process that wanted to run waited %.0f ms", (double)gap / (double)NS_PER_MS);
}

/* The counts of a process of their own join the cell's phases. */
static void count_calls(struct bench *bench, const struct entry *entry, json_t *cell, const char *label)
{
    struct cell    counting = {.engine = entry->engine, .config = entry->config, .counting = true};
    struct watched seen;
    json_t        *json = run_child(bench, entry, &counting, label, &seen), *phase;
    size_t         i;

    if (!json || strcmp(status_of(json), "ok") != 0)
        result_warn(cell, "system calls and allocations were not counted: %s", json ? reason_of(json) : fail_text());
    json_array_foreach(json_object_get(json, "phases"), i, phase) {
        if (strcmp(status_of(json), "ok") != 0)
            break;
        json_array_append(json_object_get(cell, "phases"), phase);
        if (json_is_null(json_object_get(json_object_get(phase, "meters"), "syscalls")))
            result_warn(cell, "system calls could not be counted here");
        if (json_is_null(json_object_get(json_object_get(phase, "meters"), "allocations")))
            result_warn(cell, "allocations could not be counted in this build");
    }
    json_decref(json);
}

/* What the first store of an engine told of itself stands with the engine, once. */
static void take_settings(struct bench *bench, const struct entry *entry, json_t *cell)
{
    json_t *engine = json_array_get(json_object_get(bench->result, "engines"), (size_t)(entry - bench->entries));
    json_t *settings = json_object_get(cell, "settings");

    if (json_is_object(settings) && json_is_null(json_object_get(engine, "settings")))
        json_object_set(engine, "settings", settings);
    json_object_del(cell, "settings");
}

/* The syncs of the tier, looked for in a process of its own; what was found stands with the engine. */
static void verify_tier(struct bench *bench, const struct entry *entry, const char *label)
{
    struct cell    checking = {.engine = entry->engine, .config = entry->config, .checking = true};
    json_t        *engine = json_array_get(json_object_get(bench->result, "engines"), (size_t)(entry - bench->entries));
    char           device[PATH_MAX];
    const char    *unknowable = facts_fs_is_memory(bench->dir) ? "the store is in memory, where a sync means nothing"
                                : !facts_device_path(bench->dir, device, sizeof device)
                                    ? "the device below the store is not known, nor whether syncs reach it" : NULL;
    struct watched seen;
    json_t        *json, *check;

    memset(bench->checked, 0, sizeof *bench->checked);
    json = run_child(bench, entry, &checking, label, &seen);
    if (seen.stopped) {
        json_decref(json);
        return;
    }
    check = tiercheck_judge(bench->checked, entry->config.durability, unknowable);
    if (!json || strcmp(status_of(json), "ok") != 0)
        result_warn(bench->result, "%s: the tier was not checked: %s", entry->label, json ? reason_of(json) : fail_text());
    else if (json_is_false(json_object_get(check, "ok")))
        result_warn(bench->result, "%s claims durability %s and does not keep it: %s", entry->label,
                    json_string_value(json_object_get(check, "tier")), json_string_value(json_object_get(check, "why")));
    else if (json_is_null(json_object_get(check, "ok")))
        result_warn(bench->result, "%s: whether durability %s is kept is not known: %s", entry->label,
                    json_string_value(json_object_get(check, "tier")), json_string_value(json_object_get(check, "why")));
    bench->broken |= json_is_false(json_object_get(check, "ok"));
    json_object_set_new(engine, "tier_check", check);
    json_decref(json);
}

static void run_cell(struct bench *bench, struct entry *entry, uint64_t round, size_t slot)
{
    struct cell cell = {.engine = entry->engine,
                        .config = entry->config,
                        .workload = &bench->workload,
                        .page = bench->page,
                        .memory_bytes = bench->memory_bytes,
                        .cold = bench->cold,
                        .load_durability = bench->load_durability,
                        .cgroup = *bench->cgroup.path ? &bench->cgroup : NULL};
    struct watched seen = {0};
    struct machine begin, end;
    json_t        *json, *contamination, *space;
    char           label[160];

    snprintf(label, sizeof label, "round %" PRIu64 "/%" PRIu64 " %s", round + 1, bench->rounds, entry->label);
    if (entry->unfit_status) {
        json = json_pack("{s:s, s:s, s:[], s:[]}", "status", entry->unfit_status, "reason", entry->unfit, "warnings",
                         "phases");
    } else {
        machine_read(&begin);
        json = run_child(bench, entry, &cell, label, &seen);
        machine_read(&end);
        if (!json)
            json = json_pack("{s:s, s:s, s:[], s:[]}", "status", "failed", "reason", fail_text(), "warnings", "phases");
        contamination = machine_json(&begin, &end, seen.gap_max_ns);
        warn_of_machine(json, contamination);
        json_object_set_new(json, "contamination", contamination);
        space = json_object_get(json, "space");
        if (seen.peak_disk_bytes) {
            json_int_t final = json_integer_value(json_object_get(space, "disk_bytes"));

            json_object_set_new(space, "peak_disk_bytes", json_integer((json_int_t)seen.peak_disk_bytes > final
                                                                           ? (json_int_t)seen.peak_disk_bytes : final));
        }
        if (round == 0 && !bench->no_meters && strcmp(status_of(json), "ok") == 0 && !stop_requested())
            count_calls(bench, entry, json, label);
        if (round == 0 && bench->verify_tier && (entry->engine->can & KV_DURABLE) && !stop_requested())
            verify_tier(bench, entry, label);
    }
    take_settings(bench, entry, json);
    complete_cell(json);
    json_object_set_new(json, "engine", json_string(entry->label));
    json_object_set_new(json, "round", json_integer((json_int_t)round));
    json_object_set_new(json, "slot", json_integer((json_int_t)slot));
    if (strcmp(status_of(json), "failed") == 0 || strcmp(status_of(json), "crashed") == 0 ||
        strcmp(status_of(json), "hung") == 0)
        bench->broken = true;
    if (strcmp(status_of(json), "ok") != 0 && (round == 0 || !entry->unfit_status))
        fprintf(stderr, "%s: %s: %s\n", label, status_of(json), reason_of(json));
    json_array_append_new(bench->cells, json);
}

static void run_rounds(struct bench *bench, json_t *orders)
{
    struct rng rng;

    rng_seed(&rng, bench->workload.seed, UINT64_C(0x726f756e64));
    for (uint64_t round = 0; round < bench->rounds && !stop_requested(); round++) {
        size_t  order[ENGINES_MAX];
        json_t *names = json_array();

        for (size_t i = 0; i < bench->entry_count; i++) {
            size_t other = (size_t)rng_below(&rng, i + 1);

            order[i] = order[other];
            order[other] = i;
        }
        for (size_t slot = 0; slot < bench->entry_count; slot++)
            json_array_append_new(names, json_string(bench->entries[order[slot]].label));
        json_array_append_new(orders, names);
        for (size_t slot = 0; slot < bench->entry_count && !stop_requested(); slot++)
            run_cell(bench, &bench->entries[order[slot]], round, slot);
    }
}

/* One short run of an engine that does nothing: its phase "run", or NULL.  A new reference. */
static json_t *idle_run(struct bench *bench, const struct kv_engine *engine, const struct workload *workload)
{
    struct entry   entry = {.engine = engine};
    struct cell    cell = {.engine = engine, .workload = workload, .page = bench->page, .brief = true};
    struct watched seen;
    const char    *status;
    json_t        *json, *phase, *found = NULL;
    size_t         i;

    kv_config_init(engine, &cell.config);
    if (cell_unfit(engine, &cell.config, workload, &status) ||
        !(json = run_child(bench, &entry, &cell, "harness", &seen)))
        return NULL;
    json_array_foreach(json_object_get(json, "phases"), i, phase) {
        if (strcmp(json_string_value(json_object_get(phase, "name")), "run") == 0)
            found = json_incref(phase);
    }
    json_decref(json);
    return found;
}

/* What the harness itself costs with this workload, measured with an engine that is known by its lack of KV_RETAINS.
 * Null when there is none that can take the workload. */
static json_t *idle_json(struct bench *bench)
{
    static struct workload workload; /* large */
    json_t                *best = NULL, *json;
    uint64_t               ops;

    workload = bench->workload;
    workload.phase_count = 1;
    ops = IDLE_BYTES / ((uint64_t)workload.key_bytes + workload.value_bytes_max + 1);
    ops = ops > IDLE_OPS ? IDLE_OPS : ops < IDLE_OPS_MIN ? IDLE_OPS_MIN : ops;
    workload.phases[0].ops = ops;
    workload.phases[0].run_ns = 0;
    workload.warmup_ops = ops / 10;
    workload.arrival = ARRIVAL_UNTHROTTLED;
    workload.load = false;
    for (size_t i = 0; kv_engines[i]; i++) {
        for (int run = 0; run < IDLE_RUNS && !(kv_engines[i]->can & KV_RETAINS) && !stop_requested(); run++) {
            json_t *phase = idle_run(bench, kv_engines[i], &workload);

            if (phase && (!best || json_number_value(json_object_get(phase, "all_in_ns_per_op")) <
                                       json_number_value(json_object_get(best, "all_in_ns_per_op")))) {
                json_decref(best);
                best = json_incref(phase);
                json_object_set_new(best, "engine", json_string(kv_engines[i]->name));
            }
            json_decref(phase);
        }
    }
    if (!best)
        return json_null();
    json = json_pack("{s:O, s:O, s:O}", "engine", json_object_get(best, "engine"), "engine_ns_per_op",
                     json_object_get(best, "engine_ns_per_op"), "all_in_ns_per_op",
                     json_object_get(best, "all_in_ns_per_op"));
    json_decref(best);
    return json;
}

/* What reading every byte of a 100-byte value costs: the least of some tries. */
static json_t *harness_json(struct bench *bench)
{
    static struct worker worker;
    static char          values[64][128];
    uint64_t             best = UINT64_MAX;

    for (int attempt = 0; attempt < 20; attempt++) {
        uint64_t begin = clock_now_ns(), took;

        for (int i = 0; i < 64000; i++)
            worker_fold(&worker, slice_of(values[i % 64], 100));
        took = clock_now_ns() - begin;
        best = took < best ? took : best;
    }
    *(volatile worker_lanes *)&worker.fold;
    return json_pack("{s:f, s:o}", "fold_ns_per_100_bytes", (double)best / 64000, "idle", idle_json(bench));
}

/* Crash results that speak of the same code, options and tier. */

static json_t *verdict_json(const json_t *crash)
{
    json_t *verdicts = json_object_get(crash, "verdicts"), *count;
    const char *word;
    json_int_t  bad = 0;

    json_object_foreach(verdicts, word, count) {
        if (strcmp(word, "held") != 0)
            bad += json_integer_value(count);
    }
    return json_pack("{s:O?, s:O?, s:O?, s:O?, s:O?, s:b}", "run_id", json_object_get(crash, "run_id"), "started_utc",
                     json_object_get(crash, "started_utc"), "lives", json_object_get(crash, "lives"), "states",
                     json_object_get(crash, "states"), "verdicts", verdicts, "held", bad == 0);
}

static bool same_engine(const json_t *ours, const json_t *theirs, const char **why)
{
    static const char *const fields[] = {"version", "binary_xxh3", "options", "tier"};
    static const char *const whys[] = {"another version of the engine", "another build", "other options",
                                       "another tier"};

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!json_equal(json_object_get(ours, fields[i]), json_object_get(theirs, fields[i]))) {
            *why = whys[i];
            return false;
        }
    }
    return true;
}

/* Files are read before the run (a broken one is a wrong command); what does not fit is a warning. */
static bool add_verified(struct bench *bench, json_t *engines)
{
    for (size_t i = 0; i < bench->verified_list.count; i++) {
        const char *path = bench->verified_list.item[i], *why = "no engine of its name is in this run";
        json_t     *crash = result_read(path, "crash"), *theirs, *ours;
        const char *mode, *profile;
        bool        used = false;
        size_t      n;

        if (!crash)
            return false;
        theirs = json_object_get(crash, "engine");
        mode = json_string_value(json_object_get(crash, "mode"));
        profile = json_string_value(json_object_get(crash, "profile"));
        json_array_foreach(engines, n, ours) {
            const char *name = json_string_value(json_object_get(theirs, "name"));
            json_t     *verified;

            if (!name || strcmp(name, json_string_value(json_object_get(ours, "engine"))) != 0 ||
                !same_engine(ours, theirs, &why))
                continue;
            verified = json_object_get(ours, "verified");
            if (!json_is_object(verified)) {
                verified = json_pack("{s:n, s:{}}", "kill", "power");
                json_object_set_new(ours, "verified", verified);
            }
            if (mode && strcmp(mode, "kill") == 0)
                json_object_set_new(verified, "kill", verdict_json(crash));
            else if (mode && strcmp(mode, "power") == 0 && profile)
                json_object_set_new(json_object_get(verified, "power"), profile, verdict_json(crash));
            else
                why = "its mode is neither kill nor power";
            used = used || (mode && (strcmp(mode, "kill") == 0 || (strcmp(mode, "power") == 0 && profile)));
        }
        if (!used)
            result_warn(bench->result, "--verified %s was not used: %s", path, why);
        json_decref(crash);
    }
    return true;
}

/* The table for people. */

static const json_t *row_of(const json_t *summary, const char *engine, const char *phase, const char *part,
                            const char *metric)
{
    json_t *row;
    size_t  i;

    json_array_foreach(summary, i, row) {
        const char *its_part = json_string_value(json_object_get(row, "part"));

        if (strcmp(json_string_value(json_object_get(row, "engine")), engine) == 0 &&
            strcmp(json_string_value(json_object_get(row, "phase")), phase) == 0 &&
            strcmp(json_string_value(json_object_get(row, "metric")), metric) == 0 &&
            (part ? its_part && strcmp(part, its_part) == 0 : !its_part))
            return row;
    }
    return NULL;
}

static double median_of(const json_t *summary, const char *engine, const char *phase, const char *part,
                        const char *metric)
{
    const json_t *row = row_of(summary, engine, phase, part, metric);

    return row ? json_number_value(json_object_get(row, "median")) : -1;
}

/* "0.42x" to the baseline, "-" where there is none. */
static const char *ratio_text(char out[UNITS_TEXT_MAX], const json_t *ratios, const char *engine, const char *phase, const char *part)
{
    const json_t *row = row_of(ratios, engine, phase, part, "ops_per_s_engine");
    double        ratio = row ? json_number_value(json_object_get(row, "ratio_median")) : 0;

    if (!row)
        return "-";
    snprintf(out, UNITS_TEXT_MAX, ratio >= 100 ? "%.0fx" : "%.3gx", ratio);
    return out;
}

static const char *cell_text(char out[UNITS_TEXT_MAX], double value, char kind)
{
    if (value < 0)
        return "-";
    if (kind == 't')
        return units_text_ns(out, (uint64_t)value);
    if (kind == 'b')
        return units_text_bytes(out, (uint64_t)value);
    return units_text_count(out, value);
}

/* Of bytes by bytes of the user's. */
static const char *times_text(char out[UNITS_TEXT_MAX], double value)
{
    if (value < 0)
        return "-";
    snprintf(out, UNITS_TEXT_MAX, "%.2fx", value);
    return out;
}

static void print_row(const json_t *summary, const json_t *ratios, const char *label, const char *phase, const char *part)
{
    char        text[10][UNITS_TEXT_MAX], name[160];
    const char *latency = strcmp(phase, "run") == 0 ? "latency" : phase;
    double      user = median_of(summary, label, phase, part, "cpu_user_ns");
    double      system = median_of(summary, label, phase, part, "cpu_system_ns");
    const char *prefix = "";

    if (median_of(summary, label, phase, part, "ops_per_s_all_in") < 0)
        return;
    if (median_of(summary, label, "paced", part, "response_all_p50_ns") >= 0 && strcmp(phase, "run") == 0) {
        latency = "paced";
        prefix = "response_";
    }
    snprintf(name, sizeof name, "%s%s%s", part ? part : phase, "", "");
    char metric[3][32];
    snprintf(metric[0], sizeof metric[0], "%sall_p50_ns", prefix);
    snprintf(metric[1], sizeof metric[1], "%sall_p99_ns", prefix);
    snprintf(metric[2], sizeof metric[2], "%sall_p999_ns", prefix);
    fprintf(stderr, "%-16s %-15s %12s %8s %12s %10s %10s %10s %11s %11s %6s %6s\n", label, name,
            cell_text(text[0], median_of(summary, label, phase, part, "ops_per_s_engine"), 'c'),
            ratio_text(text[7], ratios, label, phase, part),
            cell_text(text[1], median_of(summary, label, phase, part, "ops_per_s_all_in"), 'c'),
            cell_text(text[2], median_of(summary, label, latency, part, metric[0]), 't'),
            cell_text(text[3], median_of(summary, label, latency, part, metric[1]), 't'),
            cell_text(text[4], median_of(summary, label, latency, part, metric[2]), 't'),
            cell_text(text[5], user < 0 ? -1 : user + system, 't'),
            cell_text(text[6], median_of(summary, label, "cell", NULL, "disk_bytes"), 'b'),
            times_text(text[8], median_of(summary, label, "cell", NULL, "space_amplification")),
            times_text(text[9], median_of(summary, label, "cell", NULL, "write_amplification_device")));
}

/* "tier check  bitcask ok: 48 of 48 writes of one session synced before they were acknowledged". */
static void print_tier_checks(const struct bench *bench)
{
    json_t *engine, *check, *part;
    size_t  i, j;

    json_array_foreach(json_object_get(bench->result, "engines"), i, engine) {
        if (!json_is_object(check = json_object_get(engine, "tier_check")))
            continue;
        fprintf(stderr, "tier check: %s, %s: %s", json_string_value(json_object_get(engine, "name")),
                json_string_value(json_object_get(check, "tier")),
                json_is_true(json_object_get(check, "ok")) ? "ok" : json_is_null(json_object_get(check, "ok")) ? "unknown" : "BROKEN");
        json_array_foreach(json_object_get(check, "parts"), j, part)
            fprintf(stderr, "%s %s %" JSON_INTEGER_FORMAT " syncs of %" JSON_INTEGER_FORMAT " due, %" JSON_INTEGER_FORMAT " flushes",
                    j ? ";" : ":", json_string_value(json_object_get(part, "name")),
                    json_integer_value(json_object_get(part, "syncs")), json_integer_value(json_object_get(part, "syncs_due")),
                    json_integer_value(json_object_get(part, "flushes")));
        fputc('\n', stderr);
    }
}

#define WARNINGS_SHOWN 6 /* of cells, on the terminal; the result has them all */

static void print_table(struct bench *bench, const json_t *summary, const json_t *ratios)
{
    size_t warning_count = 0;
    const struct workload *workload = &bench->workload;
    char                   tier[KV_DURABILITY_TEXT_MAX];
    json_t                *cell, *warning, *idle;
    size_t                 i, j;

    fprintf(stderr, "\n%s, durability %s, %" PRIu32 " thread%s, median of %zu round%s; ratios to %s\n", workload->name,
            kv_durability_text(bench->durability, tier), workload->threads, workload->threads == 1 ? "" : "s",
            (size_t)bench->rounds, bench->rounds == 1 ? "" : "s", bench->entries[bench->baseline].label);
    idle = json_object_get(json_object_get(bench->result, "harness"), "idle");
    if (json_is_object(idle))
        fprintf(stderr, "of which the harness: %.1f ns an operation inside the stamps, %.1f ns all in\n",
                json_number_value(json_object_get(idle, "engine_ns_per_op")),
                json_number_value(json_object_get(idle, "all_in_ns_per_op")));
    fprintf(stderr, "%-16s %-15s %12s %8s %12s %10s %10s %10s %11s %11s %6s %6s\n", "engine", "phase", "ops/s engine", "ratio",
            "ops/s all in", "p50", "p99", "p99.9", "CPU/op", "disk", "space", "write");
    for (i = 0; i < bench->entry_count; i++) {
        const char *label = bench->entries[i].label;

        if (bench->entries[i].unfit_status) {
            fprintf(stderr, "%-16s %s: %s\n", label, bench->entries[i].unfit_status, bench->entries[i].unfit);
            continue;
        }
        print_row(summary, ratios, label, "load", NULL);
        for (j = 0; j < workload->phase_count; j++)
            print_row(summary, ratios, label, "run", workload->phase_count > 1 ? workload->phases[j].name : NULL);
    }
    print_tier_checks(bench);
    json_array_foreach(bench->cells, i, cell) {
        json_array_foreach(json_object_get(cell, "warnings"), j, warning) {
            if (warning_count++ >= WARNINGS_SHOWN)
                continue;
            fprintf(stderr, "warning: %s, round %d: %s\n", json_string_value(json_object_get(cell, "engine")),
                    (int)json_integer_value(json_object_get(cell, "round")) + 1, json_string_value(warning));
        }
    }
    if (warning_count > WARNINGS_SHOWN)
        fprintf(stderr, "warning: and %zu more of the cells, in the result\n", warning_count - WARNINGS_SHOWN);
    json_array_foreach(json_object_get(bench->result, "warnings"), j, warning)
        fprintf(stderr, "warning: %s\n", json_string_value(warning));
}

/* The result. */

static json_t *engines_json(struct bench *bench)
{
    json_t *engines = json_array();

    for (size_t i = 0; i < bench->entry_count; i++) {
        struct entry *entry = &bench->entries[i];
        json_t       *engine = result_engine(entry->engine, &entry->config);

        json_object_set(engine, "engine", json_object_get(engine, "name"));
        json_object_set_new(engine, "name", json_string(entry->label));
        json_array_append_new(engines, engine);
    }
    return engines;
}

static json_t *hashes_json(const struct workload *workload)
{
    json_t *hashes = json_array();

    for (uint32_t thread = 0; thread < workload->threads; thread++) {
        char hex[17];

        snprintf(hex, sizeof hex, "%016" PRIx64, ops_hash(workload, thread));
        json_array_append_new(hashes, json_string(hex));
    }
    return hashes;
}

static bool make_run_dir(struct bench *bench)
{
    if (!scratch_make(&bench->scratch, bench->base_dir, "bench"))
        return false;
    if (realpath(bench->scratch.path, bench->dir))
        return true;
    fail_set("%s: %s", bench->scratch.path, strerror(errno));
    return false;
}

static bool prepare(struct bench *bench)
{
    bench->page = share_memory(&bench->page_fd, sizeof *bench->page, "assay-progress");
    bench->counted = bench->page ? share_memory(&bench->counted_fd, sizeof *bench->counted, "assay-counts") : NULL;
    bench->checked = bench->counted ? share_memory(&bench->checked_fd, sizeof *bench->checked, "assay-check") : NULL;
    if (!bench->checked || !make_run_dir(bench))
        return false;
    if (bench->memory_bytes && !cgroup_make(&bench->cgroup, bench->memory_bytes))
        result_warn(bench->result, "memory is not limited: %s", fail_text());
    if (bench->durability.tier >= KV_TIER_ORDERED && facts_fs_is_memory(bench->base_dir))
        result_warn(bench->result, "forced: the store is on a file system in memory, where a sync means nothing");
    return true;
}

static bool measure_machine(struct bench *bench)
{
    json_t *calibration;

    if (bench->no_calibration || stop_requested())
        return true;
    calibration = calibrate_json(bench->dir, CALIBRATION_NS);
    if (!calibration)
        result_warn(bench->result, "the machine was not calibrated: %s", fail_text());
    else
        json_object_set_new(bench->result, "calibration", calibration);
    return true;
}

static int run_bench(struct bench *bench, const struct arg_command *command, int argc, char **argv)
{
    struct outfile out;
    json_t        *engines, *orders = json_array(), *summary, *ratios;
    char           tier[KV_DURABILITY_TEXT_MAX], load_tier[KV_DURABILITY_TEXT_MAX];
    int            code = 1;
    bool           stopped;

    bench->result = result_new("bench", argc, argv, bench->base_dir);
    engines = engines_json(bench);
    bench->cells = json_array();
    json_object_set_new(bench->result, "engines", engines);
    json_object_set_new(bench->result, "cells", bench->cells);
    json_object_set_new(bench->result, "workload", workload_json(&bench->workload));
    json_object_set_new(bench->result, "opstream_xxh3", hashes_json(&bench->workload));
    json_object_set_new(bench->result, "settings",
                        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:b, s:s, s:s, s:I, s:o}", "durability",
                                  kv_durability_text(bench->durability, tier), "load_durability",
                                  kv_durability_text(bench->load_durability, load_tier), "threads",
                                  (json_int_t)bench->workload.threads, "batch", (json_int_t)bench->workload.batch_gets,
                                  "rounds", (json_int_t)bench->rounds, "seed", (json_int_t)bench->workload.seed,
                                  "memory_bytes",
                                  bench->memory_bytes ? json_integer((json_int_t)bench->memory_bytes) : json_null(),
                                  "cold", (int)bench->cold, "dir", bench->base_dir, "baseline", bench->entries[bench->baseline].label,
                                  "timeout_ns", (json_int_t)bench->timeout_ns, "order", orders));
    if (!add_verified(bench, engines) || !outfile_open(&out, bench->out_path)) {
        json_decref(bench->result);
        return args_wrong(command, "%s", fail_text());
    }
    if (!prepare(bench) || !measure_machine(bench)) {
        fprintf(stderr, "assay bench: %s\n", fail_text());
        outfile_discard(&out);
        json_decref(bench->result);
        goto clean;
    }
    progress_start(&bench->progress, "ops", 0);
    json_object_set_new(bench->result, "harness", harness_json(bench));
    run_rounds(bench, orders);
    progress_end(&bench->progress);
    stopped = stop_requested();
    summary = compare_summary(bench->cells);
    json_object_set_new(bench->result, "summary", summary);
    ratios = compare_ratios(bench->cells, bench->entries[bench->baseline].label);
    json_object_set_new(bench->result, "ratios", ratios);
    print_table(bench, summary, ratios);
    if (!result_write(bench->result, &out, !stopped))
        fprintf(stderr, "assay bench: %s\n", fail_text());
    else
        code = bench->broken || stopped ? 1 : 0;
    if (stopped)
        fprintf(stderr, "assay bench: interrupted; what was measured until then is in the result\n");
clean:
    scratch_remove(&bench->scratch);
    cgroup_remove(&bench->cgroup);
    return code;
}

int command_bench(int argc, char **argv)
{
    static struct bench bench = {.durability_text = "process", .base_dir = "/var/tmp", .out_path = "-", .rounds = 1,
                                 .timeout_ns = 120 * NS_PER_S};
    static const char *const except[] = {"batch_gets", NULL};
    struct arg options[OWN_OPTIONS + WORKLOAD_OPTIONS_MAX + 2] = {
        {"engine", ARG_LIST, &bench.engine_list, "A,B",
         "engines by name or path (NAME=ENGINE gives one a name of your own)", NULL},
        {"workload", ARG_TEXT, &bench.workload_name, "W", "a preset (assay workloads) or a JSON file", NULL},
        {"durability", ARG_TEXT, &bench.durability_text, "TIER", "none, process (default), ordered, interval:T, commit",
         NULL},
        {"load-durability", ARG_TEXT, &bench.load_durability_text, "TIER",
         "of the load alone (default: the same); the store is then opened again", NULL},
        {"set", ARG_EACH, &bench.set_list, "ENGINE.OPTION=VALUE", "an option of an engine (assay engines NAME)", NULL},
        {"baseline", ARG_TEXT, &bench.baseline_text, "NAME",
         "the engine that ratios are to (default: the first that keeps what it is given)", NULL},
        {"batch", ARG_COUNT, &bench.batch, "B", "reads are asked for in groups of B", &bench.batch_given},
        {"rounds", ARG_COUNT, &bench.rounds, "R", "each round runs every engine once, in shuffled order (default 1)",
         NULL},
        {"memory", ARG_BYTES, &bench.memory_bytes, "M", "one memory budget for every engine, page cache included",
         &bench.memory_given},
        {"cold", ARG_FLAG, &bench.cold, NULL, "drop the page cache between load and run; no warm-up", NULL},
        {"no-calibrate", ARG_FLAG, &bench.no_calibration, NULL,
         "leave out what the machine itself can do (some seconds)", NULL},
        {"no-meters", ARG_FLAG, &bench.no_meters, NULL, "leave out the pass that counts system calls and allocations",
         NULL},
        {"verify-tier", ARG_FLAG, &bench.verify_tier, NULL,
         "see in a process of its own whether the engines sync as their tier needs; exit 1 if one does not", NULL},
        {"timeout", ARG_TIME, &bench.timeout_ns, "T", "a cell without progress for so long has hung (default 2m)",
         NULL},
        {"verified", ARG_EACH, &bench.verified_list, "FILE", "crash results that may vouch for the engines", NULL},
        {"dir", ARG_TEXT, &bench.base_dir, "D", "where stores are made and removed again (default /var/tmp)", NULL},
        {"out", ARG_TEXT, &bench.out_path, "FILE", "where the result goes (default: standard output)", NULL},
    };
    size_t rows = OWN_OPTIONS;
    const struct arg_command command = {
        "assay bench",
        usage,
        "Measures engines under one workload and writes a result.",
        options,
        examples,
        "Every field of the workload is an option too; `assay workloads --help` explains each:"};
    const char *traced = getenv(TRACED_VARIABLE);
    bool        force = false;
    int         code;

    rows += workload_option_rows(&bench.options, options + rows, except);
    for (size_t row = OWN_OPTIONS; row < rows; row++)
        options[row].brief = true;
    options[rows++] = (struct arg){"force", ARG_FLAG, &force, NULL, "also where a synced tier means nothing", NULL};
    bench.argv = calloc((size_t)argc + 2, sizeof *bench.argv);
    if (!bench.argv)
        return 1;
    bench.argv[0] = (char *)"assay";
    for (int i = 0; i < argc; i++)
        bench.argv[i + 1] = argv[i];
    if ((code = args_parse(&command, argc, argv, NULL)) >= 0)
        return code;
    bench.force = force;
    stop_install();
    if (!resolve(&bench))
        return args_wrong(&command, "%s", fail_text());
    if (traced)
        return run_traced(&bench, traced);
    return run_bench(&bench, &command, argc, argv);
}
