/*
 * engine.h -- the contract between a storage engine and everything above it.
 *
 * Lifetime    A store lives from kv_open to kv_close and is open in one process.  A session belongs to one thread and
 *             lives inside its store; sessions of one store run at the same time.  Close all sessions first.
 * Borrowing   A slice passed down is lent until the call returns.  A slice passed up to a visitor is lent until the
 *             visitor returns; its bytes do not change meanwhile.  A visitor calls nothing of the store.
 * Keys        1 to KV_KEY_BYTES_MAX bytes, any bytes.  Values 0 to KV_VALUE_BYTES_MAX bytes, any bytes.  An engine with
 *             lower limits says so in its table.  Past a limit: KV_TOO_LARGE, and nothing changed.
 * Absence     An empty value is a value.  A deleted key is absent.
 * Durability  What an acknowledged write survives is said by the tier the store was opened with (enum kv_tier).
 * Failure     After KV_IO from a write or a sync the store refuses further writes with KV_IO and the first sentence;
 *             a failed fsync is never retried.  KV_NO_SPACE, KV_NO_MEMORY, KV_TOO_LARGE and KV_INVALID change nothing.
 *             KV_CORRUPT names file and offset; wrong data is never handed up.
 *
 * The shape (const table, object that embeds it, plain wrappers) is SplinterDB's; sessions are wormhole's `ref`; the
 * visitor instead of a copy is wormhole's `inpr`.
 */
#ifndef ASSAY_ENGINES_ENGINE_H
#define ASSAY_ENGINES_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "engines/base/buf.h"
#include "engines/base/slice.h"
#include "engines/base/status.h"

#define KV_ABI             6u /* raised whenever a plug-in built before would misread this header */
#define KV_KEY_BYTES_MAX   65535u
#define KV_VALUE_BYTES_MAX (UINT32_C(256) << 20)
#define KV_BATCH_MAX       65536u /* operations in one kv_write or kv_get_many */
#define KV_UNKNOWN         UINT64_MAX
#define KV_CACHE_DEFAULT   (UINT64_C(256) << 20)

/* Promises.  The contract test holds every engine to each bit that it sets. */
enum kv_capability {
    KV_DURABLE        = 1u << 0, /* what was written is there after close and open */
    KV_SCAN           = 1u << 1, /* scan from the empty key visits every live key once */
    KV_ORDERED        = 1u << 2, /* scan starts at any key and goes up in key order; needs KV_SCAN */
    KV_BATCH          = 1u << 3, /* write: after a failure, a crash or in a snapshot, all of a batch or nothing */
    KV_SNAPSHOT       = 1u << 4, /* snapshot; its stream loads, or restores, into any engine */
    KV_MODIFY         = 1u << 5, /* modify is atomic against every write; without it only against other modifies */
    KV_SESSIONS       = 1u << 6, /* any number of sessions at once; without it one at a time */
    KV_COMPACT        = 1u << 7, /* compact gives back the space of dead bytes */
    KV_PREFIX_SESSION = 1u << 8, /* the consistent prefix of a tier holds for each session, not store-wide */
    KV_RETAINS        = 1u << 9, /* get gives back what was put for that key: every engine but one that measures the harness */
    KV_CHECKPOINT     = 1u << 10, /* checkpoint: a store of its own, of one moment, for the price of some links */
    KV_CAPABILITIES   = 11
};

/*
 * What an acknowledged write has survived.  "Prefix" means: if a write is there, so is every write that was
 * acknowledged before it began.
 */
enum kv_tier {        /* acknowledged means           survives kill -9              survives power loss          */
    KV_TIER_NONE,     /* in process memory            prefix, at least to the last sync   the same               */
    KV_TIER_PROCESS,  /* given to the kernel          all                           no promise                   */
    KV_TIER_ORDERED,  /* given to the kernel in order all                           prefix, at least to last sync */
    KV_TIER_INTERVAL, /* as ordered, synced each T    all                           all but at most the last T   */
    KV_TIER_COMMIT,   /* synced                       all                           all                          */
    KV_TIER_COUNT
};
#define KV_TIER_BIT(tier) (1u << (tier))
#define KV_TIERS_ALL      ((1u << KV_TIER_COUNT) - 1)

struct kv_durability {
    enum kv_tier tier;
    uint64_t     interval_ns; /* KV_TIER_INTERVAL only, else 0 */
};

