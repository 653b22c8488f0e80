#include "crashtest/campaign.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/child.h"
#include "common/clock.h"
#include "common/fail.h"
#include "common/progress.h"
#include "common/rng.h"
#include "common/stop.h"
#include "crashtest/judge.h"
#include "crashtest/kept.h"
#include "crashtest/killer.h"
#include "crashtest/state.h"
#include "crashtest/survey.h"
#include "crashtest/tree.h"

/* A store lives for so many lives on average, then an empty one takes its place. */
#define LIVES_PER_STORE 24

/* Of 100 lives, so many are killed while they open their store, and so many are followed by openings that are killed. */
#define EARLY_PERCENT    8
#define RECOVERY_PERCENT 18
#define RECOVERIES_MAX   3

/* Of 100 lives, so many end at rest, after at most so many operations a session. */
#define CALM_PERCENT 8
#define CALM_OPS     60

/* Where a clock is promised, of 100 lives so many are quiet, and last about so many intervals. */
#define QUIET_PERCENT   50
#define QUIET_INTERVALS 4

/* Of 100 lives, so many are killed at an I/O call. */
#define CALL_PERCENT 30

/* Power losses: so many states are built of one life, and a sync may take so long. */
#define STATES_PER_LIFE 4
#define SYNC_DELAY_NS   (300 * NS_PER_US)
#define TRACE_BYTES     (UINT64_C(1) << 30)

struct campaign {
    const struct campaign_settings *settings;
    struct campaign_result         *result;
    struct kv_config                config;
    struct keyspace                *keys;
    struct history                 *history;
    struct survey                  *survey;
    struct history_value            before[KEYSPACE_MAX];
    struct rng                      rng;
    struct progress                 progress;
    const struct recorder_api      *recorder; /* NULL: there is none */
    struct trace                   *trace, *opening_trace;
    struct history                 *opening;  /* of openings that are killed */
    struct killer                   killer;
    char                            store[PATH_MAX];  /* where lives run */
    char                            image[PATH_MAX];  /* what a crash left, untouched */
    char                            looked[PATH_MAX]; /* power: its copy, which the survey opens */
    char                            base[PATH_MAX], base_again[PATH_MAX]; /* power: what was durable when the recording began */
    uint64_t                        position;    /* power: the state at hand is that of so many records of the trace */
    uint64_t                        store_lives; /* how many lives the store has still to come */
    uint32_t                        life;
    uint64_t                        started_ns;
    uint64_t                        acked_capacity;
};

/* A store of its own. */

static bool new_store(struct campaign *campaign)
{
    if (!tree_remove(campaign->store))
        return false;
    if (mkdir(campaign->store, 0777) != 0) {
        fail_set("cannot make %s: %s", campaign->store, strerror(errno));
        return false;
    }
    for (uint32_t k = 0; k < campaign->keys->count; k++)
        campaign->before[k] = (struct history_value){.state = HISTORY_ABSENT};
    campaign->store_lives = 1 + rng_below(&campaign->rng, 2 * LIVES_PER_STORE);
    campaign->result->stores++;
    return true;
}

/* Verdicts that need no oracle. */

static void say_broken(const struct history *history, struct oracle_verdict *out)
{
    bool corrupt = history->broken_status == KV_CORRUPT;

    *out = (struct oracle_verdict){.verdict = corrupt ? VERDICT_CORRUPT : VERDICT_REFUSED, .key = UINT32_MAX, .bad = 1};
    snprintf(out->expected, sizeof out->expected, "that the store works while nobody harms it");
    snprintf(out->found, sizeof out->found, "%s: %.380s", kv_status_word((kv_status)history->broken_status), history->broken_text);
    snprintf(out->why, sizeof out->why, "while %s", history->stage < HISTORY_OPENED ||
             (history->stage == HISTORY_BROKEN && !history->opened_ns) ? "a life opened the store" : "a life ran");
}

static void say_ended(enum verdict verdict, const char *found, struct oracle_verdict *out)
{
    *out = (struct oracle_verdict){.verdict = verdict, .key = UINT32_MAX, .bad = 1};
    snprintf(out->expected, sizeof out->expected, "that a life goes on until it is killed");
    snprintf(out->found, sizeof out->found, "%s", found);
    snprintf(out->why, sizeof out->why, "while a life ran");
}

