/*
 * files.c -- which files have a number, and which descriptors lead to them.
 *
 * A file is found by device and inode number, so symbolic links, hard links, renames and /proc/self/fd need no thought.
 * Inode numbers are used again: a creation that was recorded always gets a new number, and the last unlink hides the
 * old one.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "crashtest/preload/recorder/inside.h"

#define OBJECTS_MAX     (1u << 20)
#define BUCKETS         (1u << 14)
#define DESCRIPTORS_MAX (1 << 16)

static struct object *objects;
static uint32_t       count;
static uint32_t       buckets[BUCKETS];
static uint64_t       descriptors[DESCRIPTORS_MAX]; /* read without the lock: file below, flags above */

bool files_start(void)
{
    long memory = RAW(mmap, 0, OBJECTS_MAX * sizeof *objects, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory < 0)
        return false;
    objects = (struct object *)memory;
    count = TRACE_ROOT - 1;
    memset(buckets, 0, sizeof buckets);
    memset(descriptors, 0, sizeof descriptors);
    return true;
}

static uint32_t *bucket(uint64_t dev, uint64_t ino)
{
    return &buckets[(ino * UINT64_C(0x9e3779b97f4a7c15) + dev) >> 7 & (BUCKETS - 1)];
}

struct object *object_of(uint32_t file)
{
    return &objects[file];
}

uint32_t object_count(void)
{
    return count;
}

uint32_t object_find(uint64_t dev, uint64_t ino)
{
    for (uint32_t file = *bucket(dev, ino); file; file = objects[file].next) {
        if (objects[file].ino == ino && objects[file].dev == dev)
            return file;
    }
    return 0;
}

void object_hide(uint32_t file)
{
    struct object *object = &objects[file];
    uint32_t      *link = bucket(object->dev, object->ino);

    if (!object->findable)
        return;
    while (*link && *link != file)
        link = &objects[*link].next;
    *link = object->next;
    object->findable = false;
}

uint32_t object_new(uint64_t dev, uint64_t ino, bool directory)
{
    uint32_t stale = object_find(dev, ino), file;

    if (stale)
        object_hide(stale);
    if (count + 1 >= OBJECTS_MAX) {
        record_trace()->full = 1;
        recorder_kill();
    }
    file = ++count;
    objects[file] = (struct object){.dev = dev, .ino = ino, .directory = directory, .findable = true,
                                    .peek_fd = -1, .next = *bucket(dev, ino)};
    *bucket(dev, ino) = file;
    return file;
}

bool descriptor_fits(long fd)
{
    return fd >= 0 && fd < DESCRIPTORS_MAX;
}

struct descriptor descriptor(long fd)
{
    uint64_t packed;

    if (!descriptor_fits((int)fd))
        return (struct descriptor){0};
    packed = __atomic_load_n(&descriptors[(int)fd], __ATOMIC_ACQUIRE);
    return (struct descriptor){(uint32_t)packed, (uint32_t)(packed >> 32)};
}

void descriptor_set(long fd, struct descriptor is)
{
    if (descriptor_fits((int)fd))
        __atomic_store_n(&descriptors[(int)fd], is.file | (uint64_t)is.flags << 32, __ATOMIC_RELEASE);
    else if (is.file)
        record_unsupported("a descriptor above 65535");
}
