/* scratch.c -- directories that a run makes and removes, and those that a killed run could not. */
#include "common/scratch.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fail.h"

#define PREFIX        "assay-run-"
#define RANDOM_CHARS  6 /* of mkdtemp */
#define OPEN_DIRS_MAX 32

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *ftw)
{
    (void)stat, (void)kind, (void)ftw;
    remove(path);
    return 0;
}

/* The lock of a directory that is still there under its name; -1: somebody lives there, or it is gone. */
static int take(const char *path)
{
    int         fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat opened, named;

    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &opened) == 0 && lstat(path, &named) == 0 &&
        opened.st_ino == named.st_ino && opened.st_dev == named.st_dev && opened.st_uid == geteuid())
        return fd;
    close(fd);
    return -1;
}

static bool is_ours(const char *name, const char *what)
{
    size_t prefix = strlen(PREFIX), bytes = strlen(what);

    if (strncmp(name, PREFIX, prefix) != 0 || strncmp(name + prefix, what, bytes) != 0 || name[prefix + bytes] != '-')
        return false;
    name += prefix + bytes + 1;
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c))
            return false;
    return strlen(name) == RANDOM_CHARS;
}

static void remove_orphans(const char *parent, const char *what)
{
    DIR           *dir = opendir(parent);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        char path[PATH_MAX];
        int  fd;

        if (!is_ours(entry->d_name, what) || snprintf(path, sizeof path, "%s/%s", parent, entry->d_name) >= PATH_MAX)
            continue;
        fd = take(path);
        if (fd < 0)
            continue;
        nftw(path, remove_one, OPEN_DIRS_MAX, FTW_PHYS | FTW_DEPTH);
        close(fd);
    }
    if (dir)
        closedir(dir);
}

bool scratch_make(struct scratch *scratch, const char *parent, const char *what)
{
    remove_orphans(parent, what);
    for (int tries = 0; tries < 10; tries++) {
        if (snprintf(scratch->path, sizeof scratch->path, "%s/" PREFIX "%s-XXXXXX", parent, what) >= PATH_MAX)
            errno = ENAMETOOLONG;
        else if (mkdtemp(scratch->path) && (scratch->fd = take(scratch->path)) >= 0)
            return true; /* else: somebody took it for an orphan before we had its lock */
    }
    fail_set("cannot make a directory in %s: %s", parent, strerror(errno));
    scratch->path[0] = '\0';
    return false;
}

void scratch_remove(struct scratch *scratch)
{
    if (!scratch->path[0])
        return;
    nftw(scratch->path, remove_one, OPEN_DIRS_MAX, FTW_PHYS | FTW_DEPTH);
    close(scratch->fd);
    scratch->path[0] = '\0';
}