/* A full disk is no fault of the engine: the campaign ends, and nobody is accused.  Returns false, with the sentence. */
static bool end_on_full_disk(const struct campaign *campaign, const char *text)
{
    fail_set("the disk under %s is full (%.300s); give --dir a place with more room", campaign->store, text);
    return false;
}

/* Lives. */

/* A session alone leaves gaps in which background work ends and nothing is written: states that many never show. */
static uint32_t threads_of(struct campaign *campaign)
{
    uint32_t most = campaign->settings->engine->can & KV_SESSIONS ? campaign->settings->threads : 1;
    uint64_t dice = rng_below(&campaign->rng, 4);

    return dice == 0 ? 1 : dice == 1 ? 1 + (uint32_t)rng_below(&campaign->rng, most) : most;
}

static bool is_power(const struct campaign *campaign)
{
    return campaign->settings->profile != NULL;
}

/* An engine that keeps no interval is seen only when nothing else syncs for longer than that. */
static uint64_t quiet_ns_of(struct campaign *campaign)
{
    struct kv_durability durability = campaign->settings->config.durability;

    if (!is_power(campaign) || durability.tier != KV_TIER_INTERVAL || rng_below(&campaign->rng, 100) >= QUIET_PERCENT)
        return 0;
    return QUIET_INTERVALS * durability.interval_ns;
}

static struct life_plan plan_of(struct campaign *campaign)
{
    const struct campaign_settings *settings = campaign->settings;

    return (struct life_plan){.engine = settings->engine, .config = &campaign->config, .keys = campaign->keys,
                              .history = campaign->history, .mix = settings->mix,
                              .threads = threads_of(campaign),
                              .value_bytes_max = settings->value_bytes_max, .seed = settings->seed,
                              .life = campaign->life,
                              .calm_ops = rng_below(&campaign->rng, 100) < CALM_PERCENT ? 1 + (uint32_t)rng_below(&campaign->rng, CALM_OPS) : 0};
}

/* Recording for power losses, counting for kills at a call. */
static struct recorder_plan recording(struct campaign *campaign, struct trace *trace, const char *dir)
{
    struct recorder_plan record = {.trace = trace, .dir = dir, .flags = RECORDER_COUNT_ONLY};

    if (is_power(campaign)) {
        record.flags = RECORDER_SKIP_SYNC;
        if (campaign->settings->profile->data != DISK_LOST)
            record.flags |= RECORDER_LOOK_AT_MARKS;
        if (rng_below(&campaign->rng, 2)) /* slow syncs show who does not wait for them */
            record.sync_delay_ns = rng_below(&campaign->rng, SYNC_DELAY_NS);
    }
    trace_reset(trace);
    return record;
}

static void note_kill(struct campaign *campaign, const struct killer_report *report)
{
    if (report->end != KILLER_KILLED)
        return;
    campaign->result->kills++;
    campaign->result->kills_in_recovery += report->in_opening;
    campaign->result->kills_at_calls += report->at_call;
}

/* A life that died before the recorder ran has nothing to say. */
static void note_guard(struct campaign *campaign, const struct trace *trace)
{
    if (trace && trace->processes)
        campaign->result->lives_unguarded += !trace->guarded;
}

/* What the recorder could not follow proves nothing, so it ends the campaign. */
static bool trace_is_whole(struct trace *trace)
{
    if (!trace_settle(trace))
        return false;
    if (trace->unsupported)
        fail_set("the engine made %" PRIu64 " calls that the recorder cannot model; the first was %.47s", trace->unsupported,
                 trace->unsupported_call);
    else
        return true;
    return false;
}

/* The time of the last record before a position of the trace. */
static uint64_t time_at(const struct trace *trace, uint64_t position)
{
    uint64_t time_ns = 0, number = 0;

    for (const struct trace_record *rec = trace_first(trace); rec && number < position; rec = trace_next(trace, rec), number++)
        time_ns = rec->time_ns;
    return time_ns;
}

