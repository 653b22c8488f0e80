/*
 * t_sqlite.c -- recorder and disk profiles against an engine whose promises are written down and old: SQLite.
 *
 * https://sqlite.org/pragma.html#pragma_synchronous: EXTRA is durable; FULL is in WAL mode, but with a deleted journal "a
 * transaction that committed just before the power loss might roll back", because the unlink is not synced; NORMAL in
 * WAL mode "might roll back" too.  None of them is ever corrupt.  A profile that says otherwise, either way, is wrong.
 * The library is loaded at run time; without it there is nothing to test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/child.h"
#include "common/fail.h"
#include "crashtest/recorder.h"
#include "crashtest/state.h"
#include "crashtest/tree.h"

#define INSERTS 6

enum { MARK_START, MARK_ACKNOWLEDGED };

static char          root[200], base[256], work[256], out[256];
static struct trace *trace;
static int          *rows; /* shared with the child that looks: how many there are, as a gapless run; negative: a failure */
static const char   *settings;

/* The four functions that are needed. */
static int (*sql_open)(const char *path, void **db);
static int (*sql_exec)(void *db, const char *sql, int (*row)(void *, int, char **, char **), void *arg, char **error);
static int (*sql_close)(void *db);

static bool load_library(void)
{
    void *library = dlopen("libsqlite3.so.0", RTLD_NOW);

    if (!library)
        return false;
    *(void **)&sql_open = dlsym(library, "sqlite3_open");
    *(void **)&sql_exec = dlsym(library, "sqlite3_exec");
    *(void **)&sql_close = dlsym(library, "sqlite3_close");
    return sql_open && sql_exec && sql_close;
}

static void *open_database(const char *dir)
{
    char  path[300];
    void *db = NULL;

    snprintf(path, sizeof path, "%s/db", dir);
    return sql_open(path, &db) == 0 ? db : NULL;
}

static int insert_rows(void *unused)
{
    struct recorder_plan plan = {.trace = trace, .dir = work, .flags = RECORDER_SKIP_SYNC};
    const char          *reason = recorder()->start(&plan);
    void                *db = reason ? NULL : open_database(work);

    (void)unused;
    if (!db || sql_exec(db, settings, NULL, NULL, NULL) != 0 ||
        sql_exec(db, "create table t(i integer primary key, v text)", NULL, NULL, NULL) != 0)
        return 1;
    recorder()->mark(MARK_ACKNOWLEDGED, 0, 0);
    for (int i = 1; i <= INSERTS; i++) {
        char sql[100];

        snprintf(sql, sizeof sql, "insert into t values(%d, hex(zeroblob(40)))", i);
        recorder()->mark(MARK_START, (uint64_t)i, 0);
        if (sql_exec(db, sql, NULL, NULL, NULL) != 0)
            return 1;
        recorder()->mark(MARK_ACKNOWLEDGED, (uint64_t)i, 0);
    }
    sql_close(db);
    recorder()->stop();
    return 0;
}

static int keep_number(void *arg, int columns, char **values, char **names)
{
    (void)columns, (void)names;
    *(int *)arg = values[0] ? atoi(values[0]) : 0;
    return 0;
}

static int count_rows(void *unused)
{
    void *db = open_database(out);
    char *error = NULL;

    (void)unused;
    *rows = -2;
    if (db && sql_exec(db, "pragma synchronous=off", NULL, NULL, NULL) == 0 && /* nobody crashes while we look */
        sql_exec(db, "select case when count(*) = coalesce(max(i), 0) then count(*) else -2 end from t",
                 keep_number, rows, &error) != 0)
        *rows = error && strstr(error, "no such table") ? -1 : -2;
    sql_close(db);
    return 0;
}

struct outcome {
    int states, lost, corrupt;
};

static struct outcome explore(const struct disk_profile *profile, uint64_t seeds)
{
    struct outcome             outcome = {0};
    const struct trace_record *rec = trace_first(trace);
    int                        acknowledged = -1;
    uint64_t                   last = 0;

