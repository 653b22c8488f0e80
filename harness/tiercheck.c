/* tiercheck.c -- whether an engine asks for the syncs that its tier needs. */
#include "harness/tiercheck.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fail.h"
#include "common/rng.h"
#include "harness/meters.h"
#include "harness/traced.h"
#include "results/facts.h"
#include "results/result.h"

#define WARM_WRITES      32 /* files are made, and the first blocks of a log */
#define ONE_WRITES       48
#define EIGHT_WRITES     16 /* a session */
#define BATCHES          12
#define BATCH_WRITES     8
#define SYNCS            8
#define WRITES_A_SYNC    3
#define INTERVALS        8
#define INTERVAL_MIN_NS  (400 * NS_PER_MS) /* of the part */
#define INTERVAL_MAX_NS  (8 * NS_PER_S)
#define PENDING_MAX      256 /* threads in a sync at once */

static const char *const part_words[TIERCHECK_PARTS] = {"one session", "eight sessions", "batches", "interval", "sync"};

/* The process that writes. */

struct writing {
    struct tiercheck_page *page;
    struct kv_store       *store;
    struct kv_session     *session;
    const char            *device;
    _Atomic uint64_t      *progress;
    uint32_t               number; /* of the next key */
    kv_status              status;
    char                   why[FAIL_BYTES_MAX];
    pthread_barrier_t     *barrier;
    pthread_t              thread;
};

static _Atomic uint32_t groups_taken;

static struct tiercheck_group *take_group(struct writing *writing, enum tiercheck_part part)
{
    uint32_t at = atomic_fetch_add(&groups_taken, 1);

    if (at >= TIERCHECK_GROUPS_MAX)
        return NULL;
    writing->page->groups[at] = (struct tiercheck_group){.begin_ns = clock_now_ns(), .part = (uint32_t)part};
    return &writing->page->groups[at];
}

/* A key and a value that nobody wrote before. */
static struct kv_write next_write(struct writing *writing, char key[32], char value[TIERCHECK_VALUE])
{
    int        key_bytes = snprintf(key, 32, "%08" PRIu32 "-tier", writing->number);
    struct rng rng;

    rng_seed(&rng, writing->number++, UINT64_C(0x74696572));
    for (size_t i = 0; i < TIERCHECK_VALUE; i++)
        value[i] = (char)(rng_u64(&rng) >> 32);
    return (struct kv_write){KV_PUT, slice_of(key, (size_t)key_bytes), slice_of(value, TIERCHECK_VALUE)};
}

static bool noted(struct writing *writing, kv_status status)
{
    atomic_fetch_add(writing->progress, 1);
    if (status == KV_OK)
        return true;
    if (writing->status == KV_OK)
        snprintf(writing->why, sizeof writing->why, "%s", *fail_text() ? fail_text() : kv_status_word(status));
    writing->status = status;
    return false;
}

static bool put_one(struct writing *writing)
{
    char            key[32], value[TIERCHECK_VALUE];
    struct kv_write write = next_write(writing, key, value);

    return noted(writing, kv_put(writing->session, write.key, write.value));
}

static bool put_group(struct writing *writing, enum tiercheck_part part)
{
    struct tiercheck_group *group = take_group(writing, part);
    bool                    good = group && put_one(writing);

    if (good)
        group->end_ns = clock_now_ns();
    return good;
}

static uint64_t flushes_now(const struct writing *writing)
{
    struct meters meters;

    if (!writing->device)
        return KV_UNKNOWN;
    meters_read(&meters, writing->device);
    return meters.device_flushes;
}

static void begin_part(struct writing *writing, enum tiercheck_part part, uint32_t syncs_due)
{
    writing->page->spans[part] = (struct tiercheck_span){.flushes = flushes_now(writing), .syncs_due = syncs_due,
                                                         .begin_ns = clock_now_ns()};
}

static void end_part(struct writing *writing, enum tiercheck_part part)
{
    struct tiercheck_span *span = &writing->page->spans[part];
    uint64_t               now = flushes_now(writing);

    span->end_ns = clock_now_ns();
    span->flushes = now == KV_UNKNOWN || span->flushes == KV_UNKNOWN ? KV_UNKNOWN : now - span->flushes;
}

static bool write_one_session(struct writing *writing)
{
    bool good = true;

    begin_part(writing, TIERCHECK_ONE, ONE_WRITES);
    for (int i = 0; i < ONE_WRITES && good; i++)
        good = put_group(writing, TIERCHECK_ONE);
    end_part(writing, TIERCHECK_ONE);
    return good;
}

