/*
 * liar.c -- an engine that claims every tier and syncs as its option "lie" says, to see that the tier check notices.
 *
 * It writes each value to a log and gives nothing back.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engines/engine.h"

enum lie { NONE, NO_SYNC, OTHER_FILE, IDLE_FILE, BEFORE_WRITE, RANGE, FAILED, IN_A_CHILD, DSYNC };
static const char *const lies[] = {"none",  "no-sync", "other-file", "idle-file",  "before-write",
                                   "range", "failed",  "in-a-child", "dsync", NULL};

static const struct kv_option options[] = {
    {.name = "lie", .type = KV_WORD, .fallback = "none", .help = "what it does in place of a sync", .words = lies},
    {0},
};

static struct {
    pthread_mutex_t      lock;
    pthread_t            ticker;
    struct kv_durability durability;
    enum lie             lie;
    int                  log, other, pipe[2];
    _Atomic bool         closing;
} liar = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void sync_log(void)
{
    switch (liar.lie) {
    case NONE:
        fdatasync(liar.log);
        break;
    case OTHER_FILE: /* written, and not what the value is in */
        if (write(liar.other, "x", 1) == 1)
            fsync(liar.other);
        break;
    case IDLE_FILE: /* the same log, over a descriptor of a file that nobody wrote */
        fsync(liar.other);
        break;
    case RANGE:
        sync_file_range(liar.log, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
        break;
    case FAILED:
        fsync(liar.pipe[0]);
        break;
    default:
        break;
    }
}

static void *tick(void *arg)
{
    struct timespec interval = {.tv_sec = (time_t)(liar.durability.interval_ns / 1000000000u),
                                .tv_nsec = (long)(liar.durability.interval_ns % 1000000000u)};

    (void)arg;
    while (!liar.closing) {
        nanosleep(&interval, NULL);
        sync_log();
    }
    return NULL;
}

static kv_status liar_open(const struct kv_config *config, struct kv_store **out)
{
    char path[4096];

    liar.lie = (enum lie)config->option[0].u64;
    liar.durability = config->durability;
    snprintf(path, sizeof path, "%s/log", config->dir);
    liar.log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (liar.lie == DSYNC ? O_DSYNC : 0), 0600);
    snprintf(path, sizeof path, "%s/other", config->dir);
    liar.other = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (liar.log < 0 || liar.other < 0 || pipe(liar.pipe) != 0)
        return kv_fail(KV_IO, "open %s: %s", path, strerror(errno));
    liar.closing = false;
    if (liar.durability.tier == KV_TIER_INTERVAL && pthread_create(&liar.ticker, NULL, tick, NULL) != 0)
        return kv_fail(KV_NO_MEMORY, "no thread");
    *out = calloc(1, sizeof **out);
    return *out ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for a store");
}

static kv_status liar_close(struct kv_store *store)
{
    liar.closing = true;
    if (liar.durability.tier == KV_TIER_INTERVAL)
        pthread_join(liar.ticker, NULL);
    close(liar.log);
    close(liar.other);
    close(liar.pipe[0]);
    close(liar.pipe[1]);
    free(store);
    return KV_OK;
}

static kv_status liar_session_open(struct kv_store *store, struct kv_session **out)
{
    (void)store;
    *out = calloc(1, sizeof **out);
    return *out ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for a session");
}

static void liar_session_close(struct kv_session *session)
{
    free(session);
}

/* A process of its own does the work, as an engine behind a server does. */
static bool write_in_child(slice value)
{
    pid_t pid = fork();
    int   status;

    if (pid == 0) {
        bool good = write(liar.log, value.data, value.size) == (ssize_t)value.size && fdatasync(liar.log) == 0;
        _exit(good ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static kv_status liar_put(struct kv_session *session, slice key, slice value)
{
    bool commits = liar.durability.tier == KV_TIER_COMMIT, good;

    (void)session;
    (void)key;
    pthread_mutex_lock(&liar.lock);
    if (commits && liar.lie == BEFORE_WRITE)
        fdatasync(liar.log);
    if (liar.lie == IN_A_CHILD)
        good = write_in_child(value);
    else
        good = write(liar.log, value.data, value.size) == (ssize_t)value.size;
    if (commits)
        sync_log();
    pthread_mutex_unlock(&liar.lock);
    return good ? KV_OK : kv_fail(KV_IO, "write log: %s", strerror(errno));
}

static kv_status liar_get(struct kv_session *session, slice key, kv_visit *visit, void *arg)
{
    (void)session;
    (void)key;
    (void)visit;
    (void)arg;
    return KV_NOT_FOUND;
}

static kv_status liar_del(struct kv_session *session, slice key)
{
    return liar_put(session, key, key);
}

static kv_status liar_sync(struct kv_session *session)
{
    (void)session;
    sync_log();
    return KV_OK;
}

static const struct kv_engine engine = {
    .abi             = KV_ABI,
    .name            = "liar",
    .version         = "1",
    .summary         = "syncs as it is told, for the tests of the tier check",
    .can             = KV_DURABLE | KV_SESSIONS,
    .tiers           = KV_TIERS_ALL,
    .key_bytes_max   = 1024,
    .value_bytes_max = 1 << 20,
    .options         = options,
    .open            = liar_open,
    .close           = liar_close,
    .session_open    = liar_session_open,
    .session_close   = liar_session_close,
    .put             = liar_put,
    .get             = liar_get,
    .del             = liar_del,
    .sync            = liar_sync,
};

__attribute__((visibility("default"))) const struct kv_engine *kv_plugin(void);
const struct kv_engine *kv_plugin(void)
{
    return &engine;
}