/* "process", "interval:5ms".  Parsing fails with KV_INVALID and a sentence that lists what may be written. */
#define KV_DURABILITY_TEXT_MAX 48
MUST_USE kv_status kv_durability_parse(const char *text, struct kv_durability *out);
char *kv_durability_text(struct kv_durability durability, char out[KV_DURABILITY_TEXT_MAX]);

/* ---- Options: a table of knobs, documented by `assay engines NAME`. ---- */

enum kv_option_type {
    KV_BOOL,  /* u64: 0 or 1; written true or false */
    KV_COUNT, /* u64 */
    KV_BYTES, /* u64; written with units */
    KV_TIME,  /* u64, ns; written with units */
    KV_REAL,  /* real */
    KV_WORD,  /* u64: index into words */
    KV_TEXT   /* text, lent for as long as the store is open */
};

union kv_value {
    uint64_t    u64;
    double      real;
    const char *text;
};

struct kv_option {
    const char         *name;
    enum kv_option_type type;
    const char         *fallback; /* the default, as text */
    double              min, max; /* for COUNT, BYTES, TIME (ns) and REAL; both 0: no bounds */
    const char         *help;     /* one line */
    const char *const  *words;    /* KV_WORD: NULL-terminated */
    /* Set on a size that says only how often background work comes (a change of segment, a flush), not which code runs:
     * the value at which it comes many times within one short life.  Crash tests set it, and a verdict that they reach vouches
     * for other values of it too.  NULL: any other value is another configuration. */
    const char         *small;
};

struct kv_engine;

#define KV_OPTIONS_MAX 64

/* Everything that open needs.  kv_config_init fills in the defaults. */
struct kv_config {
    const char          *dir;          /* the store's own directory; made if absent; not used by engines without KV_DURABLE */
    struct kv_durability durability;
    uint64_t             memory_bytes; /* budget for caches and buffers; 0: none was set */
    union kv_value       option[KV_OPTIONS_MAX]; /* one per row of engine->options, in that order */
};

/* What an engine that keeps a cache of its own gives it, so that all get the same: half of the budget (the other half pays for
 * write buffers, indexes and the page cache), or KV_CACHE_DEFAULT when no budget was set. */
static inline uint64_t kv_cache_bytes(const struct kv_config *config)
{
    return config->memory_bytes ? config->memory_bytes / 2 : KV_CACHE_DEFAULT;
}

void kv_config_init(const struct kv_engine *engine, struct kv_config *config);
/* KV_INVALID, with a sentence that lists or suggests names, for an unknown name or a value outside its type or range.
 * A KV_TEXT value is kept by pointer. */
MUST_USE kv_status kv_config_set(const struct kv_engine *engine, struct kv_config *config, const char *name,
                                 const char *value);
/* "ENGINE.OPTION=VALUE", as --set takes it.  KV_NOT_FOUND when it is written for another engine, KV_INVALID as above. */
MUST_USE kv_status kv_config_assign(const struct kv_engine *engine, struct kv_config *config, const char *assignment);
/* Whether the options go together, once all are set: KV_INVALID with a sentence.  kv_open asks too; who takes options from
 * people asks before anything is touched. */
MUST_USE kv_status kv_config_check(const struct kv_engine *engine, const struct kv_config *config);
/* The option's value as text that kv_config_set reads back. */
#define KV_OPTION_TEXT_MAX 256
char *kv_config_text(const struct kv_engine *engine, const struct kv_config *config, size_t row,
                     char out[KV_OPTION_TEXT_MAX]);

/* ---- Calls. ---- */

struct kv_store {
    const struct kv_engine *engine; /* set by the wrapper */
    struct kv_lock         *modify; /* the wrapper's own: plain modify for engines that leave the slot empty */
    char                   *dir;    /* the wrapper's own: where the store is, without links; NULL where it is in no directory */
};

struct kv_session {
    struct kv_store *store; /* set by the wrapper */
};

/* False stops a scan; for a get it does not matter. */
typedef bool kv_visit(void *arg, slice key, slice value);

/* Called once for each key of get_many, in order; value is meaningful with KV_OK only. */
typedef void kv_visit_many(void *arg, size_t position, kv_status status, slice value);

/* The new value of a key from its old one (NULL: absent).  Fill out and return KV_OK to write it; any other status is
 * returned by kv_modify and nothing is written.  May be called more than once (a retry); out is emptied before. */
typedef kv_status kv_change(void *arg, const slice *old, struct buf *out);

/* One figure of kv_stats. */
typedef void kv_figure(void *arg, const char *name, uint64_t value);

/* One setting of kv_settings: in the engine's own words. */
typedef void kv_setting(void *arg, const char *name, const char *value);

