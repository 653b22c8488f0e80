/*
 * tiercheck.h -- whether an engine asks for the syncs that its tier needs: seen from outside, not believed.
 *
 * A traced process (traced.h) writes a little in known commit groups and notes when each write began and was acknowledged.  The
 * tracer notes each write to a file, and each sync and its return, of the engine's threads and of processes that it started.
 * Both use the same clock, so the judge can ask of each acknowledged write: was there a sync, within its time, of a file that
 * had been given as many bytes as the value has, within its time?  (Values do not compress.)  A sync of another file, one that
 * came late, and one that failed are none.
 *
 * What is not seen: stores into a mapped file, which counts as written at any time; two files that both got enough bytes, of
 * which the wrong one was synced; and what io_uring and libaio do.  sync_file_range is counted, and is no sync: it flushes no cache of the device (sync_file_range(2), Warning).
 * The device's own count of flushes stands beside; it counts other writers too, so only too few of them say something.
 */
#ifndef ASSAY_HARNESS_TIERCHECK_H
#define ASSAY_HARNESS_TIERCHECK_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engines/engine.h"

#define TIERCHECK_GROUPS_MAX 1024
#define TIERCHECK_EVENTS_MAX 65536
#define TIERCHECK_FILES_MAX  1024
#define TIERCHECK_EIGHT      8
#define TIERCHECK_VALUE      1000 /* bytes, that do not compress */

/* One session; eight at once; batches; writes over several intervals; what the sync slot covers. */
enum tiercheck_part { TIERCHECK_ONE, TIERCHECK_EIGHT_SESSIONS, TIERCHECK_BATCHES, TIERCHECK_INTERVAL, TIERCHECK_SYNC, TIERCHECK_PARTS };

/* A write, and the moment at which it is promised to be durable: its acknowledgement, or the end of a sync behind it. */
struct tiercheck_group {
    uint64_t begin_ns, end_ns;
    uint32_t part;
};

struct tiercheck_span {
    uint64_t begin_ns, end_ns;
    uint64_t flushes;   /* of the device, KV_UNKNOWN */
    uint32_t syncs_due; /* at least so many */
};

enum tiercheck_kind {
    TIERCHECK_WRITE,      /* of a regular file */
    TIERCHECK_DSYNC,      /* the same, and durable when it returns */
    TIERCHECK_FSYNC,      /* of a file, or (no file) of a whole file system */
    TIERCHECK_NO_SYNC,    /* sync_file_range, a sync of a directory or of a pipe: counted */
    TIERCHECK_RING        /* io_uring, libaio: what it does is not seen */
};

struct tiercheck_event {
    uint64_t begin_ns, end_ns; /* end 0: it failed, or never returned */
    uint32_t file;             /* TIERCHECK_NO_FILE: all */
    uint32_t bytes;            /* that a write wrote */
    uint16_t call;
    uint8_t  kind;
};
#define TIERCHECK_NO_FILE UINT32_MAX

struct tiercheck_file {
    dev_t device;
    ino_t inode;
    bool  mapped; /* shared and writable, at some time */
};

/* Shared by the process that writes, its tracer, and who judges. */
struct tiercheck_page {
    struct tiercheck_span  spans[TIERCHECK_PARTS];
    struct tiercheck_group groups[TIERCHECK_GROUPS_MAX];
    uint32_t               group_count;
    struct tiercheck_event events[TIERCHECK_EVENTS_MAX]; /* by begin_ns */
    uint32_t               event_count;
    struct tiercheck_file  files[TIERCHECK_FILES_MAX];
    uint32_t               file_count;
    bool                   overflow; /* there were more */
    bool                   no_trace; /* the calls could not be seen */
    bool                   done;     /* all parts were written */
};

/* The traced process: writes, then returns its exit code; fail_set() when the engine failed.  Counts in *progress. */
bool tiercheck_write(struct tiercheck_page *page, const struct kv_engine *engine, const struct kv_config *config,
                     _Atomic uint64_t *progress);

/* Hooks of the tracer (struct traced); arg is the page. */
bool tiercheck_entered(void *page, pid_t thread);
void tiercheck_left(void *page, pid_t thread);

/* The object "tier_check" of a result: {tier, ok, why, parts}.  unknowable: why a sync says nothing there ("the store is in
 * memory"), NULL when it does; the tier is then never ok, but it can be broken.  A new reference. */
json_t *tiercheck_judge(const struct tiercheck_page *page, struct kv_durability durability, const char *unknowable);

#endif
