#include "engines/base/storedir.h"

#define XXH_INLINE_ALL
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define IDENTITY        STOREDIR_IDENTITY
#define IDENTITY_NEW    IDENTITY ".tmp"
#define LOCK            "LOCK"
#define MADE            "MADE"
#define IDENTITY_BYTES  STOREDIR_IDENTITY_BYTES
#define LAYOUT          1
#define SUM_LINE_FORMAT "sum %016" PRIx64 "\n"
#define SUM_LINE_BYTES  21

static kv_status sync_parent(const char *path)
{
    char     *copy = strdup(path);
    kv_status status = copy ? file_sync_dir(dirname(copy)) : kv_fail(KV_NO_MEMORY, "no memory for a path");

    free(copy);
    return status;
}

static kv_status make_directory(const char *path)
{
    struct stat about;

    if (mkdir(path, 0755) == 0)
        return sync_parent(path);
    if (errno == ENOENT)
        return kv_fail(KV_INVALID, "cannot make the directory %s: the one that it is to stand in does not exist; make that first", path);
    if (errno != EEXIST)
        return kv_fail_errno("make directory %s", path);
    if (stat(path, &about) == 0 && !S_ISDIR(about.st_mode))
        return kv_fail(KV_MISMATCH, "%s is a file, not the directory of a store", path);
    return KV_OK;
}

static kv_status take_lock(struct storedir *dir)
{
    kv_status status = file_open(&dir->lock, dir->path, LOCK, O_RDWR | O_CREAT);

    if (status != KV_OK)
        return status;
    if (flock(dir->lock.fd, LOCK_EX | LOCK_NB) == 0)
        return KV_OK;
    if (errno == EWOULDBLOCK)
        return kv_fail(KV_BUSY, "the store in %s is open already, here or in another process", dir->path);
    return kv_fail_errno("lock %s", dir->lock.path);
}

/* Looks for any file that a store which was being created cannot have left. */
static kv_status look_for_strangers(const char *path, bool *empty)
{
    DIR           *listing = opendir(path);
    struct dirent *entry;

    *empty = true;
    if (!listing)
        return kv_fail_errno("list %s", path);
    errno = 0;
    while (*empty && (entry = readdir(listing)) != NULL) {
        const char *name = entry->d_name;
        *empty = !strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, LOCK) || !strcmp(name, IDENTITY_NEW);
    }
    closedir(listing);
    return KV_OK;
}

/* Creation. */

static kv_status identity_text(const struct storedir_kind *kind, char text[IDENTITY_BYTES], size_t *size)
{
    int used = snprintf(text, IDENTITY_BYTES, "assay store %d\nengine %s\nformat %" PRIu32 "\n", LAYOUT, kind->engine,
                        kind->format);

    for (size_t i = 0; i < kind->count && used < IDENTITY_BYTES; i++)
        used += snprintf(text + used, (size_t)(IDENTITY_BYTES - used), "%s %" PRIu64 "\n", kind->parameters[i].name,
                         kind->parameters[i].value);
    if (used + SUM_LINE_BYTES >= IDENTITY_BYTES)
        return kv_fail(KV_INVALID, "the parameters of engine %s do not fit its identity file", kind->engine);
    used += snprintf(text + used, (size_t)(IDENTITY_BYTES - used), SUM_LINE_FORMAT, XXH3_64bits(text, (size_t)used));
    *size = (size_t)used;
    return KV_OK;
}

static kv_status create(struct storedir *dir, const struct storedir_kind *kind)
{
    char        text[IDENTITY_BYTES];
    size_t      size = 0;
    struct file file;
    kv_status   status;

    TRY(identity_text(kind, text, &size));
    TRY(file_open(&file, dir->path, IDENTITY_NEW, O_WRONLY | O_CREAT | O_TRUNC));
    if ((status = file_write_at(&file, text, size, 0)) == KV_OK)
        status = file_sync(&file);
    file_close(&file);
    TRY(status);
    TRY(file_rename(dir->path, IDENTITY_NEW, IDENTITY));
    TRY(file_sync_dir(dir->path));
    /* The directory may have been made by a process that crashed before it synced the parent. */
    TRY(sync_parent(dir->path));
    dir->created = true;
    dir->format = kind->format;
    return KV_OK;
}

