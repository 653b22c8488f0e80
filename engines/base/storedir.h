/*
 * storedir.h -- the directory of a store: whose it is, and that one process has it open.
 *
 * STORE is the identity, a small text for people and programs:
 *
 *     assay store 1          the version of this very layout
 *     engine lsm
 *     format 3               the engine's own format; a newer one is refused
 *     shards 128             one line for each parameter that is needed to read the files back
 *     sum 8f3c...            xxh3-64 of all bytes before this line, 16 hex digits
 *
 * It is written as STORE.tmp, synced, renamed, and the directory synced, before any other file is made, so a crash
 * during creation leaves a directory that counts as empty (LOCK and STORE.tmp at most).  The parent directory is
 * synced when the directory is made.
 * LOCK is held with flock for as long as the store is open.  A crash leaves nothing to clean: the lock dies with its
 * process, the file means nothing.
 */
#ifndef ASSAY_ENGINES_BASE_STOREDIR_H
#define ASSAY_ENGINES_BASE_STOREDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engines/base/file.h"

#define STOREDIR_PARAMETERS_MAX 16
#define STOREDIR_IDENTITY       "STORE"
#define STOREDIR_IDENTITY_BYTES 4096 /* fewer than these */

struct storedir_parameter {
    const char *name; /* a word, lent */
    uint64_t    value;
};

struct storedir_kind {
    const char *engine;
    uint32_t    format; /* the newest format that this program reads, and the one it writes */
    /* In: the values for a new store.  Out: those of the store that was found.  NULL when there are none. */
    struct storedir_parameter *parameters;
    size_t                     count;
    bool (*owns)(const char *name); /* whether an engine's own file has this name, and hardly any other; NULL: not told */
};

struct storedir {
    char       *path; /* owned */
    struct file lock;
    uint32_t    format; /* of the store that was found */
    bool        created;
};

/*
 * Makes or opens the directory and locks it.  KV_BUSY when another open holds it (also in this process); KV_MISMATCH
 * when it holds something else: files without an identity, another engine, a newer format; KV_CORRUPT for a damaged
 * identity, or a missing one where files say that there was a store (LOCK, and MADE or one that the engine owns).
 */
MUST_USE kv_status storedir_open(struct storedir *dir, const char *path, const struct storedir_kind *kind);
void storedir_close(struct storedir *dir);

/* Whether the bytes of an identity, which stand in path, are whole: KV_CORRUPT with the sentence of storedir_open when not. */
MUST_USE kv_status storedir_check_identity(const char *path, const char *text, size_t size);

/*
 * For an engine of others that makes its database where it finds none: MADE says that there was one, so that a database which was
 * lost is an error and not an empty store.  Make the database, let it sync itself, then set the mark, before any write.
 */
bool storedir_is_made(const struct storedir *dir);
MUST_USE kv_status storedir_set_made(const struct storedir *dir);
/* Of a store that is made: KV_CORRUPT, naming it, when a file that it always has is absent or, if it may not be, empty. */
MUST_USE kv_status storedir_refuse_lost(const struct storedir *dir, const char *name, bool may_be_empty);

/* Allocated bytes of the files in a directory, without those in directories below it; for engines that do not know their files. */
uint64_t storedir_disk_bytes(const char *path);

/* Syncs each file of a directory whose name ends like that, then the directory itself: what another library wrote there through
 * descriptors of its own.  A file that is removed meanwhile is passed over. */
MUST_USE kv_status storedir_sync_files(const char *path, const char *ending);

#endif
