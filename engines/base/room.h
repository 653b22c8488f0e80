/*
 * room.h -- a gate before a full disk, for an engine of others that maps its files.
 *
 * A store into a shared mapping of a file with holes ends the process (SIGBUS) when the disk is full.  So each write is admitted
 * only while the file system has room for it, for what the engine still has to write from memory, and for a reserve.  The
 * file system is asked now and then: what has been admitted since counts as used.  Other users of the disk can still
 * be faster than the gate.
 */
#ifndef ASSAY_ENGINES_BASE_ROOM_H
#define ASSAY_ENGINES_BASE_ROOM_H

#include <pthread.h>
#include <stdint.h>

#include "engines/base/status.h"

struct room {
    const char     *dir;           /* in the file system that fills; lent */
    uint64_t        reserve_bytes; /* never to be used by a write */
    uint64_t        cached_bytes_max; /* of written pages that the engine may hold back in memory; 0: none */
    pthread_mutex_t lock;
    int64_t         credit;        /* atomic: bytes that may be written before the file system is asked */
    uint64_t        cached_bytes;  /* atomic: admitted since room_settled */
};

/* Set dir and the sizes, then call this. */
void room_open(struct room *room);
void room_close(struct room *room);
/* Before a write that makes the engine write so many bytes, at most; any thread.  KV_NO_SPACE. */
MUST_USE kv_status room_admit(struct room *room, uint64_t bytes);
/* Nothing is held back any more. */
void room_settled(struct room *room);

#endif
