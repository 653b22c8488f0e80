/*
 * traced.h -- runs this executable once more under a tracer that sees chosen system calls of all its threads and children.
 *
 * The traced process runs at full speed until it installs a seccomp filter (traced_stop_at), which stops it at the chosen calls
 * only: one ptrace stop a call, two where the tracer wants to see it return.
 */
#ifndef ASSAY_HARNESS_TRACED_H
#define ASSAY_HARNESS_TRACED_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct traced {
    char      **argv;     /* NULL-terminated, argv[0] included */
    const char *variable; /* an environment variable for it: NAME=value */
    const char *preload;  /* a library for LD_PRELOAD, or NULL */
    /* The thread stands before the call; true: left() is called when it has returned. */
    bool (*entered)(void *arg, pid_t thread);
    void (*left)(void *arg, pid_t thread);
    void *arg;
};

/* The body of a child (common/child.h): starts and traces it, and waits for it.  Returns its exit code, 126 when it could not be
 * started or traced, or dies of the signal that it died of. */
int traced_main(void *traced);

/* In the traced process: from now on all its threads, and what they start, stop at these calls (NULL: at each). */
bool traced_stop_at(const int *calls, size_t count);

#endif
