/*
 * t_bitcask.c -- the files of bitcask, and what it makes of them after a crash or with damage in them.
 *
 * A test named defect_NN holds off defect NN of the projects that came before.  A kill is an image: the files of an open
 * store, copied; to the kernel a kill is nothing else.
 */
#include "tests/bitcask_util.h"

#include <inttypes.h>

#include "engines/base/storedir.h"
#include "engines/bitcask/hint.h"
#include "engines/bitcask/segment.h"

#define SMALL "segment_bytes=4096 merge=false"

/* Where the records of a log file end: behind its last byte that is not zero. */
static size_t end_of(const char *bytes, size_t size)
{
    while (size > 0 && bytes[size - 1] == 0)
        size--;
    return (size + 7) & ~(size_t)7;
}

static char *last_log(const char *dir)
{
    char name[256];
    static char path[1024];

    assert_true(files(dir, ".log", name) > 0);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

/* Offset of the n-th last record. */
static size_t record_from_end(const char *bytes, size_t end, int n)
{
    size_t offsets[4096], count = 0;

    for (size_t offset = SEGMENT_FIRST; offset < end; offset += record_size((const struct record *)(bytes + offset)))
        offsets[count++] = offset;
    assert_true(count >= (size_t)n);
    return offsets[count - (size_t)n];
}

static void expect_keys(struct db *db, int whole, int all)
{
    char key[32], value[32];

    for (int i = 0; i < all; i++) {
        snprintf(key, sizeof key, "key%d", i);
        snprintf(value, sizeof value, "value%d", i);
        assert_string_equal(get(db, key), i < whole ? value : "(absent)");
    }
}

static void put_keys(struct db *db, int from, int to)
{
    char key[32], value[32];

    for (int i = from; i < to; i++) {
        snprintf(key, sizeof key, "key%d", i);
        snprintf(value, sizeof value, "value%d", i);
        put(db, key, value);
    }
}

/* ---- Torn tails. ---- */

enum tear { TEAR_CUT, TEAR_ZEROS, TEAR_RUBBISH };

static void defect_04_a_torn_tail_is_never_served(void **state)
{
    struct db db = open_db(at("db"), SMALL);
    size_t    size, end, third;
    char     *bytes, *torn;

    (void)state;
    put_keys(&db, 0, 12);
    copy_dir(at("db"), at("killed"));
    close_db(&db);
    bytes = read_file(last_log(at("killed")), &size);
    end = end_of(bytes, size);
    third = record_from_end(bytes, end, 3);
    torn = malloc(size);
    for (enum tear tear = TEAR_CUT; tear <= TEAR_RUBBISH; tear++) {
        for (size_t tail = third; tail < end; tail++) {
            int whole = tail < record_from_end(bytes, end, 2) ? 9 : tail < record_from_end(bytes, end, 1) ? 10 : 11;
            /* Padding is no part of a record's meaning. */
            const struct record *cut = (const struct record *)(bytes + record_from_end(bytes, end, 12 - whole));
            if ((const char *)cut + sizeof *cut + cut->key_size + cut->value_size <= bytes + tail && tear != TEAR_CUT)
                continue;
            memcpy(torn, bytes, size);
            memset(torn + tail, 0, size - tail);
            if (tear == TEAR_RUBBISH)
                memset(torn + tail, 0xa5, end - tail);
            write_file(last_log(at("killed")), torn, tear == TEAR_CUT ? tail : size);
            db = open_db(at("killed"), SMALL);
            expect_keys(&db, whole, 12);
            /* And the second open after it, with something written behind the cut. */
            put(&db, "after", "the cut");
            copy_dir(at("killed"), at("again"));
            close_db(&db);
            db = open_db(at("again"), SMALL);
            expect_keys(&db, whole, 12);
            assert_string_equal(get(&db, "after"), "the cut");
            close_db(&db);
            copy_dir(at("db"), at("killed"));
            remove(at("killed/00000001.hint")); /* of the clean close since */
        }
    }
    free(bytes);
    free(torn);
}

static void defect_05_a_torn_tail_neither_kills_this_open_nor_the_next(void **state)
{
    struct db db = open_db(at("db"), SMALL);
    size_t    size, end;
    char     *bytes;

    (void)state;
    put_keys(&db, 0, 5);
    for (int life = 0; life < 6; life++) {
        copy_dir(at("db"), at("killed"));
        close_db(&db);
        bytes = read_file(last_log(at("killed")), &size);
        end = end_of(bytes, size);
        bytes[end - 12] ^= 1; /* in the last record's value */
        write_file(last_log(at("killed")), bytes, size);
        free(bytes);
        remove_tree(at("db"));
        rename(at("killed"), at("db"));
        db = open_db(at("db"), SMALL);
        expect_keys(&db, 4 + life, 12);
        put_keys(&db, 4 + life, 6 + life);
    }
    close_db(&db);
}

static void a_torn_batch_leaves_nothing_of_it(void **state)
{
    struct db       db = open_db(at("db"), SMALL);
    struct kv_write batch[3] = {{KV_PUT, slice_text("key0"), slice_text("new0")},
                                {KV_DELETE, slice_text("key1"), {0}},
                                {KV_PUT, slice_text("key9"), slice_text("new9")}};
    size_t          size, end, first;
    char           *bytes;

    (void)state;
    put_keys(&db, 0, 3);
    must(kv_write(db.session, batch, 3));
    copy_dir(at("db"), at("killed"));
    close_db(&db);
    bytes = read_file(last_log(at("killed")), &size);
    end = end_of(bytes, size);
    first = record_from_end(bytes, end, 4);
    assert_int_equal(((struct record *)(bytes + first))->type, RECORD_BATCH);
    for (size_t tail = first; tail < end - 7; tail++) {
        copy_dir(at("db"), at("killed"));
        remove(at("killed/00000001.hint"));
        write_file(last_log(at("killed")), bytes, tail);
        db = open_db(at("killed"), SMALL);
        expect_keys(&db, 3, 10);
        close_db(&db);
    }
    free(bytes);
}

static void what_lies_behind_a_cut_never_comes_back(void **state)
{
    struct db db = open_db(at("db"), SMALL);
    size_t    size, end, tail;
    char     *bytes, *now;

    (void)state;
    put_keys(&db, 0, 10);
    copy_dir(at("db"), at("killed"));
    close_db(&db);
    bytes = read_file(last_log(at("killed")), &size);
    end = end_of(bytes, size);
    tail = record_from_end(bytes, end, 5);
    bytes[tail + 30] ^= 1; /* key5; key6 to key9 are whole behind it */
    write_file(last_log(at("killed")), bytes, size);
    db = open_db(at("killed"), SMALL);
    expect_keys(&db, 5, 10);
    put(&db, "keyX", "value5"); /* the same sizes, the same sequence number, the same place as the one that was torn */
    copy_dir(at("killed"), at("again"));
    close_db(&db);
    now = read_file(last_log(at("again")), &size);
    assert_int_equal(end_of(now, size), record_from_end(bytes, end, 4));
    db = open_db(at("again"), SMALL);
    expect_keys(&db, 5, 10);
    assert_string_equal(get(&db, "keyX"), "value5");
    close_db(&db);
    free(bytes);
    free(now);
}

/* ---- Over segments. ---- */

static void a_hole_in_an_older_segment_ends_the_log_there(void **state)
{
    struct db db = open_db(at("db"), "segment_bytes=4096 merge=false hints=false tier=ordered");
    size_t    size;
    char      name[256], *bytes;

    (void)state;
    /* The background syncs sealed segments, so the first is made to look as if it had not: all claims that it was
     * durable are in later headers, and without those nothing was promised. */
    put_keys(&db, 0, 300);
    copy_dir(at("db"), at("killed"));
    close_db(&db);
    assert_true(files(at("killed"), ".log", name) >= 3);
    bytes = read_file(at("killed/00000001.log"), &size);
    memset(bytes + end_of(bytes, size) - 200, 0, 200);
    write_file(at("killed/00000001.log"), bytes, size);
    free(bytes);
    for (int id = 2; id < 10; id++) {
        snprintf(name, sizeof name, "killed/%08d.log", id);
        if (access(at(name), F_OK) != 0)
            continue;
        bytes = read_file(at(name), &size);
        struct segment_header *header = (struct segment_header *)bytes;
        if (header->version) {
            header->durable_seq = 0;
            header->sum = XXH3_64bits(header, offsetof(struct segment_header, sum));
        }
        write_file(at(name), bytes, size);
        free(bytes);
    }
    db = open_db(at("killed"), "segment_bytes=4096 merge=false");
    int whole = 0;
    while (strcmp(get(&db, (snprintf(name, sizeof name, "key%d", whole), name)), "(absent)") != 0)
        whole++;
    assert_in_range(whole, 50, 120); /* most of the first segment, nothing of the second */
    expect_keys(&db, whole, 300);
    put(&db, "key299", "value299"); /* and ids and sequence numbers go on without meeting what was dropped */
    copy_dir(at("killed"), at("again"));
    close_db(&db);
    db = open_db(at("again"), "segment_bytes=4096");
    expect_keys(&db, whole, 299);
    assert_string_equal(get(&db, "key299"), "value299");
    close_db(&db);
}

static void damage_below_what_was_durable_is_corruption(void **state)
{
    struct db db = open_db(at("db"), SMALL " hints=false");
    size_t    size;
    char     *bytes;

    (void)state;
    put_keys(&db, 0, 5);
    must(kv_sync(db.session)); /* leaves a mark behind it */
    put_keys(&db, 5, 8);
    copy_dir(at("db"), at("killed"));
    close_db(&db);
    bytes = read_file(last_log(at("killed")), &size);
    bytes[SEGMENT_FIRST + 40 + 26] ^= 1;
    write_file(last_log(at("killed")), bytes, size);
    assert_int_equal(try_open(at("killed"), SMALL, &db), KV_CORRUPT);
    assert_non_null(strstr(fail_text(), "killed/00000001.log at 104:"));
    /* The same with all of the log from there on missing: there is nothing left to tell by but the hint. */
    free(bytes);
}

static void a_missing_segment_is_noticed(void **state)
{
    struct db db = open_db(at("db"), SMALL);
    char      name[256], path[1024];

    (void)state;
    put_keys(&db, 0, 450);
    close_db(&db);
    int logs = files(at("db"), ".log", NULL);
    assert_true(logs > 3);
    for (int id = 1; id <= logs; id++) {
        copy_dir(at("db"), at("copy"));
        snprintf(name, sizeof name, "copy/%08d.log", id);
        if (remove(at(name)) != 0)
            continue;
        assert_int_equal(try_open(at("copy"), SMALL, &db), KV_CORRUPT);
        assert_non_null(strstr(fail_text(), "copy"));
    }
    db = open_db(at("db"), SMALL " merge_trigger=0.01");
    put_keys(&db, 0, 300);
    must(kv_compact(db.session));
    close_db(&db);
    assert_true(files(at("db"), ".merged", name) > 0);
    copy_dir(at("db"), at("copy"));
    snprintf(path, sizeof path, "%s/%s", at("copy"), name);
    assert_int_equal(remove(path), 0);
    assert_int_equal(try_open(at("copy"), SMALL, &db), KV_CORRUPT);
}

static void any_damaged_byte_gives_the_right_value_or_an_error(void **state)
{
    struct db      db = open_db(at("db"), SMALL);
    struct rng     rng;
    DIR           *list;
    struct dirent *entry;
    char           path[1024], target[1024];
    int            refused = 0, right = 0;

    (void)state;
    rng_seed(&rng, 1, 0);
    put_keys(&db, 0, 60);
    must(kv_del(db.session, slice_text("key60")));
    must(kv_compact(db.session));
    put_keys(&db, 30, 90);
    put_keys(&db, 0, 20);
    close_db(&db);
    list = opendir(at("db"));
    while ((entry = readdir(list)) != NULL) {
        size_t size;
        char  *bytes;
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "LOCK") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", at("db"), entry->d_name);
        bytes = read_file(path, &size);
        for (int i = 0; i < 120; i++) {
            size_t where = i < 80 && (size_t)i < size ? (size_t)i : rng_below(&rng, size);
            copy_dir(at("db"), at("rot"));
            snprintf(target, sizeof target, "%s/%s", at("rot"), entry->d_name);
            bytes[where] ^= (char)(1u << rng_below(&rng, 8));
            write_file(target, bytes, size);
            bytes[where] = 0;
            free(bytes);
            bytes = read_file(path, &size);
            kv_status status = try_open(at("rot"), SMALL, &db);
            if (status != KV_OK) {
                assert_true(status == KV_CORRUPT || status == KV_MISMATCH);
                assert_non_null(strstr(fail_text(), "/rot"));
                refused++;
                continue;
            }
            for (int k = 0; k < 90; k++) {
                char key[32], value[32];
                snprintf(key, sizeof key, "key%d", k);
                snprintf(value, sizeof value, "value%d", k);
                const char *got = get(&db, key);
                if (strcmp(got, "(corrupt)") == 0)
                    assert_non_null(strstr(fail_text(), " at "));
                else
                    assert_string_equal(got, value);
                right++;
            }
            close_db(&db);
        }
        free(bytes);
    }
    closedir(list);
    assert_true(refused > 50 && right > 5000);
}

