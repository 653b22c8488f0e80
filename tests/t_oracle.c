/* t_oracle.c -- histories written by hand, and what the oracle must say of them: innocent ones are held, guilty ones are not. */
#include "crashtest/oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"

#define OPS  64
#define KEYS 8
#define NONE 0 /* absent */

/* Values are numbers: value n has hash n; below 100 they are small enough to be equal by chance. */
struct story {
    struct history_op     ops[OPS];
    struct history_write  writes[OPS * 4];
    struct history_record record;
    struct history_value  before[KEYS];
    struct oracle_found   after[KEYS];
    struct oracle_verdict verdict;
    uint64_t              death_ns;
};

static struct history_value value_of(uint64_t number)
{
    if (number == NONE)
        return (struct history_value){.state = HISTORY_ABSENT};
    return (struct history_value){.hash = number, .size = number < 100 ? 1 : 100, .state = HISTORY_PRESENT};
}

static void begin(struct story *story)
{
    memset(story, 0, sizeof *story);
    story->record.ops    = story->ops;
    story->record.writes = story->writes;
    for (int k = 0; k < KEYS; k++) {
        story->before[k]      = value_of(NONE);
        story->after[k].value = value_of(NONE);
    }
}

static struct history_op *add(struct story *story, uint32_t session, enum history_kind kind, uint64_t start, uint64_t end)
{
    struct history_op *op = &story->ops[story->record.op_count++];

    *op = (struct history_op){.start = start, .end = end, .session = session, .kind = kind, .status = KV_OK,
                              .first_write = (uint32_t)story->record.write_count};
    return op;
}

static void also(struct story *story, struct history_op *op, uint32_t key, uint64_t value)
{
    story->writes[story->record.write_count++] = (struct history_write){.key = key, .value = value_of(value)};
    op->write_count++;
}

/* end 0: it never returned. */
static struct history_op *put(struct story *story, uint32_t session, uint32_t key, uint64_t value, uint64_t start,
                              uint64_t end)
{
    struct history_op *op = add(story, session, HISTORY_WRITE, start, end);

    also(story, op, key, value);
    return op;
}

static void modify(struct story *story, uint32_t session, uint32_t key, uint64_t old, uint64_t value, uint64_t start,
                   uint64_t end)
{
    struct history_op *op = add(story, session, HISTORY_MODIFY, start, end);

    op->key  = key;
    op->seen = value_of(old);
    also(story, op, key, value);
}

static void get(struct story *story, uint32_t session, uint32_t key, uint64_t seen, uint64_t start, uint64_t end)
{
    struct history_op *op = add(story, session, HISTORY_READ, start, end);

    op->key  = key;
    op->seen = value_of(seen);
}

static void found(struct story *story, uint32_t key, uint64_t value)
{
    story->after[key].value = value_of(value);
}

static enum verdict judge(struct story *story, const char *tier, enum oracle_crash crash, uint32_t can)
{
    struct kv_durability durability;
    struct oracle_case   input = {.record = &story->record, .before = story->before, .after = story->after, .keys = KEYS,
                                  .death_ns = story->death_ns};

    assert_int_equal(kv_durability_parse(tier, &durability), KV_OK);
    input.promise = oracle_promise_of(durability, crash, can);
    assert_true(oracle_judge(&input, &story->verdict));
    return story->verdict.verdict;
}

#define assert_verdict(story, tier, crash, verdict) \
    assert_string_equal(verdict_word(judge(story, tier, crash, 0)), verdict_word(verdict))

static void a_life_without_operations_is_held(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    assert_verdict(&story, "commit", ORACLE_POWER, VERDICT_HELD);
}

static void an_acknowledged_write_that_is_there_is_held(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 3, 101, 1, 2);
    put(&story, 0, 3, 102, 3, 4);
    found(&story, 3, 102);
    assert_verdict(&story, "commit", ORACLE_POWER, VERDICT_HELD);
}

static void an_acknowledged_write_that_is_gone_is_lost(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 3, 101, 1, 2);
    assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_LOST);
    assert_int_equal(story.verdict.key, 3);
    assert_int_equal(story.verdict.bad, 1);
    assert_true(story.verdict.expected[0] && story.verdict.found[0] && story.verdict.why[0]);
}

static void an_overwritten_value_does_not_replace_an_acknowledged_one(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 3, 101, 1, 2);
    put(&story, 1, 3, 102, 3, 4);
    found(&story, 3, 101);
    assert_verdict(&story, "process", ORACLE_KILL, VERDICT_LOST);
}

