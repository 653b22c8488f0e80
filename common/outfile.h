/*
 * outfile.h -- a file that is there whole or not at all.
 *
 * Written as PATH.tmp-PID in the same folder, synced, renamed over PATH.  An outfile that is not committed leaves
 * PATH as it was.  "-" is stdout, and a PATH that is a device or a pipe is written in place, at the commit.
 */
#ifndef ASSAY_COMMON_OUTFILE_H
#define ASSAY_COMMON_OUTFILE_H

#include <stdbool.h>
#include <stdio.h>

struct outfile {
    FILE  *stream;    /* write here */
    char  *path;      /* NULL: stdout */
    char  *temporary; /* NULL: stdout or a device */
    char  *text;      /* what is meant for those */
    size_t text_bytes;
};

/* Each returns false with fail_set().  Open early: it finds out before long work whether the folder can be written. */
bool outfile_open(struct outfile *file, const char *path);
bool outfile_commit(struct outfile *file); /* closes in every case */
void outfile_discard(struct outfile *file);

#endif