/* Reading. */

static kv_status damaged(const char *path, const char *what)
{
    return kv_fail(KV_CORRUPT, "%s at 0: %s", path, what);
}

static kv_status parse_parameters(const struct file *file, char *rest, const struct storedir_kind *kind)
{
    for (size_t i = 0; i < kind->count; i++) {
        const char *name = kind->parameters[i].name;
        size_t      length = strlen(name);
        int         used = 0;
        if (strncmp(rest, name, length) != 0 ||
            sscanf(rest + length, " %" SCNu64 "\n%n", &kind->parameters[i].value, &used) != 1)
            return damaged(file->path, "a parameter of the engine is missing from the identity");
        rest += length + (size_t)used;
    }
    return *rest ? damaged(file->path, "the identity has more than the engine's parameters") : KV_OK;
}

kv_status storedir_check_identity(const char *path, const char *text, size_t size)
{
    char sum[SUM_LINE_BYTES + 1];

    if (size < SUM_LINE_BYTES || size >= IDENTITY_BYTES)
        return damaged(path, "the identity is cut or overlong");
    snprintf(sum, sizeof sum, SUM_LINE_FORMAT, XXH3_64bits(text, size - SUM_LINE_BYTES));
    return memcmp(sum, text + size - SUM_LINE_BYTES, SUM_LINE_BYTES) == 0 ? KV_OK
                                                                           : damaged(path, "the identity contradicts its checksum");
}

static kv_status parse_identity(struct storedir *dir, const struct file *file, char *text, size_t size,
                                const struct storedir_kind *kind)
{
    char     engine[64];
    unsigned layout;
    int      used = 0;

    TRY(storedir_check_identity(file->path, text, size));
    text[size - SUM_LINE_BYTES] = '\0';
    if (sscanf(text, "assay store %u", &layout) != 1)
        return kv_fail(KV_MISMATCH, "%s is not the identity of a store", file->path);
    if (layout != LAYOUT)
        return kv_fail(KV_MISMATCH, "%s was written by a newer program: layout %u, this one knows %u", file->path, layout,
                       LAYOUT);
    if (sscanf(text, "assay store %*u\nengine %63s\nformat %" SCNu32 "\n%n", engine, &dir->format, &used) != 2)
        return damaged(file->path, "the identity names no engine and format");
    if (strcmp(engine, kind->engine) != 0)
        return kv_fail(KV_MISMATCH, "%s holds a store of engine %s, not of %s", dir->path, engine, kind->engine);
    if (dir->format > kind->format)
        return kv_fail(KV_MISMATCH, "%s holds a store of %s in format %" PRIu32 ", newer than the %" PRIu32
                       " that this program knows", dir->path, engine, dir->format, kind->format);
    return parse_parameters(file, text + used, kind);
}

/* LOCK, and beside it what only a store has. */
static bool is_rest_of_store(const char *path, const struct storedir_kind *kind)
{
    DIR                 *listing = opendir(path);
    const struct dirent *entry;
    bool                 locked = false, owned = false;

    while (listing && (entry = readdir(listing)) != NULL) {
        locked |= strcmp(entry->d_name, LOCK) == 0;
        owned |= strcmp(entry->d_name, MADE) == 0 || (kind->owns && kind->owns(entry->d_name));
    }
    if (listing)
        closedir(listing);
    return locked && owned;
}

/* Before anything is made in it: a directory of somebody else's files stays as it is. */
static kv_status refuse_strangers(const char *path, const struct storedir_kind *kind)
{
    char identity[sizeof IDENTITY + 4096];
    bool empty;

    TRY(look_for_strangers(path, &empty));
    snprintf(identity, sizeof identity, "%s/" IDENTITY, path);
    if (empty || access(identity, F_OK) == 0)
        return KV_OK;
    if (errno != ENOENT)
        return kv_fail_errno("look for %s", identity);
    if (is_rest_of_store(path, kind))
        return kv_fail(KV_CORRUPT, "%s at 0: the identity of the store is missing, and the rest of it is there", identity);
    return kv_fail(KV_MISMATCH, "%s is not empty and holds no store (no file " IDENTITY ")", path);
}

