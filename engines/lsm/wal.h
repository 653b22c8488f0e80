/*
 * wal.h -- a log file: every write of one memtable, in order, until a table has them.
 *
 *     NNNNNNNN.wal := header group*        padded with zeros, or with what an earlier life of the file left
 *     header       := struct wal_header, zeros up to WAL_SECOND, the same once more    all zeros while the file waits for its turn
 *     group        := struct wal_group write* padding to a multiple of 8      one put, one batch, or one group commit's part
 *     write        := value_bytes:u32 key_bytes:u16 type:u8 zero:u8 key value
 *
 * Little-endian.  A group's sum covers all of it behind the sum, and its place by the seed: the file's salt plus the offset.
 * The headers lie in two sectors, and in two pages: one that a disk has spoilt does not cost the log.  The salt is new in each
 * life of a file, so a recycled file's old groups do not pass.  All writes of a group count, or none.
 * `durable_seq` in headers and groups says what was known to be durable when they were written: damage below that is no
 * crash's doing.  A log begins where the one before ended: base_seq is one above that one's last number.
 */
#ifndef ASSAY_ENGINES_LSM_WAL_H
#define ASSAY_ENGINES_LSM_WAL_H

#include <assert.h>
#include <stdbool.h>

#include "engines/base/file.h"
#include "engines/lsm/entry.h"

#define WAL_MAGIC    "ASSAYlsW"
#define WAL_VERSION  3u
#define WAL_SECOND   4096u                                             /* offset of the second header */
#define WAL_FIRST    (WAL_SECOND + (uint32_t)sizeof(struct wal_header)) /* and of the first group */
#define WAL_NAME_MAX 32
#define FILE_ID_MAX  (UINT64_C(1) << 56)

struct wal_header {
    char     magic[8];
    uint32_t version, zero;
    uint64_t id, salt, base_seq, durable_seq, zero2;
    uint64_t sum; /* xxh3 of all before */
};

struct wal_group {
    uint64_t sum;
    uint64_t seq; /* of its first write; the others follow */
    uint64_t durable_seq;
    uint32_t bytes; /* of the writes */
    uint32_t count;
};

struct wal_write {
    uint32_t value_bytes;
    uint16_t key_bytes;
    uint8_t  type, zero;
};

static_assert(sizeof(struct wal_header) == 64 && sizeof(struct wal_group) == 32 && sizeof(struct wal_write) == 8, "the format");

struct wal {
    struct wal *next;     /* in a list of its owner */
    uint64_t    id;
    struct file file;
    char       *map;      /* of all of it; when not mapped for writing, only for reading a found log */
    bool        mapped;   /* written through the map; else by pwrite */
    uint64_t    capacity; /* bytes of the file */
    uint64_t    ready;    /* of the map, pages before this were made ready to be written */
    uint64_t    salt;
    uint64_t    base_seq, durable_seq; /* of the header */
    uint64_t    tail;     /* where the next group goes */
    uint64_t    last_seq; /* of the last write, once it is sealed */
    bool        synced;   /* to its end; sealed ones */
};

char *wal_name(char out[WAL_NAME_MAX], uint64_t id); /* "00000007.wal" */
/* True when the whole of name is one that form, wal_name or table_name, writes for a number that a store can come to. */
bool name_parse(const char *name, char *(*form)(char *, uint64_t), uint64_t *id);

static inline uint64_t wal_write_bytes(uint64_t key_bytes, uint64_t value_bytes)
{
    return sizeof(struct wal_write) + key_bytes + value_bytes;
}

static inline uint64_t wal_group_bytes(uint64_t writes_bytes)
{
    return (sizeof(struct wal_group) + writes_bytes + 7) & ~UINT64_C(7);
}

/* ---- Writing. ---- */

/* A new file that is ready to be written: reserved, and the name durable.  Not mapped: filled with zeros and synced, so that a
 * group written over them changes no metadata. */
MUST_USE kv_status wal_create(const char *dir, uint64_t id, uint64_t capacity, bool mapped, struct wal **out);
/* Makes a new one from a log that nobody needs any more and that is not mapped: it keeps its blocks.  The old one is gone, whatever
 * the status. */