/* ---- Tombstones and merges. ---- */

static void defect_08_a_deleted_key_stays_deleted_over_reopen_and_merge(void **state)
{
    struct db db = open_db(at("db"), SMALL);

    (void)state;
    put_keys(&db, 0, 100);
    for (int i = 0; i < 100; i += 2) {
        char key[32];
        snprintf(key, sizeof key, "key%d", i);
        must(kv_del(db.session, slice_text(key)));
    }
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 100; i++) {
            char key[32];
            snprintf(key, sizeof key, "key%d", i);
            assert_true((strcmp(get(&db, key), "(absent)") == 0) == (i % 2 == 0));
        }
        if (round == 1)
            must(kv_compact(db.session));
        close_db(&db);
        if (round == 2) { /* without hints the records themselves have to say it */
            char name[256], path[1024];
            while (files(at("db"), ".hint", name)) {
                snprintf(path, sizeof path, "%s/%s", at("db"), name);
                remove(path);
            }
        }
        db = open_db(at("db"), SMALL);
    }
    close_db(&db);
}

/* A tombstone in a merged segment, while the put that it buries lies in a segment that takes no part. */
static void a_tombstone_is_kept_while_something_older_remains(void **state)
{
    struct db db = open_db(at("db"), "segment_bytes=4096 merge=false");

    (void)state;
    put(&db, "buried", "old");
    put_keys(&db, 0, 90); /* first segment: mostly alive, so that no merge takes it */
    must(kv_del(db.session, slice_text("buried")));
    for (int i = 0; i < 60; i++)
        put_keys(&db, 100, 110); /* these die at once, and their segments are merged */
    close_db(&db);
    db = open_db(at("db"), "segment_bytes=4096 merge_trigger=0.6 merge_small_bytes=1");
    for (int i = 0; i < 2000 && kv_stat(db.store, "debt_bytes"); i++)
        usleep(1000);
    assert_true(kv_stat(db.store, "merges") > 0);
    assert_int_equal(access(at("db/00000001.log"), F_OK), 0);
    assert_string_equal(get(&db, "buried"), "(absent)");
    copy_dir(at("db"), at("killed"));
    close_db(&db);
    db = open_db(at("killed"), SMALL);
    assert_string_equal(get(&db, "buried"), "(absent)");
    must(kv_compact(db.session)); /* and when the put is gone, so is the tombstone */
    close_db(&db);
    db = open_db(at("killed"), SMALL);
    assert_string_equal(get(&db, "buried"), "(absent)");
    assert_int_equal(kv_stat(db.store, "live_keys"), 100);
    close_db(&db);
}

