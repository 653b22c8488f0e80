/*
 * crash.c -- `assay crash`: what an engine's data is after a crash, a result file of it, and the replay of one failure.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/args.h"
#include "common/clock.h"
#include "common/commands.h"
#include "common/fail.h"
#include "common/outfile.h"
#include "common/scratch.h"
#include "common/stop.h"
#include "common/units.h"
#include "common/words.h"
#include "crashtest/campaign.h"
#include "crashtest/judge.h"
#include "crashtest/kept.h"
#include "crashtest/survey.h"
#include "crashtest/tree.h"
#include "results/facts.h"
#include "results/result.h"
#include "workloads/workload.h"

/* A workload of the bench has millions; a crash test wants them to meet. */
#define WORKLOAD_KEYS 256

/* Fewer lives prove little. */
#define LIVES_LEAST 20

struct request {
    const char     *engine, *mode, *profile, *workload, *durability, *replay, *dir, *out;
    struct arg_list set;
    uint64_t        ops, states, run_ns, threads, keys, value_bytes, seed, timeout_ns;
    bool            until_failure, states_given, seconds_given, threads_given, keys_given, value_bytes_given;
};

static struct arg_command command; /* of the running command, for its sentences */

/* Options of the engine. */

static bool set_options(const struct kv_engine *engine, const struct arg_list *set, struct kv_config *config)
{
    for (const struct kv_option *option = engine->options; option && option->name; option++)
        if (option->small && kv_config_set(engine, config, option->name, option->small) != KV_OK)
            return false;
    for (size_t i = 0; i < set->count; i++) {
        const char *dot = strchr(set->item[i], '.'), *equals = dot ? strchr(dot, '=') : NULL;
        char        name[128];

        if (!equals || (size_t)(dot - set->item[i]) != strlen(engine->name) ||
            strncmp(set->item[i], engine->name, strlen(engine->name)) != 0) {
            fail_set("--set %s: write --set %s.OPTION=VALUE", set->item[i], engine->name);
            return false;
        }
        snprintf(name, sizeof name, "%.*s", (int)(equals - dot - 1), dot + 1);
        if (kv_config_set(engine, config, name, equals + 1) != KV_OK)
            return false;
    }
    return kv_config_check(engine, config) == KV_OK;
}

/*
 * What lives do.  "churn" is made for crashes: everything that an engine offers, on few keys, in all sizes.  Of a workload of
 * the bench its mix, number of keys, threads and largest value are taken; keys are chosen as in churn, and stay few.
 */
static bool set_workload(const struct request *request, struct campaign_settings *settings)
{
    struct workload workload;
    const double   *mix;

    settings->mix     = (struct life_mix){.put = 50, .del = 14, .batch = 8, .modify = 8, .read = 12, .read_many = 3, .sync = 2,
                                          .compact = 0.5};
    settings->threads = request->threads ? (uint32_t)request->threads : 6;
    settings->keys    = request->keys ? (uint32_t)request->keys : 64;
    settings->value_bytes_max = request->value_bytes ? (uint32_t)request->value_bytes : 40 << 10;
    if (strcmp(request->workload, "churn") == 0)
        return true;
    if (!workload_load(&workload, request->workload) || !workload_check(&workload))
        return false;
    mix = workload.phases[0].mix;
    settings->mix = (struct life_mix){.del = mix[OP_DELETE], .modify = mix[OP_RMW], .sync = 0.02,
                                      .read = mix[OP_READ] + mix[OP_SCAN] + mix[OP_MISS]};
    *(workload.batch_writes > 1 ? &settings->mix.batch : &settings->mix.put) = mix[OP_UPDATE] + mix[OP_INSERT];
    if (settings->mix.put + settings->mix.del + settings->mix.batch + settings->mix.modify <= 0) {
        fail_set("\"%s\" writes nothing, so a crash has nothing to lose; write churn, or one that writes", request->workload);
        return false;
    }
    if (!request->threads)
        settings->threads = workload.threads < HISTORY_SESSIONS_MAX ? workload.threads : HISTORY_SESSIONS_MAX;
    if (!request->keys)
        settings->keys = workload.records < 2 ? 2 : workload.records < WORKLOAD_KEYS ? (uint32_t)workload.records : WORKLOAD_KEYS;
    if (!request->value_bytes)
        settings->value_bytes_max = workload.value_bytes_max < 24 ? 24 : workload.value_bytes_max < (16 << 20)
                                                                            ? workload.value_bytes_max : 16 << 20;
    return true;
}