static void *write_in_thread(void *arg)
{
    struct writing *writing = arg;
    bool            good = noted(writing, kv_session_open(writing->store, &writing->session));

    pthread_barrier_wait(writing->barrier);
    for (int i = 0; i < EIGHT_WRITES && good; i++)
        good = put_group(writing, TIERCHECK_EIGHT_SESSIONS);
    kv_session_close(writing->session);
    return NULL;
}

static bool write_eight_sessions(struct writing *writing)
{
    struct writing    threads[TIERCHECK_EIGHT];
    pthread_barrier_t barrier;
    bool              good = true;
    int               started = 0;

    pthread_barrier_init(&barrier, NULL, TIERCHECK_EIGHT);
    begin_part(writing, TIERCHECK_EIGHT_SESSIONS, EIGHT_WRITES); /* each session has one write on its way */
    for (; started < TIERCHECK_EIGHT; started++) {
        threads[started] = *writing;
        threads[started].session = NULL;
        threads[started].barrier = &barrier;
        threads[started].number = writing->number + (uint32_t)(started * EIGHT_WRITES);
        if (pthread_create(&threads[started].thread, NULL, write_in_thread, &threads[started]) != 0) {
            snprintf(writing->why, sizeof writing->why, "cannot start a thread");
            writing->status = KV_NO_MEMORY;
            return false; /* the process ends, and with it those that wait at the barrier */
        }
    }
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i].thread, NULL);
        if (threads[i].status != KV_OK && good) {
            memcpy(writing->why, threads[i].why, sizeof writing->why);
            writing->status = threads[i].status;
            good = false;
        }
    }
    end_part(writing, TIERCHECK_EIGHT_SESSIONS);
    writing->number += TIERCHECK_EIGHT * EIGHT_WRITES;
    pthread_barrier_destroy(&barrier);
    return good;
}

static bool write_batches(struct writing *writing)
{
    bool good = true;

    begin_part(writing, TIERCHECK_BATCHES, BATCHES);
    for (int i = 0; i < BATCHES && good; i++) {
        char                    keys[BATCH_WRITES][32], values[BATCH_WRITES][TIERCHECK_VALUE];
        struct kv_write         writes[BATCH_WRITES];
        struct tiercheck_group *group;

        for (int w = 0; w < BATCH_WRITES; w++)
            writes[w] = next_write(writing, keys[w], values[w]);
        group = take_group(writing, TIERCHECK_BATCHES);
        good = group && noted(writing, kv_write(writing->session, writes, BATCH_WRITES));
        if (good)
            group->end_ns = clock_now_ns();
    }
    end_part(writing, TIERCHECK_BATCHES);
    return good;
}

/* Some writes, then a sync, which makes them durable if their acknowledgement did not. */
static bool write_and_sync(struct writing *writing)
{
    bool good = true;

    begin_part(writing, TIERCHECK_SYNC, SYNCS);
    for (int i = 0; i < SYNCS && good; i++) {
        struct tiercheck_group *groups[WRITES_A_SYNC] = {NULL};

        for (int w = 0; w < WRITES_A_SYNC && good; w++)
            good = (groups[w] = take_group(writing, TIERCHECK_SYNC)) && put_one(writing);
        good = good && noted(writing, kv_sync(writing->session));
        for (int w = 0; w < WRITES_A_SYNC && good; w++)
            groups[w]->end_ns = clock_now_ns();
    }
    end_part(writing, TIERCHECK_SYNC);
    return good;
}

static bool write_over_intervals(struct writing *writing, uint64_t interval_ns)
{
    uint64_t length = INTERVALS * interval_ns < INTERVAL_MIN_NS ? INTERVAL_MIN_NS : INTERVALS * interval_ns;
    uint64_t step = interval_ns / 8 > NS_PER_MS ? interval_ns / 8 : NS_PER_MS, next, end;
    bool     good = true;

    if (length > INTERVAL_MAX_NS)
        return true; /* too long to wait for: the part stays empty */
    begin_part(writing, TIERCHECK_INTERVAL, (uint32_t)(length / interval_ns));
    next = clock_now_ns();
    for (end = next + length; good && next < end; next += step) {
        clock_sleep_until_ns(next);
        good = put_one(writing);
    }
    end_part(writing, TIERCHECK_INTERVAL);
    return good;
}

