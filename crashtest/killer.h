/*
 * killer.h -- starts a life and ends it with SIGKILL: at a number of acknowledged writes, while it opens the store, or at
 * its n-th I/O call.
 *
 * The first two are moments of the parent's choosing, so they fall anywhere, also into a copy to a mapping or between two
 * locks.  The third is the child's own (recorder.h): before, after or in the middle of a call that a random moment seldom
 * meets.
 */
#ifndef ASSAY_CRASHTEST_KILLER_H
#define ASSAY_CRASHTEST_KILLER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/child.h"
#include "common/rng.h"
#include "crashtest/life.h"

enum killer_when {
    KILLER_AT_WRITES, /* after some acknowledged writes, and a moment more */
    KILLER_EARLY,     /* somewhere in the opening, or soon after it */
    KILLER_AT_CALL,   /* with a recorder's plan only */
    KILLER_AT_OPENING_CALL
};

enum killer_end { KILLER_KILLED, KILLER_BY_ITSELF, KILLER_STALLED };

/* What a campaign knows of its lives.  Zeroed, then the first three set. */
struct killer {
    struct rng *rng;
    uint32_t    ops;        /* at most so many acknowledged writes */
    uint64_t    timeout_ns; /* nothing is acknowledged for so long: stalled */
    uint64_t    linger_ns;  /* KILLER_AT_WRITES: some lives go on for so long, idle or not */
    uint64_t    open_ns;    /* about how long an opening takes */
    uint64_t    calls, opening_calls; /* about how many I/O calls a life and an opening make */
};

struct killer_report {
    enum killer_end     end;
    struct child_result child;
    uint64_t            death_ns;
    bool                at_call;    /* the recorder did it */
    bool                in_opening; /* the store was not open yet */
};

/* False with fail_set(): no child could be started.  With KILLER_AT_CALL and _AT_OPENING_CALL plan->record is completed with
 * the call and the way to die. */
bool killer_run(struct killer *killer, const struct life_plan *plan, struct recorder_plan *record, enum killer_when when,
                struct killer_report *out);

#endif