/* A plug-in's path outlives a change of directory; a name stays a name. */
static const char *lasting_name(const char *engine, char out[PATH_MAX])
{
    return strchr(engine, '/') && realpath(engine, out) ? out : engine;
}

/* Directories. */

static bool is_directory(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* What is written often and thrown away goes into memory where there is some. */
static bool make_scratch(const char *dir, bool in_memory, struct scratch *out)
{
    return (in_memory && scratch_make(out, "/dev/shm", "crash")) || scratch_make(out, dir, "crash");
}

/* Results. */

static uint32_t quantile(const struct campaign_result *result, double q)
{
    return result->lives ? result->acked[(size_t)(q * (double)(result->lives - 1))] : 0;
}

static json_t *failures_json(const struct campaign_result *result)
{
    json_t *list = json_array();

    for (size_t i = 0; i < result->failure_count; i++) {
        const struct campaign_failure *failure = &result->failures[i];
        char                           replay[PATH_MAX + 32];

        snprintf(replay, sizeof replay, "assay crash --replay %s", failure->dir);
        json_array_append_new(
            list, json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:s, s:s, s:s}", "verdict", verdict_word(failure->verdict.verdict),
                            "life", (json_int_t)failure->life, "token", failure->dir[0] ? json_string(failure->dir) : json_null(),
                            "replay", failure->dir[0] ? json_string(replay) : json_null(), "kept_dir",
                            failure->dir[0] ? json_string(failure->dir) : json_null(), "key_hex",
                            failure->key_hex[0] ? json_string(failure->key_hex) : json_null(), "expected",
                            failure->verdict.expected, "found", failure->verdict.found, "why", failure->verdict.why));
    }
    return list;
}

/* For people and for programs. */
__attribute__((format(printf, 2, 3)))
static void warn(json_t *root, const char *format, ...)
{
    char    text[400];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "assay crash: warning: %s\n", text);
    result_warn(root, "%s", text);
}

static double seconds(uint64_t ns)
{
    return (double)ns / (double)NS_PER_S;
}

/* How a store is set up in this campaign: asked of one that nothing else is done with. */
static json_t *engine_json(const struct campaign_settings *settings)
{
    struct kv_config config = settings->config;
    json_t          *engine = result_engine(settings->engine, &config);
    char             dir[PATH_MAX];

    snprintf(dir, sizeof dir, "%.*s/settings", PATH_MAX - 10, settings->store_dir);
    config.dir = dir;
    json_object_set_new(engine, "settings", result_settings_of(settings->engine, &config));
    tree_remove(dir);
    return engine;
}

static void add_results(json_t *root, const struct request *request, const struct campaign_settings *settings,
                        const struct campaign_result *result)
{
    char    tier[KV_DURABILITY_TEXT_MAX];
    json_t *verdicts = json_object();

    for (enum verdict v = 0; v < VERDICT_COUNT; v++)
        json_object_set_new(verdicts, verdict_word(v), json_integer((json_int_t)result->verdicts[v]));
    json_object_update_new(
        root,
        json_pack("{s:{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:s, s:I}, s:s, s:o, s:o}", "settings", "durability",
                  kv_durability_text(settings->config.durability, tier), "workload", request->workload, "ops",
                  (json_int_t)settings->ops, "threads", (json_int_t)settings->threads, "keys", (json_int_t)settings->keys,
                  "value_bytes_max", (json_int_t)settings->value_bytes_max, "seed", (json_int_t)settings->seed, "states",
                  settings->states ? json_integer((json_int_t)settings->states) : json_null(), "run_ns",
                  settings->run_ns ? json_integer((json_int_t)settings->run_ns) : json_null(), "dir", settings->dir,
                  "timeout_ns", (json_int_t)settings->timeout_ns, "mode", request->mode, "profile",
                  settings->profile ? json_string(settings->profile->name) : json_null(), "engine",
                  engine_json(settings)));
    json_object_update_new(
        root, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "lives",
                        (json_int_t)result->lives, "stores", (json_int_t)result->stores, "kills", (json_int_t)result->kills,
                        "kills_in_recovery", (json_int_t)result->kills_in_recovery, "kills_at_calls",
                        (json_int_t)result->kills_at_calls, "lives_with_merge_or_rotation",
                        (json_int_t)result->lives_with_change, "merges", (json_int_t)result->merges, "rotations",
                        (json_int_t)result->rotations, "states", (json_int_t)result->states, "acked_writes",
                        (json_int_t)result->acked_writes, "acked_median", (json_int_t)quantile(result, 0.5), "acked_p10",
                        (json_int_t)quantile(result, 0.1), "acked_p90", (json_int_t)quantile(result, 0.9), "kills_per_s",
                        result_ratio((double)result->kills, seconds(result->wall_ns)), "lives_per_s",
                        result_ratio((double)result->lives, seconds(result->wall_ns)), "open_ns_mean",
                        result_ratio((double)result->open_ns, (double)result->states), "verdicts", verdicts, "failures",
                        failures_json(result)));
}