/* Starts a life and ends it.  False with fail_set(): the campaign cannot go on. */
static bool run_life(struct campaign *campaign, uint64_t *death_ns, struct oracle_verdict *out)
{
    struct life_plan     plan = plan_of(campaign);
    struct killer_report report;
    struct recorder_plan record;
    uint64_t             dice = rng_below(&campaign->rng, 100);
    enum killer_when     when = dice < EARLY_PERCENT ? KILLER_EARLY : KILLER_AT_WRITES;
    bool                 recorded;

    if (campaign->recorder && dice >= EARLY_PERCENT && dice < EARLY_PERCENT + CALL_PERCENT)
        when = KILLER_AT_CALL;
    /* Counting costs a little, so lives that are killed at a moment are mostly not counted. */
    plan.quiet_ns = when == KILLER_AT_WRITES ? quiet_ns_of(campaign) : 0;
    if (plan.quiet_ns)
        plan.calm_ops = 0; /* such a life ends with a compaction */
    campaign->killer.ops = plan.quiet_ns ? LIFE_QUIET_WRITES : campaign->settings->ops;
    recorded = campaign->recorder && (is_power(campaign) || when == KILLER_AT_CALL || !campaign->killer.calls || dice > 95);
    history_clear(campaign->history);
    campaign->history->position = recorded && is_power(campaign) ? &campaign->trace->count : NULL;
    if (recorded) {
        record        = recording(campaign, campaign->trace, campaign->store);
        plan.recorder = campaign->recorder;
        plan.record   = &record;
    }
    if (!killer_run(&campaign->killer, &plan, recorded ? &record : NULL, when, &report))
        return false;
    note_kill(campaign, &report);
    note_guard(campaign, recorded ? campaign->trace : NULL);
    *death_ns = report.death_ns;
    if (recorded && is_power(campaign) && !trace_is_whole(campaign->trace))
        return false;
    if (recorded && is_power(campaign) && (report.at_call || campaign->trace->full))
        *death_ns = time_at(campaign->trace, campaign->trace->count); /* the parent learnt of it later */
    if (campaign->history->broken_taken && campaign->history->broken_status == KV_NO_SPACE)
        return end_on_full_disk(campaign, campaign->history->broken_text);
    if (campaign->history->broken_taken)
        say_broken(campaign->history, out);
    else if (report.end == KILLER_STALLED)
        say_ended(VERDICT_HUNG, "no operation returned any more", out);
    else if (report.end == KILLER_BY_ITSELF)
        say_ended(VERDICT_CRASHED, child_text(report.child), out);
    return true;
}

/* Opens the store in dir and kills it meanwhile, or soon after.  The history of the life before is what is judged, so it is
 * not touched. */
static bool kill_recovery(struct campaign *campaign, const char *dir)
{
    struct life_plan     plan = plan_of(campaign);
    struct kv_config     config = campaign->config;
    struct killer_report report;
    struct recorder_plan record;
    enum killer_when     when = campaign->recorder && rng_below(&campaign->rng, 2) ? KILLER_AT_OPENING_CALL : KILLER_EARLY;
    bool                 recorded = is_power(campaign) || when == KILLER_AT_OPENING_CALL;

    config.dir = dir;
    history_clear(campaign->opening);
    plan.history       = campaign->opening;
    plan.config        = &config;
    plan.recovery_only = true;
    if (recorded) {
        record        = recording(campaign, campaign->opening_trace, dir);
        plan.recorder = campaign->recorder;
        plan.record   = &record;
    }
    if (!killer_run(&campaign->killer, &plan, recorded ? &record : NULL, when, &report))
        return false;
    note_kill(campaign, &report);
    note_guard(campaign, recorded ? campaign->opening_trace : NULL);
    return !is_power(campaign) || trace_is_whole(campaign->opening_trace);
}

/* Judging. */

static struct judge_case case_of(const struct campaign *campaign, const struct history_record *record, uint64_t death_ns,
                                 bool abrupt)
{
    return (struct judge_case){.engine = campaign->settings->engine, .config = &campaign->config, .keys = campaign->keys,
                               .record = record, .before = campaign->before,
                               .crash = is_power(campaign) ? ORACLE_POWER : ORACLE_KILL, .death_ns = death_ns,
                               .seed = campaign->settings->seed, .life = campaign->life, .abrupt = abrupt,
                               .timeout_ns = campaign->settings->timeout_ns};
}

/* Failures. */

