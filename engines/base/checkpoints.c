/* checkpoints.c -- a thread that checkpoints, and a gate before a full disk. */
#include "engines/base/checkpoints.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "common/clock.h"

/* A byte of a key or value is written to the log, and to a page that may be written twice. */
#define FACTOR          3
/* So much may be written before the file system is asked again. */
#define CREDIT_BYTES_MAX (INT64_C(64) << 20)

struct checkpoints {
    struct checkpoints_plan plan;
    pthread_t               thread;
    pthread_mutex_t         lock, running; /* running: held around plan.run; taken before lock */
    pthread_cond_t          cond;
    int64_t                 credit;        /* atomic: bytes that may be written before the file system is asked */
    uint64_t                since;         /* atomic: bytes written behind the last checkpoint */
    uint64_t                first_ns;      /* atomic: when the first of them was; 0: none */
    uint64_t                count;         /* atomic */
    bool                    stops;
    bool                    failed;        /* atomic, set under lock, after the sentence */
    char                    sentence[FAIL_BYTES_MAX];
};

/* Under `running`. */
static kv_status run(struct checkpoints *c)
{
    uint64_t  since, first_ns;
    kv_status status;

    if (__atomic_load_n(&c->failed, __ATOMIC_ACQUIRE))
        return kv_fail(KV_IO, "%s", c->sentence);
    /* What is written from here on may miss this one; what it may miss is counted for the next. */
    first_ns = __atomic_exchange_n(&c->first_ns, 0, __ATOMIC_RELAXED);
    since = __atomic_exchange_n(&c->since, 0, __ATOMIC_RELAXED);
    status = c->plan.run(c->plan.arg);
    if (status == KV_OK) {
        __atomic_add_fetch(&c->count, 1, __ATOMIC_RELAXED);
        return KV_OK;
    }
    __atomic_add_fetch(&c->since, since, __ATOMIC_RELAXED);
    __atomic_store_n(&c->first_ns, first_ns, __ATOMIC_RELAXED);
    if (status == KV_NO_SPACE || status == KV_NO_MEMORY)
        return status;
    pthread_mutex_lock(&c->lock);
    snprintf(c->sentence, sizeof c->sentence, "%s", fail_text());
    __atomic_store_n(&c->failed, true, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&c->lock);
    return KV_IO;
}

static struct timespec timespec_of(uint64_t at_ns)
{
    return (struct timespec){.tv_sec = (time_t)(at_ns / NS_PER_S), .tv_nsec = (long)(at_ns % NS_PER_S)};
}

