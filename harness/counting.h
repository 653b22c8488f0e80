/*
 * counting.h -- system calls by name and allocations of a whole process, between two marks.
 *
 * Both slow what they count, so they have a process of their own: the same command runs once more under a tracer, with
 * a preloaded library that counts malloc and its kin.  Up to the first mark it runs at full speed; there it asks to be
 * stopped at each call (traced.h), and the tracer counts until the second.
 */
#ifndef ASSAY_HARNESS_COUNTING_H
#define ASSAY_HARNESS_COUNTING_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define COUNTING_CALLS_MAX 512

struct counts {
    bool     has_calls, has_allocations;
    uint64_t calls[COUNTING_CALLS_MAX]; /* by number */
    uint64_t allocations, frees, allocated_bytes;
};

/* Shared by the counted process and its tracer. */
struct counting_page {
    _Atomic int      counting;
    _Atomic uint64_t calls[COUNTING_CALLS_MAX];
};

/* The body of a child (common/child.h): runs this executable again with these words, traced, and waits for it.  Returns
 * its exit code, 126 when it could not be started or traced, or dies of the signal that it died of. */
struct counting_start {
    char                **argv;      /* NULL-terminated, argv[0] included */
    const char           *variable;  /* an environment variable for it: NAME=value */
    struct counting_page *page;
};
int counting_trace(void *start);

/* In the process that is counted, once or more.  page NULL: system calls are not counted. */
void counting_begin(struct counting_page *page);
void counting_end(struct counting_page *page, struct counts *out);
/* Adds syscalls, allocations and their shares per operation to a phase; null where they could not be counted. */
void counting_fill(json_t *phase, const struct counts *counts);

#endif