static const int watched_calls[] = {
    SYS_fsync, SYS_fdatasync, SYS_sync_file_range, SYS_msync, SYS_sync, SYS_syncfs, SYS_mmap,
    SYS_write, SYS_pwrite64, SYS_writev, SYS_pwritev, SYS_pwritev2, SYS_sendfile, SYS_copy_file_range, SYS_splice,
    SYS_ftruncate, SYS_fallocate, SYS_io_uring_enter, SYS_io_submit,
};

bool tiercheck_write(struct tiercheck_page *page, const struct kv_engine *engine, const struct kv_config *config,
                     _Atomic uint64_t *progress)
{
    struct writing writing = {.page = page, .progress = progress};
    char           device[256];
    bool           commits = config->durability.tier == KV_TIER_COMMIT, good;

    writing.device = facts_device_path(config->dir, device, sizeof device) ? device : NULL;
    page->no_trace = !traced_stop_at(watched_calls, sizeof watched_calls / sizeof *watched_calls);
    good = noted(&writing, kv_open(engine, config, &writing.store)) &&
           noted(&writing, kv_session_open(writing.store, &writing.session));
    for (int i = 0; i < WARM_WRITES && good; i++)
        good = put_one(&writing);
    good = good && noted(&writing, kv_sync(writing.session)); /* what the opening left to do is done */
    if (commits) {
        good = good && write_one_session(&writing) &&
               (!(engine->can & KV_SESSIONS) || write_eight_sessions(&writing)) &&
               (!(engine->can & KV_BATCH) || write_batches(&writing));
    }
    if (config->durability.tier == KV_TIER_INTERVAL)
        good = good && write_over_intervals(&writing, config->durability.interval_ns);
    good = good && write_and_sync(&writing);
    kv_session_close(writing.session);
    good = good && noted(&writing, kv_close(writing.store));
    page->group_count = atomic_load(&groups_taken) < TIERCHECK_GROUPS_MAX ? atomic_load(&groups_taken) : TIERCHECK_GROUPS_MAX;
    page->done = good;
    if (!good)
        fail_set("%s", *writing.why ? writing.why : "the tier check could not write");
    return good;
}

/* The tracer. */

/* Calls on their way whose return is waited for; the tracer has one thread. */
static struct pending {
    pid_t    thread;
    uint32_t event;
} pending[PENDING_MAX];

static uint32_t file_number(struct tiercheck_page *page, dev_t device, ino_t inode)
{
    for (uint32_t i = 0; i < page->file_count; i++)
        if (page->files[i].inode == inode && page->files[i].device == device)
            return i;
    if (page->file_count == TIERCHECK_FILES_MAX) {
        page->overflow = true;
        return TIERCHECK_NO_FILE;
    }
    page->files[page->file_count] = (struct tiercheck_file){.device = device, .inode = inode};
    return page->file_count++;
}

/* The regular file behind a descriptor of the stopped thread; false for all else. */
static bool file_of(struct tiercheck_page *page, pid_t thread, long fd, uint32_t *out)
{
    char        path[64];
    struct stat status;

    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)thread, (int)fd);
    if (stat(path, &status) != 0 || (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)))
        return false;
    *out = file_number(page, status.st_dev, status.st_ino);
    return *out != TIERCHECK_NO_FILE;
}

static bool opened_with_sync(pid_t thread, long fd)
{
    char     path[64], line[128];
    FILE    *stream;
    unsigned flags = 0;

    snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", (int)thread, (int)fd);
    stream = fopen(path, "re");
    while (stream && fgets(line, sizeof line, stream))
        if (sscanf(line, "flags: %o", &flags) == 1)
            break;
    if (stream)
        fclose(stream);
    return flags & O_DSYNC; /* O_SYNC holds this bit too */
}

/* The file that is mapped at an address. */
static bool file_at(struct tiercheck_page *page, pid_t thread, unsigned long address, uint32_t *out)
{
    char  path[64], line[512];
    FILE *maps;
    bool  found = false;

    snprintf(path, sizeof path, "/proc/%d/maps", (int)thread);
    maps = fopen(path, "re");
    while (maps && !found && fgets(line, sizeof line, maps)) {
        unsigned long begin, end, inode;
        unsigned      major_, minor_;

        if (sscanf(line, "%lx-%lx %*s %*x %x:%x %lu", &begin, &end, &major_, &minor_, &inode) == 5 && inode &&
            address >= begin && address < end) {
            *out  = file_number(page, makedev(major_, minor_), (ino_t)inode);
            found = *out != TIERCHECK_NO_FILE;
        }
    }
    if (maps)
        fclose(maps);
    return found;
}