static void print_summary(const struct campaign_settings *settings, const struct campaign_result *result)
{
    char     tier[KV_DURABILITY_TEXT_MAX];
    uint64_t bad = 0;

    for (enum verdict v = VERDICT_HELD + 1; v < VERDICT_COUNT; v++)
        bad += result->verdicts[v];
    fprintf(stderr, "%s, durability %s, %s: %s\n", settings->engine->name,
            kv_durability_text(settings->config.durability, tier), settings->profile ? settings->profile->name : "kill -9",
            bad ? "NOT HELD" : result->verdicts[VERDICT_HELD] ? "held" : "nothing was judged");
    fprintf(stderr, "  %" PRIu64 " lives and %" PRIu64 " states in %.1f s, %" PRIu64 " kills (%.1f/s), %.0f %% of them in recovery; %" PRIu64
            " stores\n", result->lives, result->states, seconds(result->wall_ns), result->kills,
            (double)result->kills / (seconds(result->wall_ns) + 1e-9),
            100.0 * (double)result->kills_in_recovery / ((double)result->kills + 1e-9), result->stores);
    fprintf(stderr, "  acknowledged writes a life: median %" PRIu32 ", p10 %" PRIu32 ", p90 %" PRIu32
            "; %.0f %% of lives with a merge or a change of segment; mean open %.2f ms\n", quantile(result, 0.5),
            quantile(result, 0.1), quantile(result, 0.9),
            100.0 * (double)result->lives_with_change / ((double)result->lives + 1e-9),
            (double)result->open_ns / 1e6 / ((double)result->states + 1e-9));
    fprintf(stderr, "  verdicts:");
    for (enum verdict v = 0; v < VERDICT_COUNT; v++)
        if (result->verdicts[v] || v == VERDICT_HELD)
            fprintf(stderr, " %s %" PRIu64, verdict_word(v), result->verdicts[v]);
    fputc('\n', stderr);
}

/* What makes a verdict worth less than it looks. */
static void warn_of_doubts(const struct campaign_settings *settings, const struct campaign_result *result, json_t *root)
{
    if (result->lives_unguarded)
        warn(root, settings->profile ? "this system has no seccomp filters, so calls that pass libc by (stdio's own, raw ones) were "
                                       "not seen: %" PRIu64 " recordings may lack some"
                                     : "this system has no seccomp filters, so calls that pass libc by (stdio's own, raw ones) were "
                                       "not counted in %" PRIu64 " lives, and nothing was killed at one",
             result->lives_unguarded);
    if (settings->run_ns && result->complete && !result->failure_count && result->lives < LIVES_LEAST)
        warn(root, "only %" PRIu64 " lives fitted into the time: a rare loss would not show; give --seconds more", result->lives);
}

/* Replay. */

static bool prepare_replay(struct kept *kept, const struct kv_engine **engine, struct kv_config *config)
{
    if (kv_engine_find(kept->engine, engine) != KV_OK)
        return false;
    kv_config_init(*engine, config);
    config->durability = kept->durability;
    for (uint32_t i = 0; i < kept->option_count; i++)
        if (kv_config_set(*engine, config, kept->option_name[i], kept->option_value[i]) != KV_OK)
            return false;
    return true;
}

