#include "crashtest/oracle.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/fail.h"

#define NEVER UINT64_MAX

static const char *const words[VERDICT_COUNT] = {
#define X(name, word, meaning) word,
    VERDICT_LIST(X)
#undef X
};
static const char *const meanings[VERDICT_COUNT] = {
#define X(name, word, meaning) meaning,
    VERDICT_LIST(X)
#undef X
};

const char *verdict_word(enum verdict verdict)
{
    return (unsigned)verdict < VERDICT_COUNT ? words[verdict] : "unknown";
}

const char *verdict_meaning(enum verdict verdict)
{
    return (unsigned)verdict < VERDICT_COUNT ? meanings[verdict] : "unknown";
}

struct oracle_promise oracle_promise_of(struct kv_durability durability, enum oracle_crash crash, uint32_t can)
{
    struct oracle_promise promise = {.prefix_session = (can & KV_PREFIX_SESSION) != 0};

    switch (durability.tier) {
    case KV_TIER_NONE:
        promise.prefix = true;
        break;
    case KV_TIER_PROCESS:
        promise.all     = crash == ORACLE_KILL;
        promise.nothing = crash == ORACLE_POWER;
        break;
    case KV_TIER_ORDERED:
        promise.all    = crash == ORACLE_KILL;
        promise.prefix = crash == ORACLE_POWER;
        break;
    case KV_TIER_INTERVAL:
        promise.all         = crash == ORACLE_KILL;
        promise.prefix      = crash == ORACLE_POWER;
        promise.interval_ns = crash == ORACLE_POWER ? durability.interval_ns : 0;
        break;
    case KV_TIER_COMMIT:
    case KV_TIER_COUNT:
        promise.all = true;
        break;
    }
    return promise;
}

/* One write to one key, or (op NULL) the value that the life began with. */
struct candidate {
    const struct history_op *op;
    struct history_value     value;
    bool                     replaced; /* by a later write of its own batch */
};

struct judge {
    const struct oracle_case *in;
    struct oracle_verdict    *out;
    struct candidate         *candidates; /* key k has those from first[k] up to first[k + 1]; the oldest value is the first */
    uint32_t                 *first;
    uint64_t                  synced;     /* the horizon that syncs and the interval make */
    uint64_t                  horizon[HISTORY_SESSIONS_MAX]; /* with the prefix; all the same unless prefixes are sessions' */
};

static uint64_t start_of(const struct candidate *candidate)
{
    return candidate->op ? candidate->op->start : 0;
}

/* When it was over; an operation that did not return, or failed, may take effect at any time. */
static uint64_t end_of(const struct candidate *candidate)
{
    if (!candidate->op)
        return 0;
    return candidate->op->end && candidate->op->status == KV_OK ? candidate->op->end : NEVER;
}

static bool acked(const struct history_op *op)
{
    return op->end && op->status == KV_OK;
}

/* Words. */

__attribute__((format(printf, 2, 3)))
static void say(char out[ORACLE_TEXT_MAX], const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(out, ORACLE_TEXT_MAX, format, arguments);
    va_end(arguments);
}

static void say_value(char *out, size_t bytes, struct history_value value)
{
    if (value.state == HISTORY_PRESENT)
        snprintf(out, bytes, "a value of %" PRIu32 " bytes (%016" PRIx64 ")", value.size, value.hash);
    else
        snprintf(out, bytes, value.state == HISTORY_ABSENT ? "no value" : "an error");
}

static void say_candidate(char out[ORACLE_TEXT_MAX], const struct candidate *candidate)
{
    char value[96];

    say_value(value, sizeof value, candidate->value);
    if (!candidate->op)
        say(out, "%s, there when the life began", value);
    else if (acked(candidate->op))
        say(out, "%s, %s by session %" PRIu32 ", began at %" PRIu64 ", acknowledged at %" PRIu64, value,
            candidate->op->write_count > 1 ? "from a batch" : "written", candidate->op->session, candidate->op->start,
            candidate->op->end);
    else
        say(out, "%s, %s by session %" PRIu32 ", began at %" PRIu64 ", never acknowledged", value,
            candidate->op->write_count > 1 ? "from a batch" : "written", candidate->op->session, candidate->op->start);
}

