/* traced.c -- this executable once more, under ptrace. */
#include "harness/traced.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS_MAX 120 /* a jump of the filter reaches 255 instructions */

static void become_traced(const struct traced *traced)
{
    if (traced->preload)
        setenv("LD_PRELOAD", traced->preload, 1);
    putenv(strdup(traced->variable));
#ifdef __SANITIZE_ADDRESS__
    setenv("LSAN_OPTIONS", "detect_leaks=0", 1); /* it traces its own process, which cannot be traced twice, and waits for ever */
#endif
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP); /* until the tracer has set its options */
    execv("/proc/self/exe", traced->argv);
    _exit(126);
}

int traced_main(void *arg)
{
    const struct traced *traced = arg;
    const long options = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC |
                         PTRACE_O_TRACESECCOMP | PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
    pid_t child = fork(), stopped;
    int   status;

    if (child < 0)
        return 126;
    if (child == 0)
        become_traced(traced);
    if (waitpid(child, &status, __WALL) != child || !WIFSTOPPED(status))
        return 126;
    if (ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)options) != 0) {
        kill(child, SIGKILL);
        return 126;
    }
    ptrace(PTRACE_CONT, child, NULL, NULL);
    while ((stopped = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
        long signal_ = 0;
        bool to_its_return = false;

        if (stopped < 0)
            continue;
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (stopped != child)
                continue;
            if (WIFEXITED(status))
                return WEXITSTATUS(status);
            signal(WTERMSIG(status), SIG_DFL);
            raise(WTERMSIG(status)); /* so that our own parent reads how it ended */
            return 126;
        }
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8))
            to_its_return = traced->entered(traced->arg, stopped);
        else if (WSTOPSIG(status) == (SIGTRAP | 0x80))
            traced->left(traced->arg, stopped);
        else if (status >> 16 == 0 && WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP)
            signal_ = WSTOPSIG(status); /* its own; events and the first stop of a thread are ours */
        ptrace(to_its_return ? PTRACE_SYSCALL : PTRACE_CONT, stopped, NULL, (void *)signal_);
    }
    return 126;
}

bool traced_stop_at(const int *calls, size_t count)
{
    struct sock_filter filter[CALLS_MAX + 3];
    struct sock_fprog  program = {.filter = filter};
    size_t             at = 0;

    if (count > CALLS_MAX)
        return false;
    if (calls) {
        filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
        for (size_t i = 0; i < count; i++)
            filter[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i],
                                                        (uint8_t)(count - i), 0);
        filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    program.len = (unsigned short)at;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}
