/*
 * restore.c -- stores that appear whole: from a snapshot stream, the same way for every engine, through its own puts; and from
 * another store, by the engine's checkpoint.
 *
 * What becomes DIR is built in DIR.restoring/store (DIR.checkpointing/store), beside its place, synced, and renamed into place.
 * So DIR holds the whole store or what it held before, after a bad stream, a full disk or a crash.  What a crash leaves beside it
 * is removed by the next one to the same place; a lock on that directory tells a leftover from work in progress, and one that holds
 * anything but "store" is neither: it stays, and the work is refused.
 */
#include "engines/engine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engines/base/file.h"
#include "engines/base/snapshot.h"

#define BUILDING         "store" /* in the temporary directory */
#define CHECKPOINT_MAKES "a checkpoint makes"

kv_status kv_load(struct kv_session *session, int fd)
{
    struct snapshot_reader reader;
    slice                  key, value;
    kv_status              status = snapshot_reader_open(&reader, fd);

    while (status == KV_OK && (status = snapshot_reader_next(&reader, &key, &value)) == KV_OK)
        status = kv_put(session, key, value);
    snapshot_reader_free(&reader);
    return status == KV_NOT_FOUND ? KV_OK : status;
}

/* Ours to free; NULL: no memory. */
static char *without_slashes(const char *path)
{
    char *copy = strdup(path);

    for (size_t size = copy ? strlen(copy) : 0; size > 1 && copy[size - 1] == '/'; size--)
        copy[size - 1] = '\0';
    return copy;
}

/* Removes what is in a directory, not the directory. */
static kv_status empty_directory(int parent, const char *path)
{
    int            fd = openat(parent, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR           *list = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    kv_status      status = KV_OK;

    if (!list) {
        status = kv_fail_errno("open %s", path);
        if (fd >= 0)
            close(fd);
        return status;
    }
    while (status == KV_OK && (entry = readdir(list))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, entry->d_name, 0) == 0)
            continue;
        if (errno == EISDIR)
            status = empty_directory(fd, entry->d_name);
        if (status == KV_OK && unlinkat(fd, entry->d_name, AT_REMOVEDIR) != 0)
            status = kv_fail_errno("remove %s/%s", path, entry->d_name);
    }
    closedir(list);
    return status;
}

/* A directory cannot be renamed over a link; and what is linked to would be in another place than what is built. */
static kv_status refuse_link(const char *dir, const char *what)
{
    struct stat info;

    return lstat(dir, &info) == 0 && S_ISLNK(info.st_mode)
               ? kv_fail(KV_INVALID, "%s is a symbolic link; %s a new directory", dir, what) : KV_OK;
}

static kv_status check_place(const char *dir, const char *what)
{
    DIR           *list;
    struct dirent *entry;
    size_t         names = 0;

    TRY(refuse_link(dir, what));
    list = opendir(dir);
    if (!list && errno == ENOTDIR)
        return kv_fail(KV_MISMATCH, "%s is there and no directory; %s a new directory", dir, what);
    if (!list)
        return errno == ENOENT ? KV_OK : kv_fail_errno("open %s", dir);
    while ((entry = readdir(list)))
        names += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(list);
    return names ? kv_fail(KV_MISMATCH, "%s is not empty; %s a new directory", dir, what) : KV_OK;
}