static bool add_event(struct tiercheck_page *page, pid_t thread, long call, enum tiercheck_kind kind, uint32_t file,
                      bool wants_return)
{
    struct tiercheck_event *event = &page->events[page->event_count];

    if (page->event_count == TIERCHECK_EVENTS_MAX) {
        page->overflow = true;
        return false;
    }
    *event = (struct tiercheck_event){.begin_ns = clock_now_ns(), .file = file, .call = (uint16_t)call, .kind = (uint8_t)kind};
    for (int i = 0; wants_return && i < PENDING_MAX; i++) {
        if (pending[i].thread)
            continue;
        pending[i] = (struct pending){thread, page->event_count};
        page->event_count++;
        return true;
    }
    page->overflow |= wants_return;
    page->event_count++;
    return false;
}

static bool add_write(struct tiercheck_page *page, pid_t thread, long call, long fd, bool dsync)
{
    uint32_t file;

    if (!file_of(page, thread, fd, &file))
        return false;
    dsync = dsync || opened_with_sync(thread, fd);
    return add_event(page, thread, call, dsync ? TIERCHECK_DSYNC : TIERCHECK_WRITE, file, true);
}

static bool add_sync(struct tiercheck_page *page, pid_t thread, long call, long fd)
{
    uint32_t file = TIERCHECK_NO_FILE;
    bool     is_file = file_of(page, thread, fd, &file);

    return add_event(page, thread, call, is_file ? TIERCHECK_FSYNC : TIERCHECK_NO_SYNC, file, is_file);
}

bool tiercheck_entered(void *arg, pid_t thread)
{
    struct tiercheck_page  *page = arg;
    struct user_regs_struct regs;
    uint32_t                file;
    long                    call;

    if (ptrace(PTRACE_GETREGS, thread, NULL, &regs) != 0)
        return false;
    call = (long)regs.orig_rax;
    switch (call) {
    case SYS_fsync:
    case SYS_fdatasync:
        return add_sync(page, thread, call, (long)regs.rdi);
    case SYS_sync:
    case SYS_syncfs:
        return add_event(page, thread, call, TIERCHECK_FSYNC, TIERCHECK_NO_FILE, true);
    case SYS_sync_file_range:
        return add_event(page, thread, call, TIERCHECK_NO_SYNC, TIERCHECK_NO_FILE, false);
    case SYS_msync:
        if (!(regs.rdx & MS_SYNC) || !file_at(page, thread, regs.rdi, &file))
            return add_event(page, thread, call, TIERCHECK_NO_SYNC, TIERCHECK_NO_FILE, false);
        return add_event(page, thread, call, TIERCHECK_FSYNC, file, true);
    case SYS_mmap: /* address, length, protection, flags, descriptor */
        if ((regs.r10 & MAP_SHARED) && !(regs.r10 & MAP_ANONYMOUS) && (regs.rdx & PROT_WRITE) &&
            file_of(page, thread, (long)regs.r8, &file))
            page->files[file].mapped = true;
        return false;
    case SYS_pwritev2: /* descriptor, vector, count, offset (two words), flags */
        return add_write(page, thread, call, (long)regs.rdi, regs.r9 & (RWF_DSYNC | RWF_SYNC));
    case SYS_copy_file_range:
    case SYS_splice:
        return add_write(page, thread, call, (long)regs.rdx, false);
    case SYS_io_uring_enter:
    case SYS_io_submit:
        return add_event(page, thread, call, TIERCHECK_RING, TIERCHECK_NO_FILE, false);
    default:
        return add_write(page, thread, call, (long)regs.rdi, false);
    }
}

void tiercheck_left(void *arg, pid_t thread)
{
    struct tiercheck_page  *page = arg;
    struct user_regs_struct regs;

    for (int i = 0; i < PENDING_MAX; i++) {
        if (pending[i].thread != thread)
            continue;
        pending[i].thread = 0;
        if (ptrace(PTRACE_GETREGS, thread, NULL, &regs) != 0 || (long)regs.rax < 0)
            continue;
        page->events[pending[i].event].end_ns = clock_now_ns();
        page->events[pending[i].event].bytes  = regs.rax > UINT32_MAX ? UINT32_MAX : (uint32_t)regs.rax;
    }
}

/* The judge. */