static void compact_gives_everything_dead_back(void **state)
{
    struct db db = open_db(at("db"), SMALL);

    (void)state;
    put_keys(&db, 0, 500);
    for (int i = 0; i < 500; i++) {
        char key[32];
        snprintf(key, sizeof key, "key%d", i);
        must(kv_del(db.session, slice_text(key)));
    }
    must(kv_compact(db.session));
    assert_int_equal(kv_stat(db.store, "live_keys"), 0);
    assert_int_equal(kv_stat(db.store, "live_bytes"), 0);
    assert_true(kv_stat(db.store, "log_bytes") < 1500); /* the lists of what was superseded */
    close_db(&db);
    db = open_db(at("db"), SMALL);
    assert_int_equal(kv_stat(db.store, "live_keys"), 0);
    put_keys(&db, 0, 5);
    expect_keys(&db, 5, 500);
    close_db(&db);
}

static void defect_11_a_merge_keeps_the_newest(void **state)
{
    struct db db = open_db(at("db"), SMALL);
    char      value[32];

    (void)state;
    for (int round = 0; round < 30; round++) {
        for (int i = 0; i < 40; i++) {
            char key[32];
            snprintf(key, sizeof key, "key%d", i);
            snprintf(value, sizeof value, "round%d", round);
            put(&db, key, value);
        }
        if (round % 7 == 3)
            must(kv_compact(db.session));
        if (round % 5 == 4) {
            close_db(&db);
            db = open_db(at("db"), SMALL);
        }
        for (int i = 0; i < 40; i++) {
            char key[32];
            snprintf(key, sizeof key, "key%d", i);
            assert_string_equal(get(&db, key), value);
        }
    }
    close_db(&db);
}