static void *work(void *arg)
{
    struct checkpoints *c = arg;
    kv_status           status;

    pthread_mutex_lock(&c->lock);
    while (!c->stops) {
        uint64_t first_ns = __atomic_load_n(&c->first_ns, __ATOMIC_RELAXED), now_ns = clock_now_ns();
        uint64_t due_ns = first_ns ? first_ns + c->plan.period_ns : now_ns + c->plan.period_ns;

        if (__atomic_load_n(&c->since, __ATOMIC_RELAXED) < c->plan.bytes && now_ns < due_ns) {
            struct timespec due = timespec_of(due_ns);
            pthread_cond_timedwait(&c->cond, &c->lock, &due);
            continue;
        }
        pthread_mutex_unlock(&c->lock);
        status = checkpoints_now(c);
        pthread_mutex_lock(&c->lock);
        if (status != KV_OK) { /* the writers are told; once a second will do until there is room */
            struct timespec later = timespec_of(clock_now_ns() + NS_PER_S);
            while (!c->stops && pthread_cond_timedwait(&c->cond, &c->lock, &later) != ETIMEDOUT)
                continue;
        }
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

struct checkpoints *checkpoints_start(const struct checkpoints_plan *plan)
{
    struct checkpoints *c = calloc(1, sizeof *c);
    pthread_condattr_t  monotonic;
    int                 failed;

    if (!c) {
        fail_set("no memory for the thread that checkpoints");
        return NULL;
    }
    c->plan = *plan;
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->running, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&c->cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if ((failed = pthread_create(&c->thread, NULL, work, c)) == 0)
        return c;
    fail_set("no thread that checkpoints: %s", strerror(failed));
    pthread_cond_destroy(&c->cond);
    pthread_mutex_destroy(&c->running);
    pthread_mutex_destroy(&c->lock);
    free(c);
    return NULL;
}

/* Bytes that writes may still take, negative when there is no room. */
static int64_t room(const struct checkpoints *c)
{
    struct statvfs about;

    if (statvfs(c->plan.dir, &about) != 0)
        return CREDIT_BYTES_MAX; /* the write itself will say what is wrong */
    return (int64_t)((uint64_t)about.f_bavail * about.f_frsize) - (int64_t)c->plan.reserve_bytes -
           (int64_t)(FACTOR * __atomic_load_n(&c->since, __ATOMIC_RELAXED));
}

/* The credit is used up: asks the file system, under `running`, so that one thread at a time checkpoints for want of room. */
static kv_status ask(struct checkpoints *c, int64_t bytes)
{
    int64_t free_bytes = room(c);

    if (free_bytes < bytes && __atomic_load_n(&c->since, __ATOMIC_RELAXED)) {
        kv_status status = run(c);
        if (status == KV_IO)
            return status;
        free_bytes = room(c);
    }
    if (free_bytes < bytes)
        return kv_fail(KV_NO_SPACE, "%s: no space left for %" PRId64 " bytes, beside the %" PRIu64 " that are kept free for the "
                       "engine's own files", c->plan.dir, bytes, c->plan.reserve_bytes);
    free_bytes = (free_bytes - bytes) / 2;
    __atomic_store_n(&c->credit, free_bytes < CREDIT_BYTES_MAX ? free_bytes : CREDIT_BYTES_MAX, __ATOMIC_RELAXED);
    return KV_OK;
}

kv_status checkpoints_admit(struct checkpoints *c, uint64_t bytes)
{
    int64_t  wanted = (int64_t)(FACTOR * (bytes + 64)); /* and what the engine writes around them */
    uint64_t since;

    if (__builtin_expect(__atomic_load_n(&c->failed, __ATOMIC_ACQUIRE), 0))
        return kv_fail(KV_IO, "%s", c->sentence);
    if (__builtin_expect(__atomic_sub_fetch(&c->credit, wanted, __ATOMIC_RELAXED) < 0, 0)) {
        kv_status status = KV_OK;
        pthread_mutex_lock(&c->running);
        if (__atomic_load_n(&c->credit, __ATOMIC_RELAXED) < 0) /* else another has asked meanwhile */
            status = ask(c, wanted);
        pthread_mutex_unlock(&c->running);
        if (status != KV_OK)
            return status;
    }
    since = __atomic_fetch_add(&c->since, bytes, __ATOMIC_RELAXED);
    if (__builtin_expect(since == 0 || (since < c->plan.bytes && since + bytes >= c->plan.bytes), 0)) {
        pthread_mutex_lock(&c->lock);
        if (!__atomic_load_n(&c->first_ns, __ATOMIC_RELAXED))
            __atomic_store_n(&c->first_ns, clock_now_ns(), __ATOMIC_RELAXED);
        pthread_cond_signal(&c->cond);
        pthread_mutex_unlock(&c->lock);
    }
    return KV_OK;
}

kv_status checkpoints_now(struct checkpoints *c)
{
    kv_status status;

    pthread_mutex_lock(&c->running);
    status = run(c);
    pthread_mutex_unlock(&c->running);
    return status;
}

uint64_t checkpoints_count(const struct checkpoints *c)
{
    return __atomic_load_n(&c->count, __ATOMIC_RELAXED);
}

void checkpoints_stop(struct checkpoints *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stops = true;
    pthread_cond_broadcast(&c->cond);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    pthread_cond_destroy(&c->cond);
    pthread_mutex_destroy(&c->running);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
