/*
 * t_recorder_processes.c -- processes that a recorded one forks and programs that it runs are recorded in one order with it.
 */
#include "tests/recorder_util.h"

/* ---- Processes. ---- */

static pid_t forked(void (*body)(void))
{
    pid_t pid = fork();

    must(pid >= 0);
    if (pid == 0) {
        body();
        _exit(0);
    }
    return pid;
}

static void ended_well(pid_t pid)
{
    int status;

    must(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Says nothing when the shell says it. */
static void ran(const char *script)
{
    pid_t pid = fork();

    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(126);
    }
    ended_well(pid);
}

static void put_by_the_child(void) { put_synced("by-the-child", "x"); }

static void do_ordinary_fork(void)
{
    put_synced("before", "1");
    ended_well(forked(put_by_the_child));
    sync_dir(".");
    put_synced("after", "2");
}

TEST(what_a_forked_process_does_stands_in_the_same_order)
{
    BODY;
    live(do_ordinary_fork);
    assert_int_equal(trace->processes, 2);
    holds("before", "1");
    holds("by-the-child", "x");
    is_gone("after");
}

static void append_by_the_child(void)
{
    wrote(3, "child;");
    must(fdatasync(3) == 0);
    wrote(3, "late;");
}

static void do_inherited(void)
{
    int fd = opened("x", O_WRONLY | O_CREAT);

    must(dup2(fd, 3) == 3 && (fd == 3 || close(fd) == 0));
    sync_dir(".");
    wrote(3, "parent;");
    ended_well(forked(append_by_the_child));
}

TEST(a_descriptor_of_the_parent_leads_to_its_file)
{
    BODY;
    live(do_inherited);
    holds("x", "parent;child;");
}

static void do_exec(void)
{
    ran("echo by a program > x; echo unsynced > y; echo more >> x; mkdir d; mv y d/z; sync x; rm -f d/nothing");
    sync_dir(".");
}

TEST(a_program_that_is_run_is_recorded_too)
{
    BODY;
    needs_guard();
    live(do_exec);
    assert_true(trace->processes >= 4);
    holds("x", "by a program\nmore\n");
    is_gone("d/z");
}

static void do_exec_inherited(void)
{
    int fd = opened("x", O_WRONLY | O_CREAT);

    must(dup2(fd, 9) == 9 && (fd == 9 || close(fd) == 0));
    sync_dir(".");
    ran("echo through nine >&9; sync x; echo and unsynced >&9");
}

TEST(a_descriptor_that_a_program_inherits_leads_to_its_file)
{
    BODY;
    needs_guard();
    live(do_exec_inherited);
    holds("x", "through nine\n");
}

static void do_system(void)
{
    FILE *pipe;

    must(system("echo 1 > by-system; sync by-system .") == 0);
    pipe = popen("cat > by-popen; sync by-popen .", "w");
    must(pipe && fputs("2", pipe) >= 0 && pclose(pipe) == 0);
}

TEST(system_and_popen_work_and_are_seen)
{
    BODY;
    needs_guard();
    live(do_system);
    holds("by-system", "1\n");
    holds("by-popen", "2");
}

static void do_exec_without_environment(void)
{
    char *const nothing[] = {NULL}, *const words[] = {"sh", "-c", "echo escaped > escaped", NULL};
    pid_t       pid = fork();
    int         status;

    if (pid == 0) {
        execve("/bin/sh", words, nothing);
        _exit(0);
    }
    must(waitpid(pid, &status, 0) == pid);
    must(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    must(access("escaped", F_OK) != 0);
}

TEST(a_program_without_the_recorder_dies_before_it_changes_anything)
{
    BODY;
    needs_guard();
    live(do_exec_without_environment);
}

static void do_exec_without_descriptors(void)
{
    pid_t pid = fork();
    int   status;

    if (pid == 0) {
        close(2); /* what it says is no part of this test */
        close_range(3, ~0u, 0);
        execl("/bin/sh", "sh", "-c", "echo escaped > escaped", (char *)NULL);
        _exit(0);
    }
    must(waitpid(pid, &status, 0) == pid);
    must(WIFEXITED(status) && WEXITSTATUS(status) == 127);
    must(access("escaped", F_OK) != 0);
}

TEST(a_program_that_cannot_join_the_recorder_does_not_run)
{
    BODY;
    live(do_exec_without_descriptors);
}

/* A process of its own session that writes for ever. */
static void serve(void)
{
    int fd;

    setsid();
    fd = opened("served", O_WRONLY | O_CREAT | O_APPEND);
    for (;;)
        wrote(fd, ".");
}

static void do_serve(void)
{
    forked(serve);
    for (;;)
        pause();
}

TEST(the_nth_call_may_be_one_of_another_process_and_all_die_at_it)
{
    struct child_result result;

    BODY;
    plan.flags = RECORDER_COUNT_ONLY;
    for (int when = 0; when < 2; when++) {
        plan.act = when ? RECORDER_KILL_AFTER : RECORDER_KILL_BEFORE;
        plan.at = 8;
        result = run(do_serve);
        assert_true(result.end == CHILD_SIGNALLED && result.code == SIGKILL);
        assert_true(trace->killed);
        assert_string_equal(content_at(work, "served"), when ? "......." : "......");
    }
}

static void kill_a_writer(void)
{
    pid_t pid = forked(serve);

    while (access("served", F_OK) != 0)
        usleep(100);
    usleep(2000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    put_synced("after", "x");
    sync_dir(".");
}

/* Whoever dies in the middle of a call may have done it without a record: then the life ends there, and else goes on. */
TEST(the_death_of_one_process_leaves_a_trace_that_is_whole)
{
    BODY;
    for (int i = 0; i < 30; i++) {
        struct child_result result = run(kill_a_writer);

        assert_true((result.end == CHILD_EXITED && result.code == 0) || trace->killed);
        assert_int_equal(trace->unsupported, 0);
        if (!trace->killed) {
            is_complete();
            image("drop-unsynced");
            holds("after", "x");
        }
    }
}

static void leave_at_signal(int signal)
{
    (void)signal;
    _exit(5);
}

static void serve_until_signalled(void)
{
    signal(SIGUSR1, leave_at_signal);
    serve();
}

static void signal_a_writer(void)
{
    pid_t pid = forked(serve_until_signalled);
    int   status;

    while (access("served", F_OK) != 0)
        usleep(100);
    usleep(500);
    kill(pid, SIGUSR1);
    must(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 5);
    put_synced("after", "x");
}

TEST(a_process_that_leaves_from_a_signal_handler_leaves_between_calls)
{
    BODY;
    for (int i = 0; i < 30; i++)
        live(signal_a_writer);
}

static char *shared_page;

static void store_by_the_child(void) { shared_page[1] = 'c'; }
static void sync_by_the_child(void) { must(msync(shared_page, PAGE, MS_SYNC) == 0); }

static void do_fork_with_mapping(void)
{
    int fd = opened("x", O_RDWR | O_CREAT);

    sync_dir(".");
    must(ftruncate(fd, 2) == 0);
    shared_page = mapped(fd, PAGE);
    shared_page[0] = 'p';
    ended_well(forked(store_by_the_child));
    must(msync(shared_page, PAGE, MS_SYNC) == 0);
    ended_well(forked(store_by_the_child));
    shared_page[0] = 'q';
}

TEST(what_a_forked_process_stores_is_seen_by_its_parent)
{
    BODY;
    live(do_fork_with_mapping);
    holds("x", "pc");
}

static void do_sync_by_a_fork(void)
{
    int fd = opened("x", O_RDWR | O_CREAT);

    must(ftruncate(fd, 2) == 0);
    shared_page = mapped(fd, PAGE);
    ended_well(forked(sync_by_the_child));
}

TEST(a_mapping_that_another_process_syncs_is_not_modelled_and_said_so)
{
    BODY;
    run(do_sync_by_a_fork);
    assert_true(trace->unsupported > 0);
    assert_string_equal(trace->unsupported_call, "a file that another process has mapped");
}

#define PROCESSES 4

static int process_number;

static void write_as_a_process(void)
{
    char name[32], text[32];
    int  all = opened("shared", O_WRONLY | O_CREAT | O_APPEND);

    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "%d:%d;", process_number, i);
        wrote(all, text);
        snprintf(name, sizeof name, "of-%d.new", process_number);
        put_synced(name, text);
        snprintf(text, sizeof text, "of-%d", process_number);
        must(rename(name, text) == 0);
        sync_dir(".");
    }
}

static void do_processes(void)
{
    pid_t pids[PROCESSES];

    for (process_number = 0; process_number < PROCESSES; process_number++)
        pids[process_number] = forked(write_as_a_process);
    for (int i = 0; i < PROCESSES; i++)
        ended_well(pids[i]);
}

TEST(processes_are_recorded_in_an_order_that_happened)
{
    BODY;
    plan.sync_delay_ns = 2000;
    live(do_processes); /* compares every byte with the real directory */
    assert_int_equal(trace->processes, PROCESSES + 1);
    for (int i = 0; i < PROCESSES; i++) {
        char name[32], text[32];

        snprintf(name, sizeof name, "of-%d", i);
        snprintf(text, sizeof text, "%d:99;", i);
        holds(name, text);
    }
}

RECORDER_MAIN(T(what_a_forked_process_does_stands_in_the_same_order),
              T(a_descriptor_of_the_parent_leads_to_its_file),
              T(a_program_that_is_run_is_recorded_too),
              T(a_descriptor_that_a_program_inherits_leads_to_its_file),
              T(system_and_popen_work_and_are_seen),
              T(a_program_without_the_recorder_dies_before_it_changes_anything),
              T(a_program_that_cannot_join_the_recorder_does_not_run),
              T(the_nth_call_may_be_one_of_another_process_and_all_die_at_it),
              T(the_death_of_one_process_leaves_a_trace_that_is_whole),
              T(a_process_that_leaves_from_a_signal_handler_leaves_between_calls),
              T(what_a_forked_process_stores_is_seen_by_its_parent),
              T(a_mapping_that_another_process_syncs_is_not_modelled_and_said_so),
              T(processes_are_recorded_in_an_order_that_happened))