static void what_the_life_began_with_must_stay_when_nobody_wrote(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    story.before[2] = value_of(500);
    assert_verdict(&story, "none", ORACLE_POWER, VERDICT_LOST);
    found(&story, 2, 500);
    assert_verdict(&story, "none", ORACLE_POWER, VERDICT_HELD);
}

static void of_two_concurrent_writes_either_may_be_last(void **state)
{
    struct story story;

    (void)state;
    for (uint64_t winner = 101; winner <= 102; winner++) {
        begin(&story);
        put(&story, 0, 3, 101, 1, 10);
        put(&story, 1, 3, 102, 2, 5);
        found(&story, 3, winner);
        assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_HELD);
    }
}

static void a_write_that_never_returned_may_be_there_or_not(void **state)
{
    struct story story;

    (void)state;
    for (int there = 0; there < 2; there++) {
        begin(&story);
        put(&story, 0, 3, 101, 1, 2);
        put(&story, 1, 3, 102, 3, 0);
        found(&story, 3, there ? 102 : 101);
        assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_HELD);
    }
}

static void a_write_that_never_returned_may_land_after_later_ones(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 3, 101, 1, 0);
    put(&story, 1, 3, 102, 3, 4);
    found(&story, 3, 101);
    assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_HELD);
}

static void a_write_that_failed_may_be_there_or_not(void **state)
{
    struct story story;

    (void)state;
    for (int there = 0; there < 2; there++) {
        begin(&story);
        put(&story, 0, 3, 101, 1, 2)->status = KV_IO;
        found(&story, 3, there ? 101 : NONE);
        assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_HELD);
    }
}

static void a_deleted_key_that_is_back_is_resurrected(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 3, 101, 1, 2);
    put(&story, 0, 3, NONE, 3, 4);
    found(&story, 3, 101);
    assert_verdict(&story, "process", ORACLE_KILL, VERDICT_RESURRECTED);
}

static void a_key_of_the_life_before_that_was_deleted_and_is_back_is_resurrected(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    story.before[3] = value_of(900);
    put(&story, 0, 3, NONE, 3, 4);
    found(&story, 3, 900);
    assert_verdict(&story, "process", ORACLE_KILL, VERDICT_RESURRECTED);
}

static void a_genuine_value_of_a_forgotten_life_is_lost_or_resurrected(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    found(&story, 3, 777);
    story.after[3].genuine = true;
    assert_verdict(&story, "process", ORACLE_KILL, VERDICT_RESURRECTED);
    put(&story, 0, 3, 101, 1, 2);
    assert_verdict(&story, "process", ORACLE_KILL, VERDICT_LOST);
}

static void a_value_that_nobody_wrote_is_corrupt(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 3, 101, 1, 2);
    found(&story, 3, 999);
    assert_verdict(&story, "none", ORACLE_POWER, VERDICT_CORRUPT);
    assert_verdict(&story, "process", ORACLE_POWER, VERDICT_CORRUPT);
}

static void a_value_of_another_key_is_corrupt(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 3, 101, 1, 2);
    put(&story, 0, 4, 102, 3, 4);
    found(&story, 3, 101);
    found(&story, 4, 101);
    assert_verdict(&story, "process", ORACLE_POWER, VERDICT_CORRUPT);
    assert_non_null(strstr(story.verdict.why, "key 3"));
}

static void a_value_found_before_it_was_written_is_not_held(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 3, 101, 1, 2);
    get(&story, 1, 3, 102, 3, 4);
    put(&story, 0, 3, 102, 5, 6);
    found(&story, 3, 102);
    assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_CORRUPT);
}

static void a_get_that_fails_is_not_held(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 3, 101, 1, 2);
    story.after[3] = (struct oracle_found){.value.state = HISTORY_FAILED, .status = KV_CORRUPT};
    assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_CORRUPT);
    assert_verdict(&story, "process", ORACLE_POWER, VERDICT_HELD); /* an explicit error, where nothing is promised */
}

static void the_gravest_verdict_is_told(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 1, 101, 1, 2);
    put(&story, 0, 5, 102, 3, 4);
    found(&story, 5, 999);
    assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_CORRUPT);
    assert_int_equal(story.verdict.key, 5);
    assert_int_equal(story.verdict.bad, 2);
}

/* Prefixes and horizons. */

