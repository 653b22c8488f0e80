#include "harness/space.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engines/engine.h"

#define OPEN_DIRS_MAX 16

static _Thread_local uint64_t walk_bytes; /* nftw has no argument for its callback */

static int add_blocks(const char *path, const struct stat *stat, int kind, struct FTW *ftw)
{
    (void)path, (void)ftw;
    if (kind == FTW_F || kind == FTW_D)
        walk_bytes += (uint64_t)stat->st_blocks * 512;
    return 0;
}

uint64_t space_used_bytes(const char *dir)
{
    walk_bytes = 0;
    nftw(dir, add_blocks, OPEN_DIRS_MAX, FTW_PHYS);
    return walk_bytes;
}

uint64_t space_free_bytes(const char *dir)
{
    struct statvfs fs;

    return statvfs(dir, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : KV_UNKNOWN;
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *ftw)
{
    (void)stat, (void)kind, (void)ftw;
    remove(path);
    return 0;
}

void space_remove(const char *dir)
{
    nftw(dir, remove_one, OPEN_DIRS_MAX, FTW_PHYS | FTW_DEPTH);
}

static _Thread_local bool dropped_any;

static int drop_one(const char *path, const struct stat *stat, int kind, struct FTW *ftw)
{
    int fd;

    (void)stat, (void)ftw;
    if (kind != FTW_F || (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return 0;
    fdatasync(fd); /* only clean pages can be dropped */
    dropped_any |= posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0;
    close(fd);
    return 0;
}

bool space_drop_cache(const char *dir)
{
    int fd;

    dropped_any = false;
    nftw(dir, drop_one, OPEN_DIRS_MAX, FTW_PHYS);
    if ((fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC)) >= 0) {
        dropped_any |= write(fd, "3", 1) == 1;
        close(fd);
    }
    return dropped_any;
}
