/* t_lsm.c -- the tree: known defects of other trees by name, and what it owes the system. */
#define ENGINE lsm_engine
#include "tests/bitcask_util.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Flushes after some tens of entries; merges soon. */
#define TINY "memtable_bytes=4096 level_bytes=16k table_bytes=8k small_bytes=8k runs=2 level_ratio=2 slowdown_runs=1000 stop_runs=1000 compression=none "

static const char *const policies[] = {"leveled", "size-tiered", "count-tiered"};

static struct db open_policy(int policy, const char *options)
{
    char text[256];

    snprintf(text, sizeof text, TINY "compaction=%s %s", policies[policy], options);
    return open_db(at("db"), text);
}

static void settle(struct db *db)
{
    while (kv_stat(db->store, "debt_bytes") > 0)
        usleep(1000);
}

static const char *key_text(const char *prefix, int number)
{
    static char text[4][64];
    static int  next;
    char       *out = text[next++ % 4];

    snprintf(out, sizeof text[0], "%s%04d", prefix, number);
    return out;
}

/* So many entries of other keys, which sort behind those of the tests: memtables fill, and are written out. */
static void push(struct db *db, int entries)
{
    static int round;
    char       value[200];

    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    round++;
    for (int i = 0; i < entries; i++)
        put(db, key_text("zzz", (round * 7919 + i) % 5000), value);
}

static void reopen(struct db *db, int policy)
{
    close_db(db);
    *db = open_policy(policy, "");
}

/* kevo dropped every tombstone in every merge: a key that lay deeper was back. */
static void defect_07_a_tombstone_is_kept_while_something_older_remains(void **state)
{
    (void)state;
    for (int policy = 0; policy < 3; policy++) {
        struct db db;
        uint64_t  compactions;
        remove_tree(at("db"));
        db = open_policy(policy, "");
        for (int i = 0; i < 200; i++)
            put(&db, key_text("key", i), "old");
        push(&db, 2000);
        settle(&db);
        must(kv_compact(db.session)); /* the puts lie at the bottom, some levels down or in a run much larger than others */
        compactions = kv_stat(db.store, "compactions");
        for (int i = 0; i < 200; i += 2)
            must(kv_del(db.session, slice_text(key_text("key", i))));
        for (int round = 0; round < 8; round++) {
            push(&db, 100);
            for (int i = 0; i < 200; i++)
                assert_string_equal(get(&db, key_text("key", i)), i % 2 ? "old" : "(absent)");
        }
        settle(&db);
        assert_true(kv_stat(db.store, "compactions") > compactions);
        reopen(&db, policy);
        must(kv_compact(db.session));
        for (int i = 0; i < 200; i++)
            assert_string_equal(get(&db, key_text("key", i)), i % 2 ? "old" : "(absent)");
        close_db(&db);
    }
}

/* crumbs' lsm lost what stood beside a tombstone. */
static void defect_09_the_neighbours_of_a_tombstone_live(void **state)
{
    (void)state;
    for (int policy = 0; policy < 3; policy++) {
        struct db db;
        remove_tree(at("db"));
        db = open_policy(policy, "block_bytes=64 restart_interval=2");
        for (int round = 0; round < 5; round++) {
            for (int i = 0; i < 300; i++)
                put(&db, key_text("key", i), key_text("value", i + round));
            for (int i = round; i < 300; i += 5)
                must(kv_del(db.session, slice_text(key_text("key", i))));
            if (round % 2)
                must(kv_compact(db.session));
            for (int i = 0; i < 300; i++)
                assert_string_equal(get(&db, key_text("key", i)), i % 5 == round ? "(absent)" : key_text("value", i + round));
        }
        close_db(&db);
    }
}

