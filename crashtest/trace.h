/*
 * trace.h -- what a process did to a directory: one record a call, in one order, with the bytes.
 *
 * The parent makes a trace in shared memory, the child and the processes that it starts fill it under the recorder
 * (recorder.h), and it is whole up to the moment of their death, however they died: a record counts only once it is complete.  The marks of the child
 * (operation started, acknowledged) stand in the same order, so that it is known which calls came before an
 * acknowledgement.  A trace never ends early in silence: when it is full the recorder kills the child and says so.
 *
 * Files and directories are numbers, given at their creation and never used again; the directory that was recorded is
 * TRACE_ROOT.  What it held at the start comes first, as creations with the flag TRACE_BASE.
 */
#ifndef ASSAY_CRASHTEST_TRACE_H
#define ASSAY_CRASHTEST_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define TRACE_ROOT           1u
#define TRACE_FILE_BYTES_MAX (UINT64_C(1) << 44)

enum trace_kind {
    TRACE_CREATE,   /* file in dir as name; with TRACE_BASE `length` is its size */
    TRACE_MKDIR,    /* file (a directory) in dir as name */
    TRACE_SYMLINK,  /* file in dir as name; name2 is where it points */
    TRACE_LINK,     /* file gets one more name */
    TRACE_UNLINK,   /* name in dir, which was file */
    TRACE_RMDIR,    /* the same for a directory */
    TRACE_RENAME,   /* file: dir/name becomes dir2/name2, what was there goes */
    TRACE_EXCHANGE, /* dir/name and dir2/name2 change places */
    TRACE_WRITE,    /* bytes [offset, offset + length) of file, which are the payload (or TRACE_ZEROS) */
    TRACE_TRUNCATE, /* size of file becomes length */
    TRACE_ALLOCATE, /* size of file becomes at least offset + length */
    TRACE_ZERO,     /* bytes [offset, offset + length) of file become zero; the size stays */
    TRACE_SYNC,     /* [offset, offset + length) of file, and its size, as they were `covers` records into the trace */
    TRACE_SYNC_ALL, /* everything, as it was `covers` records into the trace */
    TRACE_MARK,     /* the child's own: file is the kind of mark, offset and length are its two numbers */
    TRACE_NOTE,     /* name is a call that the recorder saw and cannot model: the trace proves nothing */
    TRACE_KINDS
};

enum trace_flag {
    TRACE_BASE    = 1u << 0, /* was there, and durable, when the recording began */
    TRACE_DSYNC   = 1u << 1, /* a write that is its own sync (O_DSYNC, O_SYNC, RWF_DSYNC) */
    TRACE_MAPPED  = 1u << 2, /* a write: stores into a mapping, seen at this point; a sync: msync */
    TRACE_PARTIAL = 1u << 3, /* a write that the recorder cut short */
    TRACE_DATA    = 1u << 4, /* fdatasync */
    TRACE_TRAPPED = 1u << 5, /* passed libc's symbols by (stdio, raw system calls); the guard caught it */
    TRACE_FAILED  = 1u << 6, /* a note: the recorder made this call fail; a sync: it failed, and its pages passed for clean */
    TRACE_ZEROS   = 1u << 7  /* a write of nothing but zeros: there is no payload */
};

struct trace_record {
    uint32_t bytes;  /* of the record with payload and padding; a multiple of 8 */
    uint8_t  kind;   /* enum trace_kind */
    uint8_t  flags;  /* enum trace_flag */
    uint16_t thread; /* 0, 1, ... in order of their first record */
    uint64_t time_ns; /* CLOCK_MONOTONIC */
    uint32_t file;
    uint32_t dir;
    uint32_t dir2;
    uint32_t covers;
    uint64_t offset;
    uint64_t length;
    uint16_t name_bytes;  /* payload of names: name, NUL, name2, NUL; the lengths are without the NUL */
    uint16_t name2_bytes;
    uint32_t payload_bytes;
    unsigned char payload[];
};

