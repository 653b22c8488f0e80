/*
 * inside.h -- what the files of the recorder share.
 *
 * Everything is one shape: a system call with its number and arguments.  The symbols of libc (calls.c) and the guard
 * (guard.c) both bring calls into that shape; recorder_call() decides what becomes of them.  The recorder itself enters
 * the kernel through raw_syscall() alone, one instruction that the guard lets pass, so it never meets itself.
 *
 * One lock holds each mutating call together with its record, so the order of the records is one that happened.  The lock,
 * the numbers of the files and the trace are shared by all processes of a life (process.c): the child that started the
 * recorder, what it forks, and the programs that these run by exec.
 */
#ifndef ASSAY_CRASHTEST_PRELOAD_RECORDER_INSIDE_H
#define ASSAY_CRASHTEST_PRELOAD_RECORDER_INSIDE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "crashtest/recorder.h"
#include "crashtest/trace.h"

#define HIDDEN __attribute__((visibility("hidden")))

/* The kernel's answer: negative errno, or the result. */
extern HIDDEN long (*raw_syscall)(long number, long a, long b, long c, long d, long e, long f);
#define RAW(name, ...)                          RAW_(SYS_##name, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define RAW_(number, a, b, c, d, e, f, ...)     raw_syscall(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

struct call {
    long     number;
    long     arg[6];
    unsigned flags; /* 0 or TRACE_TRAPPED */
};

HIDDEN long recorder_call(const struct call *call);

/* ---- process.c: the processes of a life, and what they share. ---- */

enum mode {
    MODE_NEW, /* nobody has looked yet whether this process belongs to a life */
    MODE_ASLEEP,
    MODE_AWAKE
};
extern HIDDEN volatile enum mode process_mode;

struct object {
    uint64_t dev, ino;
    uint32_t next;  /* in its bucket; 0 ends */
    uint32_t names; /* that it has below the recorded directory */
    bool     directory;
    bool     findable;
    /* look.c: how many shared writable mappings there are, and in which process. */
    int32_t  mappings;
    int32_t  mapper;
};

#define OBJECTS_MAX (1u << 20)
#define BUCKETS     (1u << 14)

struct shared {
    char                 magic[8];
    struct recorder_plan plan;    /* its pointers mean something in the process that started only */
    uint64_t             trace_bytes;
    pthread_mutex_t      lock;
    int32_t              first;   /* process id of the one that started; it leads its group */
    uint32_t             over;    /* enum over */
    uint32_t             threads; /* that have a number in the trace */
    uint32_t             objects; /* that have a number */
    uint32_t             bucket[BUCKETS];
    struct object        object[OBJECTS_MAX]; /* an address space, most of it never touched */
};
extern HIDDEN struct shared *shared;

enum over { OVER_NOT, OVER_STOPPED, OVER_KILLED };

HIDDEN const char *process_start(const struct recorder_plan *plan); /* NULL, or why not */
/* For the first call of a process, which may come before its constructors: joins the life that it was started in, if any. */
HIDDEN void process_join(void);
/* False when this thread is inside already: a signal handler that does I/O interrupted us. */
HIDDEN bool process_enter(void);
HIDDEN void process_leave(void);
/* The end of the life, for all its processes.  Does not return. */
HIDDEN void process_kill(void) __attribute__((noreturn));
HIDDEN int32_t process_id(void);

/* ---- files.c: what has a number.  Under the lock. ---- */

HIDDEN struct object *object_of(uint32_t file);
HIDDEN uint32_t object_new(const struct stat *st);
HIDDEN uint32_t object_find(const struct stat *st);
HIDDEN void object_hide(uint32_t file); /* its inode number may be used again from now on */

/* ---- look.c: stores into mappings.  Under the lock. ---- */

HIDDEN void look_map(uint32_t file, long fd, uint64_t address, uint64_t bytes, uint64_t offset, bool writable);
HIDDEN void look_unmap(uint64_t address, uint64_t bytes);
HIDDEN void look_before_move(uint64_t address); /* a part of the mapping may go */
HIDDEN void look_moved(uint64_t from, uint64_t from_bytes, uint64_t to, uint64_t to_bytes);
HIDDEN void look_before_fork(void);
HIDDEN void look_forked(void); /* in the new process */
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

/* ---- watch.c: which pages of a mapping were stored to.  Under the lock. ---- */

HIDDEN bool watch_begin(uint64_t address, uint64_t bytes); /* also after a move; false: it cannot be told */
/* Sets stored[i] for each page that may have been stored to since the last question; the first time for every page.  Whoever
 * reads the pages after that has all stores but those that the next answer tells.  False: it cannot be told. */
HIDDEN bool watch_ask(uint64_t address, uint64_t bytes, unsigned char *stored);
HIDDEN void watch_no_more(void); /* from now on it cannot be told */
HIDDEN void watch_forked(void); /* in the new process */

/* ---- record.c: writing records.  Under the lock; nothing is done but in MODE_AWAKE with records wanted. ---- */

HIDDEN void record_start(struct trace *trace, bool records);
HIDDEN void record_forked(void); /* in the new process */
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

/* Puts the one syscall instruction where it is in every process of the life. */
HIDDEN bool guard_place(void);
HIDDEN bool guard_start(void);  /* false: this system has no seccomp filter */
HIDDEN bool guard_handle(void); /* in a program that was run: the filter is there already, its handler is not */

#endif