static kv_status open_or_create(struct storedir *dir, const struct storedir_kind *kind)
{
    char        text[IDENTITY_BYTES];
    struct file file;
    size_t      size;
    bool        empty;
    kv_status   status;

    TRY(refuse_strangers(dir->path, kind)); /* again, now that nobody else can be making a store here */
    TRY(look_for_strangers(dir->path, &empty));
    if (empty)
        return create(dir, kind);
    TRY(file_open(&file, dir->path, IDENTITY, O_RDONLY));
    status = file_read_at(&file, text, sizeof text, 0, &size);
    if (status == KV_OK)
        status = parse_identity(dir, &file, text, size, kind);
    file_close(&file);
    return status;
}

kv_status storedir_open(struct storedir *dir, const char *path, const struct storedir_kind *kind)
{
    kv_status status;

    *dir = (struct storedir){.path = strdup(path), .lock = FILE_CLOSED};
    if (!dir->path)
        return kv_fail(KV_NO_MEMORY, "no memory for a path");
    if ((status = make_directory(path)) == KV_OK && (status = refuse_strangers(path, kind)) == KV_OK &&
        (status = take_lock(dir)) == KV_OK)
        status = open_or_create(dir, kind);
    if (status != KV_OK)
        storedir_close(dir);
    return status;
}

void storedir_close(struct storedir *dir)
{
    file_close(&dir->lock); /* which lets go of the flock */
    free(dir->path);
    dir->path = NULL;
}

bool storedir_is_made(const struct storedir *dir)
{
    char path[PATH_MAX];

    return snprintf(path, sizeof path, "%s/" MADE, dir->path) < (int)sizeof path && access(path, F_OK) == 0;
}

kv_status storedir_set_made(const struct storedir *dir)
{
    struct file made;

    TRY(file_open(&made, dir->path, MADE, O_WRONLY | O_CREAT));
    file_close(&made);
    return file_sync_dir(dir->path);
}

kv_status storedir_refuse_lost(const struct storedir *dir, const char *name, bool may_be_empty)
{
    char        path[PATH_MAX];
    struct stat about;

    if (snprintf(path, sizeof path, "%s/%s", dir->path, name) >= (int)sizeof path)
        return kv_fail(KV_INVALID, "the path %s is too long", dir->path);
    if (stat(path, &about) != 0 && (errno == ENOENT || errno == ENOTDIR))
        return kv_fail(KV_CORRUPT, "%s is lost: the rest of its store is there", path);
    if (stat(path, &about) != 0)
        return kv_fail_errno("stat %s", path);
    return about.st_size == 0 && !may_be_empty ? kv_fail(KV_CORRUPT, "%s is empty: it was cut to 0 bytes", path) : KV_OK;
}

uint64_t storedir_disk_bytes(const char *path)
{
    DIR                 *dir = opendir(path);
    const struct dirent *entry;
    struct stat          about;
    uint64_t             bytes = 0;

    while (dir && (entry = readdir(dir)))
        if (fstatat(dirfd(dir), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(about.st_mode))
            bytes += (uint64_t)about.st_blocks * 512;
    if (dir)
        closedir(dir);
    return bytes;
}

static bool ends_with(const char *name, const char *ending)
{
    size_t bytes = strlen(name), last = strlen(ending);

    return bytes >= last && strcmp(name + bytes - last, ending) == 0;
}

kv_status storedir_sync_files(const char *path, const char *ending)
{
    DIR                 *dir = opendir(path);
    const struct dirent *entry;
    kv_status            status = KV_OK;

    if (!dir)
        return kv_fail_errno("open directory %s", path);
    while (status == KV_OK && (entry = readdir(dir))) {
        int fd = ends_with(entry->d_name, ending) ? openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC) : -1;

        if (fd < 0 && ends_with(entry->d_name, ending) && errno != ENOENT)
            status = kv_fail_errno("open %s/%s", path, entry->d_name);
        if (fd >= 0 && fdatasync(fd) != 0)
            status = kv_fail_errno("sync %s/%s", path, entry->d_name);
        if (fd >= 0)
            close(fd);
    }
    if (status == KV_OK && fsync(dirfd(dir)) != 0)
        status = kv_fail_errno("sync directory %s", path);
    closedir(dir);
    return status;
}
