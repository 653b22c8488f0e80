/* ticker.c -- a thread that syncs in time. */
#include "engines/base/ticker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fail.h"

struct ticker {
    uint64_t        interval_ns;
    ticker_sync    *sync;
    void           *arg;
    pthread_t       thread;
    pthread_mutex_t lock;
    pthread_cond_t  cond;
    uint64_t        oldest_ns;  /* atomic, changed under lock: when the first write was made that no sync covers; 0: none */
    uint64_t        syncing_ns; /* atomic, changed under lock: the same of the sync under way */
    bool            stops, failed;
    char            sentence[FAIL_BYTES_MAX];
};

static struct timespec timespec_of(uint64_t at_ns)
{
    return (struct timespec){.tv_sec = (time_t)(at_ns / NS_PER_S), .tv_nsec = (long)(at_ns % NS_PER_S)};
}

static void *tick(void *arg)
{
    struct ticker *ticker = arg;

    pthread_mutex_lock(&ticker->lock);
    while (!ticker->stops && !ticker->failed) {
        uint64_t due_ns = ticker->oldest_ns + ticker->interval_ns / 2;
        if (!ticker->oldest_ns) {
            pthread_cond_wait(&ticker->cond, &ticker->lock);
        } else if (clock_now_ns() < due_ns) {
            struct timespec due = timespec_of(due_ns);
            pthread_cond_timedwait(&ticker->cond, &ticker->lock, &due);
        } else {
            kv_status status;
            __atomic_store_n(&ticker->syncing_ns, ticker->oldest_ns, __ATOMIC_RELAXED);
            __atomic_store_n(&ticker->oldest_ns, 0, __ATOMIC_RELEASE);
            pthread_mutex_unlock(&ticker->lock);
            status = ticker->sync(ticker->arg);
            pthread_mutex_lock(&ticker->lock);
            if (status == KV_OK) {
                __atomic_store_n(&ticker->syncing_ns, 0, __ATOMIC_RELAXED);
            } else {
                __atomic_store_n(&ticker->failed, true, __ATOMIC_RELAXED);
                snprintf(ticker->sentence, sizeof ticker->sentence, "%s", fail_text());
            }
            pthread_cond_broadcast(&ticker->cond);
        }
    }
    pthread_mutex_unlock(&ticker->lock);
    return NULL;
}

struct ticker *ticker_start(uint64_t interval_ns, ticker_sync *sync, void *arg)
{
    struct ticker     *ticker = calloc(1, sizeof *ticker);
    pthread_condattr_t monotonic;
    int                failed;

    if (!ticker) {
        fail_set("no memory for the thread that syncs");
        return NULL;
    }
    ticker->interval_ns = interval_ns;
    ticker->sync = sync;
    ticker->arg = arg;
    pthread_mutex_init(&ticker->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&ticker->cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if ((failed = pthread_create(&ticker->thread, NULL, tick, ticker)) == 0)
        return ticker;
    fail_set("no thread that syncs: %s", strerror(failed));
    pthread_cond_destroy(&ticker->cond);
    pthread_mutex_destroy(&ticker->lock);
    free(ticker);
    return NULL;
}

/* Under lock.  When the oldest write was made that is not known to be durable, 0: none. */
static uint64_t oldest(const struct ticker *ticker)
{
    return ticker->syncing_ns ? ticker->syncing_ns : ticker->oldest_ns;
}

kv_status ticker_wrote(struct ticker *ticker)
{
    kv_status status = KV_OK;
    uint64_t  now_ns;

    if (!ticker)
        return KV_OK;
    now_ns = clock_now_ns();
    /* The common case: a write before this one has set the clock, no sync covers it yet, and it is young. */
    if (!__atomic_load_n(&ticker->failed, __ATOMIC_RELAXED) && !__atomic_load_n(&ticker->syncing_ns, __ATOMIC_RELAXED)) {
        uint64_t since_ns = __atomic_load_n(&ticker->oldest_ns, __ATOMIC_ACQUIRE);
        if (since_ns && now_ns < since_ns + ticker->interval_ns / 2)
            return KV_OK;
    }
    pthread_mutex_lock(&ticker->lock);
    if (!ticker->oldest_ns) {
        __atomic_store_n(&ticker->oldest_ns, now_ns, __ATOMIC_RELAXED);
        pthread_cond_broadcast(&ticker->cond);
    }
    while (!ticker->failed && !ticker->stops && oldest(ticker) && clock_now_ns() >= oldest(ticker) + ticker->interval_ns)
        pthread_cond_wait(&ticker->cond, &ticker->lock);
    if (ticker->failed)
        status = kv_fail(KV_IO, "%s", ticker->sentence);
    pthread_mutex_unlock(&ticker->lock);
    return status;
}

void ticker_stop(struct ticker *ticker)
{
    if (!ticker)
        return;
    pthread_mutex_lock(&ticker->lock);
    ticker->stops = true;
    pthread_cond_broadcast(&ticker->cond);
    pthread_mutex_unlock(&ticker->lock);
    pthread_join(ticker->thread, NULL);
    pthread_cond_destroy(&ticker->cond);
    pthread_mutex_destroy(&ticker->lock);
    free(ticker);
}