/* Three of the five searched the oldest table first. */
static void defect_10_the_youngest_version_is_read(void **state)
{
    (void)state;
    for (int policy = 0; policy < 3; policy++) {
        struct db db;
        remove_tree(at("db"));
        db = open_policy(policy, "");
        for (int round = 0; round < 30; round++) {
            for (int i = 0; i < 20; i++)
                put(&db, key_text("key", i), key_text("round", round));
            push(&db, 10 + round % 7);
            for (int i = 0; i < 20; i++)
                assert_string_equal(get(&db, key_text("key", i)), key_text("round", round));
            if (round % 10 == 9)
                reopen(&db, (policy + round / 10) % 3); /* and over what another policy has left */
        }
        close_db(&db);
    }
}

/* kevo wrote on into a log that was removed. */
static void defect_14_no_log_that_is_written_is_removed(void **state)
{
    struct db db = open_policy(0, "");

    (void)state;
    for (int round = 0; round < 40; round++) {
        DIR           *list;
        struct dirent *entry;
        push(&db, 60);
        if (round % 8 == 7)
            must(kv_compact(db.session));
        put(&db, key_text("last", round), "there");
        settle(&db);
        list = opendir("/proc/self/fd");
        assert_non_null(list);
        while ((entry = readdir(list)) != NULL) {
            char link[512] = "";
            /* A log that is in a table is removed first, and closed a moment later; it is not the one that is written. */
            for (int tries = 0; tries < 500; tries++) {
                ssize_t size = readlinkat(dirfd(list), entry->d_name, link, sizeof link - 1);
                link[size < 0 ? 0 : size] = '\0';
                if (!strstr(link, ".wal (deleted)"))
                    break;
                usleep(10000);
            }
            assert_null(strstr(link, ".wal (deleted)"));
        }
        closedir(list);
        reopen(&db, 0);
        for (int i = 0; i <= round; i++)
            assert_string_equal(get(&db, key_text("last", i)), "there");
    }
    close_db(&db);
}

/* kevo counted the first insert of a key only. */
static void defect_16_overwrites_fill_a_memtable_too(void **state)
{
    struct db db = open_db(at("db"), "memtable_bytes=16k compression=none");
    char      value[512];

    (void)state;
    for (int i = 0; i < 4000; i++) {
        snprintf(value, sizeof value, "%0400d", i);
        put(&db, "always the same key", value);
    }
    /* 4000 entries of some 450 bytes, and 16 KiB each; a memtable is never much larger than it may be. */
    assert_in_range(kv_stat(db.store, "rotations"), 4000 * 400 / 16384, 4000 * 500 / 16384 + 10);
    settle(&db);
    assert_true(kv_stat(db.store, "memory_bytes") - kv_stat(db.store, "cache_bytes") < 5 * 16384 + 100000);
    close_db(&db);
}

/* crumbs' lsm forgot a memtable that could not be written. */
static void defect_24_a_flush_that_fails_loses_nothing(void **state)
{
    char      disk[600], dir[700], value[1000];
    struct db db;
    int       written = 0, after;

    (void)state;
    snprintf(disk, sizeof disk, "%s", at("disk"));
    snprintf(dir, sizeof dir, "%s/db", disk);
    assert_int_equal(mkdir(disk, 0755), 0);
    if (mount("assay", disk, "tmpfs", 0, "size=2m") != 0)
        skip();
    db = open_db(dir, "memtable_bytes=64k table_bytes=64k compression=none");
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (kv_status status = KV_OK; status == KV_OK && written < 5000; written += status == KV_OK) {
        status = kv_put(db.session, slice_text(key_text("key", written)), slice_text(value));
        if (status != KV_OK)
            assert_int_equal(status, KV_NO_SPACE);
    }
    assert_in_range(written, 100, 4999);
    for (int i = 0; i < written; i++)
        assert_int_equal(strlen(get(&db, key_text("key", i))), 511); /* as much as get() takes of it */
    assert_int_equal(mount("assay", disk, "tmpfs", MS_REMOUNT, "size=64m"), 0);
    after = written + 300;
    for (int tries = 0; written < after; tries++) { /* the flusher tries again from time to time */
        kv_status status = kv_put(db.session, slice_text(key_text("key", written)), slice_text(value));
        assert_true(status == KV_OK || (status == KV_NO_SPACE && tries < 1000));
        written += status == KV_OK;
        if (status != KV_OK)
            usleep(10000);
    }
    close_db(&db);
    db = open_db(dir, "");
    for (int i = 0; i < written; i++)
        assert_int_equal(strlen(get(&db, key_text("key", i))), 511);
    close_db(&db);
    umount2(disk, MNT_DETACH);
}

