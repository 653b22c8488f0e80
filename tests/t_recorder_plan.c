/*
 * t_recorder_plan.c -- calls that the recorder counts, cuts, refuses or makes the last; marks; threads.
 */
#include "tests/recorder_util.h"

/* ---- Deaths. ---- */

static void do_ten_writes(void)
{
    int fd = opened("x", O_WRONLY | O_CREAT | O_APPEND); /* call 1 */

    for (int i = 0; i < 10; i++) /* calls 2 to 11 */
        wrote(fd, "0123456789");
}

TEST(the_nth_call_is_the_same_in_every_life)
{
    BODY;
    live(do_ten_writes);
    assert_int_equal(trace->calls, 11);
    for (uint64_t n = 1; n <= 11; n++) {
        for (int after = 0; after < 2; after++) {
            struct child_result result;
            uint64_t            writes = n - 1 + (uint64_t)after;
            struct stat         st;
            char                path[300];

            plan.act = after ? RECORDER_KILL_AFTER : RECORDER_KILL_BEFORE;
            plan.at = n;
            result = run(do_ten_writes);
            assert_int_equal(result.end, CHILD_SIGNALLED);
            assert_int_equal(result.code, SIGKILL);
            assert_int_equal(trace->killed, 1);
            is_complete();
            snprintf(path, sizeof path, "%s/x", work);
            if (writes == 0) {
                assert_int_equal(stat(path, &st), -1);
            } else {
                assert_int_equal(stat(path, &st), 0);
                assert_int_equal(st.st_size, (writes - 1) * 10);
            }
        }
    }
}

TEST(a_count_alone_kills_at_the_same_call)
{
    struct child_result result;
    struct stat         st;
    char                path[300];

    BODY;
    plan = (struct recorder_plan){.flags = RECORDER_COUNT_ONLY, .act = RECORDER_KILL_BEFORE, .at = 5};
    result = run(do_ten_writes);
    assert_int_equal(result.code, SIGKILL);
    assert_int_equal(trace->calls, 5);
    assert_int_equal(trace->count, 0);
    snprintf(path, sizeof path, "%s/x", work);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 30);
}

TEST(a_kill_inside_a_write_leaves_a_part_of_it)
{
    bool seen[11] = {false};
    int  different = 0;

    BODY;
    plan.act = RECORDER_KILL_INSIDE;
    plan.at = 3;
    for (plan.seed = 1; plan.seed <= 40; plan.seed++) {
        struct stat st;
        char        path[300];

        assert_int_equal(run(do_ten_writes).code, SIGKILL);
        is_complete();
        snprintf(path, sizeof path, "%s/x", work);
        assert_int_equal(stat(path, &st), 0);
        assert_in_range(st.st_size, 10, 20);
        seen[st.st_size - 10] = true;
    }
    for (int i = 0; i <= 10; i++)
        different += seen[i];
    assert_true(different >= 5);
}

static void do_page_stores(void)
{
    char page[3 * 4096];
    int  fd = opened("x", O_RDWR | O_CREAT);

    memset(page, 'a', sizeof page);
    must(pwrite(fd, page, sizeof page, 0) == sizeof page);
    memset(page, 'b', sizeof page);
    must(pwrite(fd, page, sizeof page, 0) == sizeof page);
}

/* As the kernel does it, which looks for a fatal signal between two pages. */
TEST(a_kill_inside_an_overwrite_tears_no_page)
{
    bool seen[4] = {false};

    BODY;
    plan.act = RECORDER_KILL_INSIDE;
    plan.at = 3; /* behind the open and the first write */
    for (plan.seed = 1; plan.seed <= 60; plan.seed++) {
        char path[300], bytes[3 * 4096];
        int  fd, pages = 0;

        assert_int_equal(run(do_page_stores).code, SIGKILL);
        snprintf(path, sizeof path, "%s/x", work);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_int_equal(read(fd, bytes, sizeof bytes), sizeof bytes);
        close(fd);
        while (pages < 3 && bytes[pages * 4096] == 'b')
            pages++;
        for (int i = 0; i < (int)sizeof bytes; i++)
            assert_int_equal(bytes[i], i < pages * 4096 ? 'b' : 'a');
        seen[pages] = true;
    }
    assert_true(seen[0] && seen[1] && seen[2]); /* and all of it by a rare chance */
}

static void do_refused(void)
{
    int fd = opened("x", O_WRONLY | O_CREAT);

    wrote(fd, "1");
    must(write(fd, "2", 1) == -1 && errno == ENOSPC);
    wrote(fd, "3");
    must(fsync(fd) == 0);
    sync_dir(".");
}

TEST(a_call_that_is_made_to_fail_did_nothing)
{
    BODY;
    plan.act = RECORDER_FAIL;
    plan.at = 3;
    plan.error_number = ENOSPC;
    live(do_refused);
    holds("x", "13");
    assert_int_equal(trace->failed, 1);
}

static void do_retried(void)
{
    int fd = opened("x", O_RDWR);

    wrote(fd, "new");
    must(fsync(fd) == -1 && errno == EIO);
    must(fsync(fd) == 0); /* as Linux says after a failure */
}

TEST(a_retried_sync_is_a_lie)
{
    BODY;
    base_file("x", "old");
    plan.act = RECORDER_FAIL;
    plan.at = 2;
    plan.error_number = EIO;
    live(do_retried);
    holds("x", "old");
}