static void hex_of(slice key, char *out)
{
    for (size_t i = 0; i < key.size; i++)
        sprintf(out + 2 * i, "%02x", ((const unsigned char *)key.data)[i]);
}

static bool make_dirs(const char *dir)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/failures", dir);
    return (mkdir(dir, 0777) == 0 || errno == EEXIST) && (mkdir(path, 0777) == 0 || errno == EEXIST);
}

/* The first number that is free, so that an earlier campaign's failures stay. */
static bool free_dir(const char *dir, char out[PATH_MAX])
{
    for (int number = 1; number < 10000; number++) {
        snprintf(out, PATH_MAX, "%s/failures/%02d", dir, number);
        if (access(out, F_OK) != 0)
            return true;
    }
    return false;
}

/* For people: the calls that the state was built of, and for programs the same. */
static void keep_trace(struct campaign *campaign, const char *dir)
{
    char  path[PATH_MAX];
    FILE *text;

    snprintf(path, sizeof path, "%.*s/trace.txt", PATH_MAX - 16, dir);
    text = fopen(path, "we");
    if (text) {
        trace_print(text, campaign->trace, 0, campaign->position);
        fclose(text);
    }
    snprintf(path, sizeof path, "%.*s/trace.bin", PATH_MAX - 16, dir);
    if (!trace_save(campaign->trace, path))
        fprintf(stderr, "assay crash: the trace is not kept: %s\n", fail_text());
}

static void keep(struct campaign *campaign, const struct judge_case *judged, struct campaign_failure *failure)
{
    const struct campaign_settings *settings = campaign->settings;
    struct kept                    *kept = calloc(1, sizeof *kept);

    if (!kept || !make_dirs(settings->dir) || !free_dir(settings->dir, failure->dir)) {
        failure->dir[0] = '\0';
        free(kept);
        return;
    }
    snprintf(kept->engine, sizeof kept->engine, "%s", settings->engine_text);
    kept->durability    = settings->config.durability;
    kept->crash         = judged->crash;
    snprintf(kept->profile, sizeof kept->profile, "%s", settings->profile ? settings->profile->name : "");
    kept->key_count     = settings->keys;
    kept->key_bytes_max = settings->engine->key_bytes_max;
    kept->seed          = settings->seed;
    kept->life          = campaign->life;
    kept->abrupt        = judged->abrupt;
    kept->death_ns      = judged->death_ns;
    kept->timeout_ns    = settings->timeout_ns;
    kept->record        = *judged->record;
    kept->before        = campaign->before;
    kept->verdict       = failure->verdict;
    for (uint32_t row = 0; settings->engine->options && settings->engine->options[row].name; row++) {
        snprintf(kept->option_name[row], KEPT_TEXT_MAX, "%s", settings->engine->options[row].name);
        kv_config_text(settings->engine, &settings->config, row, kept->option_value[row]);
        kept->option_count++;
    }
    if (!kept_save(kept, campaign->image, failure->dir)) {
        fprintf(stderr, "assay crash: the failure is not kept: %s\n", fail_text());
        failure->dir[0] = '\0';
    }
    free(kept);
    if (failure->dir[0] && is_power(campaign))
        keep_trace(campaign, failure->dir);
}

static void print_failure(const struct campaign_failure *failure)
{
    const struct oracle_verdict *verdict = &failure->verdict;

    fprintf(stderr, "life %" PRIu32 ": %s (%s)\n", failure->life, verdict_word(verdict->verdict),
            verdict_meaning(verdict->verdict));
    if (verdict->key != UINT32_MAX)
        fprintf(stderr, "  key       %" PRIu32 " = 0x%.64s%s%s\n", verdict->key, failure->key_hex,
                strlen(failure->key_hex) > 64 ? "..." : "", verdict->bad > 1 ? ", and more" : "");
    fprintf(stderr, "  expected  %s\n  found     %s\n  why       %s\n", verdict->expected, verdict->found, verdict->why);
    if (failure->dir[0])
        fprintf(stderr, "  replay    assay crash --replay %s\n", failure->dir);
}

