#include "crashtest/campaign.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/child.h"
#include "common/clock.h"
#include "common/fail.h"
#include "common/progress.h"
#include "common/rng.h"
#include "common/stop.h"
#include "crashtest/kept.h"
#include "crashtest/tree.h"
#include "crashtest/survey.h"

/* A store lives for so many lives on average, then an empty one takes its place. */
#define LIVES_PER_STORE 24

/* Of 100 lives, so many are killed while they open their store, and so many are followed by openings that are killed. */
#define EARLY_PERCENT    6
#define RECOVERY_PERCENT 14
#define RECOVERIES_MAX   3

/* The moment of death is so much later than the last write it waits for, at most. */
#define LATER_NS (400 * NS_PER_US)

#define LOOK_NS (40 * NS_PER_US)

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
    char                            store[PATH_MAX], image[PATH_MAX];
    uint64_t                        open_ns;     /* about how long an opening takes */
    uint64_t                        store_lives; /* how many lives the store has still to come */
    uint32_t                        life;
    uint64_t                        started_ns;
    uint64_t                        acked_capacity;
};

enum life_end { LIFE_KILLED, LIFE_BY_ITSELF, LIFE_STALLED };

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

/* Waiting and killing. */

static bool is_over(pid_t pid)
{
    siginfo_t about = {0};

    return waitid(P_PID, (id_t)pid, &about, WEXITED | WNOHANG | WNOWAIT) == 0 && about.si_pid == pid;
}

static void wait_ns(uint64_t ns)
{
    clock_sleep_until_ns(clock_now_ns() + ns);
}

static uint32_t stage_of(const struct history *history)
{
    return __atomic_load_n(&history->stage, __ATOMIC_SEQ_CST);
}

static void wait_for_opening(const struct history *history, pid_t pid)
{
    for (int i = 0; stage_of(history) < HISTORY_OPENING && !is_over(pid) && !stop_requested(); i++)
        if (i > 100)
            wait_ns(LOOK_NS);
}

/* Somewhere in an opening, or soon after it. */
static void wait_early(struct campaign *campaign, pid_t pid)
{
    wait_for_opening(campaign->history, pid);
    wait_ns(rng_below(&campaign->rng, campaign->open_ns + campaign->open_ns / 4 + 1));
}

static enum life_end wait_for_writes(struct campaign *campaign, pid_t pid)
{
    struct history *history = campaign->history;
    uint64_t        target = rng_below(&campaign->rng, campaign->settings->ops), seen = 0;
    uint64_t        progress_ns = clock_now_ns();

    while (!stop_requested()) {
        uint64_t acked = __atomic_load_n(&history->acked_writes, __ATOMIC_RELAXED);
        uint32_t stage = stage_of(history);
        if (stage >= HISTORY_OPENED && acked >= target)
            break;
        if (stage >= HISTORY_DONE)
            break;
        if (is_over(pid))
            return LIFE_BY_ITSELF;
        if (acked != seen) {
            seen = acked;
            progress_ns = clock_now_ns();
        } else if (clock_now_ns() - progress_ns > campaign->settings->timeout_ns) {
            return LIFE_STALLED;
        }
        wait_ns(LOOK_NS);
    }
    wait_ns(rng_below(&campaign->rng, LATER_NS));
    return LIFE_KILLED;
}

