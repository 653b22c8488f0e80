/* t_snapshot.c -- the stream, and what engines put into it while writes go on. */
#include "engines/base/snapshot.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/rng.h"
#include "engines/base/epoch.h"
#include "engines/engine.h"

/* ---- The stream. ---- */

#define RECORDS 5

static slice test_key(size_t i)
{
    static const char *const keys[RECORDS] = {"a", "bb", "ccc", "\0\n\xff", "key"};

    return i == 3 ? slice_of(keys[3], 3) : slice_text(keys[i]);
}

static slice test_value(size_t i)
{
    static const char *const values[RECORDS] = {"", "1", "a value of some bytes", "xyz", ""};

    return slice_text(values[i]);
}

static int temporary_file(void)
{
    const char *dir = getenv("TMPDIR");
    char        path[4096];
    int         fd;

    snprintf(path, sizeof path, "%s/assay-snapshot-XXXXXX", dir ? dir : "/tmp");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

/* The stream of the test records in memory; the value of one may be another. */
static size_t make_stream_with(char *out, size_t bytes_max, size_t changed, const char *value)
{
    struct snapshot_writer writer;
    int                    fd = temporary_file();
    ssize_t                bytes;

    assert_int_equal(snapshot_writer_open(&writer, fd), KV_OK);
    for (size_t i = 0; i < RECORDS; i++)
        assert_int_equal(snapshot_writer_add(&writer, test_key(i), i == changed ? slice_text(value) : test_value(i)), KV_OK);
    assert_int_equal(snapshot_writer_end(&writer), KV_OK);
    snapshot_writer_free(&writer);
    bytes = pread(fd, out, bytes_max, 0);
    assert_true(bytes > 0 && (size_t)bytes < bytes_max);
    close(fd);
    return (size_t)bytes;
}

static size_t make_stream(char *out, size_t bytes_max)
{
    return make_stream_with(out, bytes_max, RECORDS, NULL);
}

/* Reads a whole stream; how many records came, and how it ended. */
static kv_status read_stream(const char *stream, size_t bytes, size_t *records)
{
    struct snapshot_reader reader;
    slice                  key, value;
    int                    pipes[2];
    kv_status              status;

    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(write(pipes[1], stream, bytes), bytes);
    close(pipes[1]);
    *records = 0;
    status = snapshot_reader_open(&reader, pipes[0]);
    while (status == KV_OK && (status = snapshot_reader_next(&reader, &key, &value)) == KV_OK)
        ++*records;
    snapshot_reader_free(&reader);
    close(pipes[0]);
    return status;
}

static void a_stream_gives_back_its_records(void **state)
{
    char                   stream[1024];
    size_t                 bytes = make_stream(stream, sizeof stream), records;
    struct snapshot_reader reader;
    slice                  key, value;
    int                    fd = temporary_file();

    (void)state;
    assert_int_equal(read_stream(stream, bytes, &records), KV_NOT_FOUND);
    assert_int_equal(records, RECORDS);
    assert_int_equal(write(fd, stream, bytes), bytes);
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(snapshot_reader_open(&reader, fd), KV_OK);
    for (size_t i = 0; i < RECORDS; i++) {
        assert_int_equal(snapshot_reader_next(&reader, &key, &value), KV_OK);
        assert_true(slice_equal(key, test_key(i)));
        assert_true(slice_equal(value, test_value(i)));
    }
    assert_int_equal(snapshot_reader_next(&reader, &key, &value), KV_NOT_FOUND);
    assert_int_equal(snapshot_reader_next(&reader, &key, &value), KV_NOT_FOUND);
    snapshot_reader_free(&reader);
    close(fd);
}

static void a_stream_cut_anywhere_is_corrupt(void **state)
{
    char   stream[1024];
    size_t bytes = make_stream(stream, sizeof stream), records;

    (void)state;
    for (size_t cut = 0; cut < bytes; cut++)
        assert_int_equal(read_stream(stream, cut, &records), KV_CORRUPT);
}

static void a_stream_with_any_bit_changed_is_corrupt(void **state)
{
    char   stream[1024];
    size_t bytes = make_stream(stream, sizeof stream), records;

    (void)state;
    for (size_t bit = 0; bit < bytes * 8; bit++) {
        stream[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_equal(read_stream(stream, bytes, &records), KV_CORRUPT);
        stream[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_int_equal(read_stream(stream, bytes, &records), KV_NOT_FOUND);
}

static void a_stream_with_bytes_behind_its_end_is_corrupt(void **state)
{
    char   stream[1024];
    size_t bytes = make_stream(stream, sizeof stream / 2), records;

    (void)state;
    stream[bytes] = 0;
    assert_int_equal(read_stream(stream, bytes + 1, &records), KV_CORRUPT);
    memmove(stream + bytes, stream, bytes);
    assert_int_equal(read_stream(stream, 2 * bytes, &records), KV_CORRUPT); /* not the older of two */
}

static void records_left_out_doubled_or_moved_are_corrupt(void **state)
{
    char         stream[1024], changed[1024];
    size_t       bytes = make_stream(stream, sizeof stream), records;
    const size_t first = 24, second = first + 17, third = second + 19; /* where the records start */

    (void)state;
    memcpy(changed, stream, first);
    memcpy(changed + first, stream + second, bytes - second);
    assert_int_equal(read_stream(changed, bytes - (second - first), &records), KV_CORRUPT);
    assert_int_equal(records, 0); /* found where it is, not at the end */
    memcpy(changed, stream, second);
    memcpy(changed + second, stream + first, bytes - first);
    assert_int_equal(read_stream(changed, bytes + (second - first), &records), KV_CORRUPT);
    assert_int_equal(records, 1);
    memcpy(changed + first, stream + second, third - second);
    memcpy(changed + first + (third - second), stream + first, second - first);
    memcpy(changed + third, stream + third, bytes - third);
    assert_int_equal(read_stream(changed, bytes, &records), KV_CORRUPT);
    memcpy(changed, stream, third); /* the last ones left out, with an end */
    memcpy(changed + third, stream + bytes - 32, 32);
    assert_int_equal(read_stream(changed, third + 32, &records), KV_CORRUPT);
}

static void a_record_from_another_stream_is_corrupt(void **state)
{
    char   stream[1024], other[1024];
    size_t bytes = make_stream(stream, sizeof stream), records;

    (void)state;
    assert_int_equal(make_stream_with(other, sizeof other, 1, "2"), bytes);
    memcpy(other + 24 + 17 + 19, stream + 24 + 17 + 19, bytes - 24 - 17 - 19); /* each record is right in its place */
    assert_int_equal(read_stream(other, bytes, &records), KV_CORRUPT);
    assert_int_equal(records, RECORDS);
}

static void *write_large_records(void *arg)
{
    struct snapshot_writer writer;
    char                  *key = malloc(KV_KEY_BYTES_MAX), *value = malloc(3000000);

    memset(key, 'k', KV_KEY_BYTES_MAX);
    memset(value, 'v', 3000000);
    assert_int_equal(snapshot_writer_open(&writer, *(int *)arg), KV_OK);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(snapshot_writer_add(&writer, slice_of(key, KV_KEY_BYTES_MAX - i), slice_of(value, i * 400000)),
                         KV_OK);
        assert_int_equal(snapshot_writer_flush(&writer), KV_OK);
    }
    assert_int_equal(snapshot_writer_end(&writer), KV_OK);
    snapshot_writer_free(&writer);
    close(*(int *)arg);
    free(key);
    free(value);
    return NULL;
}

static void large_records_pass_a_pipe_in_pieces(void **state)
{
    struct snapshot_reader reader;
    slice                  key, value;
    pthread_t              thread;
    int                    pipes[2];

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    pthread_create(&thread, NULL, write_large_records, &pipes[1]);
    assert_int_equal(snapshot_reader_open(&reader, pipes[0]), KV_OK);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(snapshot_reader_next(&reader, &key, &value), KV_OK);
        assert_int_equal(key.size, KV_KEY_BYTES_MAX - i);
        assert_int_equal(value.size, i * 400000);
        assert_true(value.size == 0 || ((const char *)value.data)[value.size - 1] == 'v');
    }
    assert_int_equal(snapshot_reader_next(&reader, &key, &value), KV_NOT_FOUND);
    pthread_join(thread, NULL);
    snapshot_reader_free(&reader);
    close(pipes[0]);
}

static void a_full_disk_is_told(void **state)
{
    struct snapshot_writer writer;
    int                    fd = open("/dev/full", O_WRONLY);

    (void)state;
    if (fd < 0)
        skip();
    assert_int_equal(snapshot_writer_open(&writer, fd), KV_OK);
    assert_int_equal(snapshot_writer_end(&writer), KV_NO_SPACE);
    snapshot_writer_free(&writer);
    close(fd);
}

/* ---- Engines. ---- */

struct opened {
    struct kv_config   config;
    struct kv_store   *store;
    struct kv_session *session;
    char               dir[4096]; /* exists; the store is in dir/store */
    char               path[4200];
};

static void open_session(struct opened *o, const struct kv_engine *engine)
{
    assert_int_equal(kv_open(engine, &o->config, &o->store), KV_OK);
    assert_int_equal(kv_session_open(o->store, &o->session), KV_OK);
}

static void prepare(struct opened *o, const struct kv_engine *engine)
{
    const char *temporary = getenv("TMPDIR");

    snprintf(o->dir, sizeof o->dir, "%s/assay-snapshot-XXXXXX", temporary ? temporary : "/tmp");
    assert_non_null(mkdtemp(o->dir));
    snprintf(o->path, sizeof o->path, "%s/store", o->dir);
    kv_config_init(engine, &o->config);
    o->config.dir = o->path;
    o->config.durability.tier = KV_TIER_PROCESS;
}

static void clean(struct opened *o)
{
    char command[4400];

    snprintf(command, sizeof command, "rm -rf '%s'", o->dir);
    assert_int_equal(system(command), 0);
}

static void close_session(struct opened *o)
{
    kv_session_close(o->session);
    assert_int_equal(kv_close(o->store), KV_OK);
}

struct answer {
    char   value[64];
    size_t size;
};

static bool keep_answer(void *arg, slice key, slice value)
{
    struct answer *answer = arg;

    (void)key;
    assert_true(value.size <= sizeof answer->value);
    memcpy(answer->value, value.data, value.size);
    answer->size = value.size;
    return true;
}

static bool holds(struct kv_session *session, const char *key, const char *value)
{
    struct answer answer = {0};
    kv_status     status = kv_get(session, slice_text(key), keep_answer, &answer);

    if (!value)
        return status == KV_NOT_FOUND;
    return status == KV_OK && slice_equal(slice_of(answer.value, answer.size), slice_text(value));
}

/* A snapshot in a temporary file, read from its start. */
static int snapshot_of(struct kv_session *session)
{
    int fd = temporary_file();

    assert_int_equal(kv_snapshot(session, fd), KV_OK);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* Runs a test on each built-in engine that has all these capabilities.  (Some plug-ins are wrong on purpose.) */
static void each_engine(uint32_t capabilities, void (*test)(const struct kv_engine *engine))
{
    size_t tested = 0;

    for (size_t i = 0; kv_engines[i]; i++) {
        if ((kv_engines[i]->can & capabilities) != capabilities)
            continue;
        test(kv_engines[i]);
        tested++;
    }
    assert_true(tested > 0);
}

static void load_into_memory(struct opened *copy, int fd)
{
    const struct kv_engine *memory;

    assert_int_equal(kv_engine_find("memory", &memory), KV_OK);
    prepare(copy, memory);
    open_session(copy, memory);
    assert_int_equal(kv_load(copy->session, fd), KV_OK);
    close(fd);
}

static void unload(struct opened *copy)
{
    close_session(copy);
    clean(copy);
}

static void snapshots_idle_and_not(const struct kv_engine *engine)
{
    struct opened o, copy;
    int           idle;

    prepare(&o, engine);
    open_session(&o, engine);
    assert_int_equal(kv_put(o.session, slice_text("a"), slice_text("1")), KV_OK);
    idle = snapshot_of(o.session);
    close(snapshot_of(o.session)); /* nothing new since */
    assert_int_equal(kv_put(o.session, slice_text("b"), slice_text("2")), KV_OK);
    assert_int_equal(kv_put(o.session, slice_text("a"), slice_text("")), KV_OK);
    load_into_memory(&copy, snapshot_of(o.session));
    assert_true(holds(copy.session, "b", "2"));
    assert_true(holds(copy.session, "a", ""));
    unload(&copy);
    assert_int_equal(kv_del(o.session, slice_text("a")), KV_OK);
    load_into_memory(&copy, snapshot_of(o.session));
    assert_true(holds(copy.session, "a", NULL));
    assert_true(holds(copy.session, "b", "2"));
    unload(&copy);
    load_into_memory(&copy, idle);
    assert_true(holds(copy.session, "a", "1"));
    assert_true(holds(copy.session, "b", NULL));
    unload(&copy);
    close_session(&o);
    clean(&o);
}

static void seed_defect_12_a_snapshot_when_idle_loses_no_later_data(void **state)
{
    (void)state;
    each_engine(KV_SNAPSHOT, snapshots_idle_and_not);
}

/* Directories as they were: the names in a directory, or -1 when there is none. */
static int names_in(const char *path)
{
    DIR           *list = opendir(path);
    struct dirent *entry;
    int            names = 0;

    if (!list)
        return -1;
    while ((entry = readdir(list)))
        names += entry->d_name[0] != '.';
    closedir(list);
    return names;
}

/* The snapshot of a memory store with some keys, without its last `missing` bytes. */
static int stream_of_memory(off_t missing)
{
    const struct kv_engine *memory;
    struct opened           o;
    int                     fd;
    char                    key[16];

    assert_int_equal(kv_engine_find("memory", &memory), KV_OK);
    prepare(&o, memory);
    open_session(&o, memory);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "key %d", i);
        assert_int_equal(kv_put(o.session, slice_text(key), slice_text(key)), KV_OK);
    }
    fd = snapshot_of(o.session);
    close_session(&o);
    clean(&o);
    assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) - missing), 0);
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static void restores_whole_or_not_at_all(const struct kv_engine *engine)
{
    struct opened o;
    int           cut = stream_of_memory(1), good = stream_of_memory(0);
    char          leftover[4300];

    prepare(&o, engine);
    assert_int_equal(kv_restore(engine, &o.config, cut), KV_CORRUPT);
    assert_int_equal(names_in(o.path), -1);
    assert_int_equal(names_in(o.dir), 0);
    assert_int_equal(mkdir(o.path, 0777), 0);
    lseek(cut, 0, SEEK_SET);
    assert_int_equal(kv_restore(engine, &o.config, cut), KV_CORRUPT);
    assert_int_equal(names_in(o.path), 0);
    assert_int_equal(names_in(o.dir), 1);

    /* Somebody's directory of that name is one, and stays. */
    snprintf(leftover, sizeof leftover, "%s.restoring", o.path);
    assert_int_equal(mkdir(leftover, 0777), 0);
    snprintf(leftover, sizeof leftover, "%s.restoring/notes", o.path);
    assert_int_equal(mkdir(leftover, 0777), 0);
    assert_int_equal(kv_restore(engine, &o.config, good), KV_MISMATCH);
    assert_non_null(strstr(fail_text(), ".restoring"));
    assert_int_equal(rmdir(leftover), 0);

    /* What a crash in the middle of a restore leaves is no obstacle. */
    snprintf(leftover, sizeof leftover, "%s.restoring/store", o.path);
    assert_int_equal(mkdir(leftover, 0777), 0);
    snprintf(leftover, sizeof leftover, "%s.restoring/store/deep", o.path);
    assert_int_equal(mkdir(leftover, 0777), 0);
    if (kv_restore(engine, &o.config, good) != KV_OK)
        fail_msg("%s: %s", engine->name, fail_text());
    assert_int_equal(names_in(o.dir), 1);
    open_session(&o, engine);
    assert_true(holds(o.session, "key 0", "key 0"));
    assert_true(holds(o.session, "key 999", "key 999"));
    assert_int_equal(kv_put(o.session, slice_text("key 0"), slice_text("new")), KV_OK);
    close_session(&o);

    /* A store that is there is not touched, whatever the stream. */
    lseek(good, 0, SEEK_SET);
    assert_int_equal(kv_restore(engine, &o.config, good), KV_MISMATCH);
    open_session(&o, engine);
    assert_true(holds(o.session, "key 0", "new"));
    close_session(&o);
    clean(&o);
    close(cut);
    close(good);
}

