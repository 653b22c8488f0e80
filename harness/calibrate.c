/*
 * calibrate.c -- what this machine and this disk can do, in the terms that engines use.
 *
 * A row of pieces[] is one measurement: its name in the result, its share of the time, its function.  Files live in a
 * private folder, which is removed however the run ends.  Nothing here is retried: a device that fails ends the run.
 */
#include "harness/calibrate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef ASSAY_LIBURING
#include <liburing.h>
#endif
#ifdef __x86_64__
#include <x86intrin.h>
#endif
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/args.h"
#include "common/clock.h"
#include "common/commands.h"
#include "common/fail.h"
#include "common/outfile.h"
#include "common/progress.h"
#include "common/rng.h"
#include "common/stop.h"
#include "common/units.h"
#include "results/result.h"

#define RECORD_BYTES   128u
#define BLOCK_BYTES    4096u
#define STREAM_BYTES   (1u << 20) /* one call of the sequential pieces */
#define LOG_BYTES      (16u << 20) /* preallocated and zero-filled, as a log segment is */
#define APPEND_BYTES   (64u << 20) /* most that the unsynced append leaves dirty */
#define BATCH          1024u       /* calls between two stamps, where one call is too short to stamp */
#define THREADS_MAX    64u
#define LONG_BUDGET_NS (10 * NS_PER_S)

struct run {
    char     dir[PATH_MAX];
    uint64_t slice_ns; /* time of the piece at hand */
    uint64_t file_bytes;
    uint64_t memory_bytes;
};

/* What a piece found: a value, nothing because the machine does not offer it, or an error (fail_set). */
enum found { FOUND, ABSENT, FAILED };

/* Samples. */

struct samples {
    uint64_t *ns;
    size_t    count, room;
};

static bool samples_add(struct samples *samples, uint64_t ns)
{
    if (samples->count == samples->room) {
        size_t    room  = samples->room ? samples->room * 2 : 4096;
        uint64_t *grown = realloc(samples->ns, room * sizeof *grown);

        if (!grown) {
            fail_set("out of memory");
            return false;
        }
        samples->ns   = grown;
        samples->room = room;
    }
    samples->ns[samples->count++] = ns;
    return true;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* The smallest sample that at least this share of them does not exceed. */
static uint64_t percentile(const struct samples *sorted, double share)
{
    size_t rank = (size_t)ceil(share * (double)sorted->count);

    return sorted->ns[rank ? rank - 1 : 0];
}

static json_t *samples_json(struct samples *samples, uint64_t elapsed_ns)
{
    if (samples->count == 0 || elapsed_ns == 0)
        return json_null();
    qsort(samples->ns, samples->count, sizeof *samples->ns, compare);
    return json_pack("{s:I, s:f, s:I, s:I, s:I}", "n", (json_int_t)samples->count, "ops_per_s",
                     (double)samples->count * 1e9 / (double)elapsed_ns, "p50_ns",
                     (json_int_t)percentile(samples, 0.50), "p99_ns", (json_int_t)percentile(samples, 0.99), "max_ns",
                     (json_int_t)samples->ns[samples->count - 1]);
}

/* Files. */

static int open_file(const struct run *run, const char *name, int flags)
{
    char path[PATH_MAX + 64];
    int  fd;

    snprintf(path, sizeof path, "%s/%s", run->dir, name);
    fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0)
        fail_set("open %s: %s", path, strerror(errno));
    return fd;
}

static bool failed(const char *what)
{
    fail_set("%s: %s", what, errno ? strerror(errno) : "short count");
    return false;
}

static bool write_at(int fd, const void *bytes, size_t count, off_t at)
{
    errno = 0;
    return pwrite(fd, bytes, count, at) == (ssize_t)count || failed("write");
}

static bool sync_data(int fd)
{
    return fdatasync(fd) == 0 || failed("fdatasync");
}

/* A log segment made ready ahead of use: its blocks are there, zero-filled and durable, and its size will not change. */
static int open_log(const struct run *run, int flags)
{
    static const char zero[STREAM_BYTES];
    struct stat       status;
    int               fd = open_file(run, "log", O_RDWR | O_CREAT);

    if (fd < 0)
        return -1;
    if (fstat(fd, &status) == 0 && status.st_size < (off_t)LOG_BYTES) {
        int error = posix_fallocate(fd, 0, LOG_BYTES);

        if (error) {
            errno = error;
            failed("posix_fallocate");
            close(fd);
            return -1;
        }
        for (off_t at = 0; at < (off_t)LOG_BYTES; at += STREAM_BYTES) {
            if (!write_at(fd, zero, sizeof zero, at)) {
                close(fd);
                return -1;
            }
        }
        if (fsync(fd) != 0) {
            failed("fsync");
            close(fd);
            return -1;
        }
    }
    close(fd);
    return open_file(run, "log", O_RDWR | flags);
}