/* crumbs' lsm could not close when nothing was in its active table. */
static void defect_32_an_empty_tree_closes(void **state)
{
    struct db db;

    (void)state;
    for (int policy = 0; policy < 3; policy++) {
        remove_tree(at("db"));
        db = open_policy(policy, "");
        reopen(&db, policy);
        must(kv_compact(db.session));
        must(kv_sync(db.session));
        reopen(&db, policy);
        put(&db, "a", "1");
        must(kv_compact(db.session)); /* the active memtable is empty again */
        reopen(&db, policy);
        assert_string_equal(get(&db, "a"), "1");
        must(kv_del(db.session, slice_text("a")));
        must(kv_compact(db.session)); /* and now so is the tree */
        assert_int_equal(kv_stat(db.store, "tables"), 0);
        reopen(&db, policy);
        assert_string_equal(get(&db, "a"), "(absent)");
        close_db(&db);
    }
}

/* kevo merged in the writer.  Here a merge is so slow that it never ends: writers go on, and so does a close. */
static void defect_33_no_writer_waits_for_a_merge(void **state)
{
    struct db db = open_db(at("db"), "memtable_bytes=64k runs=2 slowdown_runs=1000 stop_runs=1000 compression=none rate=1k");
    char      value[400];

    (void)state;
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 5000; i++)
        put(&db, key_text("key", i * 7919 % 5000), value);
    assert_true(kv_stat(db.store, "flushes") > 20);
    assert_int_equal(kv_stat(db.store, "compactions"), 0);
    for (int i = 0; i < 5000; i++)
        assert_string_equal(get(&db, key_text("key", i)), value);
    close_db(&db);
}

static int descriptors(void)
{
    DIR *list = opendir("/proc/self/fd");
    int  count = 0;

    assert_non_null(list);
    while (readdir(list))
        count++;
    closedir(list);
    return count;
}

static void a_tree_of_many_tables_opens_few_of_them(void **state)
{
    int       before = descriptors();
    struct db db = open_policy(0, "open_files=3 cache_bytes=1k table_bytes=4096");

    (void)state;
    for (int i = 0; i < 3000; i++)
        put(&db, key_text("a key of some length, so that there are more tables ", i), key_text("a value, likewise: ", i));
    must(kv_compact(db.session));
    settle(&db);
    assert_true(kv_stat(db.store, "tables") > 15);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3000; i += 3)
            assert_string_equal(get(&db, key_text("a key of some length, so that there are more tables ", i)), key_text("a value, likewise: ", i));
        assert_in_range(descriptors() - before, 1, 3 + 8); /* and some logs, and the lock */
        close_db(&db);
        db = open_policy(0, "open_files=3 cache_bytes=1k table_bytes=4096");
    }
    close_db(&db);
}

/* Who only puts never comes to where readers free what was retired. */
static void a_session_that_only_writes_keeps_nothing_old(void **state)
{
    struct db db = open_policy(0, "");

    (void)state;
    for (int i = 0; i < 200; i++)
        push(&db, 20);
    settle(&db);
    push(&db, 1);
    assert_true(kv_stat(db.store, "rotations") > 100);
    assert_true((uint64_t)files(at("db"), ".table", NULL) < kv_stat(db.store, "tables") + 30);
    close_db(&db);
}

/* ---- Many keys at once, from the disk. ---- */

#define MANY 1500

static const char *const ways[] = {"ring", "advised", "plain", "ring cache=mmap"};

