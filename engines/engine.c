/*
 * engine.c -- the built-in engines, and the wrappers that every call passes through: they check the arguments once, so
 * that engines may assume them, and do the plain way what an engine leaves out.
 */
#include "engines/engine.h"

#include <assert.h>
#include <math.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/units.h"
#include "common/words.h"

extern const struct kv_engine null_engine;
extern const struct kv_engine memory_engine;
extern const struct kv_engine bitcask_engine;
extern const struct kv_engine lsm_engine;

const struct kv_engine *const kv_engines[] = {
    &null_engine,
    &memory_engine,
    &bitcask_engine,
    &lsm_engine,
    NULL,
};

/* Words. */

static const char *const capability_words[KV_CAPABILITIES] = {
    "durable", "scan", "ordered", "batch", "snapshot", "modify", "sessions", "compact", "prefix-session", "retains",
    "checkpoint",
};
static const char *const tier_words[KV_TIER_COUNT] = {"none", "process", "ordered", "interval", "commit"};

const char *kv_capability_word(unsigned bit_index)
{
    return bit_index < KV_CAPABILITIES ? capability_words[bit_index] : "unknown";
}

const char *kv_tier_word(enum kv_tier tier)
{
    return (unsigned)tier < KV_TIER_COUNT ? tier_words[tier] : "unknown";
}

kv_status kv_durability_parse(const char *text, struct kv_durability *out)
{
    static const char *const writable[] = {"none", "process", "ordered", "interval:10ms", "commit"};

    *out = (struct kv_durability){0};
    if (strncmp(text, "interval", 8) == 0) {
        if (text[8] != ':' || !units_parse_ns(text + 9, &out->interval_ns) || out->interval_ns == 0)
            return kv_fail(KV_INVALID, "durability \"%s\" wants a time, like interval:10ms", text);
        out->tier = KV_TIER_INTERVAL;
        return KV_OK;
    }
    for (enum kv_tier tier = 0; tier < KV_TIER_COUNT; tier++) {
        if (strcmp(text, tier_words[tier]) == 0) {
            out->tier = tier;
            return KV_OK;
        }
    }
    return kv_fail(KV_INVALID, "there is no durability tier \"%s\"%s", text, words_hint(text, writable, 5));
}

char *kv_durability_text(struct kv_durability durability, char out[KV_DURABILITY_TEXT_MAX])
{
    char interval[UNITS_TEXT_MAX];

    if (durability.tier == KV_TIER_INTERVAL)
        snprintf(out, KV_DURABILITY_TEXT_MAX, "interval:%s", units_exact_ns(interval, durability.interval_ns));
    else
        snprintf(out, KV_DURABILITY_TEXT_MAX, "%s", kv_tier_word(durability.tier));
    return out;
}

/* Options. */

static size_t option_count(const struct kv_engine *engine)
{
    size_t count = 0;

    while (engine->options && engine->options[count].name)
        count++;
    assert(count <= KV_OPTIONS_MAX);
    return count;
}

static bool parse_word(const struct kv_option *option, const char *text, uint64_t *out)
{
    size_t count = 0;

    for (; option->words[count]; count++) {
        if (strcmp(option->words[count], text) == 0) {
            *out = count;
            return true;
        }
    }
    fail_set("\"%s\" is none of its words%s", text, words_hint(text, option->words, count));
    return false;
}

static bool parse_bool(const char *text, uint64_t *out)
{
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
        fail_set("\"%s\" is neither true nor false", text);
        return false;
    }
    *out = text[0] == 't';
    return true;
}

static char *bound_text(const struct kv_option *option, double bound, char out[UNITS_TEXT_MAX])
{
    if (option->type == KV_BYTES)
        return units_exact_bytes(out, (uint64_t)bound);
    if (option->type == KV_TIME)
        return units_exact_ns(out, (uint64_t)bound);
    snprintf(out, UNITS_TEXT_MAX, option->type == KV_COUNT ? "%.0f" : "%g", bound);
    return out;
}