/* One thread, one synced write after another; at advances by step and wraps at LOG_BYTES. */
static enum found synced_writes(const struct run *run, int fd, size_t bytes, bool wraps, bool syncs, json_t **out)
{
    struct samples samples = {0};
    char          *block   = NULL;
    enum found     found   = FAILED;
    uint64_t       started, now;
    off_t          at = 0;

    if (fd < 0)
        return FAILED;
    if (posix_memalign((void **)&block, BLOCK_BYTES, BLOCK_BYTES) != 0) {
        fail_set("out of memory");
        goto out;
    }
    memset(block, 'a', BLOCK_BYTES);
    started = now = clock_now_ns();
    do {
        uint64_t before = now;

        if (!write_at(fd, block, bytes, at) || (syncs && !sync_data(fd)))
            goto out;
        now = clock_now_ns();
        if (!samples_add(&samples, now - before))
            goto out;
        at += (off_t)bytes;
        if (wraps && at >= (off_t)LOG_BYTES)
            at = 0;
    } while (now - started < run->slice_ns && !stop_requested());
    *out  = samples_json(&samples, now - started);
    found = FOUND;
out:
    free(block);
    free(samples.ns);
    close(fd);
    return found;
}

static enum found append_fdatasync(const struct run *run, json_t **out)
{
    return synced_writes(run, open_file(run, "append", O_RDWR | O_CREAT | O_TRUNC), RECORD_BYTES, false, true, out);
}

static enum found overwrite_fdatasync(const struct run *run, json_t **out)
{
    return synced_writes(run, open_log(run, 0), RECORD_BYTES, true, true, out);
}

static enum found overwrite_dsync(const struct run *run, json_t **out)
{
    return synced_writes(run, open_log(run, O_DSYNC), RECORD_BYTES, true, false, out);
}

/* Some file systems refuse O_DIRECT at open, some at the first transfer. */
static bool takes_direct(const struct run *run)
{
    int   fd    = open_log(run, O_DIRECT);
    void *block = NULL;
    bool  takes = fd >= 0 && posix_memalign(&block, BLOCK_BYTES, BLOCK_BYTES) == 0 &&
                 pread(fd, block, BLOCK_BYTES, 0) == (ssize_t)BLOCK_BYTES;

    free(block);
    if (fd >= 0)
        close(fd);
    return takes;
}

static enum found overwrite_direct_dsync_4096(const struct run *run, json_t **out)
{
    if (!takes_direct(run))
        return ABSENT;
    return synced_writes(run, open_log(run, O_DIRECT | O_DSYNC), BLOCK_BYTES, true, false, out);
}

static enum found create_fsync_dirsync(const struct run *run, json_t **out)
{
    struct samples samples = {0};
    enum found     found   = FAILED;
    int            dir     = open(run->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    uint64_t       started = clock_now_ns(), spent_ns = 0;
    char           name[32];
    unsigned       count = 0;

    if (dir < 0) {
        failed("open the directory");
        return FAILED;
    }
    do {
        uint64_t before = clock_now_ns();
        int      fd;

        snprintf(name, sizeof name, "new-%u", count++);
        fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0) {
            failed("create a file");
            goto out;
        }
        if (fsync(fd) != 0 || close(fd) != 0 || fsync(dir) != 0) {
            failed("fsync a new file and its directory");
            goto out;
        }
        if (!samples_add(&samples, clock_now_ns() - before))
            goto out;
        spent_ns += samples.ns[samples.count - 1];
        unlinkat(dir, name, 0); /* outside the stamps, so that a long run does not fill the folder */
    } while (clock_now_ns() - started < run->slice_ns && !stop_requested());
    *out  = samples_json(&samples, spent_ns);
    found = FOUND;
out:
    close(dir);
    free(samples.ns);
    return found;
}

/* Threads.  Each has samples of its own; the first error is the one that is told. */

struct team {
    const struct run *run;
    int               fd;
    void             *shared;
    pthread_mutex_t   gate; /* held while threads are made, so that all begin together */
    pthread_mutex_t   lock; /* protects error */
    char              error[FAIL_BYTES_MAX];
    atomic_bool       over;
};

struct member {
    struct team   *team;
    unsigned       number;
    pthread_t      thread;
    struct samples samples;
};

static void team_fail(struct team *team)
{
    pthread_mutex_lock(&team->lock);
    if (!team->error[0])
        snprintf(team->error, sizeof team->error, "%s", fail_text());
    pthread_mutex_unlock(&team->lock);
    atomic_store(&team->over, true);
}

static void wait_for_gate(struct team *team)
{
    pthread_mutex_lock(&team->gate);
    pthread_mutex_unlock(&team->gate);
}

/* Runs body in count threads for the slice; *out gets all their samples together. */
static enum found team_run(struct team *team, unsigned count, void *(*body)(void *), json_t **out)
{
    struct member  members[THREADS_MAX] = {0};
    struct samples all                  = {0};
    unsigned       begun                = 0;
    uint64_t       started, elapsed_ns;