/* The states between the steps of a merge, made of the files before and after one. */
static void a_kill_anywhere_in_a_merge_leaves_the_same_data(void **state)
{
    struct db db = open_db(at("db"), SMALL);
    char      name[256], from[1024], to[1024];

    (void)state;
    put_keys(&db, 0, 150);
    put_keys(&db, 50, 150);
    for (int i = 0; i < 20; i++) {
        char key[32];
        snprintf(key, sizeof key, "key%d", 130 + i);
        must(kv_del(db.session, slice_text(key)));
    }
    close_db(&db);
    copy_dir(at("db"), at("before"));
    db = open_db(at("db"), SMALL);
    must(kv_compact(db.session));
    copy_dir(at("db"), at("after"));
    close_db(&db);
    assert_true(files(at("after"), ".merged", name) > 0);
    for (int step = 0; step < 8; step++) {
        bool temporary = step == 0;
        DIR *list = opendir(at("after"));
        copy_dir(at("before"), at("state"));
        for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
            bool merged = strstr(entry->d_name, ".merged") != NULL;
            if (!merged && strstr(entry->d_name, ".hint") == NULL)
                continue;
            if (!merged && step < 6)
                continue;
            snprintf(from, sizeof from, "%s/%s", at("after"), entry->d_name);
            snprintf(to, sizeof to, "%s/%s%s", at("state"), entry->d_name, temporary ? ".tmp" : "");
            copy_file(from, to);
        }
        closedir(list);
        for (int id = 1; id <= step - 1; id++) { /* some of the inputs are gone already; the directory was not synced */
            snprintf(name, sizeof name, "state/%08d.%s", id * 2 % 7, step % 2 ? "log" : "hint");
            remove(at(name));
        }
        for (int open = 0; open < 2; open++) {
            db = open_db(at("state"), SMALL);
            expect_keys(&db, 130, 150);
            assert_int_equal(kv_stat(db.store, "live_keys"), 130);
            if (!temporary)
                assert_int_equal(files(at("state"), "1.log", NULL), 0);
            assert_int_equal(files(at("state"), ".tmp", NULL), 0);
            close_db(&db);
        }
    }
}

