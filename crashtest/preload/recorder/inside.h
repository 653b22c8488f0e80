/*
 * inside.h -- what the files of the recorder share.
 *
 * Everything is one shape: a system call with its number and arguments.  The symbols of libc (calls.c) and the guard
 * (guard.c) both bring calls into that shape; recorder_call() decides what becomes of them.  The recorder itself enters
 * the kernel through raw_syscall() alone, one instruction that the guard lets pass, so it never meets itself.
 *
 * One lock holds each mutating call together with its record, so the order of the records is one that happened.
 */
#ifndef ASSAY_CRASHTEST_PRELOAD_RECORDER_INSIDE_H
#define ASSAY_CRASHTEST_PRELOAD_RECORDER_INSIDE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "crashtest/recorder.h"
#include "crashtest/trace.h"

#define HIDDEN __attribute__((visibility("hidden")))

/* The kernel's answer: negative errno, or the result. */
HIDDEN long raw_syscall(long number, long a, long b, long c, long d, long e, long f);
extern HIDDEN const char raw_syscall_end[];
#define RAW(name, ...)                          RAW_(SYS_##name, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define RAW_(number, a, b, c, d, e, f, ...)     raw_syscall(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

struct call {
    long     number;
    long     arg[6];
    unsigned flags; /* 0 or TRACE_TRAPPED */
};

enum mode {
    MODE_ASLEEP,
    MODE_AWAKE,
    MODE_FOREIGN /* a process forked by the recorded one: what it changes cannot be put in order, only counted */
};
extern HIDDEN volatile enum mode recorder_mode;

HIDDEN long recorder_call(const struct call *call);
/* The end of the life.  Does not return. */
HIDDEN void recorder_kill(void) __attribute__((noreturn));

/* ---- files.c: what has a number.  Under the lock, but for descriptor(). ---- */

struct object {
    uint64_t       dev, ino;
    uint32_t       next; /* in its bucket; 0 ends */
    bool           directory;
    bool           findable;
    /* look.c: a shared writable mapping exists.  shadow is the file as the trace has it. */
    int            mappings;
    int            peek_fd;
    unsigned char *shadow;
    uint64_t       shadow_bytes;
};

enum { DESCRIPTOR_DSYNC = 1, DESCRIPTOR_WRITABLE = 2 };
struct descriptor {
    uint32_t file; /* 0: none of ours */
    uint32_t flags;
};

HIDDEN bool files_start(void); /* false: no memory */
HIDDEN struct object *object_of(uint32_t file);
HIDDEN uint32_t object_new(uint64_t dev, uint64_t ino, bool directory);
HIDDEN uint32_t object_find(uint64_t dev, uint64_t ino);
HIDDEN void object_hide(uint32_t file); /* its inode number may be used again from now on */
HIDDEN uint32_t object_count(void);
HIDDEN struct descriptor descriptor(long fd);
HIDDEN void descriptor_set(long fd, struct descriptor is);
HIDDEN bool descriptor_fits(long fd);

/* ---- look.c: stores into mappings.  Under the lock. ---- */

HIDDEN void look_map(uint32_t file, long fd, uint64_t address, uint64_t bytes, uint64_t offset);
HIDDEN void look_unmap(uint64_t address, uint64_t bytes);
HIDDEN void look_moved(uint64_t from, uint64_t from_bytes, uint64_t to, uint64_t to_bytes);
HIDDEN bool look_any(void);
/* Records what was stored since the last look. */
HIDDEN void look_at(uint32_t file);
HIDDEN void look_at_all(void);
/* Calls each(file, offset, bytes) for the parts of mapped files in that range of addresses. */
HIDDEN void look_each(uint64_t address, uint64_t bytes, void (*each)(void *arg, uint32_t file, uint64_t offset, uint64_t bytes),
                      void *arg);
/* The trace has learnt these changes another way. */
HIDDEN void look_wrote(uint32_t file, uint64_t offset, const void *data, uint64_t bytes); /* NULL data: zeros */
HIDDEN void look_truncated(uint32_t file, uint64_t bytes);

/* ---- record.c: writing records.  Under the lock; nothing is done but in MODE_AWAKE with records wanted. ---- */

HIDDEN void record_start(struct trace *trace, bool records);
HIDDEN bool record_wanted(void);
HIDDEN struct trace *record_trace(void);
/* Ends the life when the trace has no room for a record with that payload, so the call must not have been done yet. */
HIDDEN void record_room(uint64_t payload_bytes);
HIDDEN struct trace_record *record_begin(enum trace_kind kind, uint32_t file, unsigned flags, uint64_t payload_bytes);
HIDDEN void record_end(struct trace_record *rec);
HIDDEN void record_range(enum trace_kind kind, uint32_t file, unsigned flags, uint64_t offset, uint64_t length);
HIDDEN void record_name(enum trace_kind kind, uint32_t file, unsigned flags, uint32_t dir, const char *name,
                        size_t name_bytes, uint32_t dir2, const char *name2, size_t name2_bytes, uint64_t length);
HIDDEN void record_sync(enum trace_kind kind, uint32_t file, unsigned flags, uint64_t covers, uint64_t offset, uint64_t length);
/* A call that cannot be modelled. */
HIDDEN void record_unsupported(const char *call);

/* ---- guard.c ---- */

HIDDEN bool guard_start(void); /* false: this system has no seccomp filter */

#endif
