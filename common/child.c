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

pid_t child_start(int (*body)(void *arg), void *arg)
{
    pid_t parent = getpid();
    pid_t pid;

    fflush(NULL); /* or the child would print again what is still buffered here */
    pid = fork();
    if (pid < 0) {
        fail_set("fork: %s", strerror(errno));
        return -1;
    }
    if (pid == 0) {
        int code;

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
    return pid;
}

void child_kill(pid_t pid)
{
    kill(-pid, SIGKILL);
    kill(pid, SIGKILL);
}

struct child_result child_wait(pid_t pid, uint64_t timeout_ns)
{
    struct child_result result = {CHILD_EXITED, 0};
    uint64_t            until = timeout_ns ? clock_now_ns() + timeout_ns : 0;
    bool                timed_out = false;
    int                 status = 0;

    if (timeout_ns) {
        int fd = (int)syscall(SYS_pidfd_open, pid, 0);
        for (;;) {
            uint64_t      now = clock_now_ns();
            struct pollfd waiting = {.fd = fd, .events = POLLIN};
            uint64_t      left_ms = until > now ? (until - now) / NS_PER_MS + 1 : 0;

            if (left_ms == 0) {
                timed_out = true;
                child_kill(pid);
                break;
            }
            if (poll(&waiting, 1, left_ms > 1000 ? 1000 : (int)left_ms) > 0)
                break;
        }
        if (fd >= 0)
            close(fd);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    kill(-pid, SIGKILL); /* whatever it had started */
    if (WIFSIGNALED(status))
        result = (struct child_result){CHILD_SIGNALLED, WTERMSIG(status)};
    else
        result.code = WEXITSTATUS(status);
    if (timed_out)
        result.end = CHILD_TIMED_OUT;
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