/* Verdicts: the gravest one is told, and the first key that has it. */

static bool graver(enum verdict a, enum verdict b)
{
    static const int grave[VERDICT_COUNT] = {[VERDICT_HOLE] = 1, [VERDICT_LOST] = 2, [VERDICT_RESURRECTED] = 3,
                                             [VERDICT_CORRUPT] = 4};
    return grave[a] > grave[b];
}

static bool accuse(struct judge *judge, enum verdict verdict, uint32_t key)
{
    judge->out->bad++;
    if (!graver(verdict, judge->out->verdict))
        return false;
    judge->out->verdict     = verdict;
    judge->out->key         = key;
    judge->out->expected[0] = judge->out->found[0] = judge->out->why[0] = '\0';
    return true;
}

/* Candidates. */

static bool is_write(const struct history_op *op)
{
    return op->kind == HISTORY_WRITE || op->kind == HISTORY_MODIFY;
}

static bool gather(struct judge *judge)
{
    const struct oracle_case    *in = judge->in;
    const struct history_record *record = in->record;
    uint32_t                    *next;

    judge->first      = calloc((size_t)in->keys + 2, sizeof *judge->first);
    judge->candidates = calloc(record->write_count + in->keys + 1, sizeof *judge->candidates);
    if (!judge->first || !judge->candidates) {
        fail_set("no memory to judge %zu operations", record->op_count);
        return false;
    }
    /* next[k] first counts, then runs from the key's first candidate to behind its last, which is where k + 1 begins. */
    next = judge->first + 1;
    for (size_t i = 0; i < record->op_count; i++)
        for (uint32_t w = 0; is_write(&record->ops[i]) && w < record->ops[i].write_count; w++)
            next[record->writes[record->ops[i].first_write + w].key]++;
    for (uint32_t k = 0, sum = 0; k < in->keys; k++) {
        uint32_t count = next[k] + 1;
        next[k] = sum;
        sum += count;
    }
    for (uint32_t k = 0; k < in->keys; k++)
        judge->candidates[next[k]++] = (struct candidate){.value = in->before[k]};
    for (size_t i = 0; i < record->op_count; i++) {
        const struct history_op *op = &record->ops[i];
        for (uint32_t w = 0; is_write(op) && w < op->write_count; w++) {
            const struct history_write *write = &record->writes[op->first_write + w];
            struct candidate           *place = &judge->candidates[next[write->key]++];
            *place = (struct candidate){.op = op, .value = write->value};
            if (place[-1].op == op)
                place[-1].replaced = true;
        }
    }
    return true;
}

static struct candidate *from(const struct judge *judge, uint32_t key)
{
    return judge->candidates + judge->first[key];
}

static struct candidate *to(const struct judge *judge, uint32_t key)
{
    return judge->candidates + judge->first[key + 1];
}

/* The acknowledged write of the key that returned before the horizon and began last: whatever is found must not have
 * been over before it began. */
static const struct candidate *needed(const struct judge *judge, uint32_t key, uint64_t horizon, bool per_session)
{
    const struct candidate *last = NULL;

    for (const struct candidate *c = from(judge, key); c < to(judge, key); c++) {
        uint64_t limit = per_session && c->op ? judge->horizon[c->op->session] : horizon;
        if (c->op && acked(c->op) && c->op->end <= limit && (!last || c->op->start > last->op->start))
            last = c;
    }
    return last;
}