static void note_kill(struct campaign *campaign)
{
    uint32_t stage = stage_of(campaign->history);

    campaign->result->kills++;
    campaign->result->kills_in_recovery += stage == HISTORY_OPENING;
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

/* Lives. */

static struct life_plan plan_of(struct campaign *campaign)
{
    const struct campaign_settings *settings = campaign->settings;

    return (struct life_plan){.engine = settings->engine, .config = &campaign->config, .keys = campaign->keys,
                              .history = campaign->history, .mix = settings->mix,
                              .threads = settings->engine->can & KV_SESSIONS ? settings->threads : 1,
                              .value_bytes_max = settings->value_bytes_max, .seed = settings->seed,
                              .life = campaign->life};
}

/* Starts a life and ends it.  False with fail_set(): no child could be started. */
static bool run_life(struct campaign *campaign, struct oracle_verdict *out)
{
    struct life_plan    plan = plan_of(campaign);
    enum life_end       end = LIFE_KILLED;
    struct child_result result;
    pid_t               pid;

    history_clear(campaign->history);
    pid = child_start(life_body, &plan);
    if (pid < 0)
        return false;
    if (rng_below(&campaign->rng, 100) < EARLY_PERCENT)
        wait_early(campaign, pid);
    else
        end = wait_for_writes(campaign, pid);
    if (end != LIFE_BY_ITSELF)
        child_kill(pid);
    result = child_wait(pid, 0);
    if (result.end == CHILD_SIGNALLED && result.code == SIGKILL)
        note_kill(campaign);
    if (campaign->history->broken_taken)
        say_broken(campaign->history, out);
    else if (end == LIFE_STALLED)
        say_ended(VERDICT_HUNG, "no operation returned any more", out);
    else if (result.end != CHILD_SIGNALLED || result.code != SIGKILL)
        say_ended(VERDICT_CRASHED, child_text(result), out);
    return true;
}

/* Opens the store to kill it meanwhile; the history of the life before is what is judged, so it is not touched. */
static bool kill_recoveries(struct campaign *campaign)
{
    struct history  *life = campaign->history;
    struct history  *notes = history_new(1, 1);
    struct life_plan plan;
    uint64_t         times = 1 + rng_below(&campaign->rng, RECOVERIES_MAX);
    bool             good = notes != NULL;

    campaign->history = notes;
    for (uint64_t i = 0; good && i < times && !stop_requested(); i++) {
        pid_t pid;
        history_clear(notes);
        plan = plan_of(campaign);
        plan.recovery_only = true;
        pid = child_start(life_body, &plan);
        good = pid >= 0;
        if (good) {
            wait_early(campaign, pid);
            child_kill(pid);
            child_wait(pid, 0);
            note_kill(campaign);
        }
    }
    campaign->history = life;
    history_free(notes);
    return good;
}

/* Judging. */

static bool judge(struct campaign *campaign, const struct history_record *record, uint64_t death_ns, bool abrupt,
                  struct oracle_verdict *out)
{
    const struct campaign_settings *settings = campaign->settings;
    enum oracle_crash               crash = settings->profile ? ORACLE_POWER : ORACLE_KILL;
    struct oracle_promise           promise = oracle_promise_of(settings->config.durability, crash, settings->engine->can);
    struct survey_plan plan = {.engine = settings->engine, .config = &campaign->config, .keys = campaign->keys,
                               .survey = campaign->survey, .seed = settings->seed, .life = campaign->life,
                               .abrupt = abrupt, .refusal_is_fine = promise.nothing};
    struct oracle_case input = {.record = record, .before = campaign->before, .after = campaign->survey->first,
                                .keys = campaign->keys->count, .promise = promise, .death_ns = death_ns};

    memset(campaign->survey, 0, sizeof *campaign->survey);
    survey_run(&plan, settings->timeout_ns, out);
    campaign->result->states++;
    if (campaign->survey->open_ns) {
        campaign->open_ns = (campaign->open_ns * 7 + campaign->survey->open_ns) / 8;
        campaign->result->open_ns += campaign->survey->open_ns;
    }
    return out->verdict != VERDICT_HELD || campaign->survey->status != KV_OK || oracle_judge(&input, out);
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

static void keep(struct campaign *campaign, const struct history_record *record, uint64_t death_ns, bool abrupt,
                 struct campaign_failure *failure)
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
    kept->crash         = settings->profile ? ORACLE_POWER : ORACLE_KILL;
    snprintf(kept->profile, sizeof kept->profile, "%s", settings->profile ? settings->profile->name : "");
    kept->key_count     = settings->keys;
    kept->key_bytes_max = settings->engine->key_bytes_max;
    kept->seed          = settings->seed;
    kept->life          = campaign->life;
    kept->abrupt        = abrupt;
    kept->death_ns      = death_ns;
    kept->timeout_ns    = settings->timeout_ns;
    kept->record        = *record;
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

static void note_failure(struct campaign *campaign, const struct history_record *record, uint64_t death_ns, bool abrupt,
                         const struct oracle_verdict *verdict)
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
    keep(campaign, record, death_ns, abrupt, failure);
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

static bool one_life(struct campaign *campaign)
{
    struct oracle_verdict verdict = {.verdict = VERDICT_HELD, .key = UINT32_MAX};
    struct history_record record = {0};
    uint64_t              death_ns;
    bool                  abrupt = rng_below(&campaign->rng, 2), good;

    if (campaign->store_lives == 0 && !new_store(campaign))
        return false;
    campaign->store_lives--;
    campaign->life++;
    if (!run_life(campaign, &verdict) || stop_requested())
        return stop_requested();
    death_ns = clock_now_ns();
    if (!note_life(campaign))
        return false;
    if (rng_below(&campaign->rng, 100) < RECOVERY_PERCENT && !kill_recoveries(campaign))
        return false;
    good = tree_remove(campaign->image) && tree_copy(campaign->store, campaign->image) &&
           history_collect(campaign->history, &record);
    if (good && verdict.verdict == VERDICT_HELD)
        good = judge(campaign, &record, death_ns, abrupt, &verdict);
    if (good) {
        campaign->result->verdicts[verdict.verdict]++;
        if (verdict.verdict != VERDICT_HELD) {
            note_failure(campaign, &record, death_ns, abrupt, &verdict);
            campaign->store_lives = 0;
        } else if (campaign->survey->status != KV_OK) {
            campaign->store_lives = 0; /* an explicit refusal where nothing was promised */
        }
        memcpy(campaign->before, campaign->survey->last, sizeof campaign->before);
    }
    history_record_free(&record);
    return good;
}

static bool goes_on(const struct campaign *campaign)
{
    const struct campaign_settings *settings = campaign->settings;

    if (stop_requested() || (settings->lives && campaign->result->lives >= settings->lives))
        return false;
    if (settings->until_failure && campaign->result->failure_count)
        return false;
    return !settings->run_ns || clock_now_ns() - campaign->started_ns < settings->run_ns;
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
    campaign->open_ns  = NS_PER_MS;
    snprintf(campaign->store, sizeof campaign->store, "%s/store", settings->store_dir);
    snprintf(campaign->image, sizeof campaign->image, "%s/image", settings->image_dir);
    campaign->config.dir = campaign->store;
    rng_seed(&campaign->rng, settings->seed, UINT64_MAX);
    prctl(PR_SET_TIMERSLACK, 1000); /* or moments of death would be rounded to 50 us */
    campaign->keys    = keyspace_new(settings->keys, settings->engine->key_bytes_max);
    campaign->history = campaign->keys ? history_new(settings->threads, 2 * settings->ops + 64) : NULL;
    campaign->survey  = campaign->history ? survey_new() : NULL;
    campaign->started_ns = clock_now_ns();
    if (campaign->survey) {
        progress_start(&campaign->progress, "lives", settings->lives);
        for (good = true; good && goes_on(campaign);) {
            good = one_life(campaign);
            progress_show(&campaign->progress, result->failure_count ? "FAILED" : "held", result->lives);
        }
        progress_end(&campaign->progress);
    }
    result->wall_ns  = clock_now_ns() - campaign->started_ns;
    result->complete = !stop_requested();
    if (result->acked)
        qsort(result->acked, result->lives, sizeof *result->acked, by_size);
    survey_free(campaign->survey);
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
