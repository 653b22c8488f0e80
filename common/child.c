#include "common/child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fail.h"

/* Children of ours that child_wait has not seen yet.  Every other child is an orphan of one of them. */
#define LIVING_MAX 64
static pid_t living[LIVING_MAX];

static void note_child(pid_t from, pid_t to)
{
    for (int i = 0; i < LIVING_MAX; i++) {
        if (living[i] == from) {
            living[i] = to;
            return;
        }
    }
}

static bool is_child(pid_t pid)
{
    for (int i = 0; i < LIVING_MAX; i++)
        if (living[i] == pid)
            return true;
    return false;
}

pid_t child_start(int (*body)(void *arg), void *arg)
{
    pid_t parent = getpid();
    pid_t pid;

    prctl(PR_SET_CHILD_SUBREAPER, 1); /* what a child leaves behind becomes ours, in whatever group or session it is */
    fflush(NULL); /* or the child would print again what is still buffered here */
    pid = fork();
    if (pid < 0) {
        fail_set("fork: %s", strerror(errno));
        return -1;
    }
    if (pid == 0) {
        int code;

        memset(living, 0, sizeof living);
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) /* it died before the line above */
            _exit(1);
        signal(SIGINT, SIG_IGN);
        signal(SIGTERM, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
        code = body(arg);
        fflush(NULL);
        _exit(code);
    }
    setpgid(pid, pid); /* in both, so that neither has to wait for the other */
    note_child(0, pid);
    return pid;
}

void child_kill(pid_t pid)
{
    kill(pid, SIGKILL); /* itself first: it must not see the others die */
    kill(-pid, SIGKILL);
}

/* The orphans that a child left to us, one by one, until there are none: an orphan's own children come when it goes.  Zombies
 * count too, so nothing of them runs, and no file of theirs is open, when this returns. */
static void reap_orphans(void)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    for (bool found = true; found;) {
        FILE *list = fopen(path, "re");
        int   pid;

        found = false;
        while (list && !found && fscanf(list, "%d", &pid) == 1) {
            if (is_child(pid))
                continue;
            kill(pid, SIGKILL);
            while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
                ;
            found = true;
        }
        if (list)
            fclose(list);
    }
}

/* Ended, but not reaped: as long as it is a zombie, nobody else gets its process id or its group's. */
static bool has_ended(pid_t pid, int flags)
{
    siginfo_t info;

    do
        info.si_pid = 0;
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | flags) < 0 && errno == EINTR);
    return info.si_pid == pid;
}

struct child_result child_wait(pid_t pid, uint64_t timeout_ns)
{
    struct child_result result = {CHILD_EXITED, 0};
    uint64_t            until = clock_now_ns() + timeout_ns;
    int                 fd = timeout_ns ? (int)syscall(SYS_pidfd_open, pid, 0) : -1, status = 0;

    while (timeout_ns && !has_ended(pid, WNOHANG)) {
        uint64_t      now = clock_now_ns();
        uint64_t      left_ms = until > now ? (until - now) / NS_PER_MS + 1 : 0;
        struct pollfd waiting = {.fd = fd, .events = POLLIN};

        if (left_ms == 0) {
            result.end = CHILD_TIMED_OUT;
            child_kill(pid);
            break;
        }
        /* Without a pidfd (Linux before 5.3) this is a sleep; a signal to us ends it early, which does no harm. */
        poll(&waiting, 1, fd < 0 ? 1 : left_ms > 1000 ? 1000 : (int)left_ms);
    }
    if (fd >= 0)
        close(fd);
    has_ended(pid, 0);
    kill(-pid, SIGKILL); /* whatever it had started */
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    note_child(pid, 0);
    reap_orphans();
    result.code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    if (result.end != CHILD_TIMED_OUT && WIFSIGNALED(status))
        result.end = CHILD_SIGNALLED;
    return result;
}

const char *child_text(struct child_result result)
{
    static _Thread_local char text[96];

    if (result.end == CHILD_TIMED_OUT)
        return "hung";
    if (result.end == CHILD_SIGNALLED)
        snprintf(text, sizeof text, "died of signal %d (%s)", result.code, strsignal(result.code));
    else
        snprintf(text, sizeof text, "exited with %d", result.code);
    return text;
}