static const char *call_word(unsigned call)
{
    static const struct {
        unsigned    call;
        const char *word;
    } words[] = {
        {SYS_fsync, "fsync"}, {SYS_fdatasync, "fdatasync"}, {SYS_sync_file_range, "sync_file_range"}, {SYS_msync, "msync"},
        {SYS_sync, "sync"}, {SYS_syncfs, "syncfs"}, {SYS_io_uring_enter, "io_uring_enter"}, {SYS_io_submit, "io_submit"},
        {SYS_write, "write"}, {SYS_pwrite64, "pwrite64"}, {SYS_writev, "writev"}, {SYS_pwritev, "pwritev"},
        {SYS_pwritev2, "pwritev2"},
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i].call == call)
            return words[i].word;
    return "other";
}

static bool is_sync(const struct tiercheck_event *event)
{
    return (event->kind == TIERCHECK_FSYNC || event->kind == TIERCHECK_DSYNC) && event->end_ns;
}

/* Whether the sync at `at` makes so many bytes durable that were written at or after from_ns, into one file. */
static bool covers(const struct tiercheck_page *page, uint32_t at, uint64_t from_ns, uint64_t bytes)
{
    const struct tiercheck_event *sync = &page->events[at];
    uint64_t                      written = 0;

    if (sync->file == TIERCHECK_NO_FILE || page->files[sync->file].mapped)
        return true;
    if (sync->kind == TIERCHECK_DSYNC)
        return sync->bytes >= bytes; /* of its own, and none before it */
    for (uint32_t i = at; i-- > 0 && page->events[i].begin_ns >= from_ns;) {
        const struct tiercheck_event *write = &page->events[i];

        if ((write->kind == TIERCHECK_WRITE || write->kind == TIERCHECK_DSYNC) && write->file == sync->file && write->end_ns &&
            write->end_ns <= sync->begin_ns)
            written += write->bytes;
    }
    return written >= bytes;
}

static bool is_covered(const struct tiercheck_page *page, const struct tiercheck_group *group)
{
    for (uint32_t i = 0; i < page->event_count && page->events[i].begin_ns <= group->end_ns; i++) {
        const struct tiercheck_event *event = &page->events[i];

        if (event->begin_ns >= group->begin_ns && is_sync(event) && event->end_ns <= group->end_ns &&
            covers(page, i, group->begin_ns, TIERCHECK_VALUE))
            return true;
    }
    return false;
}

struct findings {
    uint64_t groups, uncovered;
    uint64_t syncs, idle_syncs; /* idle: of a file that had nothing to sync */
    uint64_t sync_ns;           /* their sum */
    uint64_t rings;
    json_t  *calls;
};

static void count_call(json_t *calls, unsigned call)
{
    const char *word = call_word(call);

    json_object_set_new(calls, word, json_integer(json_integer_value(json_object_get(calls, word)) + 1));
}

static struct findings find(const struct tiercheck_page *page, enum tiercheck_part part)
{
    const struct tiercheck_span *span = &page->spans[part];
    struct findings              found = {.calls = json_object()};
    static uint64_t              synced_ns[TIERCHECK_FILES_MAX];

    memset(synced_ns, 0, sizeof synced_ns);
    for (uint32_t i = 0; i < page->event_count; i++) {
        const struct tiercheck_event *event = &page->events[i];
        bool inside = event->begin_ns >= span->begin_ns && event->begin_ns <= span->end_ns;
        bool known  = event->file < TIERCHECK_FILES_MAX;

        if (inside && event->kind != TIERCHECK_WRITE)
            count_call(found.calls, event->call);
        found.rings += inside && event->kind == TIERCHECK_RING;
        if (!is_sync(event))
            continue;
        if (inside && covers(page, i, known ? synced_ns[event->file] : 0, 1)) {
            found.syncs++;
            found.sync_ns += event->end_ns - event->begin_ns;
        } else if (inside) {
            found.idle_syncs++;
        }
        if (known)
            synced_ns[event->file] = event->begin_ns;
    }
    for (uint32_t i = 0; i < page->group_count; i++) {
        const struct tiercheck_group *group = &page->groups[i];

        if (group->part != (uint32_t)part || !group->end_ns)
            continue;
        found.groups++;
        found.uncovered += !is_covered(page, group);
    }
    return found;
}