/* Of the candidates equal to value that began before `until`, the one that was over last; NULL: there is none. */
static const struct candidate *best_match(const struct judge *judge, uint32_t key, struct history_value value,
                                          uint64_t until, bool final)
{
    const struct candidate *best = NULL;

    for (const struct candidate *c = from(judge, key); c < to(judge, key); c++)
        if (history_same(c->value, value) && start_of(c) < until && !(final && c->replaced) &&
            (!best || end_of(c) > end_of(best)))
            best = c;
    return best;
}

/* Where another key's writes have that value, that key. */
static uint32_t elsewhere(const struct judge *judge, struct history_value value)
{
    for (uint32_t k = 0; value.state == HISTORY_PRESENT && value.size >= 8 && k < judge->in->keys; k++)
        if (best_match(judge, k, value, NEVER, false))
            return k;
    return UINT32_MAX;
}

/* Horizons. */

/* When the last acknowledged write began; 0: there is none. */
static uint64_t last_start_ns(const struct history_record *record)
{
    uint64_t last_ns = 0;

    for (size_t i = 0; i < record->op_count; i++)
        if (is_write(&record->ops[i]) && acked(&record->ops[i]) && record->ops[i].start_ns > last_ns)
            last_ns = record->ops[i].start_ns;
    return last_ns;
}

/*
 * An interval is broken in two ways.  A write is acknowledged that began more than the interval after an older one returned
 * that is not durable yet: an engine can hold back the younger one, so no slack is given.  Or power goes when the older one
 * has waited longer, and nothing was written since: that rests on a timer, which a busy machine may make late.
 */
static void find_synced(struct judge *judge)
{
    const struct oracle_case *in = judge->in;
    uint64_t                  interval_ns = in->promise.interval_ns, last_ns = last_start_ns(in->record);

    for (size_t i = 0; i < in->record->op_count; i++) {
        const struct history_op *op = &in->record->ops[i];
        if (!acked(op))
            continue;
        if (op->kind == HISTORY_SYNC && op->start > judge->synced)
            judge->synced = op->start;
        if (interval_ns && is_write(op) && op->end > judge->synced &&
            (op->end_ns + interval_ns <= last_ns || op->end_ns + interval_ns + ORACLE_SLACK_NS < in->death_ns))
            judge->synced = op->end;
    }
    if (in->promise.all)
        judge->synced = NEVER - 1;
}

/* What is there for certain pulls the horizon up to its start. */
static void find_horizons(struct judge *judge)
{
    const struct oracle_case *in = judge->in;
    uint64_t                  highest = judge->synced;

    for (uint32_t s = 0; s < HISTORY_SESSIONS_MAX; s++)
        judge->horizon[s] = judge->synced;
    if (!in->promise.prefix)
        return;
    for (uint32_t k = 0; k < in->keys; k++) {
        const struct candidate *first = NULL;
        uint32_t                matches = 0;
        for (const struct candidate *c = from(judge, k); c < to(judge, k); c++) {
            if (!history_same(c->value, in->after[k].value) || c->replaced)
                continue;
            matches++;
            if (!first || start_of(c) < start_of(first))
                first = c;
        }
        if (!first || !first->op)
            continue;
        if (first->op->start > highest)
            highest = first->op->start;
        if (matches == 1 && first->op->start > judge->horizon[first->op->session])
            judge->horizon[first->op->session] = first->op->start;
    }
    if (!in->promise.prefix_session)
        for (uint32_t s = 0; s < HISTORY_SESSIONS_MAX; s++)
            judge->horizon[s] = highest;
}

/* Rules. */

