/* t_crash_parts.c -- the parts of the crash tester that can be held alone: notes, keys, trees, kept failures, surveys. */
#include "crashtest/campaign.h"
#include "crashtest/history.h"
#include "crashtest/judge.h"
#include "crashtest/kept.h"
#include "crashtest/tree.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/child.h"
#include "common/clock.h"

static char root[256];

/* Lent until the fourth call from now. */
static const char *path_in(const char *name)
{
    static char paths[4][512];
    static int  next;
    char       *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

static int make_root(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    snprintf(root, sizeof root, "%s/assay-t-crash-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    return tree_remove(root) ? 0 : -1;
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* History. */

static void starts_and_ends_are_in_one_order(void **state)
{
    struct history       *history = history_new(2, 8);
    struct history_write  write = {.key = 3, .value = history_value_of(slice_text("x"))};
    struct history_record record;
    struct history_op    *a, *b;

    (void)state;
    assert_non_null(history);
    a = history_start(history, 0, HISTORY_WRITE, 3, &write, 1);
    b = history_start(history, 1, HISTORY_SYNC, UINT32_MAX, NULL, 0);
    history_end(history, b, KV_OK);
    history_end(history, a, KV_OK);
    assert_true(a->start < b->start && b->start < b->end && b->end < a->end);
    assert_int_equal(history->acked_writes, 1); /* a sync is no write */
    assert_true(history_collect(history, &record));
    assert_int_equal(record.op_count, 2);
    assert_int_equal(record.ops[0].kind, HISTORY_WRITE);
    assert_int_equal(record.writes[record.ops[0].first_write].key, 3);
    history_record_free(&record);
    history_free(history);
}

static void a_session_has_room_for_so_many_operations_and_no_more(void **state)
{
    struct history *history = history_new(1, 2);

    (void)state;
    assert_non_null(history_start(history, 0, HISTORY_SYNC, 0, NULL, 0));
    assert_non_null(history_start(history, 0, HISTORY_SYNC, 0, NULL, 0));
    assert_null(history_start(history, 0, HISTORY_SYNC, 0, NULL, 0));
    history_clear(history);
    assert_non_null(history_start(history, 0, HISTORY_SYNC, 0, NULL, 0));
    history_free(history);
}

static int note_and_die(void *arg)
{
    struct history_write write = {.key = 1, .value = {.state = HISTORY_ABSENT}};
    struct history_op   *op = history_start(arg, 0, HISTORY_WRITE, 1, &write, 1);

    history_end(arg, op, KV_OK);
    history_start(arg, 0, HISTORY_WRITE, 1, &write, 1);
    history_broken(arg, KV_CORRUPT, "the first sentence");
    history_broken(arg, KV_IO, "the second sentence");
    raise(SIGKILL);
    return 0;
}

static void what_a_child_noted_outlives_it(void **state)
{
    struct history       *history = history_new(1, 8);
    struct history_record record;
    pid_t                 pid = child_start(note_and_die, history);

    (void)state;
    assert_int_equal(child_wait(pid, 0).end, CHILD_SIGNALLED);
    assert_true(history_collect(history, &record));
    assert_int_equal(record.op_count, 2);
    assert_true(record.ops[0].end != 0 && record.ops[1].start > record.ops[0].end && record.ops[1].end == 0);
    assert_int_equal(history->broken_status, KV_CORRUPT);
    assert_string_equal(history->broken_text, "the first sentence");
    history_record_free(&record);
    history_free(history);
}

static void a_cut_takes_back_what_had_not_happened_yet(void **state)
{
    uint64_t              position = 5;
    struct history       *history = history_new(1, 8);
    struct history_record record;
    struct history_op    *op;

    (void)state;
    history->position = &position;
    op = history_start(history, 0, HISTORY_READ, 0, NULL, 0); /* 5 to 7 */
    op->seen.state = HISTORY_ABSENT;
    position = 7;
    history_end(history, op, KV_OK);
    op = history_start(history, 0, HISTORY_READ, 0, NULL, 0); /* 7 to 9 */
    op->seen.state = HISTORY_ABSENT;
    position = 9;
    history_end(history, op, KV_OK);
    history_start(history, 0, HISTORY_READ, 0, NULL, 0);      /* 9, never ended */
    assert_true(history_collect(history, &record));
    history_record_cut(&record, 8);
    assert_int_equal(record.op_count, 2);
    assert_true(record.ops[0].end && record.ops[0].seen.state == HISTORY_ABSENT);
    assert_true(!record.ops[1].end && record.ops[1].seen.state == HISTORY_UNSEEN);
    history_record_cut(&record, 4);
    assert_int_equal(record.op_count, 0);
    history_record_free(&record);
    history_free(history);
}

/* Keys. */

static void keys_differ_and_are_found_again(void **state)
{
    static const uint32_t limits[] = {13, 64, 65535};

    (void)state;
    for (size_t l = 0; l < 3; l++) {
        struct keyspace *keys = keyspace_new(KEYSPACE_MAX, limits[l]);
        assert_non_null(keys);
        for (uint32_t k = 0; k < keys->count; k += 7)
            assert_int_equal(keyspace_number(keys, keyspace_key(keys, k)), k);
        for (uint32_t k = 0; k < 400; k++) {
            assert_true(keys->key[k].size >= 1 && keys->key[k].size <= limits[l]);
            assert_int_equal(keyspace_number(keys, keyspace_key(keys, k)), k);
        }
        assert_int_equal(keyspace_number(keys, slice_text("nobody's")), UINT32_MAX);
        free(keys);
    }
    assert_null(keyspace_new(1, 8));
    assert_null(keyspace_new(0, 64));
}

/* Trees. */

static void a_copied_tree_has_the_same_bytes_and_holes(void **state)
{
    char        big[10000], back[10000];
    struct stat about, copied;
    FILE       *file;

    (void)state;
    memset(big, 'x', sizeof big);
    assert_int_equal(mkdir(path_in("from"), 0777), 0);
    assert_int_equal(mkdir(path_in("from/below"), 0777), 0);
    write_file(path_in("from/below/big"), big, sizeof big);
    write_file(path_in("from/empty"), "", 0);
    write_file(path_in("from/holes"), "head", 4);
    assert_int_equal(truncate(path_in("from/holes"), 1 << 20), 0);
    assert_int_equal(symlink("below/big", path_in("from/link")), 0);
    assert_true(tree_copy(path_in("from"), path_in("to")));
    assert_int_equal(stat(path_in("to/holes"), &copied), 0);
    assert_int_equal(stat(path_in("from/holes"), &about), 0);
    assert_int_equal(copied.st_size, 1 << 20);
    assert_true(copied.st_blocks <= about.st_blocks + 8);
    file = fopen(path_in("to/link"), "re");
    assert_non_null(file);
    assert_int_equal(fread(back, 1, sizeof back, file), sizeof back);
    assert_memory_equal(big, back, sizeof back);
    fclose(file);
    assert_true(tree_remove(path_in("to")));
    assert_int_not_equal(access(path_in("to"), F_OK), 0);
    assert_true(tree_remove(path_in("to")));
    assert_false(tree_copy(path_in("nowhere"), path_in("to")));
}

/* Kept failures. */

static struct kept *some_failure(struct history_op *ops, struct history_write *writes, struct history_value *before)
{
    struct kept *kept = calloc(1, sizeof *kept);

    ops[0]    = (struct history_op){.start = 1, .end = 2, .kind = HISTORY_WRITE, .write_count = 1};
    writes[0] = (struct history_write){.key = 1, .value = history_value_of(slice_text("v"))};
    before[0] = before[1] = (struct history_value){.state = HISTORY_ABSENT};
    strcpy(kept->engine, "skeleton");
    kept->durability    = (struct kv_durability){KV_TIER_INTERVAL, 5 * NS_PER_MS};
    kept->key_count     = 2;
    kept->key_bytes_max = 100;
    kept->seed          = 7;
    kept->life          = 3;
    kept->abrupt        = true;
    kept->timeout_ns    = NS_PER_S;
    kept->record        = (struct history_record){ops, 1, writes, 1};
    kept->before        = before;
    kept->verdict.verdict = VERDICT_LOST;
    strcpy(kept->option_name[0], "buckets");
    strcpy(kept->option_value[0], "16");
    kept->option_count = 1;
    return kept;
}

static void a_kept_failure_is_read_back_as_it_was(void **state)
{
    struct history_op    ops[1];
    struct history_write writes[1];
    struct history_value before[2];
    struct kept         *kept = some_failure(ops, writes, before), *back = calloc(1, sizeof *back);

    (void)state;
    assert_int_equal(mkdir(path_in("image"), 0777), 0);
    write_file(path_in("image/data"), "bytes", 5);
    assert_true(kept_save(kept, path_in("image"), path_in("kept")));
    assert_int_equal(access(path_in("kept/image/data"), F_OK), 0);
    assert_int_equal(access(path_in("kept/verdict.txt"), F_OK), 0);
    assert_true(kept_load(path_in("kept"), back));
    assert_string_equal(back->engine, "skeleton");
    assert_int_equal(back->durability.interval_ns, 5 * NS_PER_MS);
    assert_true(back->key_count == 2 && back->seed == 7 && back->life == 3 && back->abrupt);
    assert_int_equal(back->verdict.verdict, VERDICT_LOST);
    assert_int_equal(back->record.op_count, 1);
    assert_memory_equal(back->record.ops, ops, sizeof ops);
    assert_memory_equal(back->record.writes, writes, sizeof writes);
    assert_string_equal(back->option_value[0], "16");
    kept_free(back);
    free(back);
    free(kept);
}

/* Every byte matters, and none is believed before it is checked. */
static void a_changed_or_cut_history_is_refused(void **state)
{
    struct history_op    ops[1];
    struct history_write writes[1];
    struct history_value before[2];
    struct kept         *kept = some_failure(ops, writes, before), *back = calloc(1, sizeof *back);
    char                 path[512], bytes[1024];
    size_t               size;
    FILE                *file;

    (void)state;
    assert_int_equal(mkdir(path_in("image"), 0777), 0);
    assert_true(kept_save(kept, path_in("image"), path_in("kept")));
    snprintf(path, sizeof path, "%s", path_in("kept/history.bin"));
    file = fopen(path, "re");
    assert_non_null(file);
    size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 0x41;
        write_file(path, bytes, size);
        assert_false(kept_load(path_in("kept"), back));
        kept_free(back);
        bytes[i] ^= 0x41;
    }
    for (size_t cut = 0; cut < size; cut += 9) {
        write_file(path, bytes, cut);
        assert_false(kept_load(path_in("kept"), back));
        kept_free(back);
    }
    write_file(path_in("kept/run.json"), "{", 1);
    assert_false(kept_load(path_in("kept"), back));
    kept_free(back);
    free(back);
    free(kept);
}

/* Whole campaigns, small ones, without the recorder: these also run under sanitizers. */

static const struct kv_engine *engine_named(const char *name)
{
    const struct kv_engine *engine;

    return kv_engine_find(name, &engine) == KV_OK ? engine : NULL;
}

static void run_campaign(const char *engine, enum kv_tier tier, uint64_t lives, struct campaign_result *result)
{
    struct campaign_settings settings = {
        .engine = engine_named(engine), .engine_text = engine, .threads = 3, .keys = 16, .value_bytes_max = 8000, .ops = 60,
        .states = lives, .seed = 5, .timeout_ns = 60 * NS_PER_S, .dir = root, .store_dir = root, .image_dir = root,
        .mix = {.put = 50, .del = 14, .batch = 8, .modify = 8, .read = 12, .read_many = 3, .sync = 2, .compact = 0.5}};

    if (!settings.engine)
        skip();
    kv_config_init(settings.engine, &settings.config);
    for (const struct kv_option *option = settings.engine->options; option && option->name; option++)
        if (option->small)
            assert_int_equal(kv_config_set(settings.engine, &settings.config, option->name, option->small), KV_OK);
    settings.config.durability.tier = tier;
    assert_true(campaign_run(&settings, result));
}

static void an_engine_that_keeps_its_word_is_held(void **state)
{
    static const struct {
        const char  *engine;
        enum kv_tier tier;
    } rows[] = {{"skeleton", KV_TIER_PROCESS}, {"bitcask", KV_TIER_NONE}, {"bitcask", KV_TIER_COMMIT}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct campaign_result result;
        run_campaign(rows[i].engine, rows[i].tier, 8, &result);
        assert_int_equal(result.verdicts[VERDICT_HELD], 8);
        assert_int_equal(result.lives, 8);
        assert_int_equal(result.failure_count, 0);
        assert_true(result.kills >= 7 && result.complete);
        campaign_result_free(&result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_and_ends_are_in_one_order),
        cmocka_unit_test(a_session_has_room_for_so_many_operations_and_no_more),
        cmocka_unit_test(what_a_child_noted_outlives_it),
        cmocka_unit_test(a_cut_takes_back_what_had_not_happened_yet),
        cmocka_unit_test(keys_differ_and_are_found_again),
        cmocka_unit_test_setup_teardown(a_copied_tree_has_the_same_bytes_and_holes, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_kept_failure_is_read_back_as_it_was, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_changed_or_cut_history_is_refused, make_root, remove_root),
        cmocka_unit_test_setup_teardown(an_engine_that_keeps_its_word_is_held, make_root, remove_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
