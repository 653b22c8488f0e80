/* reads.c -- a ring of the session's own, or advice. */
#include "engines/lsm/reads.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#ifdef ASSAY_LIBURING
#include <liburing.h>
#endif

#define NOT_YET SIZE_MAX

struct reads {
    enum reads_way way;
#ifdef ASSAY_LIBURING
    struct io_uring ring;
#endif
};

struct reads *reads_open(enum reads_way way)
{
    struct reads *reads = calloc(1, sizeof *reads);

    if (!reads) {
        fail_set("no memory for a session");
        return NULL;
    }
    reads->way = way;
#ifdef ASSAY_LIBURING
    if (way == READS_RING && io_uring_queue_init(READS_MAX, &reads->ring, 0) == 0)
        return reads;
#endif
    if (way == READS_RING)
        reads->way = READS_ADVISED;
    return reads;
}

void reads_close(struct reads *reads)
{
    if (!reads)
        return;
#ifdef ASSAY_LIBURING
    if (reads->way == READS_RING)
        io_uring_queue_exit(&reads->ring);
#endif
    free(reads);
}

static void read_plainly(struct read *read)
{
    read->status = reopened_read_at(read->file, read->data, read->bytes, read->offset, &read->got);
}

#ifdef ASSAY_LIBURING
/* Returns how many: all, but for a file that does not open. */
static size_t hand_over(struct reads *reads, struct read *list, size_t count)
{
    size_t next = 0;

    for (; next < count; next++) {
        struct io_uring_sqe *entry;
        int                  fd;
        if (reopened_pin(list[next].file, &fd) != KV_OK)
            break;
        entry = io_uring_get_sqe(&reads->ring);
        assert(entry); /* the ring has room for READS_MAX, and is empty */
        io_uring_prep_read(entry, fd, list[next].data, (unsigned)list[next].bytes, list[next].offset);
        io_uring_sqe_set_data64(entry, next);
    }
    return next;
}

/* What comes back short or not at all is read again plainly, which finds the reason, and its sentence. */
static size_t reap(struct reads *reads, struct read *list, reads_done *done, void *arg)
{
    struct io_uring_cqe *end;
    unsigned             head, reaped = 0;

    io_uring_for_each_cqe(&reads->ring, head, end) {
        struct read *read = &list[io_uring_cqe_get_data64(end)];
        reopened_unpin(read->file);
        read->got = end->res < 0 ? 0 : (size_t)end->res;
        read->status = KV_OK;
        if (read->got != read->bytes)
            read_plainly(read);
        done(arg, (size_t)(read - list));
        reaped++;
    }
    io_uring_cq_advance(&reads->ring, reaped);
    return reaped;
}

/*
 * Something that should not be: the ring goes, and what it had not read is read otherwise.
 * What the kernel has taken it goes on writing to, also when the ring is closed, so that is waited for.  The ends come into memory
 * that is shared; a call that fails is not needed for them.
 */
static void give_up(struct reads *reads, struct read *list, size_t handed_over, size_t reaped, reads_done *done, void *arg)
{
    while ((reaped += reap(reads, list, done, arg)) + io_uring_sq_ready(&reads->ring) < handed_over)
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    io_uring_queue_exit(&reads->ring);
    reads->way = READS_ADVISED;
    for (size_t i = 0; i < handed_over; i++) {
        if (list[i].got != NOT_YET)
            continue;
        reopened_unpin(list[i].file);
        read_plainly(&list[i]);
        done(arg, i);
    }
}

/* How many of them, from the first, are done; in the end none is in flight. */
static size_t run_in_ring(struct reads *reads, struct read *list, size_t count, reads_done *done, void *arg)
{
    size_t handed_over, reaped = 0;

    for (size_t i = 0; i < count; i++)
        list[i].got = NOT_YET;
    handed_over = hand_over(reads, list, count);
    while (reaped < handed_over) {
        int failed = io_uring_submit_and_wait(&reads->ring, 1);
        if (failed < 0 && failed != -EINTR && failed != -EAGAIN && failed != -EBUSY) {
            give_up(reads, list, handed_over, reaped, done, arg);
            break;
        }
        reaped += reap(reads, list, done, arg);
    }
    return handed_over;
}
#endif

void reads_run(struct reads *reads, struct read *list, size_t count, reads_done *done, void *arg)
{
    size_t first = 0;

    assert(count <= READS_MAX);
#ifdef ASSAY_LIBURING
    if (reads->way == READS_RING)
        first = run_in_ring(reads, list, count, done, arg);
#endif
    for (size_t i = first; reads->way != READS_PLAIN && i < count; i++) {
        int fd;
        if (reopened_pin(list[i].file, &fd) != KV_OK)
            continue; /* the read will say why */
        posix_fadvise(fd, (off_t)list[i].offset, (off_t)list[i].bytes, POSIX_FADV_WILLNEED);
        reopened_unpin(list[i].file);
    }
    for (; first < count; first++) {
        read_plainly(&list[first]);
        done(arg, first);
    }
}