static void note_failure(struct campaign *campaign, const struct judge_case *judged, const struct oracle_verdict *verdict)
{
    struct campaign_result  *result = campaign->result;
    struct campaign_failure *failure = &result->failures[result->failure_count];

    if (result->failure_count == CAMPAIGN_FAILURES_MAX)
        return;
    result->failure_count++;
    failure->verdict = *verdict;
    failure->life    = campaign->life;
    if (verdict->key != UINT32_MAX)
        hex_of(keyspace_key(campaign->keys, verdict->key), failure->key_hex);
    keep(campaign, judged, failure);
    progress_end(&campaign->progress);
    print_failure(failure);
}

/* The loop. */

static bool note_life(struct campaign *campaign)
{
    struct campaign_result *result = campaign->result;
    struct history         *history = campaign->history;

    if (result->lives == campaign->acked_capacity) {
        uint64_t  capacity = campaign->acked_capacity ? campaign->acked_capacity * 2 : 1024;
        uint32_t *grown = realloc(result->acked, capacity * sizeof *grown);
        if (!grown) {
            fail_set("no memory for the figures of %" PRIu64 " lives", capacity);
            return false;
        }
        result->acked = grown;
        campaign->acked_capacity = capacity;
    }
    result->acked[result->lives++] = (uint32_t)history->acked_writes;
    result->acked_writes += history->acked_writes;
    result->merges += history->merges;
    result->rotations += history->rotations;
    result->lives_with_change += history->merges || history->rotations;
    return true;
}

/* Looks at what is in `looked`, which is a copy of what is in image. */
static bool judge(struct campaign *campaign, const char *looked, const struct judge_case *judged, struct oracle_verdict *verdict)
{
    struct campaign_result *result = campaign->result;

    if (verdict->verdict == VERDICT_HELD) {
        if (!judge_store(judged, looked, campaign->survey, verdict))
            return false;
        if (campaign->survey->status == KV_NO_SPACE)
            return end_on_full_disk(campaign, campaign->survey->text);
        result->states++;
        if (campaign->survey->open_ns) {
            /* The first one is all that is known, and an opening may take a thousand times what another engine's takes. */
            campaign->killer.open_ns = result->open_ns ? (campaign->killer.open_ns * 7 + campaign->survey->open_ns) / 8
                                                       : campaign->survey->open_ns;
            result->open_ns += campaign->survey->open_ns;
        }
    }
    result->verdicts[verdict->verdict]++;
    if (verdict->verdict != VERDICT_HELD)
        note_failure(campaign, judged, verdict);
    return true;
}

/* The process died: what it left is in the store itself. */
static bool after_kill(struct campaign *campaign, uint64_t death_ns, struct oracle_verdict *verdict)
{
    struct history_record record = {0};
    struct judge_case     judged = case_of(campaign, &record, death_ns, rng_below(&campaign->rng, 2));
    uint64_t              times = rng_below(&campaign->rng, 100) < RECOVERY_PERCENT ? 1 + rng_below(&campaign->rng, RECOVERIES_MAX) : 0;
    bool                  good = true;

    while (good && times-- > 0 && !stop_requested())
        good = kill_recovery(campaign, campaign->store);
    good = good && tree_remove(campaign->image) && tree_copy(campaign->store, campaign->image) &&
           history_collect(campaign->history, &record) && judge(campaign, campaign->store, &judged, verdict);
    history_record_free(&record);
    return good;
}

/* The records of what was there when the recording began. */
static uint64_t base_count(const struct trace *trace)
{
    uint64_t count = 0;

    for (const struct trace_record *rec = trace_first(trace); rec && (rec->flags & TRACE_BASE); rec = trace_next(trace, rec))
        count++;
    return count;
}

/* Where some operation returned: what it was promised must be there by then. */
static uint64_t end_of_some_op(struct campaign *campaign)
{
    struct history_record record;
    uint64_t              position = 0;

    if (!history_collect(campaign->history, &record))
        return 0;
    if (record.op_count)
        position = record.ops[rng_below(&campaign->rng, record.op_count)].end_position;
    history_record_free(&record);
    return position;
}

static bool changes_names(const struct trace_record *rec)
{
    return rec->kind == TRACE_RENAME || rec->kind == TRACE_UNLINK || rec->kind == TRACE_CREATE || rec->kind == TRACE_LINK ||
           rec->kind == TRACE_MKDIR || rec->kind == TRACE_RMDIR || rec->kind == TRACE_TRUNCATE || rec->kind == TRACE_EXCHANGE;
}