    pthread_mutex_init(&team->lock, NULL);
    pthread_mutex_init(&team->gate, NULL);
    pthread_mutex_lock(&team->gate);
    for (; begun < count; begun++) {
        members[begun] = (struct member){.team = team, .number = begun};
        if (pthread_create(&members[begun].thread, NULL, body, &members[begun]) != 0) {
            fail_set("only %u of %u threads can be made here", begun, count);
            team_fail(team);
            break;
        }
    }
    started = clock_now_ns();
    pthread_mutex_unlock(&team->gate);
    while (!atomic_load(&team->over) && clock_now_ns() - started < team->run->slice_ns && !stop_requested())
        clock_sleep_until_ns(clock_now_ns() + NS_PER_MS);
    atomic_store(&team->over, true);
    for (unsigned i = 0; i < begun; i++)
        pthread_join(members[i].thread, NULL);
    elapsed_ns = clock_now_ns() - started;

    for (unsigned i = 0; i < begun; i++) {
        for (size_t j = 0; !team->error[0] && j < members[i].samples.count; j++)
            if (!samples_add(&all, members[i].samples.ns[j]))
                snprintf(team->error, sizeof team->error, "%s", fail_text());
        free(members[i].samples.ns);
    }
    if (team->error[0])
        fail_set("%s", team->error);
    else
        *out = samples_json(&all, elapsed_ns);
    free(all.ns);
    pthread_mutex_destroy(&team->gate);
    pthread_mutex_destroy(&team->lock);
    return team->error[0] ? FAILED : FOUND;
}

/* Group commit. */

enum turn { TURN_WAIT, TURN_DONE, TURN_LEAD };

struct waiter {
    _Atomic uint32_t turn;
    struct waiter   *next;
    char             record[RECORD_BYTES];
};

struct group {
    pthread_mutex_t lock;
    struct waiter  *waiting; /* came since the leader took its group */
    bool            led;
    off_t           at;
    char            block[THREADS_MAX * RECORD_BYTES]; /* the leader's */
};

