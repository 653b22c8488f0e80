/*
 * reads.h -- many reads of tables at once, so that the device works on all of them while one thread waits.
 *
 * By io_uring where the kernel has it and lets us (a sandbox may refuse it, and so does the recorder of crash tests); else the kernel is
 * told of all reads in advance (posix_fadvise(2), POSIX_FADV_WILLNEED: "initiates a nonblocking read"), and they are made one
 * after the other.  Only reads go this way: whatever is promised about writes is promised by other calls.
 */
#ifndef ASSAY_ENGINES_LSM_READS_H
#define ASSAY_ENGINES_LSM_READS_H

#include "engines/lsm/files.h"

#define READS_MAX 128u /* in flight */

enum reads_way { READS_RING, READS_ADVISED, READS_PLAIN };

struct read {
    struct reopened *file;
    char            *data;
    size_t           bytes;
    uint64_t         offset;
    size_t           got;    /* less only at the end of the file */
    kv_status        status; /* the sentence of the last failure is in fail_text() */
};

/* Called once for each read, as they end. */
typedef void reads_done(void *arg, size_t number);

struct reads;

/* A session's own.  A way that is not to be had here becomes the next one.  NULL, with a sentence, without memory. */
struct reads *reads_open(enum reads_way way);
void reads_close(struct reads *reads); /* NULL is fine */
void reads_run(struct reads *reads, struct read *list, size_t count, reads_done *done, void *arg);

#endif