enum kv_write_kind { KV_PUT, KV_DELETE };

struct kv_write {
    enum kv_write_kind kind;
    slice              key;
    slice              value; /* KV_PUT only */
};

/*
 * One engine: `static const`-like, the only symbol its folder exports.  Slots marked optional may be NULL; the wrapper
 * then does them the plain way or answers KV_UNSUPPORTED.  The wrappers check the arguments, so engines may assume them.
 */
struct kv_engine {
    uint32_t                abi;           /* KV_ABI */
    const char             *name;          /* lower case; also written into its stores */
    const char             *version;
    const char             *summary;       /* one line */
    const char             *licence;       /* of the library behind it, as SPDX writes it; NULL: Assay's own */
    uint32_t                can;           /* enum kv_capability */
    uint32_t                tiers;         /* KV_TIER_BIT of each tier it maps; 0 for engines without KV_DURABLE */
    uint32_t                key_bytes_max;
    uint32_t                value_bytes_max;
    const struct kv_option *options;       /* NULL-name terminated, or NULL */

    kv_status (*open)(const struct kv_config *config, struct kv_store **out);
    kv_status (*close)(struct kv_store *store); /* frees the store, also when it reports a failure; close is no promise of a
                                                 * sync for tiers process and below, but loses nothing that was acknowledged */
    kv_status (*session_open)(struct kv_store *store, struct kv_session **out);
    void (*session_close)(struct kv_session *session);

    kv_status (*put)(struct kv_session *session, slice key, slice value);
    kv_status (*get)(struct kv_session *session, slice key, kv_visit *visit, void *arg);
    kv_status (*del)(struct kv_session *session, slice key); /* KV_OK also when the key was absent */
    /* Optional.  Each value as of some moment during the call; sees the session's own earlier writes; many misses of
     * memory or reads of disk in flight at once. */
    kv_status (*get_many)(struct kv_session *session, const slice *keys, size_t count, kv_visit_many *visit, void *arg);
    kv_status (*modify)(struct kv_session *session, slice key, kv_change *change, void *arg);          /* optional */
    kv_status (*write)(struct kv_session *session, const struct kv_write *writes, size_t count);       /* KV_BATCH */
    kv_status (*scan)(struct kv_session *session, slice first, kv_visit *visit, void *arg);            /* KV_SCAN */
    kv_status (*sync)(struct kv_session *session); /* all that was acknowledged before the call is durable after it */

    kv_status (*snapshot)(struct kv_session *session, int fd);                    /* KV_SNAPSHOT: base/snapshot.h stream */
    /* KV_CHECKPOINT: makes dir, which is absent, as a store of this engine's, and syncs all of it.  After a failure the wrapper
     * removes what is there. */
    kv_status (*checkpoint)(struct kv_session *session, const char *dir);
    kv_status (*compact)(struct kv_session *session);                             /* KV_COMPACT: in full, now, waits */
    void (*stats)(struct kv_store *store, kv_figure *figure, void *arg);          /* optional; any thread, any time */
    /* Optional.  Prints one of the engine's files (a log, a table, a manifest), record by record, damage included, for
     * people.  KV_MISMATCH, with nothing printed, when path is no file of this engine's: neither has it
     * a magic of its, nor a name that the engine gives (a file of its with a damaged magic, which is KV_CORRUPT). */
    kv_status (*dump)(const char *path, FILE *out);
    /* Optional: how the store is really set up, when options, tier and memory budget have been mapped to the engine's own
     * settings ("WAL" "sync=true", "block_cache" "128M"); read back from the engine where it tells.  It stands in results. */
    void (*settings)(struct kv_store *store, kv_setting *setting, void *arg);
    /* Optional: what the first open of a process pays once (a calibration of clocks).  Who opens many stores in children calls
     * it before it forks them; it leaves no thread and no descriptor behind. */
    void (*prepare)(void);
    /* Optional: options that are each in their range, and do not go together: KV_INVALID with a sentence.  Touches nothing. */
    kv_status (*check)(const struct kv_config *config);
};

MUST_USE kv_status kv_open(const struct kv_engine *engine, const struct kv_config *config, struct kv_store **out);
MUST_USE kv_status kv_close(struct kv_store *store); /* NULL is KV_OK */
MUST_USE kv_status kv_session_open(struct kv_store *store, struct kv_session **out);
void kv_session_close(struct kv_session *session); /* NULL is fine */