/* Behind some change of a name or a size: there one truth takes the place of another. */
static uint64_t end_of_some_change(struct campaign *campaign)
{
    uint64_t changes = 0, number = 0, chosen;

    for (const struct trace_record *rec = trace_first(campaign->trace); rec; rec = trace_next(campaign->trace, rec))
        changes += !(rec->flags & TRACE_BASE) && changes_names(rec);
    chosen = changes ? rng_below(&campaign->rng, changes) + 1 : 0;
    for (const struct trace_record *rec = trace_first(campaign->trace); rec && chosen; rec = trace_next(campaign->trace, rec)) {
        chosen -= !(rec->flags & TRACE_BASE) && changes_names(rec);
        number++;
    }
    return number;
}

static uint64_t choose_position(struct campaign *campaign)
{
    uint64_t base = base_count(campaign->trace), count = campaign->trace->count, position = 0;

    switch (rng_below(&campaign->rng, 3)) {
    case 0: position = end_of_some_op(campaign); break;
    case 1: position = end_of_some_change(campaign); break;
    }
    return position >= base && position > 0 && position <= count ? position : base + rng_below(&campaign->rng, count - base + 1);
}

/* A power loss during the recovery from the one before: what image holds is durable, what the recovery did is not. */
static bool lose_recovery(struct campaign *campaign)
{
    bool good = tree_remove(campaign->looked) && tree_remove(campaign->base_again) &&
                rename(campaign->image, campaign->base_again) == 0 && tree_copy(campaign->base_again, campaign->looked) &&
                kill_recovery(campaign, campaign->looked) && tree_remove(campaign->image);

    return good && state_build(campaign->opening_trace, campaign->opening_trace->count, campaign->settings->profile,
                               rng_u64(&campaign->rng), campaign->base_again, campaign->image);
}

static bool look_at_state(struct campaign *campaign, uint64_t position, bool final, uint64_t death_ns,
                          struct oracle_verdict *verdict)
{
    struct history_record record = {0};
    struct judge_case     judged = case_of(campaign, &record, final ? death_ns : time_at(campaign->trace, position),
                                           rng_below(&campaign->rng, 2));
    bool                  good = history_collect(campaign->history, &record);

    campaign->position = position;
    if (good && !final)
        history_record_cut(&record, position);
    good = good && tree_remove(campaign->image) &&
           state_build(campaign->trace, position, campaign->settings->profile, rng_u64(&campaign->rng), campaign->base,
                       campaign->image);
    if (good && rng_below(&campaign->rng, 100) < RECOVERY_PERCENT)
        good = lose_recovery(campaign);
    good = good && tree_remove(campaign->looked) && tree_copy(campaign->image, campaign->looked) &&
           judge(campaign, campaign->looked, &judged, verdict);
    history_record_free(&record);
    return good;
}

/* Where opening takes seconds, the states of one life must not take minutes. */
static bool is_late(const struct campaign *campaign)
{
    const struct campaign_settings *settings = campaign->settings;

    return settings->run_ns && clock_now_ns() - campaign->started_ns >= settings->run_ns;
}

/* The machine died: some moments of the trace, and its end.  The life goes on from the end. */
static bool after_power_loss(struct campaign *campaign, uint64_t death_ns, struct oracle_verdict *verdict)
{
    for (int i = 0; i < STATES_PER_LIFE - 1 && verdict->verdict == VERDICT_HELD && !stop_requested() && !is_late(campaign); i++)
        if (!look_at_state(campaign, choose_position(campaign), false, death_ns, verdict))
            return false;
    if (stop_requested() || verdict->verdict != VERDICT_HELD)
        return true;
    return look_at_state(campaign, campaign->trace->count, true, death_ns, verdict) && tree_remove(campaign->store) &&
           rename(campaign->looked, campaign->store) == 0;
}