static bool parse_option(const struct kv_option *option, const char *text, union kv_value *out)
{
    char   low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX];
    bool   parsed = false;
    double number;

    switch (option->type) {
    case KV_BOOL:  return parse_bool(text, &out->u64);
    case KV_WORD:  return parse_word(option, text, &out->u64);
    case KV_TEXT:  out->text = text; return true;
    case KV_COUNT: parsed = units_parse_count(text, &out->u64); break;
    case KV_BYTES: parsed = units_parse_bytes(text, &out->u64); break;
    case KV_TIME:  parsed = units_parse_ns(text, &out->u64); break;
    case KV_REAL:  parsed = units_parse_real(text, &out->real); break;
    }
    if (!parsed)
        return false;
    number = option->type == KV_REAL ? out->real : (double)out->u64;
    if ((option->min == 0 && option->max == 0) || (number >= option->min && number <= option->max))
        return true;
    fail_set("%s is out of range; write %s to %s", text, bound_text(option, option->min, low),
             bound_text(option, option->max, high));
    return false;
}

void kv_config_init(const struct kv_engine *engine, struct kv_config *config)
{
    *config = (struct kv_config){.durability = {KV_TIER_PROCESS, 0}};
    for (size_t i = 0; i < option_count(engine); i++) {
        bool parsed = parse_option(&engine->options[i], engine->options[i].fallback, &config->option[i]);
        assert(parsed); /* a default that its own row refuses is a bug of the engine */
        (void)parsed;
    }
}

kv_status kv_config_set(const struct kv_engine *engine, struct kv_config *config, const char *name, const char *value)
{
    const char *names[KV_OPTIONS_MAX];
    size_t      count = option_count(engine);

    for (size_t i = 0; i < count; i++) {
        names[i] = engine->options[i].name;
        if (strcmp(names[i], name) != 0)
            continue;
        if (parse_option(&engine->options[i], value, &config->option[i]))
            return KV_OK;
        return kv_fail(KV_INVALID, "%s.%s: %s", engine->name, name, fail_text());
    }
    if (count == 0)
        return kv_fail(KV_INVALID, "engine %s has no options, so not \"%s\"", engine->name, name);
    return kv_fail(KV_INVALID, "engine %s has no option \"%s\"%s", engine->name, name, words_hint(name, names, count));
}

kv_status kv_config_assign(const struct kv_engine *engine, struct kv_config *config, const char *assignment)
{
    size_t      engine_bytes = strcspn(assignment, ".=");
    const char *option = assignment + engine_bytes + 1, *equals;
    char        name[64];

    if (assignment[engine_bytes] != '.' || !(equals = strchr(option, '=')) || equals == option || engine_bytes == 0)
        return kv_fail(KV_INVALID, "\"%s\" is not ENGINE.OPTION=VALUE", assignment);
    if (strlen(engine->name) != engine_bytes || strncmp(assignment, engine->name, engine_bytes) != 0)
        return KV_NOT_FOUND;
    snprintf(name, sizeof name, "%.*s", (int)(equals - option), option);
    return kv_config_set(engine, config, name, equals + 1);
}

kv_status kv_config_check(const struct kv_engine *engine, const struct kv_config *config)
{
    return engine->check ? engine->check(config) : KV_OK;
}

char *kv_config_text(const struct kv_engine *engine, const struct kv_config *config, size_t row,
                     char out[KV_OPTION_TEXT_MAX])
{
    const struct kv_option *option = &engine->options[row];
    union kv_value          value = config->option[row];
    char                    units[UNITS_TEXT_MAX];

    switch (option->type) {
    case KV_BOOL:  snprintf(out, KV_OPTION_TEXT_MAX, "%s", value.u64 ? "true" : "false"); break;
    case KV_COUNT: snprintf(out, KV_OPTION_TEXT_MAX, "%" PRIu64, value.u64); break;
    case KV_BYTES: snprintf(out, KV_OPTION_TEXT_MAX, "%s", units_exact_bytes(units, value.u64)); break;
    case KV_TIME:  snprintf(out, KV_OPTION_TEXT_MAX, "%s", units_exact_ns(units, value.u64)); break;
    case KV_REAL:  snprintf(out, KV_OPTION_TEXT_MAX, "%.15g", value.real); break;
    case KV_WORD:  snprintf(out, KV_OPTION_TEXT_MAX, "%s", option->words[value.u64]); break;
    case KV_TEXT:  snprintf(out, KV_OPTION_TEXT_MAX, "%s", value.text); break;
    }
    return out;
}