static void seed_defect_13_a_restore_that_fails_leaves_the_directory_as_it_was(void **state)
{
    (void)state;
    each_engine(KV_DURABLE | KV_RETAINS, restores_whole_or_not_at_all);
}

static void a_load_of_a_cut_stream_names_the_record(void **state)
{
    const struct kv_engine *memory;
    struct opened           o;
    int                     fd = stream_of_memory(40);

    (void)state;
    assert_int_equal(kv_engine_find("memory", &memory), KV_OK);
    prepare(&o, memory);
    open_session(&o, memory);
    assert_int_equal(kv_load(o.session, fd), KV_CORRUPT);
    assert_non_null(strstr(fail_text(), "record 999"));
    close(fd);
    close_session(&o);
    assert_int_equal(kv_restore(memory, &o.config, -1), KV_UNSUPPORTED);
    clean(&o);
}

/*
 * Snapshots while sessions write.  Each writer goes on by rounds: in round r it first puts its key "first" to r, then
 * writes a batch of BATCH keys to r (in odd rounds it deletes half of them instead), then puts its key "last" to r, and
 * overwrites many others meanwhile.  So a view of one moment has: all of a batch of one round b; first is b or b + 1, and
 * last is b or b - 1.
 */

#define WRITERS 2
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ROUNDS 8
#else
#define ROUNDS 40
#endif
#define BATCH   200 /* large, so that many snapshots begin while one takes its locks */