MUST_USE kv_status wal_recycle(const char *dir, struct wal *old, uint64_t id, struct wal **out);
/* Writes the headers. */
MUST_USE kv_status wal_begin(struct wal *wal, uint64_t base_seq, uint64_t durable_seq);
void wal_free(struct wal *wal); /* closes it; the file stays; NULL is fine */

#define WAL_READY_BYTES (UINT64_C(256) << 10)

/* Before the map is written up to here.  Not more than a little ahead: what is ready is dirty, and a sync would write it. */
static inline void wal_make_ready(struct wal *wal, uint64_t end)
{
    while (wal->ready < end) {
        uint64_t left = wal->capacity - wal->ready, bytes = left < WAL_READY_BYTES ? left : WAL_READY_BYTES;
        file_make_ready(wal->map + wal->ready, bytes);
        wal->ready += bytes;
    }
}

/* Forms one write; returns the place behind it. */
static inline char *wal_put_write(char *at, const struct entry *entry)
{
    struct wal_write write = {.value_bytes = (uint32_t)entry->value.size, .key_bytes = (uint16_t)entry->key.size, .type = (uint8_t)entry->type};

    memcpy(at, &write, sizeof write);
    memcpy(at + sizeof write, entry->key.data, entry->key.size);
    if (entry->value.size)
        memcpy(at + sizeof write + entry->key.size, entry->value.data, entry->value.size);
    return at + sizeof write + entry->key.size + entry->value.size;
}

/* Completes a group whose writes stand at group + sizeof(struct wal_group), and which will stand, or stands, at offset.  Its
 * bytes become valid by this, and not before. */
static inline void wal_seal_group(const struct wal *wal, char *group, uint64_t offset, uint64_t seq, uint64_t durable_seq,
                                  uint64_t bytes, uint32_t count)
{
    struct wal_group head = {.seq = seq, .durable_seq = durable_seq, .bytes = (uint32_t)bytes, .count = count};
    uint64_t         all = wal_group_bytes(bytes);

    memset(group + sizeof head + bytes, 0, all - sizeof head - bytes);
    memcpy(group + sizeof head.sum, (char *)&head + sizeof head.sum, sizeof head - sizeof head.sum);
    head.sum = XXH3_64bits_withSeed(group + sizeof head.sum, all - sizeof head.sum, wal->salt + offset);
    memcpy(group, &head.sum, sizeof head.sum);
}

/* ---- Reading. ---- */

enum wal_state { /* the better of two headers counts */
    WAL_BLANK,   /* waits for its turn: nothing was ever acknowledged from it */
    WAL_DAMAGED, /* its header */
    WAL_STRANGE, /* its header has another number than its name, which no crash does */
    WAL_OTHER,   /* a format that this program does not read */
    WAL_GOOD     /* one that is shorter than WAL_FIRST was cut by no crash */
};

/* The failure for WAL_OTHER. */
kv_status wal_other_format(const struct wal *wal);
/* Opens and maps what is there for reading; *state says what its header says. */
MUST_USE kv_status wal_open(const char *dir, uint64_t id, struct wal **out, enum wal_state *state);
/* The same under any name and with these flags, for dumps; id 0: whichever it is. */
MUST_USE kv_status wal_open_named(const char *dir, const char *name, uint64_t id, int flags, struct wal **out, enum wal_state *state);
/* The group at wal->tail, if a good one stands there that begins with number seq; *writes is its writes. */
bool wal_group_at(const struct wal *wal, uint64_t seq, struct wal_group *group, slice *writes);
/* The first of the writes; false: at their end, or (with *damaged) they are not what the group says. */
bool wal_next_write(slice *writes, struct entry *out, bool *damaged);
/* The highest number that any good group behind wal->tail knows to be durable; 0: none. */
uint64_t wal_durable_behind(const struct wal *wal);
/* Cuts off what is behind the tail, and syncs. */
MUST_USE kv_status wal_cut(struct wal *wal);

#endif