static bool one_life(struct campaign *campaign)
{
    struct oracle_verdict verdict = {.verdict = VERDICT_HELD, .key = UINT32_MAX};
    uint64_t              death_ns;
    bool                  good;

    if (campaign->store_lives == 0 && !new_store(campaign))
        return false;
    campaign->store_lives--;
    campaign->life++;
    if (is_power(campaign) && !(tree_remove(campaign->base) && tree_copy(campaign->store, campaign->base)))
        return false;
    if (!run_life(campaign, &death_ns, &verdict))
        return stop_requested();
    if (stop_requested() && verdict.verdict == VERDICT_HELD)
        return true;
    if (!note_life(campaign))
        return false;
    if (verdict.verdict != VERDICT_HELD || !is_power(campaign))
        good = after_kill(campaign, death_ns, &verdict);
    else
        good = after_power_loss(campaign, death_ns, &verdict);
    /* A store that failed is not gone on with, nor one that refused where nothing was promised. */
    if (verdict.verdict != VERDICT_HELD || campaign->survey->status != KV_OK)
        campaign->store_lives = 0;
    memcpy(campaign->before, campaign->survey->last, sizeof campaign->before);
    return good;
}

static bool goes_on(const struct campaign *campaign)
{
    const struct campaign_settings *settings = campaign->settings;

    if (stop_requested() || (settings->states && campaign->result->states >= settings->states))
        return false;
    if (settings->until_failure && campaign->result->failure_count)
        return false;
    return !is_late(campaign);
}

static int by_size(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return (left > right) - (left < right);
}

bool campaign_run(const struct campaign_settings *settings, struct campaign_result *result)
{
    struct campaign *campaign = calloc(1, sizeof *campaign);
    bool             good = false;

    *result = (struct campaign_result){0};
    if (!campaign) {
        fail_set("no memory for a campaign");
        return false;
    }
    campaign->settings = settings;
    campaign->result   = result;
    campaign->config   = settings->config;
    campaign->recorder = settings->recorder;
    campaign->killer   = (struct killer){.rng = &campaign->rng, .ops = settings->ops, .timeout_ns = settings->timeout_ns,
                                         .open_ns = NS_PER_MS};
    if (settings->profile && settings->config.durability.tier == KV_TIER_INTERVAL)
        campaign->killer.linger_ns = 2 * settings->config.durability.interval_ns + ORACLE_SLACK_NS;
    snprintf(campaign->store, sizeof campaign->store, "%s/store", settings->store_dir);
    snprintf(campaign->image, sizeof campaign->image, "%s/image", settings->image_dir);
    snprintf(campaign->looked, sizeof campaign->looked, "%s/looked", settings->image_dir);
    snprintf(campaign->base, sizeof campaign->base, "%s/base", settings->image_dir);
    snprintf(campaign->base_again, sizeof campaign->base_again, "%s/base-again", settings->image_dir);
    campaign->config.dir = campaign->store;
    rng_seed(&campaign->rng, settings->seed, UINT64_MAX);
    prctl(PR_SET_TIMERSLACK, 1000); /* or moments of death would be rounded to 50 us */
    campaign->keys    = keyspace_new(settings->keys, settings->engine->key_bytes_max);
    campaign->history = campaign->keys ? history_new(settings->threads, 2 * settings->ops + 64) : NULL;
    campaign->opening = campaign->history ? history_new(1, 1) : NULL;
    campaign->trace   = campaign->opening ? trace_create(settings->profile ? TRACE_BYTES : 4096) : NULL;
    campaign->opening_trace = campaign->trace ? trace_create(settings->profile ? TRACE_BYTES : 4096) : NULL;
    campaign->survey  = campaign->opening_trace ? survey_new() : NULL;
    campaign->started_ns = clock_now_ns();
    if (campaign->survey) {
        progress_start(&campaign->progress, "states", settings->states);
        for (good = true; good && goes_on(campaign);) {
            good = one_life(campaign);
            progress_show(&campaign->progress, result->failure_count ? "FAILED" : "held", result->states);
        }
        progress_end(&campaign->progress);
    }
    result->wall_ns  = clock_now_ns() - campaign->started_ns;
    result->complete = !stop_requested();
    if (result->acked)
        qsort(result->acked, result->lives, sizeof *result->acked, by_size);
    survey_free(campaign->survey);
    trace_destroy(campaign->opening_trace);
    trace_destroy(campaign->trace);
    history_free(campaign->opening);
    history_free(campaign->history);
    free(campaign->keys);
    free(campaign);
    return good;
}

void campaign_result_free(struct campaign_result *result)
{
    free(result->acked);
    result->acked = NULL;
}