struct writer {
    struct kv_store *store;
    unsigned         number;
    bool             stop;
    uint64_t         rounds;
};

static slice named(char *text, const char *name, unsigned writer, uint64_t i)
{
    snprintf(text, 32, "%s %u %llu", name, writer, (unsigned long long)i);
    return slice_text(text);
}

static void *write_rounds(void *arg)
{
    struct writer     *writer = arg;
    struct kv_session *session;
    char               key[BATCH][32], text[32];

    assert_int_equal(kv_session_open(writer->store, &session), KV_OK);
    for (uint64_t round = 1; !__atomic_load_n(&writer->stop, __ATOMIC_RELAXED); round++) {
        slice           value = slice_of(&round, sizeof round);
        struct kv_write batch[BATCH];
        assert_int_equal(kv_put(session, named(text, "first", writer->number, 0), value), KV_OK);
        for (unsigned i = 0; i < BATCH; i++)
            batch[i] = (struct kv_write){round % 2 && i >= BATCH / 2 ? KV_DELETE : KV_PUT,
                                         named(key[i], "batch", writer->number, i), value};
        assert_int_equal(kv_write(session, batch, BATCH), KV_OK);
        assert_int_equal(kv_put(session, named(text, "last", writer->number, 0), value), KV_OK);
        for (unsigned i = 0; i < 20; i++) {
            uint64_t other = (round * 20 + i) % 3000;
            slice    name = named(text, "other", writer->number, other);
            if (round % 3)
                assert_int_equal(kv_put(session, name, value), KV_OK);
            else
                assert_int_equal(kv_del(session, name), KV_OK);
        }
        __atomic_store_n(&writer->rounds, round, __ATOMIC_RELAXED);
    }
    kv_session_close(session);
    return NULL;
}

