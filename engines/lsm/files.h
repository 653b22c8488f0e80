/*
 * files.h -- the descriptors of tables: few are open at a time, and who reads from another opens it again.
 *
 * A tree may have more tables than a process may have descriptors.  A file is closed, and opened again, behind its reader's back:
 * reads share the file's lock, opening and closing have it alone.  Which one goes is chosen as in cache.h.  Only reads of blocks
 * that are not in the cache come here.
 */
#ifndef ASSAY_ENGINES_LSM_FILES_H
#define ASSAY_ENGINES_LSM_FILES_H

#include <pthread.h>

#include "engines/base/file.h"

struct reopened {
    struct file      file;
    struct files    *files;
    struct reopened *next, *previous; /* in the ring, when open */
    pthread_rwlock_t lock;
    uint32_t         pins;            /* atomic: it stays open; more only with the lock */
    bool             used;            /* atomic: since the hand came by */
};

struct files {
    pthread_mutex_t  lock;
    struct reopened *hand;
    size_t           open, open_max;
};

void files_init(struct files *files, size_t open_max);
void files_destroy(struct files *files); /* after all of its files */

/* For reading.  Nothing to close after a failure. */
MUST_USE kv_status reopened_open(struct reopened *file, struct files *files, const char *dir, const char *name);
void reopened_close(struct reopened *file); /* when nobody reads any more */
MUST_USE kv_status reopened_size(struct reopened *file, uint64_t *out);
/* As file_read_at.  Any number of threads. */
MUST_USE kv_status reopened_read_at(struct reopened *file, void *data, size_t size, uint64_t offset, size_t *got);
/* Opens it if need be, and keeps it open until it is unpinned: for reads that go on behind a call.  Pins add up. */
MUST_USE kv_status reopened_pin(struct reopened *file, int *fd);
static inline void reopened_unpin(struct reopened *file)
{
    __atomic_sub_fetch(&file->pins, 1, __ATOMIC_RELEASE);
}

#endif