/* What is genuine but no candidate was written in an earlier life, and so was over when this one began. */
static void judge_stranger(struct judge *judge, uint32_t key)
{
    const struct oracle_case  *in = judge->in;
    const struct oracle_found *found = &in->after[key];
    const struct candidate    *newest = needed(judge, key, judge->synced, false);
    struct candidate           began = *from(judge, key);
    const struct candidate    *expected = newest ? newest : &began;
    enum verdict               verdict = VERDICT_CORRUPT;
    uint32_t                   other;

    if (found->value.state == HISTORY_FAILED) {
        if (in->promise.nothing)
            return; /* an explicit error is a legal answer where nothing is promised */
        verdict = found->status == KV_CORRUPT || found->status == KV_IO ? VERDICT_CORRUPT : VERDICT_REFUSED;
    } else if (found->value.state == HISTORY_ABSENT) {
        if (in->promise.nothing)
            return;
        verdict = VERDICT_LOST;
    } else if (found->genuine) {
        if (in->promise.nothing)
            return;
        verdict = expected->value.state == HISTORY_ABSENT ? VERDICT_RESURRECTED : VERDICT_LOST;
    }
    if (!accuse(judge, verdict, key))
        return;
    say_candidate(judge->out->expected, expected);
    say_value(judge->out->found, ORACLE_TEXT_MAX, found->value);
    other = elsewhere(judge, found->value);
    if (found->value.state == HISTORY_FAILED)
        say(judge->out->why, "the get failed: %s", kv_status_word((kv_status)found->status));
    else if (found->value.state == HISTORY_ABSENT)
        say(judge->out->why, "the key had a value when the life began, and nobody deleted it");
    else if (found->genuine)
        say(judge->out->why, "the value is from an earlier life, and had been overwritten or deleted before this one began");
    else if (other != UINT32_MAX && other != key)
        say(judge->out->why, "it was written to key %" PRIu32 ", not to this one", other);
    else
        say(judge->out->why, "nobody ever wrote that");
}

static void judge_key(struct judge *judge, uint32_t key)
{
    const struct oracle_case *in = judge->in;
    struct history_value      value = in->after[key].value;
    const struct candidate   *found, *last;

    if (value.state == HISTORY_UNSEEN)
        return;
    found = value.state == HISTORY_FAILED ? NULL : best_match(judge, key, value, NEVER, true);
    if (!found) {
        judge_stranger(judge, key);
        return;
    }
    last = needed(judge, key, 0, true);
    if (!last || end_of(found) > last->op->start)
        return;
    /* The gravest reason is the one that does not rest on what else was found. */
    const struct candidate *promised = needed(judge, key, judge->synced, false);
    bool                    hole = !promised || end_of(found) > promised->op->start;
    enum verdict            verdict = hole ? VERDICT_HOLE : VERDICT_LOST;

    if (!hole)
        last = promised;
    if (!hole && last->value.state == HISTORY_ABSENT && value.state == HISTORY_PRESENT)
        verdict = VERDICT_RESURRECTED;
    if (!accuse(judge, verdict, key))
        return;
    say_candidate(judge->out->expected, last);
    say_candidate(judge->out->found, found);
    if (hole)
        say(judge->out->why, "a write that began later, at %" PRIu64 ", is there, and this one had returned before that",
            judge->horizon[last->op->session]);
    else if (in->promise.all)
        say(judge->out->why, "it was acknowledged, and what was found had been overwritten before it began");
    else
        say(judge->out->why, "it was acknowledged before the horizon %" PRIu64 " that a sync or the interval makes",
            judge->synced);
}

static void judge_batch(struct judge *judge, const struct history_op *op)
{
    const struct history_write *writes = &judge->in->record->writes[op->first_write];
    uint32_t                    there = UINT32_MAX;

    for (uint32_t w = 0; w < op->write_count && there == UINT32_MAX; w++) {
        uint32_t matches = 0, mine = 0;
        for (const struct candidate *c = from(judge, writes[w].key); c < to(judge, writes[w].key); c++) {
            if (c->replaced || !history_same(c->value, judge->in->after[writes[w].key].value))
                continue;
            matches++;
            mine += c->op == op;
        }
        if (matches == 1 && mine == 1)
            there = w;
    }
    for (uint32_t w = 0; w < op->write_count && there != UINT32_MAX; w++) {
        uint32_t                key = writes[w].key;
        struct history_value    value = judge->in->after[key].value;
        const struct candidate *found;

        if (value.state != HISTORY_PRESENT && value.state != HISTORY_ABSENT)
            continue;
        found = best_match(judge, key, value, NEVER, true);
        if (!found || found->op == op || end_of(found) > op->start || !accuse(judge, VERDICT_HOLE, key))
            continue;
        say(judge->out->expected, "the batch of %" PRIu32 " writes by session %" PRIu32 " that began at %" PRIu64
            ", in whole or not at all", op->write_count, op->session, op->start);
        say_candidate(judge->out->found, found);
        say(judge->out->why, "key %" PRIu32 " has what this batch wrote, key %" PRIu32 " has what was there before",
            writes[there].key, key);
    }
}