/* The round that a key stands at; 0: absent. */
static uint64_t round_of(struct kv_session *session, slice key)
{
    struct answer answer = {0};
    uint64_t      round = 0;
    kv_status     status = kv_get(session, key, keep_answer, &answer);

    assert_true(status == KV_OK || status == KV_NOT_FOUND);
    memcpy(&round, answer.value, answer.size);
    return round;
}

static void check_view(struct kv_session *session, unsigned writer)
{
    char     text[32];
    uint64_t first = round_of(session, named(text, "first", writer, 0));
    uint64_t last = round_of(session, named(text, "last", writer, 0));
    uint64_t batch = round_of(session, named(text, "batch", writer, 0));

    for (unsigned i = 1; i < BATCH; i++) {
        uint64_t round = round_of(session, named(text, "batch", writer, i));
        assert_int_equal(round, batch % 2 && i >= BATCH / 2 ? 0 : batch);
    }
    assert_true(first == batch || first == batch + 1);
    assert_true(last == batch || last + 1 == batch);
}

static void snapshots_while_writing(const struct kv_engine *engine)
{
    struct opened o, copy;
    struct writer writer[WRITERS];
    pthread_t     thread[WRITERS];

    prepare(&o, engine);
    open_session(&o, engine);
    for (unsigned i = 0; i < WRITERS; i++) {
        writer[i] = (struct writer){.store = o.store, .number = i};
        pthread_create(&thread[i], NULL, write_rounds, &writer[i]);
    }
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t before[WRITERS];
        for (unsigned w = 0; w < WRITERS; w++)
            before[w] = __atomic_load_n(&writer[w].rounds, __ATOMIC_RELAXED);
        load_into_memory(&copy, snapshot_of(o.session));
        for (unsigned w = 0; w < WRITERS; w++) {
            char text[32];
            check_view(copy.session, w);
            /* Whatever was acknowledged before the snapshot is in it. */
            assert_true(round_of(copy.session, named(text, "last", w, 0)) >= before[w]);
        }
        unload(&copy);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        __atomic_store_n(&writer[i].stop, true, __ATOMIC_RELAXED);
        pthread_join(thread[i], NULL);
    }
    close_session(&o);
    clean(&o);
}

