/*
 * disk.c -- the persistence profiles, one row each.
 *
 * A row answers: what is there after the crash of that which no sync covered?  What a sync covers is the same
 * everywhere (the bytes and the size of its file; for a directory its entries) but for the two sync_keeps_ columns.
 * Each row is stricter or more lenient than a real file system on purpose; an engine that holds under `drop-unsynced`
 * and `names-first` relies on POSIX alone.
 */
#include "crashtest/disk.h"

#include <stddef.h>
#include <string.h>

#include "common/fail.h"
#include "common/words.h"

#define PAGE 4096

const struct disk_profile disk_profiles[] = {
    {
        .name = "kill",
        .summary = "the process dies, the kernel lives: every call that was made survives",
        .data = DISK_KEPT, .size = DISK_KEPT, .names = DISK_KEPT, .page_bytes = PAGE,
    },
    {
        .name = "drop-unsynced",
        .summary = "power loss, the least that POSIX grants: what no sync covered is gone, names without their directory's sync too",
        .power = true,
        .data = DISK_LOST, .size = DISK_LOST, .names = DISK_LOST, .page_bytes = PAGE,
    },
    {
        .name = "drop-unsynced-ext4",
        .summary = "power loss, all unsynced is gone, but any sync commits every earlier change of names, as ext4's one journal does",
        .power = true,
        .data = DISK_LOST, .size = DISK_LOST, .names = DISK_LOST, .page_bytes = PAGE,
        .sync_keeps_name = true, .sync_keeps_metadata = true,
    },
    {
        .name = "names-first",
        .summary = "power loss, names and unlinks survive at once, bytes and sizes only when synced",
        .power = true,
        .data = DISK_LOST, .size = DISK_LOST, .names = DISK_KEPT, .page_bytes = PAGE,
    },
    {
        .name = "sizes-first",
        .summary = "power loss, names and sizes survive at once, bytes only when synced: unsynced tails read as zeros",
        .power = true,
        .data = DISK_LOST, .size = DISK_KEPT, .names = DISK_KEPT, .page_bytes = PAGE,
    },
    {
        .name = "data-first",
        .summary = "power loss, bytes and sizes survive at once, names only when their directory was synced",
        .power = true,
        .data = DISK_KEPT, .size = DISK_KEPT, .names = DISK_LOST, .page_bytes = PAGE,
    },
    {
        .name = "ext4",
        .summary = "power loss on an ext4 (data=ordered): pages in any order, sizes follow pages, names as one ordered journal; by seed",
        .power = true,
        .data = DISK_CHOSEN, .size = DISK_CHOSEN, .names = DISK_CHOSEN, .page_bytes = PAGE,
        .size_follows_data = true, .names_in_order = true, .sync_keeps_name = true, .sync_keeps_metadata = true,
    },
    {
        .name = "posix-minimal",
        .summary = "power loss, any part of what no sync covered survives: pages, sizes and names each on its own; by seed",
        .power = true,
        .data = DISK_CHOSEN, .size = DISK_CHOSEN, .names = DISK_CHOSEN, .page_bytes = PAGE,
    },
    {
        .name = "torn",
        .summary = "posix-minimal in sectors of 512 bytes: a page may be half old, half new; by seed",
        .power = true,
        .data = DISK_CHOSEN, .size = DISK_CHOSEN, .names = DISK_CHOSEN, .page_bytes = 512,
    },
    {0},
};

const struct disk_profile *disk_profile_find(const char *name)
{
    const char *names[sizeof disk_profiles / sizeof *disk_profiles];
    size_t      count = 0;

    for (const struct disk_profile *row = disk_profiles; row->name; row++) {
        if (strcmp(row->name, name) == 0)
            return row;
        names[count++] = row->name;
    }
    fail_set("there is no disk profile \"%s\"%s", name, words_hint(name, names, count));
    return NULL;
}
