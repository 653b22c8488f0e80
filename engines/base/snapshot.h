/*
 * snapshot.h -- the one stream format in which any engine's records travel: a snapshot of one restores into another.
 *
 *     header   "ASSAYSNP"  version:u32 = 1  flags:u32 = 0  sum:u64
 *     record   sum:u64  key_bytes:u32 (1 to 65,535)  value_bytes:u32  key  value         any number, in any order
 *     end      sum:u64  key_bytes:u32 = 0            value_bytes:u32 = 16  count:u64  chain:u64
 *
 * Numbers are little-endian.  The header's sum is xxh3 of the 16 bytes before it.  A record's sum is xxh3, seeded with the
 * record's position (0, 1, 2 ...; the end has the position `count`), over all of its bytes behind the sum: lengths, key
 * and value.  `chain` is folded over the sums of all records in order: chain = xxh3 of (chain, sum), from 0.  Behind the
 * end comes the end of the file or pipe, nothing else.  So a stream that was cut, or in which a byte changed, a record is
 * missing, doubled or in another place, or to which something was appended, is always KV_CORRUPT; the sentence says
 * which record.
 *
 * Neither side seeks: pipes and sockets will do.  Neither syncs: the descriptor is the caller's.
 */
#ifndef ASSAY_ENGINES_BASE_SNAPSHOT_H
#define ASSAY_ENGINES_BASE_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engines/base/buf.h"
#include "engines/base/slice.h"
#include "engines/base/status.h"

struct snapshot_writer {
    int        fd;
    uint64_t   count, chain;
    struct buf pending; /* formed, not yet written */
};

/* KV_IO, KV_NO_SPACE or KV_NO_MEMORY end the writing; call snapshot_writer_free in any case. */
MUST_USE kv_status snapshot_writer_open(struct snapshot_writer *writer, int fd);
/* Copies the record; writes nothing to the descriptor, so it may be called under a lock or inside an epoch... */
MUST_USE kv_status snapshot_writer_add(struct snapshot_writer *writer, slice key, slice value);
/* ... and this, outside, writes what is pending if it is worth a call (256 KiB and more). */
MUST_USE kv_status snapshot_writer_flush(struct snapshot_writer *writer);
/* Writes the rest and the end record.  Without it the stream is a cut one. */
MUST_USE kv_status snapshot_writer_end(struct snapshot_writer *writer);
void snapshot_writer_free(struct snapshot_writer *writer);

struct snapshot_reader {
    int        fd;
    uint64_t   count, chain;
    struct buf bytes; /* read and not yet handed out: from `at` on */
    size_t     at;
    bool       ended;
};

MUST_USE kv_status snapshot_reader_open(struct snapshot_reader *reader, int fd);
/* The next record; key and value are lent until the next call.  KV_NOT_FOUND after the last, when the end record was
 * there and right. */
MUST_USE kv_status snapshot_reader_next(struct snapshot_reader *reader, slice *key, slice *value);
void snapshot_reader_free(struct snapshot_reader *reader);

#endif
