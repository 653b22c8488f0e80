/*
 * faulty.c -- an engine that goes wrong on order, to see that a bench notices.
 *
 * A chained hash table under one lock.  It says that it is durable, and keeps that promise only within its process: the
 * table outlives close.  With fault "none" it is correct.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engines/engine.h"

#define BUCKETS 65536

enum fault { NONE, CRASH, EXIT, HANG, ANOTHER, TORN, LOSE, STALE, GHOST, UNDEAD, ERROR, FORGET, SLOW_SYNC };
static const char *const faults[] = {"none",  "crash", "exit",   "hang",  "another", "torn",      "lose",
                                     "stale", "ghost", "undead", "error", "forget",  "slow-sync", NULL};

static const struct kv_option options[] = {
    {.name = "fault", .type = KV_WORD, .fallback = "none", .help = "what goes wrong", .words = faults},
    {.name = "after", .type = KV_COUNT, .fallback = "1000", .help = "calls until it does"},
    {0},
};

struct item {
    struct item *next;
    size_t       key_bytes, value_bytes;
    char         bytes[];
};

static struct item     *table[BUCKETS];
static pthread_mutex_t  lock = PTHREAD_MUTEX_INITIALIZER;
static enum fault       fault;
static uint64_t         after, calls;
static size_t           deletes_ignored;

static struct item **find(slice key)
{
    uint32_t      hash = 2166136261u;
    struct item **at;

    for (size_t i = 0; i < key.size; i++)
        hash = (hash ^ ((const unsigned char *)key.data)[i]) * 16777619u;
    for (at = &table[hash % BUCKETS]; *at; at = &(*at)->next) {
        if ((*at)->key_bytes == key.size && memcmp((*at)->bytes, key.data, key.size) == 0)
            break;
    }
    return at;
}

/* The n-th call and all behind it. */
static bool due(void)
{
    return calls++ >= after;
}

static void maybe_die(void)
{
    if (fault == CRASH && due())
        abort();
    if (fault == EXIT && due())
        _exit(3);
    if (fault == HANG && due())
        for (;;)
            pause();
}

static kv_status faulty_open(const struct kv_config *config, struct kv_store **out)
{
    fault = (enum fault)config->option[0].u64;
    after = config->option[1].u64;
    *out = calloc(1, sizeof **out);
    return *out ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for a store");
}

static kv_status faulty_close(struct kv_store *store)
{
    free(store);
    for (size_t i = 0; fault == FORGET && i < BUCKETS / 64; i++) {
        while (table[i]) {
            struct item *item = table[i];
            table[i] = item->next;
            free(item);
        }
    }
    return KV_OK;
}

static kv_status faulty_session_open(struct kv_store *store, struct kv_session **out)
{
    (void)store;
    *out = calloc(1, sizeof **out);
    return *out ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for a session");
}

static void faulty_session_close(struct kv_session *session)
{
    free(session);
}

static kv_status faulty_put(struct kv_session *session, slice key, slice value)
{
    struct item **at, *item;

    (void)session;
    pthread_mutex_lock(&lock);
    maybe_die();
    if (fault == ERROR && due()) {
        pthread_mutex_unlock(&lock);
        return kv_fail(KV_IO, "write faulty.log: %s", strerror(EIO));
    }
    at = find(key);
    if ((fault == LOSE && !*at && due()) || (fault == STALE && *at && due())) {
        pthread_mutex_unlock(&lock);
        return KV_OK;
    }
    item = malloc(sizeof *item + key.size + value.size);
    *item = (struct item){*at ? (*at)->next : NULL, key.size, value.size};
    memcpy(item->bytes, key.data, key.size);
    if (value.size)
        memcpy(item->bytes + key.size, value.data, value.size);
    free(*at);
    *at = item;
    pthread_mutex_unlock(&lock);
    return KV_OK;
}

static kv_status faulty_get(struct kv_session *session, slice key, kv_visit *visit, void *arg)
{
    struct item *item, *wrong;
    bool         found;

    (void)session;
    pthread_mutex_lock(&lock);
    maybe_die();
    item = *find(key);
    if (fault == GHOST && !item)
        for (size_t i = 0; i < BUCKETS && !item; i++)
            item = table[i];
    wrong = item;
    if (fault == ANOTHER && item && due())
        for (size_t i = 0; i < BUCKETS && wrong == item; i++)
            wrong = table[i] ? table[i] : wrong;
    if (fault == TORN && item && item->value_bytes && due())
        item->bytes[item->key_bytes + item->value_bytes - 1] ^= 1;
    found = item != NULL;
    if (found)
        visit(arg, key, slice_of(wrong->bytes + wrong->key_bytes, wrong->value_bytes));
    pthread_mutex_unlock(&lock);
    return found ? KV_OK : KV_NOT_FOUND;
}

static kv_status faulty_del(struct kv_session *session, slice key)
{
    struct item **at, *item;

    (void)session;
    pthread_mutex_lock(&lock);
    maybe_die();
    at = find(key);
    if (fault == UNDEAD && due()) {
        deletes_ignored++;
    } else if ((item = *at)) {
        *at = item->next;
        free(item);
    }
    pthread_mutex_unlock(&lock);
    return KV_OK;
}

static kv_status faulty_sync(struct kv_session *session)
{
    (void)session;
    if (fault == SLOW_SYNC)
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    return KV_OK;
}

static const struct kv_engine engine = {
    .abi             = KV_ABI,
    .name            = "faulty",
    .version         = "1",
    .summary         = "goes wrong on order, for the tests of the bench",
    .can             = KV_DURABLE | KV_SESSIONS | KV_RETAINS,
    .tiers           = KV_TIER_BIT(KV_TIER_PROCESS) | KV_TIER_BIT(KV_TIER_NONE),
    .key_bytes_max   = 1024,
    .value_bytes_max = 1 << 20,
    .options         = options,
    .open            = faulty_open,
    .close           = faulty_close,
    .session_open    = faulty_session_open,
    .session_close   = faulty_session_close,
    .put             = faulty_put,
    .get             = faulty_get,
    .del             = faulty_del,
    .sync            = faulty_sync,
};

__attribute__((visibility("default"))) const struct kv_engine *kv_plugin(void);
const struct kv_engine *kv_plugin(void)
{
    return &engine;
}