/* What came after the last log segment may be in a merged one by now; then its numbers are not the next. */
static void the_log_goes_on_behind_what_was_merged(void **state)
{
    char      large[3000];
    struct db db = open_db(at("db"), "segment_bytes=4096 merge=false");

    (void)state;
    memset(large, 'x', sizeof large);
    must(kv_put(db.session, slice_text("first"), slice_of(large, 2600))); /* alive: no merge takes its segment */
    must(kv_put(db.session, slice_text("dead"), slice_of(large, sizeof large)));
    must(kv_del(db.session, slice_text("dead")));
    must(kv_compact(db.session));
    copy_dir(at("db"), at("killed"));
    close_db(&db);
    assert_int_equal(access(at("killed/00000001.log"), F_OK), 0);
    db = open_db(at("killed"), "segment_bytes=4096 merge=false");
    assert_string_equal(get(&db, "dead"), "(absent)");
    put(&db, "after", "the merge");
    must(kv_sync(db.session));
    copy_dir(at("killed"), at("killed again"));
    close_db(&db);
    db = open_db(at("killed again"), "segment_bytes=4096 merge=false");
    assert_string_equal(get(&db, "after"), "the merge");
    close_db(&db);
}

/* ---- Hints. ---- */

static void a_hint_of_less_than_the_segment_is_used_for_its_part(void **state)
{
    struct db db = open_db(at("db"), "merge=false");

    (void)state;
    put_keys(&db, 0, 50);
    close_db(&db);
    db = open_db(at("db"), "merge=false");
    put_keys(&db, 50, 80);
    put(&db, "key3", "newer");
    must(kv_del(db.session, slice_text("key4")));
    copy_dir(at("db"), at("killed")); /* with the hint of the first life */
    close_db(&db);
    assert_int_equal(files(at("killed"), ".hint", NULL), 1);
    db = open_db(at("killed"), "merge=false");
    assert_int_equal(kv_stat(db.store, "hint_loads"), 1);
    assert_string_equal(get(&db, "key3"), "newer");
    assert_string_equal(get(&db, "key4"), "(absent)");
    assert_string_equal(get(&db, "key79"), "value79");
    assert_int_equal(kv_stat(db.store, "live_keys"), 79);
    close_db(&db);
}

static void a_hint_that_does_not_belong_is_ignored(void **state)
{
    struct db db = open_db(at("db"), "merge=false"), other = open_db(at("other"), "merge=false");
    size_t    size;
    char     *bytes;

    (void)state;
    put_keys(&db, 0, 50);
    close_db(&db);
    put_keys(&other, 50, 100);
    close_db(&other);
    copy_dir(at("db"), at("copy"));
    copy_file(at("other/00000001.hint"), at("copy/00000001.hint")); /* same number, same lengths, another salt */
    db = open_db(at("copy"), "merge=false");
    assert_int_equal(kv_stat(db.store, "hint_loads"), 0);
    expect_keys(&db, 50, 100);
    close_db(&db);
    /* One that reaches farther than its segment: what it says was durable is missing, which is corruption. */
    copy_dir(at("db"), at("copy"));
    bytes = read_file(at("copy/00000001.log"), &size);
    write_file(at("copy/00000001.log"), bytes, size - 48);
    free(bytes);
    assert_int_equal(try_open(at("copy"), "merge=false", &db), KV_CORRUPT);
}

