/*
 * file.h -- whole reads, whole writes and honest syncs: the calls that every engine makes to the disk.
 *
 * Short counts and EINTR end here.  A failed sync is reported once and must not be tried again by the caller: the
 * kernel has marked the pages clean, so a second sync would succeed with the data lost.  What a sync covers is what
 * POSIX says: data and size of the file; the name of a new, renamed or removed file needs file_sync_dir.
 * Every failure is a sentence that names the call and the path.  Thread-safe in so far as the system calls are.
 */
#ifndef ASSAY_ENGINES_BASE_FILE_H
#define ASSAY_ENGINES_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engines/base/status.h"

struct file {
    int   fd;   /* -1: not open */
    char *path; /* owned */
};

#define FILE_CLOSED ((struct file){-1, NULL})

/* flags as for open(2); O_CLOEXEC is added, new files get mode 0644.  *file is FILE_CLOSED after a failure. */
MUST_USE kv_status file_open(struct file *file, const char *dir, const char *name, int flags);
void file_close(struct file *file); /* also of a closed one */

MUST_USE kv_status file_size(const struct file *file, uint64_t *out);
/* Reads up to size bytes; *got is less only at the end of the file. */
MUST_USE kv_status file_read_at(const struct file *file, void *data, size_t size, uint64_t offset, size_t *got);
MUST_USE kv_status file_write_at(const struct file *file, const void *data, size_t size, uint64_t offset);
/* Overwrites with zeros, so that later writes there change no metadata. */
MUST_USE kv_status file_zero(const struct file *file, uint64_t offset, uint64_t size);
/* Reserves blocks, and makes the file longer when offset + size is past its end: KV_NO_SPACE now, not SIGBUS later. */
MUST_USE kv_status file_allocate(const struct file *file, uint64_t offset, uint64_t size);
MUST_USE kv_status file_truncate(const struct file *file, uint64_t size);
/* Has the kernel begin to write these bytes to the device, and does not wait.  A hint that promises nothing: what is to be
 * durable is synced, but the sync finds less to do, and pages that are clean can be had back when memory is short. */
void file_begin_writing(const struct file *file, uint64_t offset, uint64_t size);
MUST_USE kv_status file_sync(const struct file *file);      /* fsync */
MUST_USE kv_status file_sync_data(const struct file *file); /* fdatasync: data, and the size when it changed */

/* Maps size bytes from the start, shared. */
MUST_USE kv_status file_map(const struct file *file, size_t size, bool writable, char **out);
void file_unmap(char *map, size_t size); /* NULL is fine */
/* Pages that are about to be written: one call makes them ready in a fifth of the time that their faults would take.  Whole
 * pages of a writable mapping; advice, which an older kernel does not take.  Each is dirty from then on. */
void file_make_ready(char *map, size_t size);

MUST_USE kv_status file_sync_dir(const char *dir);
MUST_USE kv_status file_rename(const char *dir, const char *from, const char *to);
MUST_USE kv_status file_unlink(const char *dir, const char *name); /* KV_OK also when there is none */

/* Allocated bytes, which a file with holes or a reserved tail has less or more of than its size; 0 when unknown. */
uint64_t file_allocated_bytes(const struct file *file);

#endif
