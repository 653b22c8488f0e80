/*
 * files.c -- which files have a number.
 *
 * A file is found by device and inode number, so symbolic links, hard links, renames, descriptors that were inherited, passed
 * or duplicated and /proc/self/fd need no thought.  Inode numbers are used again: a creation that was recorded always gets a
 * new number; and a file that has lost its last name here, but has one, is another one with the number of the old.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "crashtest/preload/recorder/inside.h"

static uint32_t *bucket(uint64_t dev, uint64_t ino)
{
    return &shared->bucket[(ino * UINT64_C(0x9e3779b97f4a7c15) + dev) >> 7 & (BUCKETS - 1)];
}

struct object *object_of(uint32_t file)
{
    return &shared->object[file];
}

void object_hide(uint32_t file)
{
    struct object *object = object_of(file);
    uint32_t      *link = bucket(object->dev, object->ino);

    if (!object->findable)
        return;
    while (*link && *link != file)
        link = &object_of(*link)->next;
    *link = object->next;
    object->findable = false;
}

uint32_t object_find(const struct stat *st)
{
    uint32_t file = *bucket(st->st_dev, st->st_ino);

    while (file && (object_of(file)->ino != st->st_ino || object_of(file)->dev != st->st_dev))
        file = object_of(file)->next;
    if (file && object_of(file)->names == 0 && st->st_nlink > 0) {
        object_hide(file);
        return 0;
    }
    return file;
}

uint32_t object_new(const struct stat *st)
{
    uint32_t stale = *bucket(st->st_dev, st->st_ino), file;

    while (stale && (object_of(stale)->ino != st->st_ino || object_of(stale)->dev != st->st_dev))
        stale = object_of(stale)->next;
    if (stale)
        object_hide(stale);
    if (shared->objects + 1 >= OBJECTS_MAX) {
        record_trace()->full = 1;
        process_kill();
    }
    file = ++shared->objects;
    *object_of(file) = (struct object){.dev = st->st_dev, .ino = st->st_ino, .directory = S_ISDIR(st->st_mode), .findable = true,
                                       .next = *bucket(st->st_dev, st->st_ino)};
    *bucket(st->st_dev, st->st_ino) = file;
    return file;
}
