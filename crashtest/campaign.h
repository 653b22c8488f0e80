/*
 * campaign.h -- life after life: start a child, kill it, look at what is left, judge, go on with the same store.
 *
 * A life     A child opens the store and works (life.h) until it is killed: when so many writes were acknowledged and a
 *            random moment more; or at some moment of its opening; or, when the recorder is there, at its n-th I/O call,
 *            before, after or in the middle of it.
 * Power      The life runs under the recorder and its syncs are not done.  Directories are built from its trace: as the
 *            disk profile leaves them at the end, and at some moments before, mostly just after an acknowledgement
 *            or a change of names.
 * Recovery   A part of the deaths is followed by one to three openings that are killed too.
 * Looking    The directory is copied first, so that a failure can be kept as it was; then a survey (survey.h) in a
 *            fresh process, and the oracle (oracle.h).
 * Going on   What the survey left is where the next life begins.  After a failure, and now and then, with an empty store.
 *
 * The parent has one thread, and is never inside the engine.
 */
#ifndef ASSAY_CRASHTEST_CAMPAIGN_H
#define ASSAY_CRASHTEST_CAMPAIGN_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "crashtest/disk.h"
#include "crashtest/life.h"
#include "crashtest/oracle.h"
#include "crashtest/recorder.h"
#include "engines/engine.h"

#define CAMPAIGN_FAILURES_MAX 10 /* so many are kept; all are counted */

struct campaign_settings {
    const struct kv_engine    *engine;
    const char                *engine_text; /* as --engine said it, a plug-in's path made absolute */
    struct kv_config           config;      /* dir is the campaign's to set */
    const struct disk_profile *profile;     /* power loss, which needs the recorder; NULL: kills only */
    const struct recorder_api *recorder;    /* NULL: no kills at I/O calls */
    struct life_mix            mix;
    uint32_t                   threads;
    uint32_t                   keys;
    uint32_t                   value_bytes_max;
    uint32_t                   ops;         /* a life is killed after at most this many acknowledged writes */
    uint64_t                   states;      /* images looked at, one a life for kills; 0: no limit */
    uint64_t                   run_ns;      /* 0: no limit */
    bool                       until_failure; /* the first failure ends it */
    uint64_t                   seed;
    uint64_t                   timeout_ns;
    const char                *dir;         /* failures are kept in DIR/failures */
    const char                *store_dir;   /* where the stores are made: a directory of the campaign's own */
    const char                *image_dir;   /* where images are copied to: the same */
};

struct campaign_failure {
    struct oracle_verdict verdict;
    uint32_t              life;
    char                  key_hex[2 * KEYSPACE_KEY_BYTES + 1];
    char                  dir[PATH_MAX]; /* "" when it could not be kept */
};

struct campaign_result {
    uint64_t  lives, stores, kills, kills_in_recovery, kills_at_calls, lives_with_change, merges, rotations;
    uint64_t  states;              /* images looked at */
    uint64_t  lives_unguarded;     /* recorded, openings too, where calls that pass libc by could not be seen */
    uint64_t  verdicts[VERDICT_COUNT];
    uint64_t  wall_ns, open_ns;    /* the sum of first opens of surveys */
    uint64_t  acked_writes;
    uint32_t *acked;               /* per life, sorted */
    size_t    failure_count;
    struct campaign_failure failures[CAMPAIGN_FAILURES_MAX];
    bool      complete;            /* false: ended by a signal */
};

/* False with fail_set() when the campaign itself could not go on; the result is good up to there. */
bool campaign_run(const struct campaign_settings *settings, struct campaign_result *result);
void campaign_result_free(struct campaign_result *result);

#endif