/* What Assay leaves in a temporary directory is the unfinished store; whatever else is there is somebody's. */
static kv_status refuse_strangers(const char *path)
{
    DIR                 *list = opendir(path);
    const struct dirent *entry;
    struct stat          info;
    kv_status            status = KV_OK;

    if (!list)
        return kv_fail_errno("open %s", path);
    while (status == KV_OK && (entry = readdir(list)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            (strcmp(entry->d_name, BUILDING) != 0 || fstatat(dirfd(list), BUILDING, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
             !S_ISDIR(info.st_mode)))
            status = kv_fail(KV_MISMATCH, "%s is needed for the work and holds %s, which is not of Assay: move that directory away",
                             path, entry->d_name);
    closedir(list);
    return status;
}

/* The temporary directory, empty and locked. */
static kv_status take_directory(const char *path, int *lock)
{
    int       error = mkdir(path, 0777) == 0 ? 0 : errno;
    kv_status status;

    if (error == ENOENT)
        return kv_fail(KV_INVALID, "cannot make %s: the directory that it is to stand in does not exist; make that first", path);
    errno = error;
    if (error != 0 && error != EEXIST)
        return kv_fail_errno("make %s", path);
    *lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0)
        return kv_fail_errno("open %s", path);
    if (flock(*lock, LOCK_EX | LOCK_NB) != 0) {
        close(*lock);
        *lock = -1;
        return kv_fail(KV_BUSY, "another process is at work in %s", path);
    }
    if ((status = refuse_strangers(path)) != KV_OK) {
        close(*lock); /* without it nothing is cleaned there */
        *lock = -1;
        return status;
    }
    return empty_directory(AT_FDCWD, path);
}

/* Makes a store in dir, which is absent, and syncs it. */
typedef kv_status builder(void *arg, const char *dir);

struct restoring {
    const struct kv_engine *engine;
    const struct kv_config *config;
    int                     fd;
};

/* Synced once at the end, so the puts need no more than the engine's lowest tier. */
static struct kv_durability lowest_tier(const struct kv_engine *engine, struct kv_durability asked)
{
    for (enum kv_tier tier = 0; tier < KV_TIER_INTERVAL; tier++)
        if (engine->tiers & KV_TIER_BIT(tier))
            return (struct kv_durability){.tier = tier};
    return asked;
}

static kv_status build_restored(void *arg, const char *dir)
{
    const struct restoring *restoring = arg;
    struct kv_config        there = *restoring->config;
    struct kv_store        *store = NULL;
    struct kv_session      *session = NULL;
    kv_status               status, closed;

    there.dir = dir;
    there.durability = lowest_tier(restoring->engine, there.durability);
    TRY(kv_open(restoring->engine, &there, &store));
    if ((status = kv_session_open(store, &session)) == KV_OK && (status = kv_load(session, restoring->fd)) == KV_OK)
        status = kv_sync(session);
    kv_session_close(session);
    closed = status == KV_OK ? kv_close(store) : KV_OK;
    if (status != KV_OK) {
        char why[FAIL_BYTES_MAX];
        snprintf(why, sizeof why, "%s", fail_text()); /* the first failure is the one to tell */
        if (kv_close(store) != KV_OK)
            fail_set("%s", why);
    }
    return status != KV_OK ? status : closed;
}

static kv_status sync_parent(char *dir)
{
    char *slash = strrchr(dir, '/');

    if (!slash)
        return file_sync_dir(".");
    if (slash == dir)
        return file_sync_dir("/");
    *slash = '\0';
    return file_sync_dir(dir);
}

static kv_status build_beside(const char *asked, const char *ending, const char *what, builder *build, void *arg)
{
    char     *dir = NULL, *beside = NULL, *building = NULL;
    int       lock = -1;
    kv_status status;

    if (!(dir = without_slashes(asked)) || asprintf(&beside, "%s.%s", dir, ending) < 0 || asprintf(&building, "%s/" BUILDING, beside) < 0) {
        status = kv_fail(KV_NO_MEMORY, "no memory for a path");
        goto out;
    }
    if ((status = check_place(dir, what)) != KV_OK || (status = take_directory(beside, &lock)) != KV_OK ||
        (status = build(arg, building)) != KV_OK)
        goto out;
    if (rename(building, dir) != 0) {
        status = kv_fail_errno("rename %s to %s", building, dir);
        goto out;
    }
    status = sync_parent(dir);
out:
    if (lock >= 0) {
        char why[FAIL_BYTES_MAX];
        snprintf(why, sizeof why, "%s", fail_text());
        if (empty_directory(AT_FDCWD, beside) == KV_OK)
            rmdir(beside);
        fail_set("%s", why);
        close(lock);
    }
    free(building);
    free(beside);
    free(dir);
    return status;
}

kv_status kv_restore(const struct kv_engine *engine, const struct kv_config *config, int fd)
{
    struct restoring restoring = {engine, config, fd};

    if (!(engine->can & KV_DURABLE))
        return kv_fail(KV_UNSUPPORTED, "engine %s keeps nothing on disk: load the snapshot into an open store", engine->name);
    if (!config->dir || !*config->dir)
        return kv_fail(KV_INVALID, "engine %s needs a directory", engine->name);
    return build_beside(config->dir, "restoring", "a snapshot is restored into", build_restored, &restoring);
}

static kv_status build_checkpoint(void *arg, const char *dir)
{
    struct kv_session *session = arg;

    return session->store->engine->checkpoint(session, dir);
}

/* Of a directory that need not be there the parent decides.  NULL: neither is there, or there is no memory. */
static char *real_place(const char *path)
{
    char *real = realpath(path, NULL), *copy, *slash;

    if (real || errno != ENOENT || !(copy = without_slashes(path)))
        return real;
    if ((slash = strrchr(copy, '/')) == NULL)
        real = realpath(".", NULL);
    else if (slash == copy)
        real = realpath("/", NULL);
    else {
        *slash = '\0';
        real = realpath(copy, NULL);
    }
    free(copy);
    return real;
}

/* A store's directory is the engine's: what is not its own it may take for a leftover, and what is made there goes with the store. */
kv_status kv_checkpoint_check(const char *store_dir, const char *dir)
{
    char     *store = store_dir ? realpath(store_dir, NULL) : NULL, *place = real_place(dir), *plain = without_slashes(dir);
    size_t    bytes = store ? strlen(store) : 0;
    bool      inside = store && place && strncmp(store, place, bytes) == 0 && (place[bytes] == '\0' || place[bytes] == '/');
    kv_status status = plain ? refuse_link(plain, CHECKPOINT_MAKES) : kv_fail(KV_NO_MEMORY, "no memory for a path");

    free(store);
    free(place);
    free(plain);
    return inside ? kv_fail(KV_INVALID, "%s is within the store in %s; a checkpoint needs a directory outside of it", dir, store_dir)
                  : status;
}

kv_status kv_checkpoint(struct kv_session *session, const char *dir)
{
    const struct kv_engine *engine = session->store->engine;

    if (!(engine->can & KV_CHECKPOINT))
        return kv_fail(KV_UNSUPPORTED, "engine %s does not offer checkpoints", engine->name);
    if (!dir || !*dir)
        return kv_fail(KV_INVALID, "a checkpoint needs a directory");
    TRY(kv_checkpoint_check(session->store->dir, dir));
    return build_beside(dir, "checkpointing", CHECKPOINT_MAKES, build_checkpoint, session);
}