static void a_snapshot_while_writing_is_one_moment_with_batches_whole(void **state)
{
    (void)state;
    each_engine(KV_SNAPSHOT | KV_BATCH | KV_SESSIONS, snapshots_while_writing);
}

static void fails_a_snapshot(const struct kv_engine *engine)
{
    struct opened o, copy;
    struct writer writer;
    pthread_t     thread;
    int           full = open("/dev/full", O_WRONLY);

    if (full < 0)
        skip();
    prepare(&o, engine);
    open_session(&o, engine);
    writer = (struct writer){.store = o.store};
    pthread_create(&thread, NULL, write_rounds, &writer);
    while (__atomic_load_n(&writer.rounds, __ATOMIC_RELAXED) < 300)
        usleep(100);
    for (int i = 0; i < 5; i++)
        assert_int_equal(kv_snapshot(o.session, full), KV_NO_SPACE);
    load_into_memory(&copy, snapshot_of(o.session));
    check_view(copy.session, 0);
    unload(&copy);
    __atomic_store_n(&writer.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    assert_int_equal(kv_put(o.session, slice_text("k"), slice_text("v")), KV_OK);
    close_session(&o);
    clean(&o);
    close(full);
}

static void a_snapshot_that_fails_half_way_harms_nothing(void **state)
{
    (void)state;
    each_engine(KV_SNAPSHOT | KV_BATCH | KV_SESSIONS, fails_a_snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_gives_back_its_records),
        cmocka_unit_test(a_stream_cut_anywhere_is_corrupt),
        cmocka_unit_test(a_stream_with_any_bit_changed_is_corrupt),
        cmocka_unit_test(a_stream_with_bytes_behind_its_end_is_corrupt),
        cmocka_unit_test(records_left_out_doubled_or_moved_are_corrupt),
        cmocka_unit_test(a_record_from_another_stream_is_corrupt),
        cmocka_unit_test(large_records_pass_a_pipe_in_pieces),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(seed_defect_12_a_snapshot_when_idle_loses_no_later_data),
        cmocka_unit_test(seed_defect_13_a_restore_that_fails_leaves_the_directory_as_it_was),
        cmocka_unit_test(a_load_of_a_cut_stream_names_the_record),
        cmocka_unit_test(a_snapshot_while_writing_is_one_moment_with_batches_whole),
        cmocka_unit_test(a_snapshot_that_fails_half_way_harms_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
