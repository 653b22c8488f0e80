/*
 * judge.h -- looks into a directory that a crash left and says the verdict: survey (survey.h), then oracle (oracle.h).
 */
#ifndef ASSAY_CRASHTEST_JUDGE_H
#define ASSAY_CRASHTEST_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "crashtest/history.h"
#include "crashtest/keyspace.h"
#include "crashtest/oracle.h"
#include "crashtest/survey.h"
#include "engines/engine.h"

struct judge_case {
    const struct kv_engine      *engine;
    const struct kv_config      *config; /* dir is not looked at */
    const struct keyspace       *keys;
    const struct history_record *record;
    const struct history_value  *before;
    enum oracle_crash            crash;
    uint64_t                     death_ns;
    uint64_t                     seed;
    uint32_t                     life;
    bool                         abrupt; /* see survey.h */
    uint64_t                     timeout_ns;
};

/* Opens the store in dir, so it is another one afterwards.  The survey is filled anew; where it stands with a status
 * and the verdict is HELD, an explicit refusal was a legal answer.  False with fail_set(): no memory. */
bool judge_store(const struct judge_case *input, const char *dir, struct survey *survey, struct oracle_verdict *out);

#endif