/* Judges the kept image again, on a copy: the same engine, options and notes, so the same verdict. */
static int replay(const struct request *request)
{
    struct kept            *kept = calloc(1, sizeof *kept);
    struct survey          *survey = survey_new();
    struct keyspace        *keys = NULL;
    const struct kv_engine *engine;
    struct kv_config        config;
    struct judge_case       judged;
    struct oracle_verdict   verdict;
    struct scratch          scratch = {0};
    char                    store[PATH_MAX], image[PATH_MAX];
    int                     code = 2;

    if (!kept || !survey || !kept_load(request->replay, kept))
        goto out;
    if (request->engine)
        snprintf(kept->engine, sizeof kept->engine, "%s", request->engine);
    if (!prepare_replay(kept, &engine, &config) || !(keys = keyspace_new(kept->key_count, kept->key_bytes_max)))
        goto out;
    code = 1;
    snprintf(image, sizeof image, "%.*s/image", PATH_MAX - 10, request->replay);
    if (!make_scratch(request->replay, true, &scratch))
        goto out;
    snprintf(store, sizeof store, "%.*s/store", PATH_MAX - 10, scratch.path);
    if (!tree_copy(image, store))
        goto out;
    judged = (struct judge_case){.engine = engine, .config = &config, .keys = keys, .record = &kept->record,
                                 .before = kept->before, .crash = kept->crash, .death_ns = kept->death_ns,
                                 .seed = kept->seed, .life = kept->life, .abrupt = kept->abrupt,
                                 .timeout_ns = kept->timeout_ns};
    if (!judge_store(&judged, store, survey, &verdict))
        goto out;
    printf("%s: %s (kept as %s)\n", verdict_word(verdict.verdict), verdict_meaning(verdict.verdict),
           verdict_word(kept->verdict.verdict));
    if (verdict.verdict != VERDICT_HELD)
        printf("  expected  %s\n  found     %s\n  why       %s\n", verdict.expected, verdict.found, verdict.why);
    code = verdict.verdict != VERDICT_HELD;
    fail_set("%s", "");
out:
    if (code == 2)
        args_wrong(&command, "%s", fail_text());
    else if (fail_text()[0])
        fprintf(stderr, "assay crash: %s\n", fail_text());
    scratch_remove(&scratch);
    free(keys);
    survey_free(survey);
    if (kept)
        kept_free(kept);
    free(kept);
    return code;
}

/* The campaign. */

static int check(const struct request *request, struct campaign_settings *settings)
{
    static const char *const modes[] = {"kill", "power", "error", "rot"};
    char                     tier[KV_DURABILITY_TEXT_MAX];
    size_t                   mode = 0;

    while (mode < 4 && strcmp(modes[mode], request->mode) != 0)
        mode++;
    if (mode == 4)
        return args_wrong(&command, "there is no mode \"%s\"%s", request->mode, words_hint(request->mode, modes, 4));
    if (mode > 1)
        return args_wrong(&command, "mode %s is not there yet; write --mode kill or --mode power", request->mode);
    if (mode == 0 && request->profile)
        return args_wrong(&command, "--profile belongs to --mode power");
    if (mode == 1) {
        settings->profile = disk_profile_find(request->profile ? request->profile : "drop-unsynced");
        if (!settings->profile)
            return args_wrong(&command, "%s", fail_text());
        if (!settings->profile->power)
            return args_wrong(&command, "profile %s is no power loss; write --mode kill", settings->profile->name);
    }
    if (!request->engine)
        return args_wrong(&command, "which engine? write --engine NAME; \"assay engines\" lists them");
    if (kv_engine_find(request->engine, &settings->engine) != KV_OK)
        return args_wrong(&command, "%s", fail_text());
    if (!(settings->engine->can & KV_DURABLE))
        return args_wrong(&command, "engine %s keeps nothing on disk, so a crash leaves nothing to judge",
                          settings->engine->name);
    kv_config_init(settings->engine, &settings->config);
    if (kv_durability_parse(request->durability, &settings->config.durability) != KV_OK ||
        !set_options(settings->engine, &request->set, &settings->config))
        return args_wrong(&command, "%s", fail_text());
    if (!(settings->engine->tiers & KV_TIER_BIT(settings->config.durability.tier)))
        return args_wrong(&command, "engine %s does not offer durability %s; \"assay engines %s\" lists its tiers",
                          settings->engine->name, kv_durability_text(settings->config.durability, tier),
                          settings->engine->name);
    if ((request->states_given && !request->states) || (request->seconds_given && !request->run_ns))
        return args_wrong(&command, "%s 0 crashes nothing; write 1 or more", request->states_given && !request->states
                                                                                 ? "--states" : "--seconds");
    if ((request->threads_given && !request->threads) || request->threads > HISTORY_SESSIONS_MAX)
        return args_wrong(&command, "--threads %" PRIu64 " is out of range; write 1 to %d", request->threads,
                          HISTORY_SESSIONS_MAX);
    if ((request->keys_given && request->keys < 2) || request->keys > KEYSPACE_MAX)
        return args_wrong(&command, "--keys %" PRIu64 " is out of range; write 2 to %d", request->keys, KEYSPACE_MAX);
    if (request->ops < 1 || request->ops > 1000000)
        return args_wrong(&command, "--ops %" PRIu64 " is out of range; write 1 to 1M", request->ops);
    if (request->value_bytes_given && (request->value_bytes < 24 || request->value_bytes > (16 << 20)))
        return args_wrong(&command, "--value-bytes is out of range; write 24 to 16M");
    if (!set_workload(request, settings))
        return args_wrong(&command, "--workload: %s", fail_text());
    if (request->timeout_ns == 0)
        return args_wrong(&command, "--timeout must be longer than nothing");
    return -1;
}