static void without_a_sync_an_empty_prefix_is_held(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 1, 101, 1, 2);
    put(&story, 0, 2, 102, 3, 4);
    assert_verdict(&story, "none", ORACLE_KILL, VERDICT_HELD);
    assert_verdict(&story, "none", ORACLE_POWER, VERDICT_HELD);
    assert_verdict(&story, "ordered", ORACLE_POWER, VERDICT_HELD);
    assert_verdict(&story, "process", ORACLE_POWER, VERDICT_HELD);
    assert_verdict(&story, "ordered", ORACLE_KILL, VERDICT_LOST);
    assert_verdict(&story, "commit", ORACLE_POWER, VERDICT_LOST);
}

static void a_later_write_without_the_earlier_one_is_a_hole(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 1, 101, 1, 2);
    put(&story, 1, 2, 102, 3, 4);
    found(&story, 2, 102);
    assert_verdict(&story, "none", ORACLE_KILL, VERDICT_HOLE);
    assert_verdict(&story, "ordered", ORACLE_POWER, VERDICT_HOLE);
    assert_verdict(&story, "process", ORACLE_POWER, VERDICT_HELD);
}

static void a_write_that_never_returned_and_is_there_makes_a_hole_too(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 1, 101, 1, 2);
    put(&story, 1, 2, 102, 3, 0);
    found(&story, 2, 102);
    assert_verdict(&story, "ordered", ORACLE_POWER, VERDICT_HOLE);
}

static void a_concurrent_write_makes_no_hole(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 1, 101, 1, 4);
    put(&story, 1, 2, 102, 3, 5);
    found(&story, 2, 102);
    assert_verdict(&story, "ordered", ORACLE_POWER, VERDICT_HELD);
}

static void an_earlier_write_may_be_covered_by_a_later_one(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 1, 101, 1, 2);
    put(&story, 0, 2, 102, 3, 4);
    put(&story, 1, 1, 103, 5, 0);
    found(&story, 2, 102);
    found(&story, 1, 103);
    assert_verdict(&story, "ordered", ORACLE_POWER, VERDICT_HELD);
}

static void a_missing_delete_is_a_hole(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    story.before[1] = value_of(500);
    put(&story, 0, 1, NONE, 1, 2);
    put(&story, 0, 2, 102, 3, 4);
    found(&story, 1, 500);
    found(&story, 2, 102);
    assert_verdict(&story, "ordered", ORACLE_POWER, VERDICT_HOLE);
}

static void a_prefix_of_sessions_allows_holes_between_them_only(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 1, 101, 1, 2);
    put(&story, 1, 2, 102, 3, 4);
    found(&story, 2, 102);
    assert_int_equal(judge(&story, "none", ORACLE_KILL, KV_PREFIX_SESSION), VERDICT_HELD);
    put(&story, 0, 3, 103, 5, 6);
    found(&story, 3, 103);
    assert_int_equal(judge(&story, "none", ORACLE_KILL, KV_PREFIX_SESSION), VERDICT_HOLE);
}

static void what_was_acknowledged_before_a_sync_is_there(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 1, 101, 1, 2);
    add(&story, 1, HISTORY_SYNC, 3, 4);
    put(&story, 0, 2, 102, 5, 6);
    assert_verdict(&story, "none", ORACLE_KILL, VERDICT_LOST);
    assert_verdict(&story, "ordered", ORACLE_POWER, VERDICT_LOST);
    assert_verdict(&story, "process", ORACLE_POWER, VERDICT_LOST);
    assert_int_equal(judge(&story, "none", ORACLE_KILL, KV_PREFIX_SESSION), VERDICT_LOST);
    found(&story, 1, 101);
    assert_verdict(&story, "none", ORACLE_KILL, VERDICT_HELD);
}

static void a_sync_that_failed_or_never_returned_promises_nothing(void **state)
{
    struct story story;

    (void)state;
    for (int failed = 0; failed < 2; failed++) {
        begin(&story);
        put(&story, 0, 1, 101, 1, 2);
        add(&story, 1, HISTORY_SYNC, 3, failed ? 4 : 0)->status = KV_IO;
        assert_verdict(&story, "none", ORACLE_KILL, VERDICT_HELD);
    }
}

static void a_write_concurrent_with_a_sync_is_not_promised(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 1, 101, 1, 4);
    add(&story, 1, HISTORY_SYNC, 3, 5);
    assert_verdict(&story, "none", ORACLE_KILL, VERDICT_HELD);
}

