/*
 * look.c -- stores into shared mappings, which no call announces.
 *
 * A file with a shared writable mapping has a shadow: the file as the trace has it.  A look compares the two, where the
 * kernel says that something may have been stored (watch.c) or everywhere, and records the difference, page by page, as
 * writes that were "seen at this point".  Looks come at the entry of each
 * sync of the file (what was stored before is certainly there), before it is truncated or unmapped, at the end, and at
 * marks when asked for.  A store that no later look saw is as if it had never reached the disk, which a crash may do to
 * it anyway.
 *
 * Only the process that mapped a file looks at it; what it forked may store there too, since a look reads the file.  A sync by
 * another process, or a second one that maps the file, cannot be modelled.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "crashtest/preload/recorder/inside.h"

#define PAGE          4096u
#define MAPPINGS_MAX  4096
#define SHADOWS_MAX   1024
#define PEEK_FD_LEAST 400 /* out of the way of the numbers that the program would see without us */

static struct mapping {
    uint64_t address, bytes, offset;
    uint32_t file; /* 0: free */
    bool     writable;
} mappings[MAPPINGS_MAX];
static int  used;   /* above it all are free */
static int  active;

/* A mapped file, by its number. */
static struct shadow {
    uint32_t       file; /* 0: free */
    int            peek_fd;
    unsigned char *bytes; /* the file as the trace has it */
    uint64_t       size;
    bool           watched; /* the kernel tells which pages of its mappings were stored to */
} shadows[SHADOWS_MAX];

static unsigned char page_buffer[16 * PAGE];

bool look_any(void)
{
    return __atomic_load_n(&active, __ATOMIC_RELAXED) > 0;
}

static struct shadow *shadow_of(uint32_t file)
{
    for (int i = 0; i < SHADOWS_MAX; i++)
        if (shadows[i].file == file)
            return &shadows[i];
    return NULL;
}

