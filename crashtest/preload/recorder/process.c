/*
 * process.c -- the processes of a life.
 *
 * The first one makes a file of memory for what they share and leaves its descriptor, and the trace's, open for programs that
 * are run; the environment says their numbers, and preloads this library there.  A process that is forked has all of it
 * already.  A program that is run joins before its own code does anything; one that cannot (its environment was emptied, it is
 * linked statically, the descriptors were closed) dies, here or at its first write, by the guard: a loud end is better than a
 * silent gap.
 *
 * The lock outlives its owner's death.  Who dies holding it may have done a call that has no record, so that moment is then
 * the end of the life, for all its processes.  Everyone but the first, which dies with all others anyway, holds off signals
 * while it has the lock, so that a handler that leaves the process is no such death.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "crashtest/preload/recorder/inside.h"

#define MAGIC    "assayrec"
#define VARIABLE "ASSAY_RECORDED" /* the two descriptors */
#define FD_LEAST 600              /* out of the way of the numbers that the program would see without us */

volatile enum mode process_mode;
struct shared     *shared;

static __thread bool     inside; /* this thread holds the lock */
static __thread uint64_t mask;   /* its signals before that */
static int32_t           own_id;

int32_t process_id(void)
{
    return own_id;
}

/* The first one before all others: it must not see them die. */
void process_kill(void)
{
    __atomic_store_n(&shared->over, OVER_KILLED, __ATOMIC_SEQ_CST);
    RAW(kill, shared->first, SIGKILL);
    RAW(kill, -(long)shared->first, SIGKILL);
    for (;;)
        RAW(kill, getpid(), SIGKILL);
}

static void hold_signals(bool hold)
{
    /* What a fault raises must come through, and so must SIGSYS. */
    static const uint64_t held = ~(UINT64_C(1) << (SIGSEGV - 1) | UINT64_C(1) << (SIGBUS - 1) | UINT64_C(1) << (SIGFPE - 1) |
                                   UINT64_C(1) << (SIGILL - 1) | UINT64_C(1) << (SIGTRAP - 1) | UINT64_C(1) << (SIGSYS - 1));

    if (own_id == shared->first)
        return;
    if (hold)
        RAW(rt_sigprocmask, SIG_SETMASK, &held, &mask, 8);
    else
        RAW(rt_sigprocmask, SIG_SETMASK, &mask, 0, 8);
}

bool process_enter(void)
{
    if (inside) {
        if (__atomic_fetch_add(&record_trace()->unsupported, 1, __ATOMIC_RELAXED) == 0)
            strcpy(record_trace()->unsupported_call, "a call in a signal handler");
        return false;
    }
    hold_signals(true);
    if (pthread_mutex_lock(&shared->lock) == EOWNERDEAD) {
        record_trace()->killed = 1;
        process_kill();
    }
    if (__atomic_load_n(&shared->over, __ATOMIC_SEQ_CST) == OVER_KILLED)
        process_kill();
    inside = true;
    return true;
}

void process_leave(void)
{
    inside = false;
    pthread_mutex_unlock(&shared->lock);
    hold_signals(false);
}

static void before_fork(void)
{
    if (process_mode == MODE_AWAKE && process_enter())
        look_before_fork();
}

static void after_fork_parent(void)
{
    if (process_mode == MODE_AWAKE && inside)
        process_leave();
}

static void after_fork_child(void)
{
    if (process_mode != MODE_AWAKE)
        return;
    /* The lock is the parent's, which goes on. */
    inside = false;
    hold_signals(false);
    own_id = getpid();
    __atomic_add_fetch(&record_trace()->processes, 1, __ATOMIC_RELAXED);
    record_forked();
    look_forked();
    watch_forked();
}

static bool watch_forks(void)
{
    static bool watched;

    if (!watched)
        watched = pthread_atfork(before_fork, after_fork_parent, after_fork_child) == 0;
    return watched;
}

static void *map_shared(int fd, uint64_t bytes)
{
    long memory = RAW(mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

    return (unsigned long)memory >= -4095UL ? NULL : (void *)memory;
}

/* A descriptor that programs inherit; -1: there is none. */
static int lasting(int fd)
{
    long high = RAW(fcntl, fd, F_DUPFD, FD_LEAST);

    return (int)(high >= 0 ? high : RAW(fcntl, fd, F_DUPFD, 3));
}

const char *process_start(const struct recorder_plan *plan)
{
    pthread_mutexattr_t attributes;
    char                text[32];
    Dl_info             own;
    int                 fd, lasting_fd, trace_fd;

    if (!watch_forks())
        return "no memory for the recorder";
    fd = (int)RAW(memfd_create, "assay-recorder", MFD_CLOEXEC);
    if (fd < 0 || RAW(ftruncate, fd, sizeof *shared) != 0 || !(shared = map_shared(fd, sizeof *shared)))
        return "no memory for the recorder";
    lasting_fd = lasting(fd);
    RAW(close, fd);
    trace_fd = lasting(plan->trace->memory_fd);
    if (lasting_fd < 0 || trace_fd < 0)
        return "no descriptors for the recorder";
    memcpy(shared->magic, MAGIC, sizeof shared->magic);
    shared->plan = *plan;
    shared->trace_bytes = sizeof *plan->trace + plan->trace->capacity_bytes;
    shared->first = own_id = getpid();
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    snprintf(text, sizeof text, "%d %d", lasting_fd, trace_fd);
    if (!dladdr(&shared, &own) || setenv("LD_PRELOAD", own.dli_fname, 1) != 0 || setenv(VARIABLE, text, 1) != 0)
        return "no memory for the recorder";
    if (!guard_place())
        return "the place of the recorder's system call is taken";
    plan->trace->processes = 1;
    record_start(plan->trace, !(plan->flags & RECORDER_COUNT_ONLY));
    return NULL;
}

/* Nothing may be done unseen. */
__attribute__((noreturn)) static void refuse_to_run(const char *why)
{
    RAW(write, 2, why, strlen(why));
    for (;;)
        RAW(exit_group, 127);
}

void process_join(void)
{
    const char   *text = getenv(VARIABLE);
    char          magic[sizeof shared->magic];
    struct trace *trace;
    int           fd, trace_fd;

    if (!text) {
        process_mode = MODE_ASLEEP;
        return;
    }
    if (!guard_place()) /* before anything that the filter stops */
        _exit(127);
    if (sscanf(text, "%d %d", &fd, &trace_fd) != 2 ||
        RAW(pread64, fd, magic, sizeof magic, 0) != sizeof magic || memcmp(magic, MAGIC, sizeof magic) != 0)
        refuse_to_run("assay: the recorder of this process's life is not to be found: its descriptors were closed\n");
    shared = map_shared(fd, sizeof *shared);
    trace = shared ? map_shared(trace_fd, shared->trace_bytes) : NULL;
    if (!trace || !watch_forks() || (trace->guarded && !guard_handle()))
        refuse_to_run("assay: no memory to join the recorder\n");
    own_id = getpid();
    __atomic_add_fetch(&trace->processes, 1, __ATOMIC_RELAXED);
    record_start(trace, !(shared->plan.flags & RECORDER_COUNT_ONLY));
    process_mode = MODE_AWAKE;
}

__attribute__((constructor)) static void join_early(void)
{
    if (process_mode == MODE_NEW)
        process_join();
}