static void hints_and_records_recover_the_same(void **state)
{
    struct db db = open_db(at("db"), SMALL);
    char      name[256], path[1024];

    (void)state;
    put_keys(&db, 0, 200);
    put_keys(&db, 100, 150);
    must(kv_del(db.session, slice_text("key7")));
    close_db(&db);
    copy_dir(at("db"), at("bare"));
    while (files(at("bare"), ".hint", name)) {
        snprintf(path, sizeof path, "%s/%s", at("bare"), name);
        remove(path);
    }
    db = open_db(at("db"), SMALL);
    struct db bare = open_db(at("bare"), SMALL);
    assert_true(kv_stat(db.store, "hint_loads") > 2);
    assert_int_equal(kv_stat(bare.store, "hint_loads"), 0);
    const char *figures[] = {"live_keys", "live_bytes", "dead_bytes", "log_bytes", "segments"};
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        assert_int_equal(kv_stat(db.store, figures[i]), kv_stat(bare.store, figures[i]));
    close_db(&db);
    close_db(&bare);
}

/* ---- The rest of the list. ---- */

static void defect_02_and_23_what_is_acknowledged_is_with_the_kernel(void **state)
{
    struct db db = open_db(at("db"), SMALL), image;

    (void)state;
    for (int i = 0; i < 150; i++) {
        put_keys(&db, i, i + 1);
        copy_dir(at("db"), at("killed"));
        image = open_db(at("killed"), SMALL);
        expect_keys(&image, i + 1, i + 2);
        close_db(&image);
    }
    close_db(&db);
}

static void defect_03_each_commit_is_synced(void **state)
{
    struct db db = open_db(at("db"), "tier=commit segment_bytes=64k merge=false");
    uint64_t  before = kv_stat(db.store, "syncs");

    (void)state;
    put_keys(&db, 0, 20);
    assert_int_equal(kv_stat(db.store, "syncs") - before, 20);
    assert_true(kv_stat(db.store, "durable_seq") >= 20);
    close_db(&db);
    db = open_db(at("interval"), "tier=interval:2ms");
    put_keys(&db, 0, 1);
    for (int i = 0; i < 5000 && kv_stat(db.store, "durable_seq") == 0; i++)
        usleep(1000);
    assert_true(kv_stat(db.store, "durable_seq") > 0);
    uint64_t idle = kv_stat(db.store, "syncs");
    usleep(20000);
    assert_int_equal(kv_stat(db.store, "syncs"), idle); /* nothing to sync, no sync */
    close_db(&db);
}

static void defect_17_numbers_are_whole_names_in_numerical_order(void **state)
{
    struct db db = open_db(at("7db42"), SMALL);
    uint64_t  id;
    char      name[SEGMENT_NAME_MAX];

    (void)state;
    put_keys(&db, 0, 1500); /* more than nine segments */
    put_keys(&db, 0, 20);
    close_db(&db);
    write_file(at("7db42/3.log"), "x", 1);
    write_file(at("7db42/000000001.log"), "x", 1);
    write_file(at("7db42/00000001.log.bak"), "x", 1);
    write_file(at("7db42/notes99.txt"), "x", 1);
    db = open_db(at("7db42"), SMALL);
    expect_keys(&db, 1500, 1501);
    close_db(&db);
    assert_int_equal(access(at("7db42/3.log"), F_OK), 0); /* and nobody's files stay */
    assert_true(segment_parse_name("00000012.log", "log", &id) && id == 12);
    assert_true(segment_parse_name(segment_name(name, 1234567890123, "log"), "log", &id) && id == 1234567890123);
    assert_false(segment_parse_name("12.log", "log", &id));
    assert_false(segment_parse_name("00000000.log", "log", &id));
    assert_false(segment_parse_name("+0000012.log", "log", &id));
    assert_false(segment_parse_name("99999999999999999999999.log", "log", &id));
}

static void defect_20_an_open_without_a_write_changes_nothing(void **state)
{
    struct db db = open_db(at("db"), SMALL);
    size_t    size, again;
    char     *bytes, *same;

    (void)state;
    put_keys(&db, 0, 10);
    close_db(&db);
    bytes = read_file(last_log(at("db")), &size);
    for (int i = 0; i < 5; i++) {
        db = open_db(at("db"), i % 2 ? SMALL : SMALL " tier=commit");
        expect_keys(&db, 10, 11);
        copy_dir(at("db"), at("killed"));
        close_db(&db);
        same = read_file(last_log(i % 2 ? at("killed") : at("db")), &again);
        assert_int_equal(size, again);
        assert_memory_equal(bytes, same, size);
        free(same);
    }
    free(bytes);
}

