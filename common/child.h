/*
 * child.h -- run a function in a child process, and learn how it ended.
 *
 * The child dies with its parent (PR_SET_PDEATHSIG), leads a process group of its own so that it can be killed with
 * all that it started, and ignores SIGINT.  Fork only while the process has one thread.
 *
 * What a child started and left (a server, say, also one in a session of its own) becomes this process's, and is killed
 * and gone when child_wait returns: so is every child of this process that child_start did not make.
 */
#ifndef ASSAY_COMMON_CHILD_H
#define ASSAY_COMMON_CHILD_H

#include <stdint.h>
#include <sys/types.h>

enum child_end { CHILD_EXITED, CHILD_SIGNALLED, CHILD_TIMED_OUT };

struct child_result {
    enum child_end end;
    int            code; /* exit code, or the signal's number */
};

/* Forks; the child runs body(arg), flushes stdio and _exits with what it returns.  Returns the pid, or -1 with fail_set(). */
pid_t child_start(int (*body)(void *arg), void *arg);

/* Waits up to timeout_ns (0: for ever), then kills the group and says CHILD_TIMED_OUT.  Reaps in every case, and kills
 * and reaps all that is left of what it started. */
struct child_result child_wait(pid_t pid, uint64_t timeout_ns);

/* SIGKILL to the child and its group.  Reap with child_wait. */
void child_kill(pid_t pid);

/* "exited with 3", "died of signal 11 (Segmentation fault)", "hung": a sentence part, lent until the next call. */
const char *child_text(struct child_result result);

#endif