struct answers {
    struct db *db;
    slice     *keys;
    size_t     next, right, failed;
};

/* What get_many says is what one get says. */
static void compare(void *arg, size_t position, kv_status status, slice value)
{
    struct answers *answers = arg;
    int             number = atoi((const char *)answers->keys[position].data + 1);
    char            expected[64];

    assert_int_equal(position, answers->next++);
    if (status != KV_OK && status != KV_NOT_FOUND) {
        assert_int_equal(status, KV_CORRUPT);
        assert_non_null(strstr(fail_text(), ".table at "));
        answers->failed++;
        return;
    }
    snprintf(expected, sizeof expected, "value %04d", number);
    assert_int_equal(status, number % 3 == 0 || number >= MANY ? KV_NOT_FOUND : KV_OK);
    if (status == KV_OK) {
        assert_int_equal(value.size, strlen(expected));
        assert_memory_equal(value.data, expected, value.size);
    }
    answers->right++;
}

/* Blocks of a few entries over many tables, some of which are open; every third key deleted, which only some tables know. */
static struct db open_many(const char *way)
{
    char text[400];

    snprintf(text, sizeof text, TINY "block_bytes=128 cache_bytes=1 open_files=3 reads=%s", way);
    return open_db(at("db"), text);
}

static void fill_many(void)
{
    struct db db = open_many("plain");

    for (int i = 0; i < MANY; i++)
        put(&db, key_text("k", i), "an older value, which nobody may see");
    must(kv_compact(db.session));
    for (int i = 0; i < MANY; i++)
        put(&db, key_text("k", i * 7 % MANY), key_text("value ", i * 7 % MANY));
    for (int i = 0; i < MANY; i += 3)
        must(kv_del(db.session, slice_text(key_text("k", i))));
    settle(&db);
    close_db(&db);
}

/* Of damaged keys at most so many. */
static size_t get_many_of_all_sizes(const char *way)
{
    static const size_t sizes[] = {1, 2, 15, 16, 17, 64, 127, 128, 129, 500, 3000};
    struct db           db = open_many(way);
    char               *text = malloc(3000 * 16);
    slice              *keys = malloc(3000 * sizeof *keys);
    struct answers      answers = {.db = &db, .keys = keys};
    uint32_t            draw = 1;

    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (size_t i = 0; i < sizes[s]; i++) { /* also what is not there, and some twice */
            draw = draw * 1664525 + 1013904223;
            keys[i] = slice_of(text + 16 * i, (size_t)snprintf(text + 16 * i, 16, "k%04d", (int)((draw >> 8) % (MANY + 200))));
        }
        answers.next = 0;
        must(kv_get_many(db.session, keys, sizes[s], compare, &answers));
        assert_int_equal(answers.next, sizes[s]);
    }
    close_db(&db);
    free(keys);
    free(text);
    assert_true(answers.right > 0);
    return answers.failed;
}

static void many_keys_are_what_one_is_however_they_are_read(void **state)
{
    (void)state;
    fill_many();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        assert_int_equal(get_many_of_all_sizes(ways[i]), 0);
}

static void a_damaged_block_fails_its_keys_and_no_others(void **state)
{
    DIR           *list;
    struct dirent *entry;

    (void)state;
    fill_many();
    assert_non_null(list = opendir(at("db")));
    while ((entry = readdir(list))) {
        char path[1200], byte;
        int  fd;
        if (!strstr(entry->d_name, ".table"))
            continue;
        snprintf(path, sizeof path, "%s/%s", at("db"), entry->d_name);
        assert_true((fd = open(path, O_RDWR | O_CLOEXEC)) >= 0);
        assert_int_equal(pread(fd, &byte, 1, 40), 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, 40), 1);
        close(fd);
    }
    closedir(list);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        assert_true(get_many_of_all_sizes(ways[i]) > 0);
}