struct trace {
    char     magic[8];
    uint32_t version;
    uint32_t guarded;        /* the guard stood: nothing could pass the recorder by unseen */
    uint64_t capacity_bytes; /* room for records */
    uint64_t used_bytes;     /* complete records */
    uint64_t count;          /* the same in records; exact after trace_settle */
    uint64_t calls;          /* mutating calls below the directory, recorded or only counted */
    uint64_t trapped;        /* of them, caught by the guard alone */
    uint64_t unsupported;    /* calls that cannot be modelled: the first one is named below.  Must be 0 for a verdict. */
    uint64_t processes;      /* that were recorded: the child, and what it started by fork and exec */
    uint32_t full;           /* the recorder ended the life because there was no more room */
    uint32_t killed;         /* the recorder ended the life because it was told to */
    uint64_t failed;         /* calls that the recorder made fail because it was told to */
    char     unsupported_call[48];
    int32_t  memory_fd;      /* of this memory, in the process that made the trace and its forks; -1 in a file */
    char     reserved[108];
};

/* Address space for that many bytes of records, shared with children; memory is used as it fills.  NULL with fail_set(). */
struct trace *trace_create(uint64_t capacity_bytes);
void trace_destroy(struct trace *trace); /* NULL is fine */
void trace_reset(struct trace *trace);   /* empty again, for the next life */

/* After the child's death, before anything reads the records: checks each of them (the child may have scribbled), and
 * counts them.  False with fail_set(), naming the record. */
bool trace_settle(struct trace *trace);

/* Walking: for (rec = trace_first(t); rec; rec = trace_next(t, rec)).  The first record has number 0. */
static inline const struct trace_record *trace_at(const struct trace *trace, uint64_t position)
{
    return position < trace->used_bytes ? (const void *)((const char *)(trace + 1) + position) : NULL;
}

static inline const struct trace_record *trace_first(const struct trace *trace)
{
    return trace_at(trace, 0);
}

static inline const struct trace_record *trace_next(const struct trace *trace, const struct trace_record *rec)
{
    return trace_at(trace, (uint64_t)((const char *)rec - (const char *)(trace + 1)) + rec->bytes);
}

static inline const char *trace_name(const struct trace_record *rec)
{
    return (const char *)rec->payload;
}

static inline const char *trace_name2(const struct trace_record *rec)
{
    return (const char *)rec->payload + rec->name_bytes + 1;
}

/* True when the call changed, or made durable, something on disk (not a mark, not a note, not the base). */
bool trace_is_call(const struct trace_record *rec);

/* Records [from, to) for people, one a line: number, time since the first, thread, call.  Paths are as of that moment. */
void trace_print(FILE *out, const struct trace *trace, uint64_t from, uint64_t to);
const char *trace_kind_word(unsigned kind);

/* A file with magic, version and checksum.  Load takes any file and refuses what is not whole.  False / NULL with
 * fail_set().  Release with trace_destroy. */
bool trace_save(const struct trace *trace, const char *path);
struct trace *trace_load(const char *path);

/*
 * Writing, for the recorder and for tests.  One writer at a time.  trace_begin gives a zeroed record with room for the
 * payload, or NULL when the trace is full; trace_end makes it count.  Nothing is there for a reader in between.
 */
static inline uint64_t trace_record_bytes(uint64_t payload_bytes)
{
    return (sizeof(struct trace_record) + payload_bytes + 7) & ~UINT64_C(7);
}

static inline struct trace_record *trace_begin(struct trace *trace, enum trace_kind kind, uint64_t payload_bytes)
{
    uint64_t             bytes = trace_record_bytes(payload_bytes);
    struct trace_record *rec = (void *)((char *)(trace + 1) + trace->used_bytes);

    if (payload_bytes > UINT32_MAX / 2 || bytes > trace->capacity_bytes - trace->used_bytes)
        return NULL;
    memset(rec, 0, sizeof *rec);
    rec->bytes = (uint32_t)bytes;
    rec->kind = (uint8_t)kind;
    rec->payload_bytes = (uint32_t)payload_bytes;
    return rec;
}

static inline void trace_end(struct trace *trace, const struct trace_record *rec)
{
    __atomic_store_n(&trace->count, trace->count + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&trace->used_bytes, trace->used_bytes + rec->bytes, __ATOMIC_RELEASE);
}

#endif