/* Stores and sessions. */

#define MODIFY_STRIPES 64

/* For engines without a modify of their own: one key's modifies exclude each other. */
struct kv_lock {
    pthread_mutex_t stripe[MODIFY_STRIPES];
};

static struct kv_lock *lock_new(void)
{
    struct kv_lock *lock = malloc(sizeof *lock);

    for (size_t i = 0; lock && i < MODIFY_STRIPES; i++)
        pthread_mutex_init(&lock->stripe[i], NULL);
    return lock;
}

kv_status kv_open(const struct kv_engine *engine, const struct kv_config *config, struct kv_store **out)
{
    char                 text[KV_DURABILITY_TEXT_MAX];
    struct kv_durability durability = config->durability;
    kv_status            status;

    *out = NULL;
    if ((engine->can & KV_DURABLE) && (!config->dir || !*config->dir))
        return kv_fail(KV_INVALID, "engine %s needs a directory", engine->name);
    if ((engine->can & KV_DURABLE) && !(engine->tiers & KV_TIER_BIT(durability.tier)))
        return kv_fail(KV_UNSUPPORTED, "engine %s does not offer durability %s", engine->name,
                       kv_durability_text(durability, text));
    if ((durability.tier == KV_TIER_INTERVAL) != (durability.interval_ns != 0))
        return kv_fail(KV_INVALID, "an interval belongs to the durability tier interval, and to no other");
    TRY(kv_config_check(engine, config));
    if ((status = engine->open(config, out)) != KV_OK)
        return status;
    (*out)->engine = engine;
    (*out)->modify = engine->modify ? NULL : lock_new();
    (*out)->dir = engine->can & KV_DURABLE && config->dir ? realpath(config->dir, NULL) : NULL;
    if (engine->modify || (*out)->modify)
        return KV_OK;
    status = kv_close(*out);
    *out = NULL;
    return status != KV_OK ? status : kv_fail(KV_NO_MEMORY, "no memory for a store");
}

kv_status kv_close(struct kv_store *store)
{
    if (!store)
        return KV_OK;
    free(store->modify);
    free(store->dir);
    return store->engine->close(store);
}

kv_status kv_session_open(struct kv_store *store, struct kv_session **out)
{
    *out = NULL;
    TRY(store->engine->session_open(store, out));
    (*out)->store = store;
    return KV_OK;
}

void kv_session_close(struct kv_session *session)
{
    if (session)
        session->store->engine->session_close(session);
}

/* Calls. */

/* The sentences stand apart and cold, so that the wrappers below need no stack frame: they run for every call. */
#define COLD __attribute__((cold, noinline))

COLD static kv_status refuse_key(const struct kv_engine *engine, slice key)
{
    if (key.size == 0)
        return kv_fail(KV_INVALID, "a key has at least 1 byte");
    return kv_fail(KV_TOO_LARGE, "a key of %zu bytes; engine %s takes up to %" PRIu32, key.size, engine->name,
                   engine->key_bytes_max);
}

COLD static kv_status refuse_value(const struct kv_engine *engine, slice value)
{
    return kv_fail(KV_TOO_LARGE, "a value of %zu bytes; engine %s takes up to %" PRIu32, value.size, engine->name,
                   engine->value_bytes_max);
}

static inline bool key_fits(const struct kv_engine *engine, slice key)
{
    return key.size - 1 < engine->key_bytes_max; /* one test for both ends: 0 - 1 is the largest number */
}

