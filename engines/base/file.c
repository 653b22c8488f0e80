#include "engines/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HUGE_BYTES (UINT32_C(2) << 20)
#define ZERO_BYTES (UINT32_C(1) << 20) /* one write of file_zero */

static char *join(const char *dir, const char *name)
{
    char *path = NULL;

    return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

static kv_status no_memory(const char *name)
{
    return kv_fail(KV_NO_MEMORY, "no memory for the path of %s", name);
}

kv_status file_open(struct file *file, const char *dir, const char *name, int flags)
{
    char     *path = join(dir, name);
    kv_status status;
    int       fd;

    *file = FILE_CLOSED;
    if (!path)
        return no_memory(name);
    do
        fd = open(path, flags | O_CLOEXEC, 0644);
    while (fd < 0 && errno == EINTR);
    if (fd >= 0) {
        *file = (struct file){fd, path};
        return KV_OK;
    }
    status = kv_fail_errno("open %s", path);
    free(path);
    return status;
}

void file_close(struct file *file)
{
    if (file->fd >= 0)
        close(file->fd); /* everything that matters was synced or is in the page cache: nothing can be lost here */
    free(file->path);
    *file = FILE_CLOSED;
}

kv_status file_size(const struct file *file, uint64_t *out)
{
    struct stat about;

    *out = 0;
    if (fstat(file->fd, &about) < 0)
        return kv_fail_errno("stat %s", file->path);
    *out = (uint64_t)about.st_size;
    return KV_OK;
}

uint64_t file_allocated_bytes(const struct file *file)
{
    struct stat about;

    return fstat(file->fd, &about) < 0 ? 0 : (uint64_t)about.st_blocks * 512;
}

kv_status file_read_at(const struct file *file, void *data, size_t size, uint64_t offset, size_t *got)
{
    *got = 0;
    while (*got < size) {
        ssize_t count = pread(file->fd, (char *)data + *got, size - *got, (off_t)(offset + *got));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return kv_fail_errno("read %s at %llu", file->path, (unsigned long long)(offset + *got));
        if (count == 0)
            break;
        *got += (size_t)count;
    }
    return KV_OK;
}

kv_status file_write_at(const struct file *file, const void *data, size_t size, uint64_t offset)
{
    const char *rest = data;

    while (size > 0) {
        ssize_t count = pwrite(file->fd, rest, size, (off_t)offset);
        if (count < 0 && errno == EINTR)
            continue;
        if (count == 0)
            errno = EIO; /* a write that takes nothing and says nothing would loop for ever */
        if (count <= 0)
            return kv_fail_errno("write %s at %llu", file->path, (unsigned long long)offset);
        rest += count;
        size -= (size_t)count;
        offset += (uint64_t)count;
    }
    return KV_OK;
}

kv_status file_zero(const struct file *file, uint64_t offset, uint64_t size)
{
    size_t    piece = size < ZERO_BYTES ? (size_t)size : ZERO_BYTES;
    char     *zeros = calloc(1, piece ? piece : 1);
    kv_status status = zeros ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory to fill %s", file->path);

    while (status == KV_OK && size > 0) {
        size_t now = size < piece ? (size_t)size : piece;
        status = file_write_at(file, zeros, now, offset);
        offset += now;
        size -= now;
    }
    free(zeros);
    return status;
}

kv_status file_allocate(const struct file *file, uint64_t offset, uint64_t size)
{
    do
        errno = posix_fallocate(file->fd, (off_t)offset, (off_t)size);
    while (errno == EINTR);
    return errno ? kv_fail_errno("reserve %llu bytes for %s", (unsigned long long)size, file->path) : KV_OK;
}

kv_status file_truncate(const struct file *file, uint64_t size)
{
    int failed;

    do
        failed = ftruncate(file->fd, (off_t)size);
    while (failed && errno == EINTR);
    return failed ? kv_fail_errno("truncate %s to %llu", file->path, (unsigned long long)size) : KV_OK;
}

void file_begin_writing(const struct file *file, uint64_t offset, uint64_t size)
{
    if (sync_file_range(file->fd, (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE) < 0)
        return; /* the sync that is due will tell */
}

kv_status file_sync(const struct file *file)
{
    return fsync(file->fd) < 0 ? kv_fail_errno("fsync %s", file->path) : KV_OK;
}

kv_status file_sync_data(const struct file *file)
{
    return fdatasync(file->fd) < 0 ? kv_fail_errno("fdatasync %s", file->path) : KV_OK;
}

kv_status file_map(const struct file *file, size_t size, bool writable, char **out)
{
    void *map = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file->fd, 0);

    *out = NULL;
    if (map == MAP_FAILED)
        return kv_fail_errno("map %zu bytes of %s", size, file->path);
    /* Where the file system has large folios, a miss then costs one miss less; elsewhere the advice is not taken. */
    if (size >= HUGE_BYTES)
        madvise(map, size, MADV_HUGEPAGE);
    *out = map;
    return KV_OK;
}

void file_unmap(char *map, size_t size)
{
    if (map)
        munmap(map, size);
}

void file_make_ready(char *map, size_t size)
{
#ifdef MADV_POPULATE_WRITE
    madvise(map, size, MADV_POPULATE_WRITE);
#else
    (void)map, (void)size;
#endif
}

kv_status file_sync_dir(const char *dir)
{
    struct file self;
    kv_status   status;

    TRY(file_open(&self, dir, ".", O_RDONLY | O_DIRECTORY));
    status = file_sync(&self);
    file_close(&self);
    return status;
}

kv_status file_rename(const char *dir, const char *from, const char *to)
{
    char     *old = join(dir, from), *new = join(dir, to);
    kv_status status = KV_OK;

    if (!old || !new)
        status = no_memory(to);
    else if (rename(old, new) < 0)
        status = kv_fail_errno("rename %s to %s", old, new);
    free(old);
    free(new);
    return status;
}

kv_status file_unlink(const char *dir, const char *name)
{
    char     *path = join(dir, name);
    kv_status status = KV_OK;

    if (!path)
        return no_memory(name);
    if (unlink(path) < 0 && errno != ENOENT)
        status = kv_fail_errno("unlink %s", path);
    free(path);
    return status;
}
