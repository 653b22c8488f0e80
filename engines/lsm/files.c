/* files.c -- opening tables again, and closing the ones that were not asked for. */
#include "engines/lsm/files.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void files_init(struct files *files, size_t open_max)
{
    *files = (struct files){.open_max = open_max};
    pthread_mutex_init(&files->lock, NULL);
}

void files_destroy(struct files *files)
{
    assert(!files->open);
    pthread_mutex_destroy(&files->lock);
}

/* Under files->lock. */
static void take_out(struct files *files, struct reopened *file)
{
    if (file->next == file) {
        files->hand = NULL;
    } else {
        file->next->previous = file->previous;
        file->previous->next = file->next;
        if (files->hand == file)
            files->hand = file->next;
    }
    file->next = file->previous = NULL;
    files->open--;
}

/* Under files->lock.  Nobody is waited for: what is being read from stays open, and the bound is overstepped by as many. */
static void close_some(struct files *files)
{
    for (size_t steps = 2 * files->open; steps > 0 && files->open > files->open_max; steps--) {
        struct reopened *file = files->hand;
        files->hand = file->next;
        if (__atomic_exchange_n(&file->used, false, __ATOMIC_RELAXED) || pthread_rwlock_trywrlock(&file->lock) != 0)
            continue;
        if (__atomic_load_n(&file->pins, __ATOMIC_ACQUIRE)) {
            pthread_rwlock_unlock(&file->lock);
            continue;
        }
        take_out(files, file);
        close(file->file.fd);
        file->file.fd = -1;
        pthread_rwlock_unlock(&file->lock);
    }
}

/* The caller has the file for itself. */
static void opened(struct reopened *file)
{
    struct files *files = file->files;

    pthread_mutex_lock(&files->lock);
    if (files->hand) { /* behind the hand: it comes here last */
        file->next = files->hand;
        file->previous = files->hand->previous;
        file->previous->next = file->next->previous = file;
    } else {
        files->hand = file->next = file->previous = file;
    }
    files->open++;
    close_some(files);
    pthread_mutex_unlock(&files->lock);
}

static kv_status open_again(struct reopened *file)
{
    kv_status status = KV_OK;

    pthread_rwlock_wrlock(&file->lock);
    if (file->file.fd < 0) { /* else another was quicker */
        do
            file->file.fd = open(file->file.path, O_RDONLY | O_CLOEXEC);
        while (file->file.fd < 0 && errno == EINTR);
        if (file->file.fd >= 0)
            opened(file);
        else
            status = kv_fail_errno("open %s", file->file.path);
    }
    pthread_rwlock_unlock(&file->lock);
    return status;
}

kv_status reopened_open(struct reopened *file, struct files *files, const char *dir, const char *name)
{
    *file = (struct reopened){.files = files};
    TRY(file_open(&file->file, dir, name, O_RDONLY));
    pthread_rwlock_init(&file->lock, NULL);
    pthread_rwlock_wrlock(&file->lock);
    opened(file);
    pthread_rwlock_unlock(&file->lock);
    return KV_OK;
}

void reopened_close(struct reopened *file)
{
    pthread_mutex_lock(&file->files->lock);
    if (file->next)
        take_out(file->files, file);
    pthread_mutex_unlock(&file->files->lock);
    file_close(&file->file);
    pthread_rwlock_destroy(&file->lock);
}

/* With the lock shared, and the file open; without the lock after a failure. */
static kv_status use(struct reopened *file)
{
    pthread_rwlock_rdlock(&file->lock);
    while (file->file.fd < 0) {
        pthread_rwlock_unlock(&file->lock);
        TRY(open_again(file));
        pthread_rwlock_rdlock(&file->lock);
    }
    if (!__atomic_load_n(&file->used, __ATOMIC_RELAXED))
        __atomic_store_n(&file->used, true, __ATOMIC_RELAXED);
    return KV_OK;
}

kv_status reopened_size(struct reopened *file, uint64_t *out)
{
    kv_status status;

    TRY(use(file));
    status = file_size(&file->file, out);
    pthread_rwlock_unlock(&file->lock);
    return status;
}

kv_status reopened_read_at(struct reopened *file, void *data, size_t size, uint64_t offset, size_t *got)
{
    kv_status status;

    TRY(use(file));
    status = file_read_at(&file->file, data, size, offset, got);
    pthread_rwlock_unlock(&file->lock);
    return status;
}

kv_status reopened_pin(struct reopened *file, int *fd)
{
    TRY(use(file));
    __atomic_add_fetch(&file->pins, 1, __ATOMIC_RELAXED);
    *fd = file->file.fd;
    pthread_rwlock_unlock(&file->lock);
    return KV_OK;
}