static void do_short(void)
{
    int     fd = opened("x", O_WRONLY | O_CREAT);
    ssize_t n = write(fd, "0123456789", 10);

    must(n > 0 && n <= 10);
    if (n < 10)
        must(write(fd, &"0123456789"[n], (size_t)(10 - n)) == 10 - n);
    must(fsync(fd) == 0);
    sync_dir(".");
}

TEST(a_write_that_is_cut_short_says_so)
{
    BODY;
    plan.act = RECORDER_SHORT;
    plan.at = 2;
    for (plan.seed = 1; plan.seed < 10; plan.seed++) {
        live(do_short);
        holds("x", "0123456789");
    }
}

static void do_too_much(void)
{
    char *block = malloc(64 * PAGE);
    int   fd = opened("x", O_WRONLY | O_CREAT);

    memset(block, 'x', 64 * PAGE);

    for (int i = 0; i < 1000; i++)
        must(write(fd, block, 64 * PAGE) == 64 * PAGE);
}

TEST(a_full_trace_ends_the_life_and_says_so)
{
    struct trace       *large = trace;
    struct child_result result;

    BODY;
    trace = trace_create(1 << 20);
    assert_non_null(trace);
    result = run(do_too_much);
    assert_int_equal(result.code, SIGKILL);
    assert_int_equal(trace->full, 1);
    is_complete(); /* up to its end it is a trace like any other */
    trace_destroy(trace);
    trace = large;
}

/* ---- What is not there. ---- */

static void do_io_uring(void)
{
    char parameters[120] = {0};

    must(syscall(SYS_io_uring_setup, 8, parameters) == -1 && errno == ENOSYS);
}

TEST(io_uring_is_not_there_so_engines_fall_back)
{
    BODY;
    needs_guard();
    live(do_io_uring);
}

/* ---- Threads. ---- */

#define THREADS 4
#define ROUNDS  200

static void *write_rounds(void *arg)
{
    int  number = (int)(intptr_t)arg, shared = opened("shared", O_WRONLY | O_CREAT | O_APPEND);
    char name[32], text[32];

    for (int i = 0; i < ROUNDS; i++) {
        snprintf(text, sizeof text, "%d:%d;", number, i);
        wrote(shared, text);
        recorder()->mark(7, (uint64_t)number, (uint64_t)i);
        snprintf(name, sizeof name, "own-%d.new", number);
        put_synced(name, text);
        snprintf(text, sizeof text, "own-%d", number);
        must(rename(name, text) == 0);
        sync_dir(".");
    }
    close(shared);
    return NULL;
}

static void do_threads(void)
{
    pthread_t threads[THREADS];

    for (intptr_t i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, write_rounds, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

TEST(threads_are_recorded_in_an_order_that_happened)
{
    int marks = 0;

    BODY;
    plan.sync_delay_ns = 2000;
    live(do_threads); /* compares every byte with the real directory */
    for (const struct trace_record *rec = trace_first(trace); rec; rec = trace_next(trace, rec))
        marks += rec->kind == TRACE_MARK && rec->file == 7;
    assert_int_equal(marks, THREADS * ROUNDS);
    for (int i = 0; i < THREADS; i++) {
        char name[32], text[32];

        snprintf(name, sizeof name, "own-%d", i);
        snprintf(text, sizeof text, "%d:%d;", i, ROUNDS - 1);
        holds(name, text);
    }
}

static void *block_all_and_print(void *unused)
{
    sigset_t all;
    FILE    *stream;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    stream = fopen("log", "w");
    must(stream && fputs("from a thread that blocks signals\n", stream) > 0 && fclose(stream) == 0);
    return unused;
}

static void do_blocked_signals(void)
{
    pthread_t thread;

    must(pthread_create(&thread, NULL, block_all_and_print, NULL) == 0);
    pthread_join(thread, NULL);
}

TEST(a_thread_that_blocks_all_signals_is_seen_too)
{
    BODY;
    needs_guard();
    live(do_blocked_signals);
}

static void do_marks(void)
{
    recorder()->mark(1, 10, 20);
    put_file("x", "1");
    recorder()->mark(2, 11, 21);
}

TEST(marks_stand_between_the_calls)
{
    const struct trace_record *rec;

    BODY;
    live(do_marks);
    rec = trace_first(trace);
    assert_int_equal(rec->kind, TRACE_MARK);
    assert_int_equal(rec->file, 1);
    assert_int_equal(rec->offset, 10);
    assert_int_equal(rec->length, 20);
    rec = trace_next(trace, trace_next(trace, rec));
    assert_int_equal(rec->kind, TRACE_WRITE);
    rec = trace_next(trace, rec);
    assert_int_equal(rec->file, 2);
    assert_null(trace_next(trace, rec));
}

RECORDER_MAIN(T(the_nth_call_is_the_same_in_every_life),
              T(a_count_alone_kills_at_the_same_call),
              T(a_kill_inside_a_write_leaves_a_part_of_it), T(a_kill_inside_an_overwrite_tears_no_page),
              T(a_call_that_is_made_to_fail_did_nothing),
              T(a_retried_sync_is_a_lie),
              T(a_write_that_is_cut_short_says_so),
              T(a_full_trace_ends_the_life_and_says_so),
              T(io_uring_is_not_there_so_engines_fall_back),
              T(threads_are_recorded_in_an_order_that_happened),
              T(a_thread_that_blocks_all_signals_is_seen_too),
              T(marks_stand_between_the_calls))