static void wake(struct waiter *waiter, enum turn turn)
{
    atomic_store_explicit(&waiter->turn, turn, memory_order_release);
    syscall(SYS_futex, &waiter->turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static enum turn wait_for_turn(struct waiter *self)
{
    uint32_t turn;

    while ((turn = atomic_load_explicit(&self->turn, memory_order_acquire)) == TURN_WAIT)
        syscall(SYS_futex, &self->turn, FUTEX_WAIT_PRIVATE, TURN_WAIT, NULL, NULL, 0);
    return turn;
}

/* The next leader is named before the followers are woken, so that the device does not wait for sixty wake-ups. */
static bool lead(struct group *group, int fd, struct waiter *self)
{
    struct waiter *taken, *heir;
    size_t         bytes = 0;
    bool           good;

    pthread_mutex_lock(&group->lock);
    taken          = group->waiting;
    group->waiting = NULL;
    pthread_mutex_unlock(&group->lock);
    for (struct waiter *w = taken; w; w = w->next, bytes += RECORD_BYTES)
        memcpy(group->block + bytes, w->record, RECORD_BYTES);
    if (group->at + (off_t)bytes > (off_t)LOG_BYTES)
        group->at = 0;
    good = write_at(fd, group->block, bytes, group->at) && sync_data(fd);
    group->at += (off_t)bytes;

    pthread_mutex_lock(&group->lock);
    heir       = group->waiting;
    group->led = heir != NULL;
    pthread_mutex_unlock(&group->lock);
    if (heir)
        wake(heir, TURN_LEAD);
    for (struct waiter *w = taken, *next; w; w = next) {
        next = w->next; /* w is its thread's again once it is woken */
        if (w != self)
            wake(w, TURN_DONE);
    }
    return good;
}

static bool group_commit(struct group *group, int fd, struct waiter *self)
{
    bool leads;

    atomic_store_explicit(&self->turn, TURN_WAIT, memory_order_relaxed);
    pthread_mutex_lock(&group->lock);
    self->next     = group->waiting;
    group->waiting = self;
    leads          = !group->led;
    group->led     = true;
    pthread_mutex_unlock(&group->lock);
    return leads || wait_for_turn(self) == TURN_LEAD ? lead(group, fd, self) : true;
}

static void *commit_thread(void *arg)
{
    struct member *member = arg;
    struct team   *team   = member->team;
    struct waiter  self   = {.turn = TURN_WAIT};
    uint64_t       before, now;

    memset(self.record, 'a' + (int)(member->number % 26), RECORD_BYTES);
    wait_for_gate(team);
    now = clock_now_ns();
    while (!atomic_load_explicit(&team->over, memory_order_relaxed)) {
        before = now;
        if (!group_commit(team->shared, team->fd, &self)) {
            team_fail(team);
            break;
        }
        now = clock_now_ns();
        if (!samples_add(&member->samples, now - before)) {
            team_fail(team);
            break;
        }
    }
    return NULL;
}

static enum found group_of(const struct run *run, unsigned threads, json_t **out)
{
    struct group *group = calloc(1, sizeof *group);
    struct team   team  = {.run = run, .fd = open_log(run, 0), .shared = group};
    enum found    found = FAILED;

    if (!group)
        fail_set("out of memory");
    if (group && team.fd >= 0) {
        pthread_mutex_init(&group->lock, NULL);
        found = team_run(&team, threads, commit_thread, out);
        pthread_mutex_destroy(&group->lock);
    }
    if (team.fd >= 0)
        close(team.fd);
    free(group);
    return found;
}

static enum found group_commit_1(const struct run *run, json_t **out)
{
    return group_of(run, 1, out);
}

static enum found group_commit_8(const struct run *run, json_t **out)
{
    return group_of(run, 8, out);
}

static enum found group_commit_64(const struct run *run, json_t **out)
{
    return group_of(run, 64, out);
}

/* Sequential transfer, which also makes the file that the random reads want. */

static enum found sequential_write(const struct run *run, json_t **out)
{
    uint64_t  *block = malloc(STREAM_BYTES);
    int        fd    = open_file(run, "stream", O_RDWR | O_CREAT | O_TRUNC);
    enum found found = FAILED;
    struct rng rng;
    uint64_t   started, done = 0;

    if (!block)
        fail_set("out of memory");
    if (!block || fd < 0)
        goto out;
    rng_seed(&rng, 1, 0);
    for (size_t i = 0; i < STREAM_BYTES / sizeof *block; i++)
        block[i] = rng_u64(&rng);
    started = clock_now_ns();
    for (; done < run->file_bytes && !stop_requested(); done += STREAM_BYTES) {
        block[0] = done; /* no two blocks alike, for devices that would notice */
        if (!write_at(fd, block, STREAM_BYTES, (off_t)done))
            goto out;
    }
    if (!sync_data(fd))
        goto out;
    *out  = json_real((double)done * 1e9 / (double)(clock_now_ns() - started));
    found = FOUND;
out:
    if (fd >= 0)
        close(fd);
    free(block);
    return found;
}

static enum found sequential_read(const struct run *run, json_t **out)
{
    void      *block = NULL;
    int        fd    = -1;
    enum found found = FAILED;
    uint64_t   started, done = 0, passed = 0;

    if (!takes_direct(run))
        return ABSENT; /* the page cache would answer */
    if (posix_memalign(&block, BLOCK_BYTES, STREAM_BYTES) != 0) {
        fail_set("out of memory");
        return FAILED;
    }
    if ((fd = open_file(run, "stream", O_RDONLY | O_DIRECT)) < 0)
        goto out;
    started = clock_now_ns();
    do {
        errno = 0;
        if (pread(fd, block, STREAM_BYTES, (off_t)(done % run->file_bytes)) != (ssize_t)STREAM_BYTES) {
            failed("read");
            goto out;
        }
        done += STREAM_BYTES;
        passed = clock_now_ns() - started;
    } while (passed < run->slice_ns && !stop_requested());
    *out  = json_real((double)done * 1e9 / (double)passed);
    found = FOUND;
out:
    if (fd >= 0)
        close(fd);
    free(block);
    return found;
}

/* Random reads of one block, past the page cache. */

static void *read_thread(void *arg)
{
    struct member *member = arg;
    struct team   *team   = member->team;
    uint64_t       blocks = team->run->file_bytes / BLOCK_BYTES, before, now;
    void          *block  = NULL;
    struct rng     rng;

    rng_seed(&rng, 1, member->number);
    wait_for_gate(team);
    if (posix_memalign(&block, BLOCK_BYTES, BLOCK_BYTES) != 0) {
        fail_set("out of memory");
        team_fail(team);
        return NULL;
    }
    now = clock_now_ns();
    while (!atomic_load_explicit(&team->over, memory_order_relaxed)) {
        before = now;
        errno  = 0;
        if (pread(team->fd, block, BLOCK_BYTES, (off_t)(rng_below(&rng, blocks) * BLOCK_BYTES)) != BLOCK_BYTES) {
            failed("read");
            team_fail(team);
            break;
        }
        now = clock_now_ns();
        if (!samples_add(&member->samples, now - before)) {
            team_fail(team);
            break;
        }
    }
    free(block);
    return NULL;
}

#ifdef ASSAY_LIBURING
/* ABSENT when the kernel, or a sandbox around us, does not let us have a ring. */
static enum found read_ring(const struct run *run, int fd, unsigned depth, json_t **out)
{
    struct samples  samples = {0};
    enum found      found   = FAILED;
    uint64_t        began_ns[THREADS_MAX], started, blocks = run->file_bytes / BLOCK_BYTES;
    char           *memory = NULL;
    struct io_uring ring;
    struct rng      rng;
    unsigned        flying = 0;

    if (io_uring_queue_init(depth, &ring, 0) != 0)
        return ABSENT;
    rng_seed(&rng, 1, 0);
    if (posix_memalign((void **)&memory, BLOCK_BYTES, depth * BLOCK_BYTES) != 0) {
        fail_set("out of memory");
        goto out;
    }
    started = clock_now_ns();
    for (unsigned slot = 0; slot < depth; slot++, flying++) {
        struct io_uring_sqe *entry = io_uring_get_sqe(&ring);
        io_uring_prep_read(entry, fd, memory + slot * BLOCK_BYTES, BLOCK_BYTES, rng_below(&rng, blocks) * BLOCK_BYTES);
        io_uring_sqe_set_data64(entry, slot);
        began_ns[slot] = started;
    }
    while (flying) {
        struct io_uring_cqe *done;
        unsigned             head, reaped = 0;
        int                  status = io_uring_submit_and_wait(&ring, 1);
        uint64_t             now    = clock_now_ns();
        bool                 goes_on = now - started < run->slice_ns && !stop_requested();

        if (status == -EINTR)
            continue;
        if (status < 0) {
            errno = -status;
            failed("io_uring");
            goto out;
        }
        io_uring_for_each_cqe(&ring, head, done) {
            uint64_t slot = io_uring_cqe_get_data64(done);

            reaped++;
            flying--;
            if (done->res != (int)BLOCK_BYTES) {
                errno = done->res < 0 ? -done->res : 0;
                failed("read");
                goto out;
            }
            if (!samples_add(&samples, now - began_ns[slot]))
                goto out;
            if (goes_on) {
                struct io_uring_sqe *entry = io_uring_get_sqe(&ring);
                io_uring_prep_read(entry, fd, memory + slot * BLOCK_BYTES, BLOCK_BYTES,
                                   rng_below(&rng, blocks) * BLOCK_BYTES);
                io_uring_sqe_set_data64(entry, slot);
                began_ns[slot] = now;
                flying++;
            }
        }
        io_uring_cq_advance(&ring, reaped);
    }
    *out  = samples_json(&samples, clock_now_ns() - started);
    found = FOUND;
out:
    io_uring_queue_exit(&ring); /* waits for what is in flight, which would write into memory */
    free(memory);
    free(samples.ns);
    return found;
}
#endif

static enum found random_reads(const struct run *run, unsigned depth, json_t **out)
{
    struct team team  = {.run = run, .fd = -1};
    enum found  found = ABSENT;

    if (!takes_direct(run))
        return ABSENT;
    if ((team.fd = open_file(run, "stream", O_RDONLY | O_DIRECT)) < 0)
        return FAILED;
#ifdef ASSAY_LIBURING
    if (depth > 1)
        found = read_ring(run, team.fd, depth, out);
#endif
    if (found == ABSENT)
        found = team_run(&team, depth, read_thread, out);
    close(team.fd);
    return found;
}

static enum found random_read_1(const struct run *run, json_t **out)
{
    return random_reads(run, 1, out);
}

static enum found random_read_32(const struct run *run, json_t **out)
{
    return random_reads(run, 32, out);
}

/* Things too short to stamp one by one: the median over batches, so that a stolen time slice does not count. */

struct work {
    int       fd;
    off_t     at;
    uint64_t *words;
    uint64_t  mask; /* of an index into words */
    uint64_t  state;
};

static enum found cost_ns(const struct run *run, bool (*batch)(struct work *), struct work *work, json_t **out)
{
    struct samples samples = {0};
    uint64_t       started = clock_now_ns(), before, now = started;
    enum found     found   = FAILED;

    do {
        before = now;
        if (!batch(work))
            goto out;
        now = clock_now_ns();
        if (!samples_add(&samples, now - before))
            goto out;
    } while (now - started < run->slice_ns && !stop_requested());
    qsort(samples.ns, samples.count, sizeof *samples.ns, compare);
    *out  = json_real((double)percentile(&samples, 0.5) / BATCH);
    found = FOUND;
out:
    free(samples.ns);
    return found;
}

static bool batch_clock(struct work *work)
{
    for (unsigned i = 0; i < BATCH; i++)
        work->state += clock_now_ns();
    return true;
}

static enum found clock_gettime_ns(const struct run *run, json_t **out)
{
    struct work work = {0};
    return cost_ns(run, batch_clock, &work, out);
}

#ifdef __x86_64__
static bool batch_rdtsc(struct work *work)
{
    for (unsigned i = 0; i < BATCH; i++)
        work->state += __rdtsc();
    return true;
}
#endif

static enum found rdtsc_ns(const struct run *run, json_t **out)
{
#ifdef __x86_64__
    struct work work = {0};
    return cost_ns(run, batch_rdtsc, &work, out);
#else
    (void)run;
    (void)out;
    return ABSENT;
#endif
}

static bool batch_syscall(struct work *work)
{
    for (unsigned i = 0; i < BATCH; i++)
        work->state += (uint64_t)syscall(SYS_getppid);
    return true;
}

static enum found syscall_ns(const struct run *run, json_t **out)
{
    struct work work = {0};
    return cost_ns(run, batch_syscall, &work, out);
}

static bool batch_append(struct work *work)
{
    static const char record[RECORD_BYTES];

    if (work->at >= (off_t)APPEND_BYTES)
        work->at = 0; /* from here on the pages are there, and dirty: no dearer, a little cheaper */
    for (unsigned i = 0; i < BATCH; i++, work->at += RECORD_BYTES)
        if (!write_at(work->fd, record, RECORD_BYTES, work->at))
            return false;
    return true;
}

static enum found write_128_ns(const struct run *run, json_t **out)
{
    struct work work  = {.fd = open_file(run, "cached", O_RDWR | O_CREAT | O_TRUNC)};
    enum found  found = FAILED;

    if (work.fd < 0)
        return FAILED;
    found = cost_ns(run, batch_append, &work, out);
    if (ftruncate(work.fd, 0) != 0) { /* nothing of it need reach the disk */
        failed("truncate");
        found = FAILED;
    }
    close(work.fd);
    return found;
}

static bool batch_pread(struct work *work)
{
    char record[RECORD_BYTES];

    for (unsigned i = 0; i < BATCH; i++) {
        work->state = work->state * UINT64_C(6364136223846793005) + 1;
        if (pread(work->fd, record, RECORD_BYTES, (off_t)((work->state >> 32) & work->mask) * RECORD_BYTES) !=
            (ssize_t)RECORD_BYTES)
            return failed("read");
    }
    return true;
}

static enum found pread_128_ns(const struct run *run, json_t **out)
{
    struct work work = {.fd = open_log(run, 0), .mask = LOG_BYTES / RECORD_BYTES - 1};
    enum found  found;

    if (work.fd < 0)
        return FAILED;
    found = cost_ns(run, batch_pread, &work, out);
    close(work.fd);
    return found;
}

/* Memory. */

#define LINE_WORDS 8u /* of a cache line */

static uint64_t *map_memory(uint64_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory != MAP_FAILED)
        return memory;
    fail_set("out of memory");
    return NULL;
}

static bool batch_dependent(struct work *work)
{
    uint64_t at = work->state;

    for (unsigned i = 0; i < BATCH; i++)
        at = work->words[at * LINE_WORDS];
    work->state = at;
    return true;
}

/* A ring through all cache lines in random order (Sattolo), so that every access waits for the one before. */
static enum found memory_dependent_ns(const struct run *run, json_t **out)
{
    struct work work  = {.words = map_memory(run->memory_bytes)};
    uint64_t    lines = run->memory_bytes / (LINE_WORDS * sizeof *work.words);
    enum found  found;
    struct rng  rng;

    if (!work.words)
        return FAILED;
    rng_seed(&rng, 1, 0);
    for (uint64_t i = 0; i < lines; i++)
        work.words[i * LINE_WORDS] = i;
    for (uint64_t i = lines - 1; i > 0; i--) {
        uint64_t j = rng_below(&rng, i), kept = work.words[i * LINE_WORDS];

        work.words[i * LINE_WORDS] = work.words[j * LINE_WORDS];
        work.words[j * LINE_WORDS] = kept;
    }
    found = cost_ns(run, batch_dependent, &work, out);
    munmap(work.words, run->memory_bytes);
    return found;
}

static bool batch_independent(struct work *work)
{
    uint64_t state = work->state, sum = 0;

    for (unsigned i = 0; i < BATCH; i++) {
        state = state * UINT64_C(6364136223846793005) + 1;
        sum += work->words[((state >> 24) & work->mask) * LINE_WORDS];
    }
    work->state = state + sum; /* the words are 0 */
    return true;
}

static enum found memory_independent_ns(const struct run *run, json_t **out)
{
    struct work work = {.words = map_memory(run->memory_bytes)};
    enum found  found;

    if (!work.words)
        return FAILED;
    work.mask = run->memory_bytes / (LINE_WORDS * sizeof *work.words) - 1;
    for (uint64_t i = 0; i < run->memory_bytes / sizeof *work.words; i += LINE_WORDS)
        work.words[i] = 0; /* a page that was never written may be the shared zero page */
    found = cost_ns(run, batch_independent, &work, out);
    munmap(work.words, run->memory_bytes);
    return found;
}

static enum found memcpy_bytes_per_s(const struct run *run, json_t **out)
{
    uint64_t  half = run->memory_bytes / 2, started, done = 0, passed;
    uint64_t *memory = map_memory(run->memory_bytes);

    if (!memory)
        return FAILED;
    memset(memory, 1, run->memory_bytes);
    started = clock_now_ns();
    do {
        memcpy((char *)memory + half, memory, half);
        __asm__ volatile("" : : "r"(memory) : "memory"); /* the copy is wanted */
        done += half;
        passed = clock_now_ns() - started;
    } while (passed < run->slice_ns && !stop_requested());
    munmap(memory, run->memory_bytes);
    *out = json_real((double)done * 1e9 / (double)passed);
    return FOUND;
}

static bool batch_xxh3_100(struct work *work)
{
    for (unsigned i = 0; i < BATCH; i++)
        work->state += XXH3_64bits((const char *)work->words + (i & 63), 100);
    return true;
}

static bool batch_xxh3_4096(struct work *work)
{
    for (unsigned i = 0; i < BATCH; i++)
        work->state += XXH3_64bits((const char *)work->words + (i & 63), 4096);
    return true;
}

static enum found xxh3_100_ns(const struct run *run, json_t **out)
{
    uint64_t    words[4096 / 8 + 8] = {1};
    struct work work                = {.words = words};
    return cost_ns(run, batch_xxh3_100, &work, out);
}

static enum found xxh3_4096_ns(const struct run *run, json_t **out)
{
    uint64_t    words[4096 / 8 + 8] = {1};
    struct work work                = {.words = words};
    return cost_ns(run, batch_xxh3_4096, &work, out);
}

/* The list. */

enum shows { SHOWS_RATE, SHOWS_NS, SHOWS_BANDWIDTH };

static const struct piece {
    const char *name; /* in the result */
    enum found (*measure)(const struct run *run, json_t **out);
    unsigned   share; /* of the time, in thousandths */
    enum shows shows;
    const char *label; /* for people */
} pieces[] = {
    {"clock_gettime_ns", clock_gettime_ns, 8, SHOWS_NS, "clock_gettime"},
    {"rdtsc_ns", rdtsc_ns, 8, SHOWS_NS, "rdtsc"},
    {"syscall_ns", syscall_ns, 8, SHOWS_NS, "system call (getppid)"},
    {"xxh3_100_ns", xxh3_100_ns, 8, SHOWS_NS, "xxh3 of 100 B"},
    {"xxh3_4096_ns", xxh3_4096_ns, 8, SHOWS_NS, "xxh3 of 4 KiB"},
    {"memory_dependent_ns", memory_dependent_ns, 30, SHOWS_NS, "random memory access, each waits for the last"},
    {"memory_independent_ns", memory_independent_ns, 30, SHOWS_NS, "random memory access, many in flight"},
    {"memcpy_bytes_per_s", memcpy_bytes_per_s, 30, SHOWS_BANDWIDTH, "memcpy, one thread"},
    {"append_fdatasync", append_fdatasync, 90, SHOWS_RATE, "append 128 B + fdatasync"},
    {"overwrite_fdatasync", overwrite_fdatasync, 90, SHOWS_RATE, "overwrite 128 B, preallocated, + fdatasync"},
    {"overwrite_dsync", overwrite_dsync, 80, SHOWS_RATE, "overwrite 128 B, O_DSYNC"},
    {"overwrite_direct_dsync_4096", overwrite_direct_dsync_4096, 80, SHOWS_RATE, "overwrite 4 KiB, O_DIRECT|O_DSYNC"},
    {"group_commit_1", group_commit_1, 80, SHOWS_RATE, "group commit, one leader, 1 thread"},
    {"group_commit_8", group_commit_8, 80, SHOWS_RATE, "group commit, one leader, 8 threads"},
    {"group_commit_64", group_commit_64, 80, SHOWS_RATE, "group commit, one leader, 64 threads"},
    {"create_fsync_dirsync", create_fsync_dirsync, 70, SHOWS_RATE, "create a file, fsync it and its directory"},
    {"write_128_ns", write_128_ns, 15, SHOWS_NS, "write() of 128 B into the page cache"},
    {"pread_128_ns", pread_128_ns, 15, SHOWS_NS, "pread() of 128 B from the page cache"},
    {"sequential_write_bytes_per_s", sequential_write, 0, SHOWS_BANDWIDTH, "sequential write and one fdatasync"},
    {"sequential_read_bytes_per_s", sequential_read, 40, SHOWS_BANDWIDTH, "sequential read, direct, 1 MiB a call"},
    {"random_read_4096_depth_1", random_read_1, 60, SHOWS_RATE, "random 4 KiB read, direct, one at a time"},
    {"random_read_4096_depth_32", random_read_32, 60, SHOWS_RATE, "random 4 KiB read, direct, 32 in flight"},
};
#define PIECE_COUNT (sizeof pieces / sizeof *pieces)

static void remove_files(const struct run *run)
{
    static const char *const names[] = {"log", "append", "stream", "cached"};
    char                     path[PATH_MAX + 64];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", run->dir, names[i]);
        unlink(path);
    }
    rmdir(run->dir);
}