static int run(const struct request *request, int argc, char **argv)
{
    struct campaign_settings settings = {0};
    struct campaign_result   result = {0};
    struct outfile           file = {0};
    struct scratch           store_dir = {0}, image_dir = {0};
    char                     name[PATH_MAX];
    json_t                  *root = NULL;
    uint64_t                 bad = 0;
    bool                     made_dir, good, recorder_missing = false;
    int                      code = check(request, &settings);

    if (code >= 0)
        return code;
    /* The words of the program begin one before those of the command. */
    if (!recorder_preload(argv - 1)) {
        if (settings.profile) {
            fprintf(stderr, "assay crash: a power loss needs the recorder: %s\n", fail_text());
            return 1;
        }
        recorder_missing = true;
    }
    settings.recorder = recorder();
    if (request->out && !outfile_open(&file, request->out))
        return args_wrong(&command, "%s", fail_text());
    settings.engine_text     = lasting_name(request->engine, name);
    if (settings.value_bytes_max > settings.engine->value_bytes_max)
        settings.value_bytes_max = settings.engine->value_bytes_max;
    settings.ops             = (uint32_t)request->ops;
    settings.states          = request->states;
    settings.run_ns          = request->run_ns;
    settings.seed            = request->seed;
    settings.timeout_ns      = request->timeout_ns;
    settings.until_failure   = request->until_failure;
    settings.dir             = request->dir;
    if (!settings.states && !settings.run_ns)
        settings.states = 500;
    signal(SIGPIPE, SIG_IGN); /* a reader that left must not leave our directories behind */
    made_dir = mkdir(request->dir, 0777) == 0;
    if (!made_dir && (errno == ENOENT || errno == ENOTDIR || (errno == EEXIST && !is_directory(request->dir)))) {
        code = args_wrong(&command, "--dir %s: %s; name a directory, or one to make in a directory that exists", request->dir,
                          errno == EEXIST ? "is no directory" : strerror(errno));
        goto out;
    }
    code = 1;
    if (!make_scratch(request->dir, settings.profile != NULL, &store_dir) || !make_scratch(request->dir, true, &image_dir)) {
        fprintf(stderr, "assay crash: %s\n", fail_text());
        goto out;
    }
    settings.store_dir = store_dir.path;
    settings.image_dir = image_dir.path;
    root = result_new("crash", argc, argv, store_dir.path);
    if (recorder_missing)
        warn(root, "without the recorder nothing was killed at an I/O call");
    if (settings.engine->prepare)
        settings.engine->prepare(); /* or each life would pay for it */
    good = campaign_run(&settings, &result);
    if (!good)
        fprintf(stderr, "assay crash: the campaign ended early: %s\n", fail_text());
    if (!good)
        result_warn(root, "the campaign ended early: %s", fail_text());
    for (enum verdict v = VERDICT_HELD + 1; v < VERDICT_COUNT; v++)
        bad += result.verdicts[v];
    print_summary(&settings, &result);
    warn_of_doubts(&settings, &result, root);
    add_results(root, request, &settings, &result);
    code = !good || bad > 0 || !result.complete;
    if (good && !result.complete)
        fprintf(stderr, "assay crash: interrupted; what was seen until then counts\n");
    if (!request->out) {
        json_decref(root);
    } else if (!result_write(root, &file, good && result.complete)) {
        fprintf(stderr, "assay crash: %s\n", fail_text());
        code = 1;
    }
    file = (struct outfile){0};
out:
    if (file.stream)
        outfile_discard(&file);
    scratch_remove(&store_dir);
    scratch_remove(&image_dir);
    if (made_dir)
        rmdir(request->dir); /* only when it is empty: failures stay */
    campaign_result_free(&result);
    return code;
}

