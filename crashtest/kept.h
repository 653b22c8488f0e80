/*
 * kept.h -- a failure on disk: the store as the crash left it, and all that is needed to judge it again.
 *
 *   DIR/image/       the store before its recovery
 *   DIR/run.json     engine, options, tier, crash, and the verdict
 *   DIR/history.bin  every operation's start and end, and the values that the life began with
 *   DIR/verdict.txt  for people
 *   DIR/trace.txt    power loss: the calls up to the loss, one a line; trace.bin the same with their bytes
 */
#ifndef ASSAY_CRASHTEST_KEPT_H
#define ASSAY_CRASHTEST_KEPT_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "crashtest/history.h"
#include "crashtest/keyspace.h"
#include "crashtest/oracle.h"
#include "engines/engine.h"

#define KEPT_TEXT_MAX 128

struct kept {
    char                   engine[PATH_MAX]; /* a name, or a plug-in's path */
    struct kv_durability   durability;
    enum oracle_crash      crash;
    char                   profile[KEPT_TEXT_MAX]; /* "" for kills */
    uint32_t               key_count, key_bytes_max;
    uint64_t               seed;     /* the campaign's */
    uint32_t               life;
    bool                   abrupt;   /* as the survey went */
    uint64_t               death_ns;
    uint64_t               timeout_ns;
    struct history_record  record;
    struct history_value  *before;   /* key_count of them */
    struct oracle_verdict  verdict;
    /* Options as text, in pairs; the values are what kv_config_set reads. */
    uint32_t               option_count;
    char                   option_name[KV_OPTIONS_MAX][KEPT_TEXT_MAX];
    char                   option_value[KV_OPTIONS_MAX][KV_OPTION_TEXT_MAX];
};

/* Makes dir (its parent must be there) and copies image_dir into it.  False with fail_set(). */
bool kept_save(const struct kept *kept, const char *image_dir, const char *dir);
/* Takes any directory and refuses what does not fit together.  Release with kept_free, also after false. */
bool kept_load(const char *dir, struct kept *out);
void kept_free(struct kept *kept);

#endif