json_t *calibrate_json(const char *dir, uint64_t budget_ns)
{
    bool            quick = budget_ns < LONG_BUDGET_NS;
    struct run      run   = {.file_bytes   = quick ? UINT64_C(32) << 20 : UINT64_C(256) << 20,
                             .memory_bytes = quick ? UINT64_C(64) << 20 : UINT64_C(256) << 20};
    json_t         *out   = json_object();
    struct progress progress;
    bool            good = true;

    snprintf(run.dir, sizeof run.dir, "%s/assay-calibrate-XXXXXX", dir);
    if (!mkdtemp(run.dir)) {
        fail_set("cannot make a folder in %s: %s", dir, strerror(errno));
        json_decref(out);
        return NULL;
    }
    progress_start(&progress, "measurements", PIECE_COUNT);
    for (size_t i = 0; good && i < PIECE_COUNT; i++) {
        json_t *value = NULL;

        progress_show(&progress, pieces[i].label, i);
        run.slice_ns = budget_ns / 1000 * pieces[i].share;
        switch (pieces[i].measure(&run, &value)) {
        case FAILED:
            good = false;
            break;
        case ABSENT:
            value = json_null();
            /* fallthrough */
        case FOUND:
            json_object_set_new(out, pieces[i].name, value);
        }
        if (good && stop_requested()) {
            fail_set("interrupted");
            good = false;
        }
    }
    progress_end(&progress);
    remove_files(&run);
    json_object_set_new(out, "file_bytes", json_integer((json_int_t)run.file_bytes));
    json_object_set_new(out, "memory_bytes", json_integer((json_int_t)run.memory_bytes));
    json_object_set_new(out, "budget_ns", json_integer((json_int_t)budget_ns));
    if (good)
        return out;
    json_decref(out);
    return NULL;
}

