#include "crashtest/survey.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/clock.h"
#include "common/fail.h"
#include "common/rng.h"
#include "crashtest/life.h"
#include "workloads/value.h"

/* Writes after the recovery: a few keys, so that most of what was recovered stays to be seen the second time. */
#define PROBES 2
#define PROBE_BYTES_MAX 3000

#define WRITER_OF_SURVEYS 0xffffu

static const char *const stage_words[] = {
    [SURVEY_FORKED] = "starting", [SURVEY_OPENING] = "opening the store", [SURVEY_READING] = "reading every key",
    [SURVEY_WRITING] = "writing after the recovery", [SURVEY_CLOSING] = "closing the store",
    [SURVEY_OPENING_AGAIN] = "opening the store a second time", [SURVEY_READING_AGAIN] = "reading every key a second time",
    [SURVEY_CLOSING_AGAIN] = "closing the store a second time", [SURVEY_DONE] = "done",
};

static const char *const state_words[] = {"nothing looked at", "no value", "a value", "an error"};

struct survey *survey_new(void)
{
    struct survey *survey = mmap(NULL, sizeof *survey, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (survey != MAP_FAILED)
        return survey;
    fail_set("no memory for a survey: %s", strerror(errno));
    return NULL;
}

void survey_free(struct survey *survey)
{
    if (survey)
        munmap(survey, sizeof *survey);
}

/* In the child. */

struct visit {
    const struct survey_plan *plan;
    struct survey            *survey;
    struct kv_store          *store;
    struct kv_session        *session;
    const struct history_value *shown; /* per key, for the scan */
    bool                     *scanned;
};

static void stage(struct visit *visit, enum survey_stage stage)
{
    __atomic_store_n(&visit->survey->stage, stage, __ATOMIC_SEQ_CST);
}

__attribute__((format(printf, 2, 3)))
static void tell(struct survey *survey, const char *format, ...)
{
    va_list arguments;

    if (survey->text[0])
        return;
    va_start(arguments, format);
    vsnprintf(survey->text, sizeof survey->text, format, arguments);
    va_end(arguments);
}

static int give_up(struct visit *visit, kv_status status)
{
    tell(visit->survey, "%s", fail_text());
    visit->survey->status = status;
    return 0;
}

static kv_status enter(struct visit *visit, enum survey_stage opening)
{
    uint64_t  began_ns = clock_now_ns();
    kv_status status;

    stage(visit, opening);
    status = kv_open(visit->plan->engine, visit->plan->config, &visit->store);
    if (opening == SURVEY_OPENING)
        visit->survey->open_ns = clock_now_ns() - began_ns;
    return status == KV_OK ? kv_session_open(visit->store, &visit->session) : status;
}

struct glance {
    slice                key;
    struct history_value value;
    bool                 genuine;
};

static bool take(void *arg, slice key, slice value)
{
    struct glance *glance = arg;

    (void)key;
    glance->value   = history_value_of(value);
    glance->genuine = value.size >= 24 && value_check(glance->key, value) == VALUE_GOOD;
    return true;
}

static void look(struct visit *visit, uint32_t key, struct oracle_found *out)
{
    struct glance glance = {.key = keyspace_key(visit->plan->keys, key)};
    kv_status     status = kv_get(visit->session, glance.key, take, &glance);

    *out = (struct oracle_found){.value = glance.value, .genuine = glance.genuine, .status = status};
    if (status != KV_OK)
        out->value = (struct history_value){.state = status == KV_NOT_FOUND ? HISTORY_ABSENT : HISTORY_FAILED};
}

static bool compare(void *arg, slice key, slice value)
{
    struct visit *visit = arg;
    uint32_t      number = keyspace_number(visit->plan->keys, key);

    if (number == UINT32_MAX) {
        tell(visit->survey, "a scan shows a key of %zu bytes that nobody ever wrote", key.size);
        visit->survey->strays = true;
    } else if (visit->scanned[number]) {
        tell(visit->survey, "a scan shows key %u twice", number);
        visit->survey->strays = true;
    } else {
        visit->scanned[number] = true;
        if (visit->shown[number].state != HISTORY_FAILED && !history_same(visit->shown[number], history_value_of(value))) {
            tell(visit->survey, "a scan shows another value for key %u than a get", number);
            visit->survey->strays = true;
        }
    }
    return true;
}

/* What gets showed must be what a scan shows. */
static kv_status scan(struct visit *visit, const struct history_value *shown)
{
    bool scanned[KEYSPACE_MAX] = {false};

    if (!(visit->plan->engine->can & KV_SCAN))
        return KV_OK;
    visit->shown   = shown;
    visit->scanned = scanned;
    TRY(kv_scan(visit->session, (slice){0}, compare, visit));
    for (uint32_t k = 0; k < visit->plan->keys->count; k++) {
        if (shown[k].state == HISTORY_PRESENT && !scanned[k]) {
            tell(visit->survey, "a scan misses key %u, which a get finds", k);
            visit->survey->strays = true;
        }
    }
    return KV_OK;
}

/* A store must take writes after its recovery, keep them, and forget nothing for them. */
static kv_status probe(struct visit *visit)
{
    const struct survey_plan *plan = visit->plan;
    struct survey            *survey = visit->survey;
    uint32_t                  bytes_max = plan->engine->value_bytes_max < PROBE_BYTES_MAX ? plan->engine->value_bytes_max
                                                                                          : PROBE_BYTES_MAX;
    struct oracle_found       found;
    struct rng                rng;
    char                      value[PROBE_BYTES_MAX];

    rng_seed(&rng, plan->seed, (uint64_t)plan->life << 32 | WRITER_OF_SURVEYS);
    for (uint32_t i = 0; i < PROBES; i++) {
        uint32_t key = (uint32_t)rng_below(&rng, plan->keys->count), size = (uint32_t)rng_below(&rng, bytes_max);
        value_make(value, size, keyspace_key(plan->keys, key), WRITER_OF_SURVEYS, life_sequence(plan->life, i), 0.5);
        TRY(kv_put(visit->session, keyspace_key(plan->keys, key), slice_of(value, size)));
        survey->last[key] = history_value_of(slice_of(value, size));
        look(visit, key, &found);
        if (!history_same(found.value, survey->last[key])) {
            tell(survey, "key %u was written after the recovery, and a get does not give it back", key);
            survey->probe_bad = true;
        }
    }
    return kv_sync(visit->session);
}

static kv_status leave(struct visit *visit, enum survey_stage closing)
{
    stage(visit, closing);
    kv_session_close(visit->session);
    return kv_close(visit->store);
}

static int first_visit(void *arg)
{
    struct visit   visit = {.plan = arg};
    struct survey *survey = visit.survey = visit.plan->survey;
    kv_status      status;

    if ((status = enter(&visit, SURVEY_OPENING)) != KV_OK)
        return give_up(&visit, status);
    stage(&visit, SURVEY_READING);
    for (uint32_t k = 0; k < visit.plan->keys->count; k++) {
        look(&visit, k, &survey->first[k]);
        survey->last[k] = survey->first[k].value;
    }
    if ((status = scan(&visit, survey->last)) != KV_OK)
        return give_up(&visit, status);
    stage(&visit, SURVEY_WRITING);
    if ((status = probe(&visit)) != KV_OK)
        return give_up(&visit, status);
    if (!visit.plan->abrupt && (status = leave(&visit, SURVEY_CLOSING)) != KV_OK)
        return give_up(&visit, status);
    stage(&visit, SURVEY_CLOSING);
    return 0;
}

static int second_visit(void *arg)
{
    struct visit         visit = {.plan = arg};
    struct survey       *survey = visit.survey = visit.plan->survey;
    struct history_value shown[KEYSPACE_MAX];
    struct oracle_found  found;
    kv_status            status;

    if ((status = enter(&visit, SURVEY_OPENING_AGAIN)) != KV_OK)
        return give_up(&visit, status);
    stage(&visit, SURVEY_READING_AGAIN);
    for (uint32_t k = 0; k < visit.plan->keys->count; k++) {
        look(&visit, k, &found);
        shown[k] = found.value;
        if (history_same(found.value, survey->last[k]))
            continue;
        tell(survey, "key %u: the first open left %s of %u bytes, the second shows %s of %u bytes", k,
             state_words[survey->last[k].state], survey->last[k].size, state_words[found.value.state], found.value.size);
        survey->second_bad = true;
        survey->second_back |= survey->last[k].state == HISTORY_ABSENT;
    }
    if ((status = scan(&visit, shown)) != KV_OK || (status = leave(&visit, SURVEY_CLOSING_AGAIN)) != KV_OK)
        return give_up(&visit, status);
    stage(&visit, SURVEY_DONE);
    return 0;
}

/* In the parent. */

static void conclude(struct oracle_verdict *out, enum verdict verdict, const struct survey *survey, const char *expected,
                     const char *found)
{
    *out = (struct oracle_verdict){.verdict = verdict, .key = UINT32_MAX, .bad = 1};
    snprintf(out->expected, sizeof out->expected, "%s", expected);
    snprintf(out->found, sizeof out->found, "%.*s", ORACLE_TEXT_MAX - 1, found);
    snprintf(out->why, sizeof out->why, "while %s", stage_words[survey->stage]);
}

/* True when there is nothing more to look at. */
static bool ended_badly(const struct survey_plan *plan, struct child_result result, struct oracle_verdict *out)
{
    struct survey *survey = plan->survey;

    if (result.end == CHILD_TIMED_OUT)
        conclude(out, VERDICT_HUNG, survey, "that it comes back in time", "it hung");
    else if (result.end == CHILD_SIGNALLED || result.code != 0)
        conclude(out, VERDICT_CRASHED, survey, "that the engine lives", child_text(result));
    else if (survey->status == KV_CORRUPT && plan->refusal_is_fine)
        return true;
    else if (survey->status != KV_OK)
        conclude(out, VERDICT_REFUSED, survey, "that the store opens, reads and writes", survey->text);
    else if (survey->strays)
        conclude(out, VERDICT_CORRUPT, survey, "that a scan shows what gets show", survey->text);
    else if (survey->probe_bad)
        conclude(out, VERDICT_LOST, survey, "that a write after the recovery is there", survey->text);
    else if (survey->second_bad)
        conclude(out, survey->second_back ? VERDICT_RESURRECTED : VERDICT_LOST, survey, "that a second open shows what the first left", survey->text);
    else
        return false;
    return true;
}

void survey_run(const struct survey_plan *plan, uint64_t timeout_ns, struct oracle_verdict *out)
{
    int (*const visits[])(void *) = {first_visit, second_visit};

    *out = (struct oracle_verdict){.verdict = VERDICT_HELD, .key = UINT32_MAX};
    plan->survey->keys = plan->keys->count;
    for (int i = 0; i < 2; i++) {
        pid_t pid = child_start(visits[i], (void *)plan);
        if (pid < 0) {
            conclude(out, VERDICT_CRASHED, plan->survey, "a child process", fail_text());
            return;
        }
        if (ended_badly(plan, child_wait(pid, timeout_ns), out))
            return;
    }
}

