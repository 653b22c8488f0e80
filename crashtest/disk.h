/*
 * disk.h -- what a crash may take: each profile is a row of data, and state.c is the one reader of the rows.
 *
 * The rules are those of research on real file systems (ALICE, Ferrite, CrashMonkey): a sync covers this, an unsynced
 * change has that fate.
 */
#ifndef ASSAY_CRASHTEST_DISK_H
#define ASSAY_CRASHTEST_DISK_H

#include <stdbool.h>
#include <stdint.h>

enum disk_fate {
    DISK_LOST,  /* gone */
    DISK_KEPT,  /* there */
    DISK_CHOSEN /* each on its own, by the seed */
};

struct disk_profile {
    const char    *name;
    const char    *summary;
    bool           power;               /* a power loss; false: only the process died */
    enum disk_fate data;                /* fate of unsynced bytes, page by page */
    enum disk_fate size;                /* fate of an unsynced size */
    enum disk_fate names;               /* fate of unsynced creations, unlinks, renames... */
    bool           size_follows_data;   /* the size grows with the pages that made it, never ahead of them */
    bool           names_in_order;      /* one journal: of the unsynced names a prefix survives, not any subset */
    bool           sync_keeps_name;     /* a sync of a file keeps the name it was created with */
    bool           sync_keeps_metadata; /* a sync of anything keeps every earlier change of names and explicit sizes */
    uint32_t       page_bytes;          /* the unit in which bytes survive; within it later writes imply earlier ones */
};

/* Rows end with a NULL name.  The first is `kill`. */
extern const struct disk_profile disk_profiles[];

/* NULL, with a sentence that lists the names, for an unknown one. */
const struct disk_profile *disk_profile_find(const char *name);

#endif
