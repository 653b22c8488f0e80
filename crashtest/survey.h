/*
 * survey.h -- what a fresh process finds in a store after a crash: opens it, reads every key, writes, opens it again.
 *
 * The notes are in memory shared with the child, written as it goes, so that they say how far it came when it dies or
 * hangs.
 */
#ifndef ASSAY_CRASHTEST_SURVEY_H
#define ASSAY_CRASHTEST_SURVEY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/child.h"
#include "crashtest/history.h"
#include "crashtest/keyspace.h"
#include "crashtest/oracle.h"
#include "engines/engine.h"

enum survey_stage {
    SURVEY_FORKED, SURVEY_OPENING, SURVEY_READING, SURVEY_WRITING, SURVEY_CLOSING, SURVEY_OPENING_AGAIN,
    SURVEY_READING_AGAIN, SURVEY_CLOSING_AGAIN, SURVEY_DONE
};

struct survey {
    uint32_t stage;
    uint32_t status;     /* why it went no further; KV_OK: it did */
    char     text[HISTORY_TEXT_MAX];
    uint64_t open_ns;    /* how long the first open took */
    uint32_t keys;
    bool     strays;     /* a scan showed what no get did, or another value: text says */
    bool     probe_bad;  /* a write after the recovery was not there when read back: text says */
    bool     second_bad; /* the second open showed something else: text says */
    bool     second_back; /* and that was a value where there was none */
    struct oracle_found first[KEYSPACE_MAX];
    struct history_value last[KEYSPACE_MAX]; /* as the survey left the store: where the next life begins */
};

struct survey_plan {
    const struct kv_engine     *engine;
    const struct kv_config     *config;
    const struct keyspace      *keys;
    struct survey              *survey;   /* zeroed */
    uint64_t                    seed;     /* chooses what it writes */
    uint32_t                    life;
    bool                        abrupt;   /* the first visit ends without closing the store */
    bool                        refusal_is_fine; /* nothing is promised, so an explicit KV_CORRUPT is an answer */
};

struct survey *survey_new(void); /* shared memory; NULL with fail_set() */
void survey_free(struct survey *survey);

/* Runs the visits, each in a child of its own.  The survey says what was found; a verdict other than HELD is one that needs
 * no oracle (refused, crashed, hung, and what the survey itself saw), explained in out. */
void survey_run(const struct survey_plan *plan, uint64_t timeout_ns, struct oracle_verdict *out);

#endif