MUST_USE kv_status kv_put(struct kv_session *session, slice key, slice value);
MUST_USE kv_status kv_get(struct kv_session *session, slice key, kv_visit *visit, void *arg);
MUST_USE kv_status kv_del(struct kv_session *session, slice key);
/* Answers in the order of its keys, duplicates included.  The status of the call is KV_OK when every key got its own. */
MUST_USE kv_status kv_get_many(struct kv_session *session, const slice *keys, size_t count, kv_visit_many *visit, void *arg);
MUST_USE kv_status kv_modify(struct kv_session *session, slice key, kv_change *change, void *arg);
/* All of the writes, in their order, or none.  Single gets that run meanwhile may see a part. */
MUST_USE kv_status kv_write(struct kv_session *session, const struct kv_write *writes, size_t count);
/* From the first key that is not below `first`; without KV_ORDERED first must be empty. */
MUST_USE kv_status kv_scan(struct kv_session *session, slice first, kv_visit *visit, void *arg);
MUST_USE kv_status kv_scan_prefix(struct kv_session *session, slice prefix, kv_visit *visit, void *arg);
MUST_USE kv_status kv_sync(struct kv_session *session);
/* A copy of one moment, streamed while writes go on.  The descriptor is the caller's, and is not synced. */
MUST_USE kv_status kv_snapshot(struct kv_session *session, int fd);
/* Puts every record of a snapshot stream of any engine into an open store.  KV_CORRUPT, naming the record, when the stream
 * was cut or altered; the records before it are in the store then, so load into an empty one and drop it on a failure. */
MUST_USE kv_status kv_load(struct kv_session *session, int fd);
/* Makes a new store in config->dir from a snapshot stream of any engine; for engines with KV_DURABLE.  The directory must be
 * absent or empty; it appears whole and synced, or stays as it was when the stream is bad or cut, or the disk full. */
MUST_USE kv_status kv_restore(const struct kv_engine *engine, const struct kv_config *config, int fd);
/* A store of its own in dir, of one moment, made while writes go on: it has what was acknowledged before the call, shares
 * with this one only files that never change, and is durable.  dir must be absent or empty, and where the engine links, in the same
 * file system; it appears whole and synced, or stays as it was. */
MUST_USE kv_status kv_checkpoint(struct kv_session *session, const char *dir);
/* KV_INVALID with a sentence when dir is that of the store, or within it, by whatever path, or a link; kv_checkpoint asks too.  Who opens a store
 * for a checkpoint asks before. */
MUST_USE kv_status kv_checkpoint_check(const char *store_dir, const char *dir);
MUST_USE kv_status kv_compact(struct kv_session *session);

/*
 * Figures, by standard names where an engine knows them (the others are its own, documented in its banner):
 *   live_keys, live_bytes (keys and values), disk_bytes (allocated), memory_bytes (index, caches, buffers),
 *   debt_bytes (background work still owed), stalls (writes that had to wait for background work), stall_ns
 */
void kv_stats(struct kv_store *store, kv_figure *figure, void *arg);
uint64_t kv_stat(struct kv_store *store, const char *name); /* KV_UNKNOWN when the engine does not tell */

void kv_settings(struct kv_store *store, kv_setting *setting, void *arg);

/* ---- The registry. ---- */

/* Built-in engines, NULL-terminated. */
extern const struct kv_engine *const kv_engines[];

/*
 * A built-in engine by name, a plug-in by path ("./mine.so": a slash, or the ending .so), or a plug-in by name
 * ("rocksdb": plugins/rocksdb.so beside the executable, or in $ASSAY_PLUGINS).  A plug-in stays loaded.
 * KV_INVALID with a sentence that lists the known names, or says what is wrong with the file.
 */
MUST_USE kv_status kv_engine_find(const char *name, const struct kv_engine **out);

/* Calls back for every engine that can be found by name: built-in ones, then the plug-ins.  A plug-in that does not load, and
 * one that the build left out because a library is missing (NAME.missing stands in its place, and names the package), is passed
 * with engine NULL, and fail_text() says why. */
void kv_engine_each(void (*each)(void *arg, const char *name, const struct kv_engine *engine), void *arg);

/* What a plug-in exports: `const struct kv_engine *kv_plugin(void)`.  fail_set() and fail_text() come from the program. */
typedef const struct kv_engine *kv_plugin_fn(void);
#define KV_PLUGIN_SYMBOL "kv_plugin"

const char *kv_capability_word(unsigned bit_index); /* "durable", "scan", ... */
const char *kv_tier_word(enum kv_tier tier);

#endif