    for (uint64_t upto = 0; upto <= trace->count; upto++) {
        if (upto > 0) {
            if (rec->kind == TRACE_MARK && rec->file == MARK_ACKNOWLEDGED)
                acknowledged = (int)rec->offset;
            rec = trace_next(trace, rec);
        }
        for (uint64_t seed = 0; seed < seeds; seed++) {
            struct state *state = state_make(trace, upto, STATE_NO_CUT, profile, seed, base);
            uint64_t      hash = state ? state_hash(state) + (uint64_t)acknowledged : 0;

            if (!state)
                fail_msg("%s", fail_text());
            if (hash != last) {
                assert_true(tree_remove(out) && state_write(state, out));
                assert_int_equal(child_wait(child_start(count_rows, NULL), 0).code, 0);
                outcome.states++;
                outcome.corrupt += *rows < -1;
                outcome.lost += *rows >= -1 && *rows < acknowledged;
            }
            last = hash;
            state_free(state);
        }
    }
    return outcome;
}

static void record(const char *pragmas)
{
    struct child_result result;

    if (!sql_open)
        skip();
    settings = pragmas;
    trace_reset(trace);
    assert_true(tree_remove(base) && mkdir(base, 0755) == 0 && tree_remove(work) && mkdir(work, 0755) == 0);
    result = child_wait(child_start(insert_rows, NULL), 0);
    assert_int_equal(result.end, CHILD_EXITED);
    assert_int_equal(result.code, 0);
    if (!trace_settle(trace))
        fail_msg("%s", fail_text());
    assert_int_equal(trace->unsupported, 0);
    assert_true(tree_remove(out) && state_build(trace, trace->count, disk_profiles, 0, base, out));
    if (!tree_same(work, out))
        fail_msg("%s", fail_text());
}

static void holds_everywhere(void)
{
    for (const struct disk_profile *profile = disk_profiles; profile->name; profile++) {
        struct outcome outcome = explore(profile, profile->data == DISK_CHOSEN ? 3 : 1);

        if (outcome.states < INSERTS || outcome.lost || outcome.corrupt)
            fail_msg("%s: of %d states %d lost a row and %d are corrupt", profile->name, outcome.states, outcome.lost,
                     outcome.corrupt);
    }
}

static void loses_under(const char *name, bool loses)
{
    struct outcome outcome = explore(disk_profile_find(name), 1);

    if ((outcome.lost > 0) != loses || outcome.corrupt)
        fail_msg("%s: of %d states %d lost a row and %d are corrupt", name, outcome.states, outcome.lost, outcome.corrupt);
}

#define TEST(name) static void name(void **unused_)
#define BODY       (void)unused_

TEST(synchronous_extra_holds_on_every_disk)
{
    BODY;
    record("pragma journal_mode=delete; pragma synchronous=extra");
    holds_everywhere();
}

TEST(a_log_with_synchronous_full_holds_on_every_disk)
{
    BODY;
    record("pragma journal_mode=wal; pragma synchronous=full");
    holds_everywhere();
}

TEST(a_deleted_journal_with_synchronous_full_comes_back)
{
    BODY;
    record("pragma journal_mode=delete; pragma synchronous=full");
    loses_under("kill", false);
    loses_under("drop-unsynced", true);
    loses_under("names-first", false); /* there the unlink is durable at once */
}

TEST(a_log_with_synchronous_normal_loses_and_is_never_corrupt)
{
    BODY;
    record("pragma journal_mode=wal; pragma synchronous=normal");
    loses_under("kill", false);
    loses_under("drop-unsynced", true);
    loses_under("ext4", true);
    loses_under("data-first", false);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(synchronous_extra_holds_on_every_disk),
        cmocka_unit_test(a_log_with_synchronous_full_holds_on_every_disk),
        cmocka_unit_test(a_deleted_journal_with_synchronous_full_comes_back),
        cmocka_unit_test(a_log_with_synchronous_normal_loses_and_is_never_corrupt),
    };
    const char *tmp = getenv("TMPDIR");
    int         failed;

    (void)argc;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    puts("skipped: a sanitizer and the recorder both want to stand before libc; the plain build tests it");
    return 77;
#endif
    if (!recorder_preload(argv)) {
        fprintf(stderr, "%s\n", fail_text());
        return 1;
    }
    load_library();
    snprintf(root, sizeof root, "%s/t_sqlite-XXXXXX", 
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : tmp ? tmp : "/tmp"); /* a thousand small directories */
    if (!mkdtemp(root))
        return 1;
    snprintf(base, sizeof base, "%s/base", root);
    snprintf(work, sizeof work, "%s/work", root);
    snprintf(out, sizeof out, "%s/out", root);
    trace = trace_create(UINT64_C(1) << 28);
    rows = mmap(NULL, sizeof *rows, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    failed = trace && rows != MAP_FAILED ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
    tree_remove(root);
    return failed;
}