static void defect_22_other_settings_read_the_same_store(void **state)
{
    static const char *const settings[] = {"segment_bytes=4096 merge=false", "segment_bytes=1M tier=commit",
                                           "segment_bytes=16k tier=interval:1ms hints=false", "verify_reads=false tier=none",
                                           "segment_bytes=5000 tier=ordered merge_trigger=0.1", "segment_bytes=4096"};
    struct db                db;

    (void)state;
    for (int i = 0; i < 6; i++) {
        db = open_db(at("db"), settings[i]);
        expect_keys(&db, i * 70, 500);
        put_keys(&db, i * 70, i * 70 + 70);
        must(kv_put(db.session, slice_text("same"), slice_text(settings[i])));
        if (i % 2)
            copy_dir(at("db"), at("next"));
        close_db(&db);
        if (i % 2) { /* a kill in between */
            remove_tree(at("db"));
            rename(at("next"), at("db"));
        }
        db = open_db(at("db"), settings[(i + 3) % 6]);
        assert_string_equal(get(&db, "same"), settings[i]);
        close_db(&db);
    }
}

/* Of every size of value that the sum treats in another way, every bit of the record and of its place. */
static void no_changed_bit_passes_a_records_sum(void **state)
{
    char     value[600], bytes[700];
    uint64_t place = UINT64_C(0x123456789abcdef0);

    (void)state;
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (char)(i * 7);
    for (size_t size = 0; size <= 600; size += size < 80 ? 1 : 130) {
        slice  key = slice_text("a key"), all = slice_of(value, size);
        size_t used = sizeof(struct record) + key.size + size;

        record_write(bytes, place, 7, RECORD_PUT, 0, key, XXH3_64bits(key.data, key.size), all);
        assert_true(record_check((struct record *)bytes, sizeof bytes, place));
        for (size_t bit = 0; bit < used * 8; bit++) {
            bytes[bit / 8] ^= (char)(1 << bit % 8);
            assert_false(record_check((struct record *)bytes, sizeof bytes, place));
            bytes[bit / 8] ^= (char)(1 << bit % 8);
        }
        for (unsigned bit = 0; bit < 64; bit++)
            assert_false(record_check((struct record *)bytes, sizeof bytes, place ^ UINT64_C(1) << bit));
        for (size_t i = 0; size >= 16 && i + 8 < size; i++) { /* bytes of two neighbours swapped: words, and the last ones */
            char *at = bytes + used - size + i, was[16];
            memcpy(was, at, sizeof was);
            memmove(at, was + 8, 1);
            memmove(at + 8, was, 1);
            assert_true(at[0] == was[0] || !record_check((struct record *)bytes, sizeof bytes, place));
            memcpy(at, was, sizeof was);
        }
    }
}

static void a_newer_format_is_refused_in_words(void **state)
{
    struct db db = open_db(at("db"), SMALL);
    size_t    size;
    char     *bytes;

    (void)state;
    put_keys(&db, 0, 3);
    close_db(&db);
    bytes = read_file(at("db/00000001.log"), &size);
    struct segment_header *header = (struct segment_header *)bytes;
    header->version++;
    header->sum = XXH3_64bits(header, offsetof(struct segment_header, sum));
    write_file(at("db/00000001.log"), bytes, size);
    free(bytes);
    assert_int_equal(try_open(at("db"), SMALL, &db), KV_MISMATCH);
    assert_non_null(strstr(fail_text(), "newer"));
}

/* Its records have other sums: every one of them would look damaged. */
static void an_older_format_is_refused_in_words(void **state)
{
    struct storedir_kind kind = {.engine = "bitcask", .format = 2};
    struct storedir      dir;
    struct db            db;

    (void)state;
    assert_int_equal(storedir_open(&dir, at("db"), &kind), KV_OK);
    storedir_close(&dir);
    assert_int_equal(try_open(at("db"), SMALL, &db), KV_MISMATCH);
    assert_non_null(strstr(fail_text(), "in format 2"));
}

static int descriptors(void)
{
    DIR *list = opendir("/proc/self/fd");
    int  count = 0;

    while (readdir(list))
        count++;
    closedir(list);
    return count;
}