static void an_interval_keeps_what_is_older_than_it(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 1, 101, 1, 2)->end_ns = NS_PER_S;
    put(&story, 0, 2, 102, 3, 4)->end_ns = 5 * NS_PER_S;
    story.death_ns = 5 * NS_PER_S + NS_PER_MS;
    assert_verdict(&story, "interval:1s", ORACLE_POWER, VERDICT_LOST);
    assert_int_equal(story.verdict.key, 1);
    assert_verdict(&story, "interval:10s", ORACLE_POWER, VERDICT_HELD);
    found(&story, 1, 101);
    assert_verdict(&story, "interval:1s", ORACLE_POWER, VERDICT_HELD);
    assert_verdict(&story, "interval:1s", ORACLE_KILL, VERDICT_LOST);
}

static void a_write_is_not_acknowledged_when_an_older_one_waits_longer_than_the_interval(void **state)
{
    struct story       story;
    struct history_op *old, *young;

    (void)state;
    begin(&story);
    old = put(&story, 0, 1, 101, 1, 2);
    young = put(&story, 0, 2, 102, 3, 4);
    old->end_ns = NS_PER_S;
    young->start_ns = NS_PER_S + 5 * NS_PER_MS;
    young->end_ns = story.death_ns = NS_PER_S + 6 * NS_PER_MS;
    assert_verdict(&story, "interval:5ms", ORACLE_POWER, VERDICT_LOST);
    assert_int_equal(story.verdict.key, 1);
    young->start_ns--;
    assert_verdict(&story, "interval:5ms", ORACLE_POWER, VERDICT_HELD);
    young->start_ns++;
    young->end = 0; /* it was held back */
    assert_verdict(&story, "interval:5ms", ORACLE_POWER, VERDICT_HELD);
}

/* Batches. */

static struct history_op *batch(struct story *story, uint32_t session, uint64_t start, uint64_t end)
{
    struct history_op *op = add(story, session, HISTORY_WRITE, start, end);

    also(story, op, 1, 201);
    also(story, op, 2, 202);
    also(story, op, 3, NONE);
    return op;
}

static void a_batch_that_never_returned_is_there_in_whole_or_not_at_all(void **state)
{
    struct story story;

    (void)state;
    for (int there = 0; there < 2; there++) {
        begin(&story);
        story.before[3] = value_of(503);
        batch(&story, 0, 1, 0);
        found(&story, 1, there ? 201 : NONE);
        found(&story, 2, there ? 202 : NONE);
        found(&story, 3, there ? NONE : 503);
        assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_HELD);
    }
}

static void half_a_batch_is_a_hole(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    batch(&story, 0, 1, 0);
    found(&story, 1, 201);
    assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_HOLE);
    assert_verdict(&story, "none", ORACLE_POWER, VERDICT_HOLE);
}

static void a_batch_without_its_delete_is_a_hole(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    story.before[3] = value_of(503);
    batch(&story, 0, 1, 0);
    found(&story, 1, 201);
    found(&story, 2, 202);
    found(&story, 3, 503);
    assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_HOLE);
}

static void a_batch_may_be_overwritten_in_part(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    batch(&story, 0, 1, 4);
    put(&story, 1, 2, 302, 3, 6);
    found(&story, 1, 201);
    found(&story, 2, 302);
    assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_HELD);
}

static void the_last_write_of_a_key_in_a_batch_counts(void **state)
{
    struct story       story;
    struct history_op *op;

    (void)state;
    begin(&story);
    op = add(&story, 0, HISTORY_WRITE, 1, 2);
    also(&story, op, 1, 201);
    also(&story, op, 1, 202);
    found(&story, 1, 202);
    assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_HELD);
    found(&story, 1, 201);
    assert_int_not_equal(judge(&story, "commit", ORACLE_KILL, 0), VERDICT_HELD);
}

/* Values that are equal. */

static void equal_small_values_accuse_nobody(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 1, 7, 1, 2);
    put(&story, 0, 1, 102, 3, 4);
    put(&story, 1, 2, 103, 5, 6);
    put(&story, 0, 1, 7, 7, 8);
    found(&story, 1, 7); /* the first of them makes no hole, the second loses nothing */
    assert_verdict(&story, "ordered", ORACLE_POWER, VERDICT_HELD);
    found(&story, 2, 103);
    assert_verdict(&story, "commit", ORACLE_POWER, VERDICT_HELD);
}

/* While the life ran. */

static void a_read_that_misses_an_acknowledged_write_is_lost(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 1, 101, 1, 2);
    put(&story, 0, 1, 102, 3, 4);
    get(&story, 1, 1, 101, 5, 6);
    found(&story, 1, 102);
    assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_LOST);
}

static void a_read_that_shows_what_was_deleted_is_resurrected(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 1, 101, 1, 2);
    put(&story, 0, 1, NONE, 3, 4);
    get(&story, 1, 1, 101, 5, 6);
    assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_RESURRECTED);
}