static inline bool value_fits(const struct kv_engine *engine, slice value)
{
    return value.size <= engine->value_bytes_max;
}

static inline kv_status check_key(const struct kv_engine *engine, slice key)
{
    return key_fits(engine, key) ? KV_OK : refuse_key(engine, key);
}

static inline kv_status check_value(const struct kv_engine *engine, slice value)
{
    return value_fits(engine, value) ? KV_OK : refuse_value(engine, value);
}

static kv_status unsupported(const struct kv_engine *engine, const char *call)
{
    return kv_fail(KV_UNSUPPORTED, "engine %s does not offer %s", engine->name, call);
}

kv_status kv_put(struct kv_session *session, slice key, slice value)
{
    const struct kv_engine *engine = session->store->engine;

    if (!key_fits(engine, key))
        return refuse_key(engine, key);
    if (!value_fits(engine, value))
        return refuse_value(engine, value);
    return engine->put(session, key, value);
}

kv_status kv_get(struct kv_session *session, slice key, kv_visit *visit, void *arg)
{
    const struct kv_engine *engine = session->store->engine;

    if (!key_fits(engine, key))
        return refuse_key(engine, key);
    return engine->get(session, key, visit, arg);
}

kv_status kv_del(struct kv_session *session, slice key)
{
    const struct kv_engine *engine = session->store->engine;

    if (!key_fits(engine, key))
        return refuse_key(engine, key);
    return engine->del(session, key);
}

struct one_of_many {
    kv_visit_many *visit;
    void          *arg;
    size_t         position;
};

static bool visit_one_of_many(void *arg, slice key, slice value)
{
    struct one_of_many *one = arg;

    (void)key;
    one->visit(one->arg, one->position, KV_OK, value);
    return true;
}

kv_status kv_get_many(struct kv_session *session, const slice *keys, size_t count, kv_visit_many *visit, void *arg)
{
    const struct kv_engine *engine = session->store->engine;
    struct one_of_many      one = {visit, arg, 0};

    if (count > KV_BATCH_MAX)
        return kv_fail(KV_TOO_LARGE, "%zu keys in one call; up to %u are taken", count, KV_BATCH_MAX);
    for (size_t i = 0; i < count; i++)
        TRY(check_key(engine, keys[i]));
    if (engine->get_many)
        return engine->get_many(session, keys, count, visit, arg);
    for (; one.position < count; one.position++) {
        kv_status status = engine->get(session, keys[one.position], visit_one_of_many, &one);
        if (status != KV_OK)
            visit(arg, one.position, status, (slice){0});
    }
    return KV_OK;
}

static bool copy_value(void *arg, slice key, slice value)
{
    struct buf *copy = arg;

    (void)key;
    if (buf_append(copy, value.data, value.size) != KV_OK)
        copy->size = SIZE_MAX; /* checked by the caller, who returns what buf_append said */
    return true;
}

static kv_status modify_plainly(struct kv_session *session, slice key, kv_change *change, void *arg)
{
    const struct kv_engine *engine = session->store->engine;
    struct buf              old = {0}, new = {0};
    size_t                  hash = 5381;
    pthread_mutex_t        *lock;
    kv_status               status;

    for (size_t i = 0; i < key.size; i++)
        hash = hash * 33 + ((const unsigned char *)key.data)[i];
    lock = &session->store->modify->stripe[hash % MODIFY_STRIPES];
    pthread_mutex_lock(lock);
    status = engine->get(session, key, copy_value, &old);
    if (old.size == SIZE_MAX) {
        status = KV_NO_MEMORY;
    } else if (status == KV_OK || status == KV_NOT_FOUND) {
        slice before = buf_slice(&old);
        status = change(arg, status == KV_OK ? &before : NULL, &new);
        if (status == KV_OK)
            status = engine->put(session, key, buf_slice(&new));
    }
    pthread_mutex_unlock(lock);
    buf_free(&old);
    buf_free(&new);
    return status;
}

struct checked_change {
    const struct kv_engine *engine;
    kv_change              *change;
    void                   *arg;
};

