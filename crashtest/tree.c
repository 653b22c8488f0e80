#include "crashtest/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
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
bool tree_copy_bytes(int from, int to, off_t size)
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
    bool good = to >= 0 && ftruncate(to, about->st_size) == 0 && tree_copy_bytes(from, to, about->st_size);

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

bool tree_make_empty(const char *path)
{
    struct dirent *entry;
    DIR           *stream;
    bool           empty = true;

    if (mkdir(path, 0755) == 0)
        return true;
    stream = errno == EEXIST ? opendir(path) : NULL;
    if (!stream) {
        fail_set("make directory %s: %s", path, strerror(errno));
        return false;
    }
    while (empty && (entry = readdir(stream)))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(stream);
    if (!empty)
        fail_set("%s is not empty: name a directory that is, or none", path);
    return empty;
}

/* ---- Comparing. ---- */

static bool join(char out[PATH_MAX], const char *dir, const char *name)
{
    if ((size_t)snprintf(out, PATH_MAX, "%s/%s", dir, name) < PATH_MAX)
        return true;
    fail_set("%s/%s: the path is too long", dir, name);
    return false;
}

static int not_dots(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static void free_entries(struct dirent **entries, int count)
{
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
}

static bool same_bytes(const char *a, const char *b)
{
    int            fd_a = open(a, O_RDONLY | O_CLOEXEC), fd_b = open(b, O_RDONLY | O_CLOEXEC);
    unsigned char *chunk = malloc(2 * CHUNK_BYTES);
    ssize_t        n = -1, m;
    off_t          at = 0;
    bool           same = false;

    if (fd_a < 0 || fd_b < 0 || !chunk) {
        fail_set("compare %s with %s: %s", a, b, strerror(errno));
        goto out;
    }
    do {
        n = pread(fd_a, chunk, CHUNK_BYTES, at);
        m = pread(fd_b, chunk + CHUNK_BYTES, CHUNK_BYTES, at);
        if (n < 0 || n != m || memcmp(chunk, chunk + CHUNK_BYTES, (size_t)n) != 0) {
            off_t i = 0;

            while (n > 0 && i < n && i < m && chunk[i] == chunk[CHUNK_BYTES + i])
                i++;
            fail_set("%s and %s differ from byte %lld on", a, b, (long long)(at + i));
            goto out;
        }
        at += n;
    } while (n > 0);
    same = true;
out:
    free(chunk);
    if (fd_a >= 0)
        close(fd_a);
    if (fd_b >= 0)
        close(fd_b);
    return same;
}

static bool same_links(const char *a, const char *b)
{
    char    target_a[PATH_MAX], target_b[PATH_MAX];
    ssize_t bytes = readlink(a, target_a, sizeof target_a);

    if (bytes >= 0 && readlink(b, target_b, sizeof target_b) == bytes && memcmp(target_a, target_b, (size_t)bytes) == 0)
        return true;
    fail_set("the links %s and %s differ", a, b);
    return false;
}

bool tree_same(const char *a, const char *b)
{
    struct dirent **of_a, **of_b;
    int             count_a = scandir(a, &of_a, not_dots, alphasort);
    int             count_b = scandir(b, &of_b, not_dots, alphasort);
    bool            same = count_a >= 0 && count_b >= 0;

    if (!same)
        fail_set("compare %s with %s: %s", a, b, strerror(errno));
    for (int i = 0; same && (i < count_a || i < count_b); i++) {
        const char *name_a = i < count_a ? of_a[i]->d_name : NULL, *name_b = i < count_b ? of_b[i]->d_name : NULL;
        int         order = !name_a ? 1 : !name_b ? -1 : strcmp(name_a, name_b);
        char        path_a[PATH_MAX], path_b[PATH_MAX];
        struct stat st_a, st_b;

        if (order != 0) {
            fail_set("%s is in %s, but not in %s", order < 0 ? name_a : name_b, order < 0 ? a : b, order < 0 ? b : a);
            same = false;
        } else if (!join(path_a, a, name_a) || !join(path_b, b, name_b) || lstat(path_a, &st_a) != 0 ||
                   lstat(path_b, &st_b) != 0 || (st_a.st_mode & S_IFMT) != (st_b.st_mode & S_IFMT)) {
            fail_set("%s is not the same kind of thing in %s and %s", name_a, a, b);
            same = false;
        } else if (S_ISDIR(st_a.st_mode)) {
            same = tree_same(path_a, path_b);
        } else if (S_ISLNK(st_a.st_mode)) {
            same = same_links(path_a, path_b);
        } else if (S_ISREG(st_a.st_mode)) {
            same = same_bytes(path_a, path_b);
        }
    }
    if (count_a >= 0)
        free_entries(of_a, count_a);
    if (count_b >= 0)
        free_entries(of_b, count_b);
    return same;
}
