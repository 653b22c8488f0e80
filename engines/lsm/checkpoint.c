/*
 * checkpoint.c -- a store of its own beside this one, of one moment: tables by hard links, and what changes by copies.
 *
 * After RocksDB's checkpoints.  A table never changes, so two stores may share one: each removes its own name only.  Copied are
 * the logs that no table has yet, each up to where it stood, and the manifest is written anew.  A log is never linked: it is
 * written to, and its blocks are used again.
 * A version and the logs that are not in it belong together.  Both stay while they are copied: the tables by a reference, the logs
 * because none is forgotten meanwhile (log_readers).  The moment is when the tail of the active log is read; flushes,
 * merges and writes go on.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engines/lsm/store.h"

#define COPY_BYTES (UINT32_C(1) << 20)

struct log_part {
    uint64_t id;
    uint64_t bytes; /* of its file, up to the moment */
};

struct checkpoint {
    struct lsm     *store;
    const char     *dir;
    struct manifest manifest;
    struct version *version;
    struct buf      logs; /* struct log_part, in order */
};

/* ---- The moment. ---- */

static kv_status add_log(struct checkpoint *checkpoint, const struct wal *wal)
{
    struct log_part part = {wal->id, wal->tail};

    return wal->id < checkpoint->manifest.log_id ? KV_OK : buf_append(&checkpoint->logs, &part, sizeof part);
}

static kv_status choose_moment(struct checkpoint *checkpoint)
{
    struct lsm *store = checkpoint->store;
    kv_status   status = KV_OK;

    pthread_mutex_lock(&store->tree_lock);
    pthread_mutex_lock(&store->background.lock);
    store->background.log_readers++;
    pthread_mutex_unlock(&store->background.lock);
    checkpoint->manifest = store->manifest;
    checkpoint->version = store->tree;
    version_keep(checkpoint->version);
    pthread_mutex_unlock(&store->tree_lock);
    /* What is flushed from here on is in a log of these as well. */
    pthread_mutex_lock(&store->log.lock);
    pthread_mutex_lock(&store->background.lock);
    for (const struct wal *wal = store->sealed; wal && status == KV_OK; wal = wal->next)
        status = add_log(checkpoint, wal);
    pthread_mutex_unlock(&store->background.lock);
    if (status == KV_OK && store->log.wal)
        status = add_log(checkpoint, store->log.wal);
    /* The copies are synced, all of them. */
    checkpoint->manifest.durable_seq = store->log.next_seq - 1;
    checkpoint->manifest.youngest_log = store->log.wal && store->log.wal->id >= checkpoint->manifest.log_id ? store->log.wal->id : 0;
    checkpoint->manifest.log_before = 0;
    pthread_mutex_unlock(&store->log.lock);
    checkpoint->manifest.next_id = __atomic_load_n(&store->next_id, __ATOMIC_RELAXED);
    return status;
}

static void let_go(struct checkpoint *checkpoint)
{
    struct lsm *store = checkpoint->store;
    uint64_t    log_id;

    version_release(checkpoint->version);
    buf_free(&checkpoint->logs);
    pthread_mutex_lock(&store->tree_lock);
    log_id = store->manifest.log_id;
    pthread_mutex_unlock(&store->tree_lock);
    pthread_mutex_lock(&store->background.lock);
    store->background.log_readers--;
    pthread_mutex_unlock(&store->background.lock);
    if (log_id)
        log_forget(store, log_id - 1); /* what flushes have left meanwhile */
}

/* ---- The files. ---- */

static kv_status other_file_system(const struct checkpoint *checkpoint)
{
    return kv_fail(KV_MISMATCH, "%s is on another file system than the store in %s, whose tables it would link", checkpoint->dir,
                   checkpoint->store->dir.path);
}

static kv_status check_file_system(const struct checkpoint *checkpoint)
{
    struct stat here, there;

    if (stat(checkpoint->store->dir.path, &here) != 0)
        return kv_fail_errno("stat %s", checkpoint->store->dir.path);
    if (stat(checkpoint->dir, &there) != 0)
        return kv_fail_errno("stat %s", checkpoint->dir);
    return here.st_dev == there.st_dev ? KV_OK : other_file_system(checkpoint);
}

/* They were synced before a manifest named them: only the new names are not, and manifest_write syncs those. */
static kv_status link_tables(const struct checkpoint *checkpoint)
{
    int       dir = open(checkpoint->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    kv_status status = dir >= 0 ? KV_OK : kv_fail_errno("open %s", checkpoint->dir);

    for (size_t i = 0; i < checkpoint->version->count; i++) {
        const struct run_of_tables *run = &checkpoint->version->run[i];
        for (size_t j = 0; j < run->count && status == KV_OK; j++) {
            char        name[TABLE_NAME_MAX];
            const char *path = run->table[j]->file.file.path;
            if (linkat(AT_FDCWD, path, dir, table_name(name, run->table[j]->id), 0) != 0)
                status = errno == EXDEV ? other_file_system(checkpoint) : kv_fail_errno("link %s into %s", path, checkpoint->dir);
        }
    }
    if (dir >= 0)
        close(dir);
    return status;
}

static kv_status copy_bytes(const struct file *from, const struct file *to, uint64_t bytes, char *memory)
{
    for (uint64_t at = 0; at < bytes;) {
        size_t wanted = bytes - at < COPY_BYTES ? (size_t)(bytes - at) : COPY_BYTES, got;
        TRY(file_read_at(from, memory, wanted, at, &got));
        if (got != wanted)
            return kv_fail(KV_CORRUPT, "%s at %" PRIu64 ": the log is cut off", from->path, at + got);
        TRY(file_write_at(to, memory, wanted, at));
        at += wanted;
    }
    return file_sync(to);
}

static kv_status copy_logs(const struct checkpoint *checkpoint)
{
    const struct log_part *parts = (const struct log_part *)checkpoint->logs.data;
    char                  *memory = malloc(COPY_BYTES);
    kv_status              status = memory ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory to copy a log");

    for (size_t i = 0; i < checkpoint->logs.size / sizeof *parts && status == KV_OK; i++) {
        struct file from = FILE_CLOSED, to = FILE_CLOSED;
        char        name[WAL_NAME_MAX];
        wal_name(name, parts[i].id);
        if ((status = file_open(&from, checkpoint->store->dir.path, name, O_RDONLY)) == KV_OK &&
            (status = file_open(&to, checkpoint->dir, name, O_WRONLY | O_CREAT | O_EXCL)) == KV_OK)
            status = copy_bytes(&from, &to, parts[i].bytes, memory);
        file_close(&from);
        file_close(&to);
    }
    free(memory);
    return status;
}

kv_status lsm_checkpoint(struct kv_session *base, const char *dir)
{
    struct lsm          *store = lsm_of(base);
    struct checkpoint    checkpoint = {.store = store, .dir = dir};
    struct storedir_kind kind = STORE_KIND;
    struct storedir      there;
    kv_status            status;

    if (tree_failed(store))
        return tree_refuses(store);
    TRY(storedir_open(&there, dir, &kind));
    if ((status = check_file_system(&checkpoint)) == KV_OK) {
        if ((status = choose_moment(&checkpoint)) == KV_OK && (status = link_tables(&checkpoint)) == KV_OK &&
            (status = copy_logs(&checkpoint)) == KV_OK)
            status = manifest_write(dir, &checkpoint.manifest, checkpoint.version);
        let_go(&checkpoint);
    }
    storedir_close(&there);
    if (status == KV_OK)
        count(&store->counters.checkpoints, 1);
    return status;
}
