#include "crashtest/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fail.h"

#define CHUNK_BYTES (128 << 10)

static bool fail(const char *what, const char *name)
{
    fail_set("cannot %s %s: %s", what, name, strerror(errno));
    return false;
}

static bool copy_range(int from, int to, off_t at, off_t end)
{
    static char chunk[CHUNK_BYTES]; /* the parent has one thread */

    while (at < end) {
        size_t  wanted = end - at < CHUNK_BYTES ? (size_t)(end - at) : CHUNK_BYTES;
        ssize_t got = pread(from, chunk, wanted, at);
        if (got <= 0 || pwrite(to, chunk, (size_t)got, at) != got)
            return false;
        at += got;
    }
    return true;
}

/* Preallocated files are mostly holes, so only what holds data is read. */
static bool copy_bytes(int from, int to, off_t size)
{
    off_t at = 0;

    while (at < size) {
        off_t data = lseek(from, at, SEEK_DATA), hole;
        if (data < 0 && errno == ENXIO) /* nothing but a hole up to the end */
            break;
        if (data < 0)
            return copy_range(from, to, at, size); /* a file system without holes */
        hole = lseek(from, data, SEEK_HOLE);
        if (hole < 0 || !copy_range(from, to, data, hole < size ? hole : size))
            return false;
        at = hole;
    }
    return true;
}

static bool copy_file(int from_dir, int to_dir, const char *name, const struct stat *about)
{
    int  from = openat(from_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int  to = from < 0 ? -1 : openat(to_dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, about->st_mode & 0777);
    bool good = to >= 0 && ftruncate(to, about->st_size) == 0 && copy_bytes(from, to, about->st_size);

    if (!good)
        fail("copy", name);
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return good;
}

static bool copy_link(int from_dir, int to_dir, const char *name)
{
    char    target[PATH_MAX];
    ssize_t size = readlinkat(from_dir, name, target, sizeof target - 1);

    if (size < 0)
        return fail("copy", name);
    target[size] = '\0';
    return symlinkat(target, to_dir, name) == 0 || fail("copy", name);
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Takes both descriptors. */
static bool copy_dir(int from_dir, int to_dir)
{
    DIR           *dir = fdopendir(from_dir);
    struct dirent *entry;
    bool           good = dir != NULL;

    while (good && (entry = readdir(dir))) {
        const char *name = entry->d_name;
        struct stat about;

        if (is_dot(name))
            continue;
        if (fstatat(from_dir, name, &about, AT_SYMLINK_NOFOLLOW) != 0) {
            good = fail("copy", name);
        } else if (S_ISREG(about.st_mode)) {
            good = copy_file(from_dir, to_dir, name, &about);
        } else if (S_ISLNK(about.st_mode)) {
            good = copy_link(from_dir, to_dir, name);
        } else if (S_ISDIR(about.st_mode)) {
            int from = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
            int to = mkdirat(to_dir, name, 0777) == 0 ? openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
            if (from < 0 || to < 0) {
                good = fail("copy", name);
                if (from >= 0)
                    close(from);
                if (to >= 0)
                    close(to);
            } else {
                good = copy_dir(from, to);
            }
        } /* sockets and the like hold no data */
    }
    if (dir)
        closedir(dir);
    else
        close(from_dir);
    close(to_dir);
    return good;
}

bool tree_copy(const char *from, const char *to)
{
    int from_dir = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC), to_dir;

    if (from_dir < 0)
        return fail("open", from);
    to_dir = mkdir(to, 0777) == 0 || errno == EEXIST ? open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (to_dir >= 0)
        return copy_dir(from_dir, to_dir);
    close(from_dir);
    return fail("make", to);
}

/* Takes the descriptor. */
static bool empty_dir(int dir_fd)
{
    DIR           *dir = fdopendir(dir_fd);
    struct dirent *entry;
    bool           good = dir != NULL;

    while (good && (entry = readdir(dir))) {
        const char *name = entry->d_name;
        if (is_dot(name) || unlinkat(dir_fd, name, 0) == 0)
            continue;
        if (errno == EISDIR || errno == EPERM) {
            int below = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
            good = (below >= 0 && empty_dir(below) && unlinkat(dir_fd, name, AT_REMOVEDIR) == 0) ||
                   fail("remove", name);
        } else {
            good = fail("remove", name);
        }
    }
    if (dir)
        closedir(dir);
    else
        close(dir_fd);
    return good;
}

bool tree_remove(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return errno == ENOENT || fail("open", dir);
    return empty_dir(fd) && (rmdir(dir) == 0 || fail("remove", dir));
}