int command_crash(int argc, char **argv)
{
    struct request request = {.mode = "kill", .workload = "churn", .durability = "process", .dir = "assay-crash", .ops = 360,
                              .seed = 1, .timeout_ns = 20 * NS_PER_S};
    const struct arg options[] = {
        {"engine", ARG_TEXT, &request.engine, "NAME", "which engine; a plug-in by its path", NULL},
        {"mode", ARG_TEXT, &request.mode, "MODE", "kill (the process dies) or power (the machine does)", NULL},
        {"profile", ARG_TEXT, &request.profile, "P", "power: how the disk behaves (drop-unsynced); any other word lists them", NULL},
        {"workload", ARG_TEXT, &request.workload, "W", "what lives do: churn, made for crashes (the default), or the mix of a workload of the bench", NULL},
        {"ops", ARG_COUNT, &request.ops, "N", "a life ends after up to so many acknowledged writes (360)", NULL},
        {"states", ARG_COUNT, &request.states, "N", "so many crash states, for kills one a life (500, unless --seconds is given)", &request.states_given},
        {"seconds", ARG_TIME, &request.run_ns, "S", "as many lives as fit into that time", &request.seconds_given},
        {"until-failure", ARG_FLAG, &request.until_failure, NULL, "the first failure ends the campaign", NULL},
        {"durability", ARG_TEXT, &request.durability, "TIER", "none, process, ordered, interval:10ms, commit (process)", NULL},
        {"set", ARG_EACH, &request.set, "E.O=V", "an engine's option; \"assay engines NAME\" lists them", NULL},
        {"threads", ARG_COUNT, &request.threads, "T", "sessions at once (6)", &request.threads_given},
        {"keys", ARG_COUNT, &request.keys, "N", "how many keys (64)", &request.keys_given},
        {"value-bytes", ARG_BYTES, &request.value_bytes, "B", "the largest value (40k); most are far smaller", &request.value_bytes_given},
        {"seed", ARG_COUNT, &request.seed, "S", "what is done, and about when a life ends (1)", NULL},
        {"timeout", ARG_TIME, &request.timeout_ns, "T", "who does not come back in that time hangs (20 s)", NULL},
        {"replay", ARG_TEXT, &request.replay, "TOKEN", "judge a kept failure again", NULL},
        {"dir", ARG_TEXT, &request.dir, "D", "stores are made here, failures kept in D/failures (assay-crash)", NULL},
        {"out", ARG_TEXT, &request.out, "FILE", "where the result goes; - is standard output", NULL},
        {0}};
    const struct arg_command crash = {
        "assay crash", "--engine A --mode kill [options]", "Kills an engine again and again, and judges what is left.", options,
        "  assay crash --engine bitcask --mode kill --durability commit --seconds 60\n"
        "  assay crash --replay assay-crash/failures/01\n"};
    int code = args_parse(&crash, argc, argv, NULL);

    if (code >= 0)
        return code;
    command = crash;
    stop_install();
    return request.replay ? replay(&request) : run(&request, argc, argv);
}