/* The new value of a modify is an argument like any other: engines may assume that it is within their limit. */
static kv_status change_checked(void *arg, const slice *old, struct buf *out)
{
    const struct checked_change *checked = arg;

    TRY(checked->change(checked->arg, old, out));
    return check_value(checked->engine, buf_slice(out));
}

kv_status kv_modify(struct kv_session *session, slice key, kv_change *change, void *arg)
{
    const struct kv_engine *engine = session->store->engine;
    struct checked_change   checked = {engine, change, arg};

    TRY(check_key(engine, key));
    if (engine->modify)
        return engine->modify(session, key, change_checked, &checked);
    return modify_plainly(session, key, change_checked, &checked);
}

kv_status kv_write(struct kv_session *session, const struct kv_write *writes, size_t count)
{
    const struct kv_engine *engine = session->store->engine;

    if (!(engine->can & KV_BATCH))
        return unsupported(engine, "atomic batches");
    if (count > KV_BATCH_MAX)
        return kv_fail(KV_TOO_LARGE, "%zu writes in one batch; up to %u are taken", count, KV_BATCH_MAX);
    for (size_t i = 0; i < count; i++) {
        TRY(check_key(engine, writes[i].key));
        if (writes[i].kind == KV_PUT)
            TRY(check_value(engine, writes[i].value));
    }
    return count ? engine->write(session, writes, count) : KV_OK;
}

kv_status kv_scan(struct kv_session *session, slice first, kv_visit *visit, void *arg)
{
    const struct kv_engine *engine = session->store->engine;

    if (!(engine->can & KV_SCAN))
        return unsupported(engine, "scans");
    if (first.size && !(engine->can & KV_ORDERED))
        return unsupported(engine, "scans in key order, only of everything");
    if (first.size)
        TRY(check_key(engine, first));
    return engine->scan(session, first, visit, arg);
}

struct prefix_scan {
    slice     prefix;
    kv_visit *visit;
    void     *arg;
};

static bool visit_prefix(void *arg, slice key, slice value)
{
    struct prefix_scan *scan = arg;

    if (key.size < scan->prefix.size || memcmp(key.data, scan->prefix.data, scan->prefix.size) != 0)
        return false; /* in key order, so there are no more */
    return scan->visit(scan->arg, key, value);
}

kv_status kv_scan_prefix(struct kv_session *session, slice prefix, kv_visit *visit, void *arg)
{
    struct prefix_scan scan = {prefix, visit, arg};

    if (prefix.size == 0)
        return kv_scan(session, prefix, visit, arg);
    return kv_scan(session, prefix, visit_prefix, &scan);
}

kv_status kv_sync(struct kv_session *session)
{
    return session->store->engine->sync(session);
}

kv_status kv_snapshot(struct kv_session *session, int fd)
{
    const struct kv_engine *engine = session->store->engine;

    return engine->can & KV_SNAPSHOT ? engine->snapshot(session, fd) : unsupported(engine, "snapshots");
}

kv_status kv_compact(struct kv_session *session)
{
    const struct kv_engine *engine = session->store->engine;

    return engine->can & KV_COMPACT ? engine->compact(session) : unsupported(engine, "compaction");
}

void kv_stats(struct kv_store *store, kv_figure *figure, void *arg)
{
    if (store->engine->stats)
        store->engine->stats(store, figure, arg);
}

void kv_settings(struct kv_store *store, kv_setting *setting, void *arg)
{
    if (store->engine->settings)
        store->engine->settings(store, setting, arg);
}

struct wanted_figure {
    const char *name;
    uint64_t    value;
};

static void pick_figure(void *arg, const char *name, uint64_t value)
{
    struct wanted_figure *wanted = arg;

    if (strcmp(name, wanted->name) == 0)
        wanted->value = value;
}

uint64_t kv_stat(struct kv_store *store, const char *name)
{
    struct wanted_figure wanted = {name, KV_UNKNOWN};

    kv_stats(store, pick_figure, &wanted);
    return wanted.value;
}