static uint64_t file_bytes(const struct shadow *shadow)
{
    struct stat st;

    return RAW(fstat, shadow->peek_fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* The shadow has at least that many bytes, new ones are zero. */
static bool shadow_grow(struct shadow *shadow, uint64_t bytes)
{
    uint64_t want = ((bytes < PAGE ? PAGE : bytes) * 2 + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    long     memory;

    if (bytes <= shadow->size)
        return true;
    if (shadow->bytes)
        memory = RAW(mremap, shadow->bytes, shadow->size, want, MREMAP_MAYMOVE);
    else
        memory = RAW(mmap, 0, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory < 0 && memory > -PAGE) {
        record_unsupported("no memory to watch a mapping");
        return false;
    }
    shadow->bytes = (unsigned char *)memory;
    shadow->size = want;
    return true;
}

/* One page of the file is `now`; records and keeps what is new in it. */
static void compare(struct shadow *shadow, uint64_t offset, const unsigned char *now, uint64_t bytes, bool record)
{
    unsigned char *then = shadow->bytes + offset;
    uint64_t       first = 0, end = bytes;

    if (memcmp(now, then, bytes) == 0)
        return;
    while (now[first] == then[first])
        first++;
    while (now[end - 1] == then[end - 1])
        end--;
    memcpy(then + first, now + first, end - first);
    if (record && record_wanted()) {
        struct trace_record *rec = record_begin(TRACE_WRITE, shadow->file, TRACE_MAPPED, end - first);

        rec->offset = offset + first;
        rec->length = end - first;
        memcpy(rec->payload, then + first, end - first);
        record_end(rec);
    }
}

/* A run of bytes of the file. */
static void compare_run(struct shadow *shadow, uint64_t at, uint64_t end, bool record)
{
    while (at < end) {
        long bytes = RAW(pread64, shadow->peek_fd, page_buffer, sizeof page_buffer < end - at ? sizeof page_buffer : end - at, at);

        if (bytes <= 0)
            return;
        for (long i = 0; i < bytes; i += PAGE)
            compare(shadow, at + (uint64_t)i, page_buffer + i, bytes - i < (long)PAGE ? (uint64_t)(bytes - i) : PAGE, record);
        at += (uint64_t)bytes;
    }
}

static unsigned char *stored; /* a byte for each page of the file at hand; zeros in between */
static uint64_t       stored_room;

static bool stored_grow(uint64_t pages)
{
    long memory;

    if (pages <= stored_room)
        return true;
    if (stored)
        RAW(munmap, stored, stored_room);
    stored_room = (2 * pages + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    memory = RAW(mmap, 0, stored_room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    stored = memory < 0 && memory > -PAGE ? NULL : (unsigned char *)memory;
    stored_room = stored ? stored_room : 0;
    return stored != NULL;
}

/* False, with nothing compared, when it cannot be told which pages those are. */
static bool scan_stored(struct shadow *shadow, uint64_t size)
{
    uint64_t pages = (size + PAGE - 1) / PAGE;
    bool     good = stored_grow(pages);

    for (int i = 0; i < used && good; i++) {
        const struct mapping *mapping = &mappings[i];

        if (mapping->file != shadow->file || !mapping->writable || mapping->offset >= size)
            continue;
        good = watch_ask(mapping->address, mapping->bytes < size - mapping->offset ? mapping->bytes : size - mapping->offset,
                         stored + mapping->offset / PAGE);
    }
    for (uint64_t page = 0, run = 0; page < pages && stored; page += run + !run) {
        const unsigned char *first = memchr(stored + page, 1, pages - page);

        if (!first)
            break;
        page = (uint64_t)(first - stored);
        for (run = 0; page + run < pages && stored[page + run]; run++)
            stored[page + run] = 0;
        if (good)
            compare_run(shadow, page * PAGE, (page + run) * PAGE < size ? (page + run) * PAGE : size, true);
    }
    return good;
}

static void scan(struct shadow *shadow, bool record)
{
    uint64_t size = file_bytes(shadow), at = 0;

    if (!shadow_grow(shadow, size))
        return;
    if (record && shadow->watched && scan_stored(shadow, size))
        return;
    shadow->watched = shadow->watched && !record;
    while (at < size) {
        /* Holes hold no stores, and reading them through the mapping would fill them. */
        long data = RAW(lseek, shadow->peek_fd, at, SEEK_DATA);
        long hole = data < 0 ? 0 : RAW(lseek, shadow->peek_fd, data, SEEK_HOLE);

        if (data < 0)
            break;
        at = (uint64_t)data & ~(uint64_t)(PAGE - 1);
        compare_run(shadow, at, (uint64_t)hole < size ? (uint64_t)hole : size, record);
        at = (uint64_t)hole;
    }
}

void look_at(uint32_t file)
{
    struct object *object = object_of(file);

    if (object->mappings == 0)
        return;
    if (object->mapper == process_id())
        scan(shadow_of(file), true);
    else
        record_unsupported("a file that another process has mapped");
}

void look_at_all(void)
{
    for (int i = 0; look_any() && i < SHADOWS_MAX; i++)
        if (shadows[i].file)
            look_at(shadows[i].file);
}

void look_map(uint32_t file, long fd, uint64_t address, uint64_t bytes, uint64_t offset, bool writable)
{
    struct object *object = object_of(file);
    struct shadow *shadow = shadow_of(file);
    int            slot = 0;

    if (writable && object->mappings > 0 && object->mapper != process_id()) {
        record_unsupported("a file that is mapped in two processes");
        return;
    }
    if (!shadow)
        shadow = shadow_of(0);
    while (slot < used && mappings[slot].file)
        slot++;
    if (slot == MAPPINGS_MAX || !shadow) {
        record_unsupported("more than 4096 mappings, or 1024 files");
        return;
    }
    if (slot == used)
        used++;
    mappings[slot] = (struct mapping){address, bytes, offset, file, writable};
    __atomic_fetch_add(&active, 1, __ATOMIC_RELAXED);
    if (!writable)
        return;
    object->mapper = process_id();
    if (object->mappings++ > 0) {
        shadow->watched = shadow->watched && watch_begin(address, bytes);
        return;
    }
    *shadow = (struct shadow){.file = file, .peek_fd = -1, .watched = watch_begin(address, bytes)};

    char path[32]; /* a descriptor of our own: the program may close its one, and its offset is not ours to move */
    long own;

    snprintf(path, sizeof path, "/proc/self/fd/%d", (int)fd);
    own = RAW(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (own >= 0) {
        shadow->peek_fd = (int)RAW(fcntl, own, F_DUPFD_CLOEXEC, PEEK_FD_LEAST);
        if (shadow->peek_fd < 0)
            shadow->peek_fd = (int)own;
        else
            RAW(close, own);
    }
    if (shadow->peek_fd < 0)
        record_unsupported("a mapping that cannot be read");
    else
        scan(shadow, false); /* so far every byte came by a call, and is recorded */
}

/* Whatever the new process stores, as long as it lives, is not told by the pages of this one. */
void look_before_fork(void)
{
    for (int i = 0; i < SHADOWS_MAX; i++)
        if (shadows[i].file)
            watch_no_more();
}

/* The stores of the new process are seen by the looks of its parent, which has the mapping too. */
void look_forked(void)
{
    for (int i = 0; i < SHADOWS_MAX; i++) {
        if (!shadows[i].file)
            continue;
        RAW(close, shadows[i].peek_fd);
        if (shadows[i].bytes)
            RAW(munmap, shadows[i].bytes, shadows[i].size);
        shadows[i] = (struct shadow){0};
    }
}

static void forget(struct mapping *mapping)
{
    struct object *object = object_of(mapping->file);
    struct shadow *shadow = shadow_of(mapping->file);

    mapping->file = 0;
    __atomic_fetch_sub(&active, 1, __ATOMIC_RELAXED);
    if (!mapping->writable)
        return;
    if (!shadow || --object->mappings > 0) /* no shadow: it was mapped by the process that forked this one */
        return;
    RAW(close, shadow->peek_fd);
    if (shadow->bytes)
        RAW(munmap, shadow->bytes, shadow->size);
    *shadow = (struct shadow){0};
}

void look_unmap(uint64_t address, uint64_t bytes)
{
    uint64_t end = address + bytes;

    for (int i = 0; i < used; i++) {
        struct mapping *mapping = &mappings[i];
        uint64_t        mapping_end = mapping->address + mapping->bytes;

        if (!mapping->file || mapping->address >= end || mapping_end <= address)
            continue;
        if (shadow_of(mapping->file))
            look_at(mapping->file);
        if (address <= mapping->address && mapping_end <= end) {
            forget(mapping);
        } else if (address <= mapping->address) { /* its front goes */
            mapping->offset += end - mapping->address;
            mapping->address = end;
            mapping->bytes = mapping_end - end;
        } else {
            uint64_t behind = mapping_end > end ? mapping_end - end : 0;

            mapping->bytes = address - mapping->address;
            if (behind) {
                uint32_t file = mapping->file;
                uint64_t offset = mapping->offset + (end - mapping->address);

                look_map(file, shadow_of(file) ? shadow_of(file)->peek_fd : -1, end, behind, offset, mapping->writable);
            }
        }
    }
}

void look_before_move(uint64_t address)
{
    for (int i = 0; i < used; i++)
        if (mappings[i].file && mappings[i].address == address && shadow_of(mappings[i].file))
            look_at(mappings[i].file);
}

void look_moved(uint64_t from, uint64_t from_bytes, uint64_t to, uint64_t to_bytes)
{
    for (int i = 0; i < used; i++) {
        if (mappings[i].file && mappings[i].address == from && mappings[i].bytes <= from_bytes + PAGE) {
            struct shadow *shadow = mappings[i].writable ? shadow_of(mappings[i].file) : NULL;

            mappings[i].address = to;
            mappings[i].bytes = to_bytes;
            if (shadow)
                shadow->watched = shadow->watched && watch_begin(to, to_bytes);
        }
    }
}

void look_each(uint64_t address, uint64_t bytes, void (*each)(void *arg, uint32_t file, uint64_t offset, uint64_t bytes),
               void *arg)
{
    uint64_t end = address + ((bytes + PAGE - 1) & ~(uint64_t)(PAGE - 1));

    for (int i = 0; i < used; i++) {
        const struct mapping *mapping = &mappings[i];
        uint64_t              from = mapping->address > address ? mapping->address : address;
        uint64_t              to = mapping->address + mapping->bytes < end ? mapping->address + mapping->bytes : end;

        if (mapping->file && from < to)
            each(arg, mapping->file, mapping->offset + (from - mapping->address), to - from);
    }
}

void look_wrote(uint32_t file, uint64_t offset, const void *data, uint64_t bytes)
{
    struct shadow *shadow = object_of(file)->mappings > 0 ? shadow_of(file) : NULL;

    if (!shadow || !shadow_grow(shadow, offset + bytes))
        return;
    if (data)
        memcpy(shadow->bytes + offset, data, bytes);
    else
        memset(shadow->bytes + offset, 0, bytes);
}

void look_truncated(uint32_t file, uint64_t bytes)
{
    struct shadow *shadow = object_of(file)->mappings > 0 ? shadow_of(file) : NULL;

    if (shadow && bytes < shadow->size)
        memset(shadow->bytes + bytes, 0, shadow->size - bytes);
}