/* As a sandbox does it, and the recorder of crash tests. */
static bool refuse_rings(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void where_rings_are_refused_others_read(void **state)
{
    pid_t child;
    int   status;

    (void)state;
    fill_many();
    if ((child = fork()) == 0) {
        if (!refuse_rings())
            _exit(77);
        assert_int_equal(syscall(SYS_io_uring_setup, 8, NULL), -1);
        _exit(get_many_of_all_sizes("ring") == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- Checkpoints. ---- */

/* Of each file of a.ending that is in both: one inode, or two. */
static void expect_shared(const char *a, const char *b, const char *ending, bool shared, int at_least)
{
    DIR           *list = opendir(a);
    struct dirent *entry;
    struct stat    one, two;
    char           path[1500];
    int            both = 0;

    assert_non_null(list);
    while ((entry = readdir(list))) {
        if (!strstr(entry->d_name, ending))
            continue;
        snprintf(path, sizeof path, "%s/%s", a, entry->d_name);
        assert_int_equal(stat(path, &one), 0);
        snprintf(path, sizeof path, "%s/%s", b, entry->d_name);
        if (stat(path, &two) != 0)
            continue;
        both++;
        assert_int_equal(one.st_ino == two.st_ino, shared);
    }
    closedir(list);
    assert_true(both >= at_least);
}

static void a_checkpoint_shares_tables_and_never_a_log(void **state)
{
    char      from[700], to[700];
    struct db db, other;

    (void)state;
    snprintf(from, sizeof from, "%s", at("db"));
    snprintf(to, sizeof to, "%s", at("copy"));
    db = open_policy(0, "");
    push(&db, 500);
    settle(&db);
    put(&db, "a", "before");
    must(kv_checkpoint(db.session, to));
    assert_int_equal(kv_stat(db.store, "checkpoints"), 1);
    expect_shared(from, to, ".table", true, 3);
    expect_shared(from, to, ".wal", false, 1);
    /* Logs are recycled, tables merged and removed here: not there. */
    put(&db, "a", "after");
    for (int i = 0; i < 20; i++)
        push(&db, 100);
    must(kv_compact(db.session));
    other = open_db(to, TINY);
    assert_string_equal(get(&other, "a"), "before");
    for (int i = 0; i < 20; i++)
        push(&other, 100);
    must(kv_compact(other.session));
    put(&other, "a", "there");
    close_db(&other);
    close_db(&db);
    db = open_policy(0, "");
    assert_string_equal(get(&db, "a"), "after");
    close_db(&db);
}

static void fill_up(const char *path)
{
    static const char bytes[512];
    int               fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    while (write(fd, bytes, sizeof bytes) > 0)
        continue;
    close(fd);
}

/* The log that was ready for use gives its space back before the manifest that no longer names it wants some. */
static void a_killed_store_opens_on_a_full_disk(void **state)
{
    char      disk[600], dir[700], filler[700];
    struct db db;
    pid_t     child;

    (void)state;
    snprintf(disk, sizeof disk, "%s", at("disk"));
    snprintf(dir, sizeof dir, "%s/db", disk);
    snprintf(filler, sizeof filler, "%s/filler", disk);
    assert_int_equal(mkdir(disk, 0755), 0);
    if (mount("assay", disk, "tmpfs", 0, "size=2m") != 0)
        skip();
    if ((child = fork()) == 0) {
        db = open_db(dir, "memtable_bytes=64k");
        put(&db, "one", "of it");
        for (int i = 0; i < 5000 && files(dir, ".wal", NULL) < 2; i++)
            usleep(1000);
        _exit(files(dir, ".wal", NULL) == 2 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    fill_up(filler);
    db = open_db(dir, "memtable_bytes=64k");
    assert_string_equal(get(&db, "one"), "of it");
    close_db(&db);
    umount2(disk, MNT_DETACH);
}

static void a_checkpoint_on_another_file_system_is_refused(void **state)
{
    char        other[] = "/var/tmp/assay-lsm-XXXXXX", to[64], beside[80];
    struct stat here, there;
    struct db   db;

    (void)state;
    if (!mkdtemp(other))
        skip();
    snprintf(to, sizeof to, "%s/copy", other);
    snprintf(beside, sizeof beside, "%s.checkpointing", to);
    assert_int_equal(stat(root, &here), 0);
    assert_int_equal(stat(other, &there), 0);
    if (here.st_dev == there.st_dev) {
        rmdir(other);
        skip();
    }
    db = open_policy(0, "");
    put(&db, "a", "b");
    assert_int_equal(kv_checkpoint(db.session, to), KV_MISMATCH);
    assert_non_null(strstr(fail_text(), "another file system"));
    assert_int_equal(access(to, F_OK), -1);
    assert_int_equal(access(beside, F_OK), -1);
    assert_int_equal(rmdir(other), 0);
    close_db(&db);
}

static void a_checkpoint_on_a_full_disk_leaves_nothing(void **state)
{
    char      disk[600], dir[700], to[700], beside[720], filler[700], value[4000];
    struct db db;

    (void)state;
    snprintf(disk, sizeof disk, "%s", at("disk"));
    snprintf(dir, sizeof dir, "%s/db", disk);
    snprintf(to, sizeof to, "%s/copy", disk);
    snprintf(beside, sizeof beside, "%s.checkpointing", to);
    snprintf(filler, sizeof filler, "%s/filler", disk);
    assert_int_equal(mkdir(disk, 0755), 0);
    if (mount("assay", disk, "tmpfs", 0, "size=8m") != 0)
        skip();
    db = open_db(dir, "memtable_bytes=1M compression=none");
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 100; i++)
        put(&db, key_text("key", i), value);
    fill_up(filler);
    assert_int_equal(kv_checkpoint(db.session, to), KV_NO_SPACE);
    assert_int_equal(access(to, F_OK), -1);
    assert_int_equal(access(beside, F_OK), -1);
    put(&db, "one", "more"); /* the source has its space already */
    assert_int_equal(unlink(filler), 0);
    must(kv_checkpoint(db.session, to));
    close_db(&db);
    db = open_db(to, "");
    assert_string_equal(get(&db, "one"), "more");
    close_db(&db);
    umount2(disk, MNT_DETACH);
}

#define KILLS 12

/* Says how many it has made: number n holds the puts of all numbers up to n. */
static void checkpoint_until_killed(int pipe)
{
    struct db db = open_policy(0, "");

    for (int i = 0;; i++) {
        char name[32];
        push(&db, 60);
        put(&db, "last", key_text("", i));
        snprintf(name, sizeof name, "copy-%04d", i);
        must(kv_checkpoint(db.session, at(name)));
        assert_int_equal(write(pipe, &i, sizeof i), sizeof i);
    }
}

static void a_kill_leaves_a_whole_checkpoint_or_none(void **state)
{
    (void)state;
    for (int round = 0; round < KILLS; round++) {
        int       made = -1, number, ends[2];
        struct db db;
        pid_t     child;
        char      name[64];

        remove_tree(at("db"));
        assert_int_equal(pipe(ends), 0);
        if ((child = fork()) == 0) {
            checkpoint_until_killed(ends[1]);
            _exit(0);
        }
        close(ends[1]);
        while (made < 2 && read(ends[0], &number, sizeof number) == sizeof number)
            made = number;
        usleep((useconds_t)(round * 700));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(ends[0], &number, sizeof number) == sizeof number)
            made = number;
        close(ends[0]);
        for (int i = 0; i <= made + 1; i++) {
            snprintf(name, sizeof name, "copy-%04d", i);
            if (access(at(name), F_OK) != 0) {
                assert_true(i == made + 1);
                break;
            }
            db = open_db(at(name), TINY);
            assert_int_equal(atoi(get(&db, "last")), i);
            close_db(&db);
        }
        /* The source is what it was, and what a dead one left is in nobody's way. */
        db = open_policy(0, "");
        number = atoi(get(&db, "last"));
        assert_in_range(number, made, made + 1);
        snprintf(name, sizeof name, "copy-%04d", made + 1);
        remove_tree(at(name));
        must(kv_checkpoint(db.session, at(name)));
        close_db(&db);
        db = open_db(at(name), TINY);
        assert_int_equal(atoi(get(&db, "last")), number);
        close_db(&db);
        for (int i = 0; i <= made + 1; i++) {
            snprintf(name, sizeof name, "copy-%04d", i);
            remove_tree(at(name));
            snprintf(name, sizeof name, "copy-%04d.checkpointing", i);
            assert_int_equal(access(at(name), F_OK), -1);
        }
    }
}

/* So many committed puts by a process that is killed then. */
static void killed_after(const char *dir, int puts)
{
    pid_t child = fork();

    if (child == 0) {
        struct db db;
        if (try_open(dir, "tier=commit memtable_bytes=16k compression=none", &db) != KV_OK)
            _exit(1);
        for (int i = 0; i < puts; i++)
            if (kv_put(db.session, slice_text(key_text("key", i)), slice_text("value")) != KV_OK)
                _exit(1);
        raise(SIGKILL);
    }
    assert_true(child > 0);
    waitpid(child, NULL, 0);
}

static void flip(const char *path, size_t offset)
{
    size_t size;
    char  *bytes = read_file(path, &size);

    assert_true(offset < size);
    bytes[offset] ^= 1;
    write_file(path, bytes, size);
    free(bytes);
}

static void assert_told(const char *dir, const char *name)
{
    struct db db;

    assert_int_equal(try_open(dir, "tier=commit", &db), KV_CORRUPT);
    assert_non_null(strstr(fail_text(), name));
}

/* A log that is gone with all that was acknowledged in it: nothing younger need tell of it, so the manifest does. */
static void a_log_that_is_gone_is_missed(void **state)
{
    int written = 0;

    (void)state;
    for (int puts = 1; puts <= 81; puts *= 3) {
        remove_tree(at("db"));
        killed_after(at("db"), puts);
        for (int id = 1; id < 20; id++) {
            char   name[64];
            size_t size;
            char  *bytes;
            snprintf(name, sizeof name, "db/%08d.wal", id);
            if (access(at(name), F_OK) != 0)
                continue;
            bytes = read_file(at(name), &size);
            if (size && *bytes) { /* else it only waits for its turn */
                copy_dir(at("db"), at("copy"));
                snprintf(name, sizeof name, "copy/%08d.wal", id);
                assert_int_equal(unlink(at(name)), 0);
                assert_told(at("copy"), ".wal");
                written++;
            }
            free(bytes);
        }
    }
    assert_int_equal(written, 5);
}

static void a_log_that_is_gone_after_a_close_is_missed(void **state)
{
    struct db db = open_db(at("db"), "tier=process");
    char      name[256], path[600];

    (void)state;
    put(&db, "key", "value");
    close_db(&db);
    assert_int_equal(files(at("db"), ".wal", name), 1);
    snprintf(path, sizeof path, "%s/%s", at("db"), name);
    assert_int_equal(unlink(path), 0);
    assert_told(at("db"), name);
}

static void a_bit_that_flips_in_the_last_group_after_a_close_is_told(void **state)
{
    struct db   db = open_db(at("db"), "tier=process");
    struct stat info;
    char        name[256], path[600];

    (void)state;
    put(&db, "key", "value");
    put(&db, "key", "other");
    close_db(&db);
    assert_int_equal(files(at("db"), ".wal", name), 1);
    snprintf(path, sizeof path, "%s/%s", at("db"), name);
    assert_int_equal(stat(path, &info), 0);
    flip(path, (size_t)info.st_size - 12);
    assert_told(at("db"), name);
}

/* Whichever bit of one of the two headers it is. */
static void a_bit_that_flips_in_the_head_of_a_log_costs_nothing(void **state)
{
    (void)state;
    for (size_t offset = 0; offset < 128; offset += 5) {
        struct db db;
        char      name[256], path[600];
        remove_tree(at("db"));
        db = open_db(at("db"), "tier=commit");
        put(&db, "key", "value");
        close_db(&db);
        assert_int_equal(files(at("db"), ".wal", name), 1);
        snprintf(path, sizeof path, "%s/%s", at("db"), name);
        flip(path, offset);
        db = open_db(at("db"), "tier=commit");
        assert_string_equal(get(&db, "key"), "value");
        close_db(&db);
    }
}

static void a_manifest_that_is_gone_is_missed(void **state)
{
    struct db db = open_db(at("db"), "");

    (void)state;
    put(&db, "key", "value");
    close_db(&db);
    assert_int_equal(unlink(at("db/MANIFEST")), 0);
    assert_told(at("db"), "MANIFEST");
    assert_int_equal(files(at("db"), ".wal", NULL), 1);
}

static void a_table_that_is_gone_is_missed(void **state)
{
    struct db db = open_db(at("db"), "");
    char      name[256], path[600];

    (void)state;
    put(&db, "key", "value");
    assert_int_equal(kv_compact(db.session), KV_OK);
    close_db(&db);
    assert_int_equal(files(at("db"), ".table", name), 1);
    snprintf(path, sizeof path, "%s/%s", at("db"), name);
    assert_int_equal(unlink(path), 0);
    assert_told(at("db"), name);
    assert_non_null(strstr(fail_text(), "missing"));
}

static void options_that_do_not_go_together_are_refused(void **state)
{
    struct db db;

    (void)state;
    assert_int_equal(try_open(at("db"), "slowdown_runs=20 stop_runs=10", &db), KV_INVALID);
    assert_non_null(strstr(fail_text(), "stop_runs 10"));
    assert_int_equal(try_open(at("db"), "threshold_min=20 threshold_max=10", &db), KV_INVALID);
    assert_non_null(strstr(fail_text(), "threshold_max 10"));
    assert_int_equal(access(at("db"), F_OK), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        TEST(defect_07_a_tombstone_is_kept_while_something_older_remains),
        TEST(defect_09_the_neighbours_of_a_tombstone_live),
        TEST(defect_10_the_youngest_version_is_read),
        TEST(defect_14_no_log_that_is_written_is_removed),
        TEST(defect_16_overwrites_fill_a_memtable_too),
        TEST(defect_24_a_flush_that_fails_loses_nothing),
        TEST(defect_32_an_empty_tree_closes),
        TEST(defect_33_no_writer_waits_for_a_merge),
        TEST(a_tree_of_many_tables_opens_few_of_them),
        TEST(a_session_that_only_writes_keeps_nothing_old),
        TEST(many_keys_are_what_one_is_however_they_are_read),
        TEST(a_damaged_block_fails_its_keys_and_no_others),
        TEST(where_rings_are_refused_others_read),
        TEST(a_checkpoint_shares_tables_and_never_a_log),
        TEST(a_checkpoint_on_another_file_system_is_refused),
        TEST(a_killed_store_opens_on_a_full_disk),
        TEST(a_checkpoint_on_a_full_disk_leaves_nothing),
        TEST(a_kill_leaves_a_whole_checkpoint_or_none),
        TEST(a_log_that_is_gone_is_missed),
        TEST(a_log_that_is_gone_after_a_close_is_missed),
        TEST(a_bit_that_flips_in_the_last_group_after_a_close_is_told),
        TEST(a_bit_that_flips_in_the_head_of_a_log_costs_nothing),
        TEST(a_manifest_that_is_gone_is_missed),
        TEST(a_table_that_is_gone_is_missed),
        TEST(options_that_do_not_go_together_are_refused),
    };

    /* A disk would be waited for, and nothing else: flushes come often here. */
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    return cmocka_run_group_tests_name("lsm", tests, NULL, NULL);
}