void calibrate_print(FILE *stream, const json_t *calibration)
{
    char a[UNITS_TEXT_MAX], b[UNITS_TEXT_MAX];

    for (size_t i = 0; i < PIECE_COUNT; i++) {
        const json_t *value = json_object_get(calibration, pieces[i].name);

        fprintf(stream, "%-46s ", pieces[i].label);
        if (!value || json_is_null(value)) {
            fputs("not available here\n", stream);
            continue;
        }
        switch (pieces[i].shows) {
        case SHOWS_RATE:
            fprintf(stream, "%9.0f /s   p50 %s, p99 %s\n", json_number_value(json_object_get(value, "ops_per_s")),
                    units_text_ns(a, (uint64_t)json_integer_value(json_object_get(value, "p50_ns"))),
                    units_text_ns(b, (uint64_t)json_integer_value(json_object_get(value, "p99_ns"))));
            break;
        case SHOWS_NS:
            fprintf(stream, "%9.1f ns\n", json_number_value(value));
            break;
        case SHOWS_BANDWIDTH:
            fprintf(stream, "%9.2f GB/s\n", json_number_value(value) / 1e9);
            break;
        }
    }
}

/* The command. */

int command_calibrate(int argc, char **argv)
{
    const char *dir = ".", *out = "-";
    uint64_t    budget_ns = 15 * NS_PER_S;
    const struct arg options[] = {
        {"dir", ARG_TEXT, &dir, "D", "measure the disk that holds this folder (default: the current one)"},
        {"seconds", ARG_TIME, &budget_ns, "S", "about how long to measure in all (default 15)"},
        {"out", ARG_TEXT, &out, "FILE", "write the JSON result here (default: standard output)"},
        {0},
    };
    const struct arg_command command = {
        "assay calibrate", "[--dir D] [--seconds S] [--out FILE]",
        "Measures what this machine and this disk can do, in the terms that engines use.", options,
        "  assay calibrate --dir /data --out calibration.json\n"};
    struct outfile file;
    struct stat    status;
    json_t        *calibration, *result;
    int            rc = args_parse(&command, argc, argv, NULL);
    bool           good;

    if (rc >= 0)
        return rc;
    stop_install();
    if (budget_ns == 0)
        return args_wrong(&command, "--seconds 0 measures nothing; write 1 or more");
    if (stat(dir, &status) != 0)
        return args_wrong(&command, "--dir %s: %s; name a folder that exists", dir, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        return args_wrong(&command, "--dir %s: not a folder", dir);
    if (!outfile_open(&file, out))
        return args_wrong(&command, "--out: %s", fail_text());
    result = result_new("calibrate", argc, argv, dir);
    calibration = calibrate_json(dir, budget_ns);
    if (!calibration) {
        json_decref(result);
        outfile_discard(&file);
        fprintf(stderr, "assay calibrate: %s\n", fail_text());
        return 1;
    }
    calibrate_print(stderr, calibration);
    json_object_set_new(result, "calibration", calibration);
    json_object_set_new(result, "settings", json_pack("{s:s, s:I}", "dir", dir, "budget_ns", (json_int_t)budget_ns));
    good = result_write(result, &file, true);
    if (!good)
        fprintf(stderr, "assay calibrate: %s\n", fail_text());
    return good ? 0 : 1;
}