static void a_read_beside_writes_may_show_any_of_them(void **state)
{
    struct story story;

    (void)state;
    for (uint64_t seen = 101; seen <= 103; seen++) {
        begin(&story);
        put(&story, 0, 1, 101, 1, 2);
        put(&story, 0, 1, 102, 4, 9);
        put(&story, 1, 1, 103, 5, 0);
        get(&story, 2, 1, seen, 3, 7);
        found(&story, 1, 102);
        assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_HELD);
    }
}

static void two_modifies_of_the_same_old_value_lose_one(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    put(&story, 0, 1, 101, 1, 2);
    modify(&story, 0, 1, 101, 102, 3, 5);
    modify(&story, 1, 1, 102, 103, 4, 6);
    found(&story, 1, 103);
    assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_HELD);
    story.ops[2].seen = value_of(101);
    assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_LOST);
}

static void a_modify_of_a_value_that_never_was_is_corrupt(void **state)
{
    struct story story;

    (void)state;
    begin(&story);
    modify(&story, 0, 1, 999, 102, 1, 2);
    found(&story, 1, 102);
    assert_verdict(&story, "commit", ORACLE_KILL, VERDICT_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life_without_operations_is_held),
        cmocka_unit_test(an_acknowledged_write_that_is_there_is_held),
        cmocka_unit_test(an_acknowledged_write_that_is_gone_is_lost),
        cmocka_unit_test(an_overwritten_value_does_not_replace_an_acknowledged_one),
        cmocka_unit_test(what_the_life_began_with_must_stay_when_nobody_wrote),
        cmocka_unit_test(of_two_concurrent_writes_either_may_be_last),
        cmocka_unit_test(a_write_that_never_returned_may_be_there_or_not),
        cmocka_unit_test(a_write_that_never_returned_may_land_after_later_ones),
        cmocka_unit_test(a_write_that_failed_may_be_there_or_not),
        cmocka_unit_test(a_deleted_key_that_is_back_is_resurrected),
        cmocka_unit_test(a_key_of_the_life_before_that_was_deleted_and_is_back_is_resurrected),
        cmocka_unit_test(a_genuine_value_of_a_forgotten_life_is_lost_or_resurrected),
        cmocka_unit_test(a_value_that_nobody_wrote_is_corrupt),
        cmocka_unit_test(a_value_of_another_key_is_corrupt),
        cmocka_unit_test(a_value_found_before_it_was_written_is_not_held),
        cmocka_unit_test(a_get_that_fails_is_not_held),
        cmocka_unit_test(the_gravest_verdict_is_told),
        cmocka_unit_test(without_a_sync_an_empty_prefix_is_held),
        cmocka_unit_test(a_later_write_without_the_earlier_one_is_a_hole),
        cmocka_unit_test(a_write_that_never_returned_and_is_there_makes_a_hole_too),
        cmocka_unit_test(a_concurrent_write_makes_no_hole),
        cmocka_unit_test(an_earlier_write_may_be_covered_by_a_later_one),
        cmocka_unit_test(a_missing_delete_is_a_hole),
        cmocka_unit_test(a_prefix_of_sessions_allows_holes_between_them_only),
        cmocka_unit_test(what_was_acknowledged_before_a_sync_is_there),
        cmocka_unit_test(a_sync_that_failed_or_never_returned_promises_nothing),
        cmocka_unit_test(a_write_concurrent_with_a_sync_is_not_promised),
        cmocka_unit_test(an_interval_keeps_what_is_older_than_it),
        cmocka_unit_test(a_write_is_not_acknowledged_when_an_older_one_waits_longer_than_the_interval),
        cmocka_unit_test(a_batch_that_never_returned_is_there_in_whole_or_not_at_all),
        cmocka_unit_test(half_a_batch_is_a_hole),
        cmocka_unit_test(a_batch_without_its_delete_is_a_hole),
        cmocka_unit_test(a_batch_may_be_overwritten_in_part),
        cmocka_unit_test(the_last_write_of_a_key_in_a_batch_counts),
        cmocka_unit_test(equal_small_values_accuse_nobody),
        cmocka_unit_test(a_read_that_misses_an_acknowledged_write_is_lost),
        cmocka_unit_test(a_read_that_shows_what_was_deleted_is_resurrected),
        cmocka_unit_test(a_read_beside_writes_may_show_any_of_them),
        cmocka_unit_test(two_modifies_of_the_same_old_value_lose_one),
        cmocka_unit_test(a_modify_of_a_value_that_never_was_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