static void defect_27_reopens_and_reads_leave_no_files_and_descriptors(void **state)
{
    struct db db = open_db(at("db"), SMALL);
    int       logs, open_now;

    (void)state;
    put_keys(&db, 0, 20);
    close_db(&db);
    logs = files(at("db"), "", NULL);
    open_now = descriptors();
    for (int i = 0; i < 30; i++) {
        db = open_db(at("db"), SMALL);
        if (i % 3 == 0)
            put_keys(&db, 0, 1);
        int with_store = descriptors();
        for (int j = 0; j < 100; j++)
            expect_keys(&db, 20, 20);
        assert_int_equal(descriptors(), with_store);
        close_db(&db);
        assert_int_equal(files(at("db"), "", NULL), logs);
        assert_int_equal(descriptors(), open_now);
    }
}

static void a_crash_during_creation_leaves_something_that_opens(void **state)
{
    static const char *const left[] = {"", "LOCK", "STORE.tmp", "LOCK STORE.tmp"};
    struct db                db;

    (void)state;
    for (int i = 0; i < 4; i++) {
        remove_tree(at("db"));
        mkdir(at("db"), 0755);
        if (strstr(left[i], "LOCK"))
            write_file(at("db/LOCK"), "", 0);
        if (strstr(left[i], "STORE"))
            write_file(at("db/STORE.tmp"), "assay st", 8);
        db = open_db(at("db"), SMALL);
        put_keys(&db, 0, 3);
        close_db(&db);
        assert_int_equal(files(at("db"), ".tmp", NULL), 0);
        db = open_db(at("db"), SMALL);
        expect_keys(&db, 3, 4);
        close_db(&db);
    }
}

static void a_record_larger_than_a_segment_gets_one_of_its_own(void **state)
{
    struct db db = open_db(at("db"), SMALL);
    size_t    size = 300000;
    char     *value = malloc(size), *got = calloc(1, 512);

    (void)state;
    memset(value, 'v', size);
    put_keys(&db, 0, 3);
    for (int i = 0; i < 3; i++) {
        must(kv_put(db.session, slice_text("large"), slice_of(value, size - (size_t)i)));
        put_keys(&db, 3, 40);
    }
    copy_dir(at("db"), at("killed"));
    close_db(&db);
    db = open_db(at("killed"), SMALL);
    expect_keys(&db, 40, 41);
    must(kv_get(db.session, slice_text("large"), take_value, got));
    assert_int_equal(kv_stat(db.store, "live_bytes"), 5 + size - 2 + 10 * (4 + 6) + 30 * (5 + 7));
    must(kv_compact(db.session));
    expect_keys(&db, 40, 41);
    close_db(&db);
    free(value);
    free(got);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        TEST(defect_04_a_torn_tail_is_never_served),
        TEST(defect_05_a_torn_tail_neither_kills_this_open_nor_the_next),
        TEST(a_torn_batch_leaves_nothing_of_it),
        TEST(what_lies_behind_a_cut_never_comes_back),
        TEST(a_hole_in_an_older_segment_ends_the_log_there),
        TEST(damage_below_what_was_durable_is_corruption),
        TEST(a_missing_segment_is_noticed),
        TEST(any_damaged_byte_gives_the_right_value_or_an_error),
        TEST(defect_08_a_deleted_key_stays_deleted_over_reopen_and_merge),
        TEST(a_tombstone_is_kept_while_something_older_remains),
        TEST(compact_gives_everything_dead_back),
        TEST(defect_11_a_merge_keeps_the_newest),
        TEST(a_kill_anywhere_in_a_merge_leaves_the_same_data),
        TEST(the_log_goes_on_behind_what_was_merged),
        TEST(a_hint_of_less_than_the_segment_is_used_for_its_part),
        TEST(a_hint_that_does_not_belong_is_ignored),
        TEST(hints_and_records_recover_the_same),
        TEST(defect_02_and_23_what_is_acknowledged_is_with_the_kernel),
        TEST(defect_03_each_commit_is_synced),
        TEST(defect_17_numbers_are_whole_names_in_numerical_order),
        TEST(defect_20_an_open_without_a_write_changes_nothing),
        TEST(defect_22_other_settings_read_the_same_store),
        TEST(no_changed_bit_passes_a_records_sum),
        TEST(a_newer_format_is_refused_in_words),
        TEST(an_older_format_is_refused_in_words),
        TEST(defect_27_reopens_and_reads_leave_no_files_and_descriptors),
        TEST(a_crash_during_creation_leaves_something_that_opens),
        TEST(a_record_larger_than_a_segment_gets_one_of_its_own),
    };

    return cmocka_run_group_tests_name("bitcask", tests, NULL, NULL);
}