/* What a read or a modify was shown while the life ran. */
static void judge_read(struct judge *judge, const struct history_op *op)
{
    const struct candidate *found, *last;

    if (op->seen.state != HISTORY_PRESENT && op->seen.state != HISTORY_ABSENT)
        return;
    found = best_match(judge, op->key, op->seen, op->end ? op->end : NEVER, false);
    last  = needed(judge, op->key, op->start, false);
    if (!found) {
        if (!accuse(judge, op->seen.state == HISTORY_ABSENT ? VERDICT_LOST : VERDICT_CORRUPT, op->key))
            return;
    } else if (last && end_of(found) < last->op->start) {
        if (!accuse(judge, last->value.state == HISTORY_ABSENT ? VERDICT_RESURRECTED : VERDICT_LOST, op->key))
            return;
    } else {
        return;
    }
    if (last)
        say_candidate(judge->out->expected, last);
    else
        say_candidate(judge->out->expected, from(judge, op->key));
    if (found)
        say_candidate(judge->out->found, found);
    else
        say_value(judge->out->found, ORACLE_TEXT_MAX, op->seen);
    say(judge->out->why, "before the crash: a %s of session %" PRIu32 " that began at %" PRIu64 " was shown this",
        op->kind == HISTORY_MODIFY ? "modify" : "read", op->session, op->start);
}

static bool large_enough_to_be_unique(struct history_value value)
{
    return value.state == HISTORY_PRESENT && value.size >= 24;
}

static void judge_modifies(struct judge *judge, uint32_t key)
{
    for (const struct candidate *a = from(judge, key); a < to(judge, key); a++) {
        if (!a->op || a->op->kind != HISTORY_MODIFY || !acked(a->op) || !large_enough_to_be_unique(a->op->seen))
            continue;
        for (const struct candidate *b = a + 1; b < to(judge, key); b++) {
            if (b->op->kind != HISTORY_MODIFY || !acked(b->op) || !history_same(a->op->seen, b->op->seen))
                continue;
            if (!accuse(judge, VERDICT_LOST, key))
                continue;
            say_candidate(judge->out->expected, a);
            say_candidate(judge->out->found, b);
            say(judge->out->why, "before the crash: two modifies were shown the same old value, so one of them is lost");
        }
    }
}

bool oracle_judge(const struct oracle_case *in, struct oracle_verdict *out)
{
    struct judge judge = {.in = in, .out = out};
    bool         gathered;

    *out = (struct oracle_verdict){.verdict = VERDICT_HELD, .key = UINT32_MAX};
    gathered = gather(&judge);
    if (gathered) {
        find_synced(&judge);
        find_horizons(&judge);
        for (uint32_t k = 0; k < in->keys; k++) {
            judge_key(&judge, k);
            judge_modifies(&judge, k);
        }
        for (size_t i = 0; i < in->record->op_count; i++) {
            const struct history_op *op = &in->record->ops[i];
            if (op->kind == HISTORY_WRITE && op->write_count > 1 && !in->promise.nothing)
                judge_batch(&judge, op);
            if (op->kind == HISTORY_READ || op->kind == HISTORY_MODIFY)
                judge_read(&judge, op);
        }
    }
    free(judge.candidates);
    free(judge.first);
    return gathered;
}