/* What a part shows: true kept, false broken, null not to be told; why is written unless it is kept. */
static json_t *judge_part(const struct tiercheck_page *page, enum tiercheck_part part, struct kv_durability durability,
                          const struct findings *found, uint64_t *due, char *why, size_t why_bytes)
{
    const struct tiercheck_span *span = &page->spans[part];
    char                         tier[KV_DURABILITY_TEXT_MAX];
    bool                         kept = found->uncovered == 0;

    *due = span->syncs_due;
    kv_durability_text(durability, tier);
    if (part == TIERCHECK_INTERVAL) {
        /* A device that takes longer than the interval sets the pace; half of it is noise. */
        uint64_t each = durability.interval_ns + (found->syncs ? found->sync_ns / found->syncs : 0);

        *due = (span->end_ns - span->begin_ns) / each;
        kept = found->syncs * 2 >= *due;
        if (!kept)
            snprintf(why, why_bytes, "%" PRIu64 " syncs in %.0f ms of writes, and %s wants %" PRIu64, found->syncs,
                     (double)(span->end_ns - span->begin_ns) / (double)NS_PER_MS, tier, *due);
    } else if (!kept && part == TIERCHECK_SYNC) {
        snprintf(why, why_bytes, "%" PRIu64 " of %" PRIu64 " writes were not synced when a call of sync had returned",
                 found->uncovered, found->groups);
    } else if (!kept) {
        snprintf(why, why_bytes, "%" PRIu64 " of %" PRIu64 " %s (%s) were acknowledged before a sync of what they wrote",
                 found->uncovered, found->groups, part == TIERCHECK_BATCHES ? "batches" : "writes", part_words[part]);
    }
    if (!kept && (found->rings || page->overflow)) {
        snprintf(why, why_bytes, "%s", found->rings ? "io_uring or libaio was used, and what it synced is not seen"
                                                    : "there were more calls than could be noted");
        return json_null();
    }
    /* One after the other, each sync needs a flush of its own; others on the device only add. */
    if (kept && part != TIERCHECK_EIGHT_SESSIONS && part != TIERCHECK_INTERVAL && span->flushes != KV_UNKNOWN &&
        found->syncs >= *due && span->flushes < *due) {
        snprintf(why, why_bytes, "%" PRIu64 " syncs were asked for (%s), and the device was flushed %" PRIu64
                 " times: its write cache is off, or the file system ignores syncs", found->syncs, part_words[part], span->flushes);
        return json_null();
    }
    return json_boolean(kept);
}

static json_t *part_json(const struct tiercheck_page *page, enum tiercheck_part part, struct kv_durability durability,
                         char *why, size_t why_bytes)
{
    struct findings found = find(page, part);
    uint64_t        due;
    json_t         *ok = judge_part(page, part, durability, &found, &due, why, why_bytes);

    return json_pack("{s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "name", part_words[part], "ok", ok, "groups",
                     (json_int_t)found.groups, "uncovered", (json_int_t)found.uncovered, "syncs", (json_int_t)found.syncs,
                     "syncs_due", (json_int_t)due, "idle_syncs", (json_int_t)found.idle_syncs, "flushes",
                     result_known(page->spans[part].flushes), "calls", found.calls);
}

json_t *tiercheck_judge(const struct tiercheck_page *page, struct kv_durability durability, const char *unknowable)
{
    json_t *parts = json_array();
    char    broken[256] = "", unknown[256] = "", tier[KV_DURABILITY_TEXT_MAX];

    if (unknowable)
        snprintf(unknown, sizeof unknown, "%s", unknowable);
    if (!page->done || page->no_trace)
        snprintf(unknown, sizeof unknown, "%s", page->no_trace ? "system calls cannot be seen here" : "the check did not come to its end");
    for (enum tiercheck_part part = 0; part < TIERCHECK_PARTS && page->done && !page->no_trace; part++) {
        char    why[256] = "";
        json_t *one, *ok;

        if (!page->spans[part].end_ns)
            continue;
        one = part_json(page, part, durability, why, sizeof why);
        ok  = json_object_get(one, "ok");
        json_array_append_new(parts, one);
        if (json_is_false(ok) && !*broken)
            memcpy(broken, why, sizeof broken);
        if (json_is_null(ok) && !*unknown)
            memcpy(unknown, why, sizeof unknown);
    }
    if (!*broken && !*unknown && durability.tier == KV_TIER_INTERVAL && !page->spans[TIERCHECK_INTERVAL].end_ns)
        snprintf(unknown, sizeof unknown, "the interval is longer than the check waits for");
    return json_pack("{s:s, s:o, s:s?, s:o}", "tier", kv_durability_text(durability, tier), "ok",
                     *broken ? json_false() : *unknown ? json_null() : json_true(), "why",
                     *broken ? broken : *unknown ? unknown : NULL, "parts", parts);
}
