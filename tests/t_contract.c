/*
 * t_contract.c -- holds every engine to engine.h: to each capability that it sets and each tier that it maps.
 *
 * Runs over the registry (built-in engines and the plug-ins beside the program), and over plug-ins given as arguments:
 *     build/tests/t_contract ./mine.so
 * A name of a test is ENGINE[/TIER]: sentence.  What an engine does not claim is listed as such, and not tested.
 * ASSAY_SEED sets the seed of the random tests, ASSAY_LONG=1 adds values of 256 MiB, ASSAY_ONLY=word picks tests by their names,
 * and ASSAY_SET="redis.server=host:6379 redis.found=flush" sets options of the engines.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/rng.h"
#include "engines/engine.h"

#define ENGINES_MAX 64
#define TESTS_MAX   4096
#define SUBJECTS_MAX (ENGINES_MAX * (KV_TIER_COUNT + 1))

/* What a test is about. */
struct subject {
    const struct kv_engine *engine;
    struct kv_durability    durability;
    char                    root[256]; /* the test's own directory, made and removed around it */
};

static const struct kv_engine *engines[ENGINES_MAX];
static size_t                  engine_count;
static const char             *not_loaded[ENGINES_MAX];
static size_t                  not_loaded_count;
static uint64_t                seed;
static char                    own_path[4096];

/* ---- Expectations. ---- */

static void expect_at(kv_status want, kv_status got, const char *call, int line)
{
    if (got != want) {
        print_error("line %d: %s is %s (%s), not %s\n", line, call, kv_status_word(got), fail_text(), kv_status_word(want));
        _fail(__FILE__, line);
    }
    if (got != KV_OK && got != KV_NOT_FOUND && !*fail_text()) {
        print_error("line %d: %s is %s without a sentence\n", line, call, kv_status_word(got));
        _fail(__FILE__, line);
    }
}

/* The sentence is emptied first, so that each refusal has to bring its own. */
#define expect(want, call) (fail_set("%s", ""), expect_at(want, call, #call, __LINE__))
#define must(call)         expect(KV_OK, call)

/* ---- Directories. ---- */

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *path_in(const struct subject *subject, const char *name)
{
    static char path[64][512]; /* lent; a test asks for fewer */
    static int  next;
    char       *out = path[next++ % 64];

    snprintf(out, sizeof path[0], "%s/%s", subject->root, name);
    return out;
}

static int make_root(void **state)
{
    struct subject *subject = *state;
    const char     *base = getenv("TMPDIR");

    snprintf(subject->root, sizeof subject->root, "%s/assay-contract.XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(subject->root) ? 0 : -1;
}

static int remove_root(void **state)
{
    struct subject *subject = *state;

    umount2(path_in(subject, "disk"), MNT_DETACH); /* also when the test of the full disk failed on its way */
    remove_tree(subject->root);
    return 0;
}

static size_t entries_in(const char *path)
{
    DIR   *dir = opendir(path);
    size_t count = 0;

    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count > 2 ? count - 2 : 0;
}

static uint64_t allocated_bytes;

static int add_blocks(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)path, (void)kind, (void)where;
    allocated_bytes += (uint64_t)info->st_blocks * 512;
    return 0;
}

static uint64_t allocated_in(const char *path)
{
    allocated_bytes = 0;
    nftw(path, add_blocks, 16, FTW_PHYS);
    return allocated_bytes;
}

/* ---- Stores. ---- */

struct open_store {
    struct kv_store   *store;
    struct kv_session *session;
};

/* The words of ASSAY_SET that are this engine's. */
static void set_options(const struct kv_engine *engine, struct kv_config *config)
{
    static char words[1024]; /* values of options are kept by pointer */
    const char *set = getenv("ASSAY_SET");

    if (set && !*words) {
        assert_true(strlen(set) < sizeof words - 1);
        strcpy(words, set);
        for (char *c = words; *c; c++)
            *c = *c == ' ' ? '\0' : *c; /* the last word ends with two zeros */
    }
    for (const char *word = words, *end = words + (set ? strlen(set) : 0); word < end; word += strlen(word) + 1) {
        kv_status status = *word ? kv_config_assign(engine, config, word) : KV_OK;
        if (status != KV_OK && status != KV_NOT_FOUND)
            print_error("ASSAY_SET: %s\n", fail_text());
        assert_true(status == KV_OK || status == KV_NOT_FOUND);
    }
}

static struct kv_config config_at(const struct subject *subject, const char *dir)
{
    struct kv_config config;

    kv_config_init(subject->engine, &config);
    set_options(subject->engine, &config);
    config.durability = subject->durability;
    config.dir = dir;
    return config;
}

static struct open_store open_at(const struct subject *subject, const char *dir)
{
    struct kv_config  config = config_at(subject, dir);
    struct open_store opened;

    must(kv_open(subject->engine, &config, &opened.store));
    must(kv_session_open(opened.store, &opened.session));
    return opened;
}

static struct open_store open_here(const struct subject *subject)
{
    return open_at(subject, path_in(subject, "store"));
}

static void close_store(struct open_store *opened)
{
    kv_session_close(opened->session);
    must(kv_close(opened->store));
    *opened = (struct open_store){0};
}

/* Close and open again; for engines without KV_DURABLE nothing. */
static void reopen(const struct subject *subject, struct open_store *opened)
{
    if (!(subject->engine->can & KV_DURABLE))
        return;
    close_store(opened);
    *opened = open_here(subject);
}

static bool take(void *arg, slice key, slice value)
{
    struct buf *copy = arg;
    kv_status   status;

    (void)key;
    copy->size = 0;
    status = buf_append(copy, value.data, value.size);
    assert_int_equal(status, KV_OK);
    return true;
}

static void expect_held_at(struct kv_session *session, slice key, slice value, int line)
{
    struct buf copy = {0};

    fail_set("%s", "");
    expect_at(KV_OK, kv_get(session, key, take, &copy), "kv_get", line);
    if (!slice_equal(buf_slice(&copy), value)) {
        print_error("line %d: a key of %zu bytes has a wrong value of %zu bytes, not %zu\n", line, key.size, copy.size,
                    value.size);
        _fail(__FILE__, line);
    }
    buf_free(&copy);
}

static bool never(void *arg, slice key, slice value)
{
    (void)arg, (void)key, (void)value;
    print_error("a visitor was called for an absent key\n");
    _fail(__FILE__, __LINE__);
    return false;
}

#define expect_held(session, key, value) expect_held_at(session, key, value, __LINE__)
#define expect_absent(session, key)       expect(KV_NOT_FOUND, kv_get(session, key, never, NULL))

static void put_text(struct kv_session *session, const char *key, const char *value)
{
    must(kv_put(session, slice_text(key), slice_text(value)));
}

/* ---- A model: a small set of keys, so that every key is overwritten and deleted often. ---- */

#define MODEL_KEYS 61

struct model {
    struct rng rng;
    uint64_t   sequence;
    uint64_t   now[MODEL_KEYS]; /* sequence of the value that the key has; 0: absent */
};

/* Keys of 1 to 30 bytes with every byte value in them, each the start of others; the number in the last byte. */
static slice model_key(size_t number, unsigned char out[64])
{
    size_t size = number % 6 * 5;

    for (size_t i = 0; i < size; i++)
        out[i] = (unsigned char)(number % 3 * 127 + i);
    out[size] = (unsigned char)number;
    return slice_of(out, size + 1);
}

/* 0 to some thousand bytes; the same number and sequence give the same bytes. */
static slice model_value(size_t number, uint64_t sequence, struct buf *out)
{
    struct rng rng;
    size_t     bytes;

    rng_seed(&rng, sequence, number);
    bytes = rng_below(&rng, 8) == 0 ? 0 : rng_below(&rng, rng_below(&rng, 16) == 0 ? 9000 : 300);
    out->size = 0;
    must(buf_reserve(out, bytes + 8));
    for (; out->size < bytes; out->size += 8) {
        uint64_t word = rng_u64(&rng);
        memcpy(out->data + out->size, &word, 8);
    }
    out->size = bytes;
    return buf_slice(out);
}

struct seen {
    const struct model *model;
    unsigned            times[MODEL_KEYS];
    unsigned char       last[64];
    size_t              last_bytes;
    bool                ordered;
    size_t              wrong;
};

static bool see(void *arg, slice key, slice value)
{
    struct seen  *seen = arg;
    unsigned char bytes[64];
    struct buf    wanted = {0};
    size_t        number = key.size ? ((const unsigned char *)key.data)[key.size - 1] : MODEL_KEYS;

    if (number >= MODEL_KEYS || !slice_equal(model_key(number, bytes), key) || !seen->model->now[number]) {
        seen->wrong++;
        return true;
    }
    seen->times[number]++;
    seen->wrong += !slice_equal(model_value(number, seen->model->now[number], &wanted), value);
    if (seen->ordered && seen->last_bytes)
        seen->wrong += slice_compare(slice_of(seen->last, seen->last_bytes), key) >= 0;
    memcpy(seen->last, key.data, key.size);
    seen->last_bytes = key.size;
    buf_free(&wanted);
    return true;
}

static void check_key_of(struct kv_session *session, const struct model *model, size_t number, int line)
{
    unsigned char bytes[64];
    slice         key = model_key(number, bytes);
    struct buf    value = {0};

    if (model->now[number]) {
        expect_held_at(session, key, model_value(number, model->now[number], &value), line);
    } else {
        fail_set("%s", "");
        expect_at(KV_NOT_FOUND, kv_get(session, key, never, NULL), "kv_get of an absent key", line);
    }
    buf_free(&value);
}

/* Everything that is there is right, and everything that is not is absent. */
static void check_model_at(const struct subject *subject, struct kv_session *session, const struct model *model, int line)
{
    for (size_t i = 0; i < MODEL_KEYS; i++)
        check_key_of(session, model, i, line);
    if (subject->engine->can & KV_SCAN) {
        struct seen seen = {.model = model, .ordered = subject->engine->can & KV_ORDERED};

        must(kv_scan(session, (slice){0}, see, &seen));
        assert_int_equal(seen.wrong, 0);
        for (size_t i = 0; i < MODEL_KEYS; i++)
            assert_int_equal(seen.times[i], model->now[i] != 0);
    }
}
#define check_model(subject, session, model) check_model_at(subject, session, model, __LINE__)

struct many {
    const struct model *model;
    const size_t       *numbers;
    size_t              next, wrong;
};

static void see_many(void *arg, size_t position, kv_status status, slice value)
{
    struct many *many = arg;
    struct buf   wanted = {0};
    uint64_t     now = many->model->now[many->numbers[position]];

    many->wrong += position != many->next++;
    many->wrong += status != (now ? KV_OK : KV_NOT_FOUND);
    if (now && status == KV_OK)
        many->wrong += !slice_equal(model_value(many->numbers[position], now, &wanted), value);
    buf_free(&wanted);
}

static void get_many_of(struct kv_session *session, struct model *model, size_t count)
{
    unsigned char (*bytes)[64] = malloc((count + 1) * sizeof *bytes);
    slice        *keys = malloc((count + 1) * sizeof *keys);
    size_t       *numbers = malloc((count + 1) * sizeof *numbers);
    struct many   many = {model, numbers, 0, 0};

    for (size_t i = 0; i < count; i++) {
        numbers[i] = rng_below(&model->rng, MODEL_KEYS);
        keys[i] = model_key(numbers[i], bytes[i]);
    }
    must(kv_get_many(session, keys, count, see_many, &many));
    assert_int_equal(many.next, count);
    assert_int_equal(many.wrong, 0);
    free(bytes);
    free(keys);
    free(numbers);
}

struct change_to {
    const struct model *model;
    size_t              number;
    uint64_t            sequence;
    kv_status           answer;
    bool                wrong;
};

static kv_status change_model(void *arg, const slice *old, struct buf *out)
{
    struct change_to *change = arg;
    uint64_t          now = change->model->now[change->number];
    struct buf        wanted = {0};

    change->wrong |= (now != 0) != (old != NULL);
    if (now && old)
        change->wrong |= !slice_equal(model_value(change->number, now, &wanted), *old);
    change->wrong |= out->size != 0;
    buf_free(&wanted);
    model_value(change->number, change->sequence, out);
    return change->answer == KV_OK ? KV_OK : kv_fail(change->answer, "refused on purpose");
}

static void modify_model(struct kv_session *session, struct model *model, size_t number, kv_status answer)
{
    unsigned char    bytes[64];
    struct change_to change = {model, number, model->sequence + 1, answer, false};

    expect(answer, kv_modify(session, model_key(number, bytes), change_model, &change));
    assert_false(change.wrong);
    if (answer == KV_OK)
        model->now[number] = ++model->sequence;
}

static void put_model(struct kv_session *session, struct model *model, size_t number)
{
    unsigned char bytes[64];
    struct buf    value = {0};
    slice         key = model_key(number, bytes);

    must(kv_put(session, key, model_value(number, ++model->sequence, &value)));
    model->now[number] = model->sequence;
    buf_free(&value);
}

static void del_model(struct kv_session *session, struct model *model, size_t number)
{
    unsigned char bytes[64];

    must(kv_del(session, model_key(number, bytes)));
    model->now[number] = 0;
}

/* Up to 12 writes, the same keys more than once at times. */
static void batch_model(struct kv_session *session, struct model *model)
{
    unsigned char   bytes[12][64];
    struct buf      values[12] = {0};
    struct kv_write writes[12];
    size_t          count = 1 + rng_below(&model->rng, 12);

    for (size_t i = 0; i < count; i++) {
        size_t number = rng_below(&model->rng, rng_below(&model->rng, 2) ? MODEL_KEYS : 3);
        writes[i] = (struct kv_write){.kind = rng_below(&model->rng, 3) ? KV_PUT : KV_DELETE};
        writes[i].key = model_key(number, bytes[i]);
        model->now[number] = 0;
        if (writes[i].kind == KV_PUT) {
            writes[i].value = model_value(number, ++model->sequence, &values[i]);
            model->now[number] = model->sequence;
        }
    }
    must(kv_write(session, writes, count));
    for (size_t i = 0; i < 12; i++)
        buf_free(&values[i]);
}

static void fill_model(const struct subject *subject, struct kv_session *session, struct model *model, size_t ops)
{
    for (size_t i = 0; i < ops; i++) {
        size_t number = rng_below(&model->rng, MODEL_KEYS);
        switch (rng_below(&model->rng, 4)) {
        case 0:  del_model(session, model, number); break;
        case 1:  if (subject->engine->can & KV_BATCH) { batch_model(session, model); break; } /* fall through */
        default: put_model(session, model, number); break;
        }
    }
}

/* ---- Tests: the table, options, opening. ---- */

static void the_table_is_sound(void **state)
{
    const struct subject   *subject = *state;
    const struct kv_engine *e = subject->engine;

    assert_int_equal(e->abi, KV_ABI);
    assert_non_null(e->name);
    assert_true(*e->name);
    for (const char *c = e->name; *c; c++)
        assert_true((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-' || *c == '_');
    assert_true(e->version && *e->version);
    assert_true(e->summary && *e->summary && !strchr(e->summary, '\n'));
    assert_int_equal(e->can >> KV_CAPABILITIES, 0);
    assert_int_equal(e->tiers & ~(uint32_t)KV_TIERS_ALL, 0);
    assert_int_equal(!!(e->can & KV_DURABLE), e->tiers != 0);
    assert_true(e->key_bytes_max >= 1 && e->key_bytes_max <= KV_KEY_BYTES_MAX);
    assert_true(e->value_bytes_max <= KV_VALUE_BYTES_MAX);
    assert_true(e->open && e->close && e->session_open && e->session_close && e->put && e->get && e->del && e->sync);
    assert_true(!(e->can & KV_BATCH) || e->write);
    assert_true(!(e->can & KV_SCAN) || e->scan);
    assert_true(!(e->can & KV_ORDERED) || (e->can & KV_SCAN));
    assert_true(!(e->can & KV_SNAPSHOT) || e->snapshot);
    assert_true(!(e->can & KV_CHECKPOINT) || (e->checkpoint && (e->can & KV_DURABLE)));
    assert_true(!(e->can & KV_COMPACT) || e->compact);
    assert_true(!(e->can & KV_MODIFY) || e->modify);
    for (const struct kv_option *option = e->options; option && option->name; option++) {
        assert_true(*option->name && option->fallback && option->help && *option->help);
        assert_true(option->min <= option->max);
        assert_int_equal(option->type == KV_WORD, option->words != NULL);
    }
}

static void options_are_read_and_refused(void **state)
{
    const struct subject   *subject = *state;
    const struct kv_engine *e = subject->engine;
    struct kv_config        config, again;
    char                    text[KV_OPTION_TEXT_MAX];

    kv_config_init(e, &config);
    expect(KV_INVALID, kv_config_set(e, &config, "no_such_option", "1"));
    assert_non_null(strstr(fail_text(), "no_such_option"));
    for (size_t row = 0; e->options && e->options[row].name; row++) {
        const struct kv_option *option = &e->options[row];
        const char             *bad = option->type == KV_TEXT ? NULL : "rubbish";

        kv_config_init(e, &again);
        must(kv_config_set(e, &again, option->name, option->fallback));
        must(kv_config_set(e, &again, option->name, kv_config_text(e, &config, row, text)));
        if (option->type != KV_TEXT)
            assert_memory_equal(&again.option[row], &config.option[row], sizeof(union kv_value));
        if (bad) {
            expect(KV_INVALID, kv_config_set(e, &again, option->name, bad));
            assert_non_null(strstr(fail_text(), option->name));
            expect(KV_INVALID, kv_config_set(e, &again, option->name, ""));
        }
        if (option->max != 0 && option->type != KV_TEXT && option->type != KV_BOOL && option->type != KV_WORD) {
            snprintf(text, sizeof text, "%.17g%s", option->max * 2 + 1, option->type == KV_TIME ? "ns" : "");
            expect(KV_INVALID, kv_config_set(e, &again, option->name, text));
            if (option->min > 0) {
                snprintf(text, sizeof text, "0%s", option->type == KV_TIME ? "ns" : "");
                expect(KV_INVALID, kv_config_set(e, &again, option->name, text));
            }
        }
    }
}

static void a_tier_opens_or_is_refused(void **state)
{
    const struct subject *subject = *state;

    for (enum kv_tier tier = 0; tier < KV_TIER_COUNT; tier++) {
        struct subject    other = *subject;
        const char       *dir = path_in(subject, kv_tier_word(tier));
        struct kv_config  config;
        struct kv_store  *store;
        struct open_store opened;

        other.durability = (struct kv_durability){tier, tier == KV_TIER_INTERVAL ? 5 * NS_PER_MS : 0};
        config = config_at(&other, dir);
        if (subject->engine->tiers & KV_TIER_BIT(tier)) {
            opened = open_at(&other, dir);
            must(kv_put(opened.session, slice_text("key"), slice_text("value")));
            must(kv_sync(opened.session));
            expect_held(opened.session, slice_text("key"), slice_text("value"));
            close_store(&opened);
            config.durability.interval_ns = !config.durability.interval_ns;
            expect(KV_INVALID, kv_open(subject->engine, &config, &store));
        } else {
            expect(KV_UNSUPPORTED, kv_open(subject->engine, &config, &store));
            assert_int_equal(access(dir, F_OK), -1);
        }
        assert_true(subject->engine->tiers & KV_TIER_BIT(tier) || !store);
    }
}

static void what_is_not_claimed_is_refused(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    struct kv_write       write = {KV_PUT, slice_text("k"), slice_text("v")};
    uint32_t              can = subject->engine->can;

    if (!(can & KV_BATCH))
        expect(KV_UNSUPPORTED, kv_write(s.session, &write, 1));
    if (!(can & KV_SCAN))
        expect(KV_UNSUPPORTED, kv_scan(s.session, (slice){0}, never, NULL));
    if (!(can & KV_ORDERED)) {
        expect(KV_UNSUPPORTED, kv_scan(s.session, slice_text("k"), never, NULL));
        expect(KV_UNSUPPORTED, kv_scan_prefix(s.session, slice_text("k"), never, NULL));
    }
    if (!(can & KV_SNAPSHOT))
        expect(KV_UNSUPPORTED, kv_snapshot(s.session, STDERR_FILENO));
    if (!(can & KV_CHECKPOINT)) {
        expect(KV_UNSUPPORTED, kv_checkpoint(s.session, path_in(subject, "checkpoint")));
        assert_int_equal(access(path_in(subject, "checkpoint"), F_OK), -1);
    }
    if (!(can & KV_COMPACT))
        expect(KV_UNSUPPORTED, kv_compact(s.session));
    close_store(&s);
}

static void an_open_store_leaves_no_descriptor_behind(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    size_t                before;

    close_store(&s);
    before = entries_in("/proc/self/fd");
    for (int i = 0; i < 3; i++) {
        s = open_here(subject);
        put_text(s.session, "key", "value");
        for (int j = 0; j < 50; j++)
            expect_held(s.session, slice_text("key"), slice_text("value"));
        close_store(&s);
    }
    assert_int_equal(entries_in("/proc/self/fd"), before);
}

static void a_wrong_directory_is_refused_and_left_alone(void **state)
{
    const struct subject *subject = *state;
    const char           *dir = path_in(subject, "occupied"), *file = path_in(subject, "occupied/letter.txt");
    struct kv_config      config = config_at(subject, dir);
    struct kv_store      *store;
    kv_status             status;
    int                   fd;

    assert_int_equal(mkdir(dir, 0777), 0);
    fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    close(fd);
    expect(KV_MISMATCH, kv_open(subject->engine, &config, &store));
    assert_null(store);
    assert_int_equal(entries_in(dir), 1);

    config.dir = file; /* a file */
    fail_set("%s", "");
    status = kv_open(subject->engine, &config, &store);
    assert_true(status == KV_MISMATCH || status == KV_IO || status == KV_INVALID);
    assert_true(*fail_text());

    config.dir = path_in(subject, "no/such/parent");
    fail_set("%s", "");
    status = kv_open(subject->engine, &config, &store);
    assert_true(status == KV_IO || status == KV_INVALID || status == KV_MISMATCH);
    assert_true(*fail_text());
    assert_int_equal(access(path_in(subject, "no"), F_OK), -1);

    config.dir = "";
    expect(KV_INVALID, kv_open(subject->engine, &config, &store));
}

static void a_store_of_another_engine_is_refused(void **state)
{
    const struct subject *subject = *state;

    for (size_t i = 0; i < engine_count; i++) {
        struct subject    other = {.engine = engines[i], .durability = {KV_TIER_PROCESS, 0}};
        struct kv_config  config;
        struct kv_store  *store;
        struct open_store s;
        char              dir[512];

        if (engines[i] == subject->engine || strcmp(engines[i]->name, subject->engine->name) == 0 ||
            !(engines[i]->tiers & KV_TIER_BIT(KV_TIER_PROCESS)))
            continue;
        snprintf(dir, sizeof dir, "%s", path_in(subject, engines[i]->name));
        s = open_at(&other, dir);
        put_text(s.session, "key", "of the other");
        close_store(&s);
        config = config_at(subject, dir);
        expect(KV_MISMATCH, kv_open(subject->engine, &config, &store));
        s = open_at(&other, dir);
        expect_held(s.session, slice_text("key"), slice_text("of the other"));
        close_store(&s);
    }
}

/* ---- Tests: keys and values. ---- */

static void an_empty_value_is_a_value(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);

    expect_absent(s.session, slice_text("empty"));
    must(kv_put(s.session, slice_text("empty"), slice_text("")));
    must(kv_put(s.session, slice_text("null"), (slice){0}));
    expect_held(s.session, slice_text("empty"), (slice){0});
    expect_held(s.session, slice_text("null"), (slice){0});
    expect_absent(s.session, slice_text("absent"));
    reopen(subject, &s);
    expect_held(s.session, slice_text("empty"), (slice){0});
    put_text(s.session, "empty", "no more");
    expect_held(s.session, slice_text("empty"), slice_text("no more"));
    must(kv_del(s.session, slice_text("null")));
    expect_absent(s.session, slice_text("null"));
    close_store(&s);
}

static void keys_and_values_are_any_bytes(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    size_t                max = subject->engine->key_bytes_max;
    unsigned char         all[256], *longest = malloc(max);

    for (size_t i = 0; i < 256; i++)
        all[i] = (unsigned char)i;
    for (size_t i = 0; i < max; i++)
        longest[i] = (unsigned char)(i * 7);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 256 && round == 0; i++) {
            must(kv_put(s.session, slice_of(&all[i], 1), slice_of(all, i)));                        /* each single byte */
            if (i > 1 && i <= max)
                must(kv_put(s.session, slice_of(all, i), slice_of(all + i, 256 - i)));                /* each a prefix */
        }
        for (unsigned char last = 0; last < 3 && round == 0; last++) {
            longest[max - 1] = last;
            must(kv_put(s.session, slice_of(longest, max), slice_of(&all[last], 1)));
        }
        for (size_t i = 1; i < 256; i++) { /* all[0..1) is the single byte 0 */
            expect_held(s.session, slice_of(&all[i], 1), slice_of(all, i));
            if (i > 1 && i <= max)
                expect_held(s.session, slice_of(all, i), slice_of(all + i, 256 - i));
        }
        for (unsigned char last = 0; last < 4 && max > 1; last++) {
            longest[max - 1] = last;
            if (last < 3)
                expect_held(s.session, slice_of(longest, max), slice_of(&all[last], 1));
            else
                expect_absent(s.session, slice_of(longest, max));
        }
        if (max > 2)
            expect_absent(s.session, slice_of(longest, max - 1));
        reopen(subject, &s);
    }
    close_store(&s);
    free(longest);
}

static void a_value_of_every_size_comes_back(void **state)
{
    static const size_t   sizes[] = {1, 2, 7, 8, 9, 63, 64, 65, 255, 256, 257, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20,
                                     (4 << 20) + 1, UINT32_C(256) << 20};
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    size_t                limit = subject->engine->value_bytes_max;
    size_t                top = getenv("ASSAY_LONG") ? sizeof sizes / sizeof *sizes : sizeof sizes / sizeof *sizes - 1;
    struct rng            rng;
    struct buf            value = {0};

    rng_seed(&rng, seed, 1);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < top; i++) {
            size_t   size = sizes[i] < limit ? sizes[i] : limit;
            uint64_t word = i;

            value.size = 0;
            must(buf_reserve(&value, size + 8));
            for (; value.size < size; value.size += 8)
                memcpy(value.data + value.size, &word, 8), word = rng_mix(word + 1);
            value.size = size;
            if (round == 0)
                must(kv_put(s.session, slice_of(&i, sizeof i), buf_slice(&value)));
            expect_held(s.session, slice_of(&i, sizeof i), buf_slice(&value));
        }
        reopen(subject, &s);
    }
    close_store(&s);
    buf_free(&value);
}

static void past_a_limit_nothing_changes(void **state)
{
    const struct subject   *subject = *state;
    const struct kv_engine *e = subject->engine;
    struct open_store       s = open_here(subject);
    size_t                  bytes = (size_t)KV_VALUE_BYTES_MAX + 1;
    void                   *zeros = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    slice                   key = slice_text("key"), value = slice_text("value");
    slice                   long_key = slice_of(zeros, (size_t)e->key_bytes_max + 1);
    slice                   long_value = slice_of(zeros, (size_t)e->value_bytes_max + 1);

    assert_true(zeros != MAP_FAILED);
    must(kv_put(s.session, key, value));
    expect(KV_TOO_LARGE, kv_put(s.session, key, long_value));
    expect(KV_TOO_LARGE, kv_put(s.session, long_key, value));
    expect(KV_TOO_LARGE, kv_get(s.session, long_key, never, NULL));
    expect(KV_TOO_LARGE, kv_del(s.session, long_key));
    expect(KV_INVALID, kv_put(s.session, (slice){0}, value));
    expect(KV_INVALID, kv_get(s.session, slice_text(""), never, NULL));
    expect(KV_INVALID, kv_del(s.session, (slice){0}));
    if (e->can & KV_BATCH) {
        struct kv_write  good = {KV_PUT, slice_text("first"), value};
        struct kv_write  writes[3] = {good, {KV_PUT, key, long_value}, good};
        struct kv_write *many = calloc(KV_BATCH_MAX + 1, sizeof *many);

        expect(KV_TOO_LARGE, kv_write(s.session, writes, 3));
        writes[1] = (struct kv_write){.kind = KV_DELETE, .key = {0}};
        expect(KV_INVALID, kv_write(s.session, writes, 3));
        for (size_t i = 0; i <= KV_BATCH_MAX; i++)
            many[i] = good;
        expect(KV_TOO_LARGE, kv_write(s.session, many, KV_BATCH_MAX + 1));
        if (e->can & KV_RETAINS)
            expect_absent(s.session, slice_text("first"));
        must(kv_write(s.session, many, 0));
        free(many);
    }
    if (e->can & KV_RETAINS)
        expect_held(s.session, key, value);
    close_store(&s);
    munmap(zeros, bytes);
}

static void the_last_value_counts(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    char                  text[600];

    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < 200; i++) {
        size_t bytes = i * 37 % sizeof text;
        text[0] = (char)i;
        must(kv_put(s.session, slice_text("key"), slice_of(text, bytes)));
        expect_held(s.session, slice_text("key"), slice_of(text, bytes));
    }
    reopen(subject, &s);
    expect_held(s.session, slice_text("key"), slice_of(text, 199 * 37 % sizeof text));
    close_store(&s);
}

static void a_deleted_key_stays_absent(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    struct model          model = {0};

    rng_seed(&model.rng, seed, 2);
    must(kv_del(s.session, slice_text("never there")));
    for (size_t i = 0; i < MODEL_KEYS; i++)
        put_model(s.session, &model, i);
    for (size_t i = 0; i < MODEL_KEYS; i += 2) {
        del_model(s.session, &model, i);
        check_key_of(s.session, &model, i, __LINE__);
        del_model(s.session, &model, i); /* twice is fine */
    }
    check_model(subject, s.session, &model);
    get_many_of(s.session, &model, 100);
    for (int i = 0; i < 3; i++) {
        reopen(subject, &s);
        check_model(subject, s.session, &model);
        if (subject->engine->can & KV_COMPACT)
            must(kv_compact(s.session));
        check_model(subject, s.session, &model);
    }
    put_model(s.session, &model, 0);
    reopen(subject, &s);
    check_model(subject, s.session, &model);
    close_store(&s);
}

static void get_many_answers_in_order(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    struct model          model = {0};
    slice                 bad[2] = {slice_text("key"), {0}};

    rng_seed(&model.rng, seed, 3);
    for (size_t i = 0; i < MODEL_KEYS; i += 3)
        put_model(s.session, &model, i);
    get_many_of(s.session, &model, 0);
    get_many_of(s.session, &model, 1);
    get_many_of(s.session, &model, 1000); /* every key many times, two of three absent */
    for (size_t i = 0; i < 50; i++) {      /* its own writes at once */
        put_model(s.session, &model, rng_below(&model.rng, MODEL_KEYS));
        del_model(s.session, &model, rng_below(&model.rng, MODEL_KEYS));
        get_many_of(s.session, &model, 70);
    }
    expect(KV_INVALID, kv_get_many(s.session, bad, 2, see_many, NULL));
    close_store(&s);
}

/* ---- Tests: modify and batches. ---- */

static void modify_sees_and_replaces(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    struct model          model = {0};

    rng_seed(&model.rng, seed, 4);
    for (int i = 0; i < 300; i++) {
        modify_model(s.session, &model, rng_below(&model.rng, 20), KV_OK);
        if (i % 7 == 0)
            del_model(s.session, &model, rng_below(&model.rng, 20));
    }
    check_model(subject, s.session, &model);
    reopen(subject, &s);
    check_model(subject, s.session, &model);
    close_store(&s);
}

static kv_status change_to_huge(void *arg, const slice *old, struct buf *out)
{
    (void)old;
    TRY(buf_reserve(out, *(size_t *)arg));
    memset(out->data, 0, *(size_t *)arg);
    out->size = *(size_t *)arg;
    return KV_OK;
}

static void a_refused_modify_writes_nothing(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    struct model          model = {0};
    unsigned char         bytes[64];
    size_t                huge = (size_t)subject->engine->value_bytes_max + 1;

    put_model(s.session, &model, 1);
    modify_model(s.session, &model, 1, KV_INVALID);
    modify_model(s.session, &model, 2, KV_TOO_LARGE);
    modify_model(s.session, &model, 2, KV_NOT_FOUND);
    if (huge < (16u << 20) || getenv("ASSAY_LONG"))
        expect(KV_TOO_LARGE, kv_modify(s.session, model_key(1, bytes), change_to_huge, &huge));
    check_model(subject, s.session, &model);
    modify_model(s.session, &model, 1, KV_OK);
    reopen(subject, &s);
    check_model(subject, s.session, &model);
    close_store(&s);
}

static void a_batch_is_done_in_its_order(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    slice                 a = slice_text("a"), b = slice_text("b"), c = slice_text("c"), d = slice_text("d");
    struct kv_write       writes[] = {
        {KV_PUT, a, slice_text("1")}, {KV_PUT, a, slice_text("2")},                            /* the later one */
        {.kind = KV_DELETE, .key = b}, {KV_PUT, b, slice_text("3")},                           /* there again */
        {KV_PUT, c, slice_text("4")}, {.kind = KV_DELETE, .key = c},                           /* gone */
        {KV_PUT, d, slice_text("5")}, {.kind = KV_DELETE, .key = d}, {KV_PUT, d, (slice){0}}, /* empty */
    };
    struct model          model = {0};

    put_text(s.session, "b", "old");
    put_text(s.session, "c", "old");
    must(kv_write(s.session, writes, sizeof writes / sizeof *writes));
    for (int i = 0; i < 2; i++) {
        expect_held(s.session, a, slice_text("2"));
        expect_held(s.session, b, slice_text("3"));
        expect_absent(s.session, c);
        expect_held(s.session, d, (slice){0});
        reopen(subject, &s);
    }
    for (size_t i = 0; i < 4; i++)
        must(kv_del(s.session, (slice[]){a, b, c, d}[i]));
    rng_seed(&model.rng, seed, 5);
    for (int i = 0; i < 200; i++)
        batch_model(s.session, &model);
    check_model(subject, s.session, &model);
    reopen(subject, &s);
    check_model(subject, s.session, &model);
    close_store(&s);
}

/* The largest batch that the contract allows. */
static void a_batch_of_the_largest_size_is_taken(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    struct kv_write      *writes = calloc(KV_BATCH_MAX, sizeof *writes);
    uint32_t             *numbers = calloc(KV_BATCH_MAX, sizeof *numbers);

    for (uint32_t i = 0; i < KV_BATCH_MAX; i++) {
        numbers[i] = i;
        writes[i] = (struct kv_write){KV_PUT, slice_of(&numbers[i], sizeof numbers[i]), slice_of(&numbers[i], sizeof numbers[i])};
    }
    must(kv_write(s.session, writes, KV_BATCH_MAX));
    reopen(subject, &s);
    for (uint32_t i = 0; i < KV_BATCH_MAX; i += 97)
        expect_held(s.session, writes[i].key, writes[i].value);
    close_store(&s);
    free(writes);
    free(numbers);
}

static void see_number(void *arg, size_t position, kv_status status, slice value)
{
    uint32_t *wrong = arg, number = UINT32_MAX;

    if (status == KV_OK && value.size == sizeof number)
        memcpy(&number, value.data, sizeof number);
    *wrong += status != KV_OK || value.size != sizeof number || number % 1000 != position;
}

/* More than fits a first table, page or node: nothing is lost when they grow. */
#if defined(__SANITIZE_THREAD__)
#define MANY 15000 /* there is one thread only, and it is slow */
#else
#define MANY 150000
#endif

static void many_keys_are_all_there(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    uint32_t              numbers[1000], wrong = 0;
    slice                 keys[1000];

    for (uint32_t i = 0; i < MANY; i++)
        must(kv_put(s.session, slice_of(&i, sizeof i), slice_of(&i, sizeof i)));
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < MANY; i += 1000) {
            for (uint32_t j = 0; j < 1000; j++) {
                numbers[j] = i + j;
                keys[j] = slice_of(&numbers[j], sizeof numbers[j]);
            }
            must(kv_get_many(s.session, keys, 1000, see_number, &wrong));
        }
        assert_int_equal(wrong, 0);
        reopen(subject, &s);
    }
    close_store(&s);
}

/* ---- Tests: scans. ---- */

static bool stop_after(void *arg, slice key, slice value)
{
    size_t *left = arg;

    (void)key, (void)value;
    assert_true(*left > 0);
    return --*left > 0;
}

static void a_scan_visits_each_live_key_once(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    struct model          model = {0};
    size_t                left = 5;

    rng_seed(&model.rng, seed, 6);
    must(kv_scan(s.session, (slice){0}, never, NULL));
    fill_model(subject, s.session, &model, 500);
    check_model(subject, s.session, &model);
    put_model(s.session, &model, 1), put_model(s.session, &model, 2), put_model(s.session, &model, 3);
    put_model(s.session, &model, 4), put_model(s.session, &model, 5), put_model(s.session, &model, 6);
    must(kv_scan(s.session, (slice){0}, stop_after, &left)); /* asks for no sixth */
    assert_int_equal(left, 0);
    reopen(subject, &s);
    check_model(subject, s.session, &model);
    close_store(&s);
}

struct expected_range {
    const char *const *keys; /* NULL-terminated */
    size_t             at;
    bool               wrong;
};

static bool in_range(void *arg, slice key, slice value)
{
    struct expected_range *range = arg;

    (void)value;
    range->wrong |= !range->keys[range->at] || !slice_equal(slice_text(range->keys[range->at]), key);
    range->at += !range->wrong;
    return true;
}

static void a_scan_begins_at_its_key_and_goes_up(void **state)
{
    static const char *const keys[] = {"a", "aa", "aab", "ab", "b", "b\xff", "b\xff\xff", "c", "\x7f", "\x80", "\xff", "\xff\xff",
                                       "\xff\xff" "a", NULL};
    static const struct { const char *first; size_t at; } starts[] = {
        {"", 0}, {"a", 0}, {"a\x01", 1}, {"aa", 1}, {"aac", 3}, {"b", 4}, {"b\xfe", 5}, {"c", 7}, {"d", 8}, {"\xff", 10},
        {"\xff\xff" "b", 13}, {"\xff\xff\xff", 13}};
    static const struct { const char *prefix, *keys[5]; } prefixes[] = {
        {"a", {"a", "aa", "aab", "ab"}}, {"aa", {"aa", "aab"}}, {"b\xff", {"b\xff", "b\xff\xff"}},
        {"\xff", {"\xff", "\xff\xff", "\xff\xff" "a"}}, {"zz", {NULL}}, {"\xff\xff\xff", {NULL}}};
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);

    for (size_t i = 0; keys[i]; i++)
        put_text(s.session, keys[i * 5 % 13], "value");
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
            struct expected_range range = {keys, starts[i].at, false};
            must(kv_scan(s.session, slice_text(starts[i].first), in_range, &range));
            assert_true(!range.wrong && range.at == 13);
        }
        for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
            struct expected_range range = {prefixes[i].keys, 0, false};
            must(kv_scan_prefix(s.session, slice_text(prefixes[i].prefix), in_range, &range));
            assert_true(!range.wrong && !range.keys[range.at]);
        }
        reopen(subject, &s);
    }
    close_store(&s);
}

/* ---- Tests: sessions.  Threads assert nothing; they count what is wrong. ---- */

#define WRITERS      3
#define SHARED_KEYS  4
#define THREADS_MAX  8

struct worker {
    pthread_t               thread;
    const struct subject   *subject;
    struct kv_store        *store;
    unsigned                number;
    uint64_t                rounds;
    uint64_t               *done;     /* atomic: what this worker has acknowledged */
    const uint64_t         *before;   /* atomic: what the worker before it has acknowledged */
    const bool             *stop;     /* atomic */
    uint64_t                failures;
    kv_status               status;
    char                    sentence[FAIL_BYTES_MAX];
};

static void worker_fail(struct worker *worker, kv_status status)
{
    worker->failures++;
    if (worker->status == KV_OK) {
        worker->status = status;
        memcpy(worker->sentence, fail_text(), FAIL_BYTES_MAX);
    }
}

static void start(struct worker *workers, size_t count, void *(*body)(void *))
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, body, &workers[i]), 0);
}

static void finish(struct worker *workers, size_t count)
{
    size_t failures = 0;

    for (size_t i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
    for (size_t i = 0; i < count; i++) {
        failures += workers[i].failures;
        if (workers[i].failures)
            print_error("worker %u: %" PRIu64 " times wrong; first %s (%s)\n", workers[i].number, workers[i].failures,
                        kv_status_word(workers[i].status), workers[i].sentence);
    }
    assert_int_equal(failures, 0);
}

/* A value that shows who wrote it, when, and that it is whole: sequence, then bytes that follow from it. */
static slice marked_value(uint64_t key, uint64_t sequence, struct buf *out)
{
    size_t words = 2 + rng_mix(key ^ sequence) % 40;

    out->size = 0;
    if (buf_reserve(out, words * 8) != KV_OK)
        abort();
    for (uint64_t i = 0; i < words; i++) {
        uint64_t word = i == 0 ? sequence : rng_mix(key * 1000003 + sequence * 31 + i);
        memcpy(out->data + i * 8, &word, 8);
    }
    out->size = words * 8;
    return buf_slice(out);
}

struct marked {
    uint64_t key, sequence;
    bool     wrong;
};

/* Looks twice, with a pause: lent bytes do not change. */
static bool see_marked(void *arg, slice key, slice value)
{
    struct marked *marked = arg;
    struct buf     wanted = {0};

    (void)key;
    if (value.size < 16) {
        marked->wrong = true;
        return true;
    }
    memcpy(&marked->sequence, value.data, 8);
    marked_value(marked->key, marked->sequence, &wanted);
    marked->wrong |= !slice_equal(buf_slice(&wanted), value);
    sched_yield();
    marked->wrong |= !slice_equal(buf_slice(&wanted), value);
    buf_free(&wanted);
    return true;
}

/* Worker n writes keys n*4 .. n*4+3 with rising numbers; everybody reads everything, and no key ever goes back. */
static void *write_and_read_registers(void *arg)
{
    struct worker     *worker = arg;
    struct kv_session *session;
    struct rng         rng;
    struct buf         value = {0};
    uint64_t           last[WRITERS * SHARED_KEYS] = {0}, own[SHARED_KEYS] = {0};

    rng_seed(&rng, seed, 100 + worker->number);
    if (kv_session_open(worker->store, &session) != KV_OK) {
        worker_fail(worker, KV_INVALID);
        return NULL;
    }
    for (uint64_t i = 1; i <= worker->rounds; i++) {
        uint64_t      key = worker->number * SHARED_KEYS + rng_below(&rng, SHARED_KEYS);
        struct marked marked;
        kv_status     status;

        if (rng_below(&rng, 3) == 0) {
            status = kv_put(session, slice_of(&key, sizeof key), marked_value(key, i, &value));
            if (status != KV_OK)
                worker_fail(worker, status);
            own[key % SHARED_KEYS] = i;
        }
        key = rng_below(&rng, WRITERS * SHARED_KEYS);
        marked = (struct marked){.key = key};
        status = kv_get(session, slice_of(&key, sizeof key), see_marked, &marked);
        if (status == KV_NOT_FOUND && last[key] == 0)
            continue;
        if (status != KV_OK || marked.wrong || marked.sequence < last[key] ||
            (key / SHARED_KEYS == worker->number && marked.sequence != own[key % SHARED_KEYS])) {
            fail_set("key %" PRIu64 ": %" PRIu64 " after %" PRIu64 "%s", key, marked.sequence, last[key],
                     marked.wrong ? ", torn" : "");
            worker_fail(worker, status);
        }
        last[key] = marked.sequence;
    }
    kv_session_close(session);
    buf_free(&value);
    return NULL;
}

static void sessions_see_each_key_as_a_register(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    struct worker         workers[WRITERS] = {0};
    bool                  synced = subject->durability.tier == KV_TIER_COMMIT;

    for (unsigned i = 0; i < WRITERS; i++)
        workers[i] = (struct worker){.subject = subject, .store = s.store, .number = i, .rounds = synced ? 200 : 4000};
    start(workers, WRITERS, write_and_read_registers);
    for (int i = 0; i < 20; i++) { /* any thread, any time */
        kv_stat(s.store, "live_keys");
        sched_yield();
    }
    finish(workers, WRITERS);
    close_store(&s);
}

static kv_status increment(void *arg, const slice *old, struct buf *out)
{
    uint64_t count = 0;

    if (old && old->size != sizeof count)
        return kv_fail(KV_CORRUPT, "a counter of %zu bytes", old->size);
    if (old)
        memcpy(&count, old->data, sizeof count);
    count += *(uint64_t *)arg;
    return buf_append(out, &count, sizeof count);
}

static void *count_up(void *arg)
{
    struct worker     *worker = arg;
    struct kv_session *session;
    struct buf         value = {0};
    kv_status          status;

    if (kv_session_open(worker->store, &session) != KV_OK) {
        worker_fail(worker, KV_INVALID);
        return NULL;
    }
    for (uint64_t i = 0; i < worker->rounds; i++) {
        uint64_t one = 1, counter = i % 4, other = 1000 + worker->number;

        status = kv_modify(session, slice_of(&counter, sizeof counter), increment, &one);
        if (status != KV_OK)
            worker_fail(worker, status);
        status = kv_put(session, slice_of(&other, sizeof other), marked_value(other, i, &value));
        if (status != KV_OK)
            worker_fail(worker, status);
    }
    kv_session_close(session);
    buf_free(&value);
    return NULL;
}

static void concurrent_modifies_add_up(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    struct worker         workers[4] = {0};
    uint64_t              rounds = subject->durability.tier == KV_TIER_COMMIT ? 40 : 1000;

    for (unsigned i = 0; i < 4; i++)
        workers[i] = (struct worker){.subject = subject, .store = s.store, .number = i, .rounds = rounds};
    start(workers, 4, count_up);
    finish(workers, 4);
    for (int round = 0; round < 2; round++) {
        for (uint64_t counter = 0; counter < 4; counter++)
            expect_held(s.session, slice_of(&counter, sizeof counter), slice_of(&rounds, sizeof rounds));
        reopen(subject, &s);
    }
    close_store(&s);
}

/* A put of k million must not be undone by a modify that had read before it. */
static void *put_millions(void *arg)
{
    struct worker     *worker = arg;
    struct kv_session *session;
    struct buf         copy = {0};

    if (kv_session_open(worker->store, &session) != KV_OK) {
        worker_fail(worker, KV_INVALID);
        return NULL;
    }
    for (uint64_t i = 1; i <= worker->rounds; i++) {
        uint64_t  value = i * 1000000;
        kv_status status = kv_put(session, slice_text("register"), slice_of(&value, sizeof value));

        if (status == KV_OK)
            status = kv_get(session, slice_text("register"), take, &copy);
        if (status != KV_OK || copy.size != sizeof value || (memcpy(&value, copy.data, sizeof value), value / 1000000 != i))
            worker_fail(worker, status);
    }
    __atomic_store_n((bool *)worker->stop, true, __ATOMIC_RELEASE);
    kv_session_close(session);
    buf_free(&copy);
    return NULL;
}

static void a_modify_is_atomic_against_a_put(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    bool                  stop = false;
    uint64_t              one = 1;
    struct worker         worker = {.subject = subject, .store = s.store, .rounds = 1500, .stop = &stop};

    start(&worker, 1, put_millions);
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
        must(kv_modify(s.session, slice_text("register"), increment, &one));
    finish(&worker, 1);
    close_store(&s);
}

/* ---- Tests: what lasts. ---- */

static void everything_is_there_after_a_reopen(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    struct model          model = {0};
    size_t                ops = subject->durability.tier == KV_TIER_COMMIT ? 60 : 400;

    rng_seed(&model.rng, seed, 7);
    for (int i = 0; i < 4; i++) {
        fill_model(subject, s.session, &model, i == 3 ? 0 : ops); /* the last time nothing is written */
        if (i == 1)
            must(kv_sync(s.session));
        close_store(&s);
        s = open_here(subject);
        check_model(subject, s.session, &model);
    }
    close_store(&s);
}

/* Any engine, any order of calls: the same as the model, all along. */
static void a_random_history_follows_the_model(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    struct model          model = {0};
    uint32_t              can = subject->engine->can;
    size_t                ops = subject->durability.tier == KV_TIER_COMMIT ? 400 : 3000;

    rng_seed(&model.rng, seed, 8 + subject->durability.tier);
    for (size_t i = 0; i < ops; i++) {
        size_t number = rng_below(&model.rng, MODEL_KEYS);
        switch (rng_below(&model.rng, 100)) {
        case 0 ... 34:  put_model(s.session, &model, number); break;
        case 35 ... 54: del_model(s.session, &model, number); break;
        case 55 ... 64: modify_model(s.session, &model, number, KV_OK); break;
        case 65 ... 66: modify_model(s.session, &model, number, KV_INVALID); break;
        case 67 ... 76: get_many_of(s.session, &model, 20); break;
        case 77 ... 84: if (can & KV_BATCH) batch_model(s.session, &model); break;
        case 85:        must(kv_sync(s.session)); break;
        case 86:        if (can & KV_COMPACT && i % 4 == 0) must(kv_compact(s.session)); break;
        case 87:        if (i % 2 == 0) reopen(subject, &s); break;
        case 88:        check_model(subject, s.session, &model); break;
        default:        break;
        }
        check_key_of(s.session, &model, number, __LINE__); /* present or absent */
    }
    check_model(subject, s.session, &model);
    reopen(subject, &s);
    check_model(subject, s.session, &model);
    close_store(&s);
}

/* Our own child: opens, writes, says how far it is, and holds the store until it is killed. */
static int hold(const char *engine_path, const char *durability, const char *dir)
{
    const struct kv_engine *engine;
    struct kv_config        config;
    struct kv_store        *store;
    struct kv_session      *session;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (kv_engine_find(engine_path, &engine) != KV_OK)
        return 3;
    kv_config_init(engine, &config);
    config.dir = dir;
    if (kv_durability_parse(durability, &config.durability) != KV_OK || kv_open(engine, &config, &store) != KV_OK ||
        kv_session_open(store, &session) != KV_OK)
        return 4;
    for (uint64_t i = 0; i < 100; i++)
        if (kv_put(session, slice_of(&i, sizeof i), slice_of(&i, sizeof i)) != KV_OK)
            return 5;
    if (write(STDOUT_FILENO, "open\n", 5) != 5)
        return 6;
    for (;;)
        pause();
}

static const char *engine_paths[ENGINES_MAX];

static const char *path_of(const struct kv_engine *engine)
{
    for (size_t i = 0; i < engine_count; i++)
        if (engines[i] == engine)
            return engine_paths[i];
    return engine->name;
}

static void one_process_at_a_time_and_a_kill_leaves_no_lock(void **state)
{
    const struct subject *subject = *state;
    const char           *dir = path_in(subject, "store");
    struct kv_config      config = config_at(subject, dir);
    char                  durability[KV_DURABILITY_TEXT_MAX], line[16] = "";
    struct kv_store      *store;
    struct open_store     s;
    int                   ends[2], status;
    pid_t                 child;

    kv_durability_text(subject->durability, durability);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execl(own_path, own_path, "--hold", path_of(subject->engine), durability, dir, NULL);
        _exit(9);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], line, 5), 5);
    close(ends[0]);
    expect(KV_BUSY, kv_open(subject->engine, &config, &store));
    assert_null(store);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    s = open_here(subject);
    for (uint64_t i = 0; i < 100 && subject->durability.tier != KV_TIER_NONE; i++)
        expect_held(s.session, slice_of(&i, sizeof i), slice_of(&i, sizeof i));
    put_text(s.session, "after", "the kill");
    close_store(&s);
    s = open_here(subject);
    expect_held(s.session, slice_text("after"), slice_text("the kill"));
    close_store(&s);
}

static bool is_given_back(uint64_t before, uint64_t after)
{
    return after <= before / 2 || after <= UINT64_C(4) << 20;
}

static void compaction_keeps_what_lives_and_gives_back_the_rest(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    struct buf            value = {0};
    uint64_t              before, after;

    must(buf_reserve(&value, 8192));
    value.size = 8192;
    for (uint64_t round = 0; round < 40; round++) {
        for (uint64_t key = 0; key < 100; key++) {
            for (size_t i = 0; i < value.size; i += 8) {
                uint64_t word = rng_mix(round << 32 | key << 16 | i);
                memcpy(value.data + i, &word, 8);
            }
            must(kv_put(s.session, slice_of(&key, sizeof key), buf_slice(&value)));
        }
    }
    for (uint64_t key = 50; key < 100; key++)
        must(kv_del(s.session, slice_of(&key, sizeof key)));
    must(kv_sync(s.session));
    before = allocated_in(path_in(subject, "store"));
    must(kv_compact(s.session));
    for (int round = 0; round < 2; round++) {
        for (uint64_t key = 0; key < 100; key++) {
            for (size_t i = 0; i < value.size; i += 8) {
                uint64_t word = rng_mix(UINT64_C(39) << 32 | key << 16 | i);
                memcpy(value.data + i, &word, 8);
            }
            if (key < 50)
                expect_held(s.session, slice_of(&key, sizeof key), buf_slice(&value));
            else
                expect_absent(s.session, slice_of(&key, sizeof key));
        }
        if (round == 0)
            reopen(subject, &s);
    }
    close_store(&s);
    after = allocated_in(path_in(subject, "store"));
    /* A library's own thread may give it back a moment later than its calls return. */
    for (int i = 0; i < 20 && subject->engine->can & KV_DURABLE && !is_given_back(before, after); i++) {
        s = open_here(subject);
        usleep(100000);
        close_store(&s);
        after = allocated_in(path_in(subject, "store"));
    }
    if (subject->engine->can & KV_DURABLE && !is_given_back(before, after)) {
        print_error("%" PRIu64 " bytes before, %" PRIu64 " after, of 400 KiB that live\n", before, after);
        fail();
    }
    buf_free(&value);
}

struct figures {
    const char *names[128];
    uint64_t    values[128];
    size_t      count;
};

static void note_figure(void *arg, const char *name, uint64_t value)
{
    struct figures *figures = arg;

    assert_true(figures->count < 128);
    for (size_t i = 0; i < figures->count; i++)
        assert_string_not_equal(figures->names[i], name);
    figures->names[figures->count] = name;
    figures->values[figures->count++] = value;
}

static void the_figures_make_sense(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    struct model          model = {0};
    struct figures        figures = {0};
    uint64_t              keys = 0, bytes = 0, figure;
    struct buf            value = {0};

    rng_seed(&model.rng, seed, 9);
    fill_model(subject, s.session, &model, 300);
    for (int round = 0; round < 2; round++) {
        keys = bytes = 0;
        for (size_t i = 0; i < MODEL_KEYS; i++) {
            unsigned char key[64];
            if (model.now[i]) {
                keys++;
                bytes += model_key(i, key).size + model_value(i, model.now[i], &value).size;
            }
        }
        if ((figure = kv_stat(s.store, "live_keys")) != KV_UNKNOWN)
            assert_int_equal(figure, keys);
        if ((figure = kv_stat(s.store, "live_bytes")) != KV_UNKNOWN)
            assert_int_equal(figure, bytes);
        must(kv_sync(s.session));
        if ((figure = kv_stat(s.store, "disk_bytes")) != KV_UNKNOWN && subject->engine->can & KV_DURABLE)
            assert_true(figure > 0);
        if ((figure = kv_stat(s.store, "memory_bytes")) != KV_UNKNOWN)
            assert_true(figure > 0 && figure < (UINT64_C(1) << 40));
        reopen(subject, &s);
    }
    kv_stats(s.store, note_figure, &figures);
    for (size_t i = 0; i < figures.count; i++)
        assert_true(*figures.names[i] && kv_stat(s.store, figures.names[i]) != KV_UNKNOWN);
    assert_true(kv_stat(s.store, "no_such_figure") == KV_UNKNOWN);
    buf_free(&value);
    close_store(&s);
}

/* Opens a store on a full disk.  Recovery may need room to write (an LSM tree flushes what it finds in its log): then the open says
 * so, and has to go well once there is room. */
static struct open_store open_on_full_disk(const struct subject *subject, const char *disk, const char *dir)
{
    struct kv_config  config = config_at(subject, dir);
    struct open_store opened = {0};
    kv_status         status;

    fail_set("%s", "");
    status = kv_open(subject->engine, &config, &opened.store);
    if (status == KV_NO_SPACE) {
        assert_true(*fail_text());
        assert_int_equal(mount("assay", disk, "tmpfs", MS_REMOUNT, "size=256m"), 0);
        return open_at(subject, dir);
    }
    expect_at(KV_OK, status, "kv_open", __LINE__);
    must(kv_session_open(opened.store, &opened.session));
    return opened;
}

/* Of a process that was killed in there. */
static void unmount_below(const char *root)
{
    char   pattern[600];
    glob_t found;

    snprintf(pattern, sizeof pattern, "%s/assay-contract.*/disk", root);
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            umount2(found.gl_pathv[i], MNT_DETACH);
    globfree(&found);
}

/*
 * RocksDB 7.8.3 may meet an assertion of its own when its WAL has met the end of the disk while a flush took the last room (its
 * pull request 12448 "Don't write to WAL after previous WAL write error" is younger).  So it fills a disk in another
 * process: that end of it is the library's, and counts as skipped.
 */
static void a_full_disk_in_another_process(const struct subject *subject)
{
    char        log[600], said[8192] = "";
    const char *base = getenv("TMPDIR");
    char       *before = base ? strdup(base) : NULL;
    int         fd, status;
    pid_t       child;

    snprintf(log, sizeof log, "%s/log", subject->root);
    setenv("TMPDIR", subject->root, 1);
    setenv("ASSAY_ONLY", "a_full_disk_changes_nothing", 1);
    child = fork();
    if (child == 0) {
        fd = open(log, O_WRONLY | O_CREAT, 0666);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execl(own_path, own_path, path_of(subject->engine), NULL);
        _exit(9);
    }
    unsetenv("ASSAY_ONLY");
    if (before)
        setenv("TMPDIR", before, 1);
    else
        unsetenv("TMPDIR");
    free(before);
    assert_int_equal(waitpid(child, &status, 0), child);
    unmount_below(subject->root);
    fd = open(log, O_RDONLY);
    if (fd < 0 || read(fd, said, sizeof said - 1) <= 0)
        said[0] = '\0';
    close(fd);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strstr(said, " rocksdb::") && strstr(said, "Assertion")) {
        printf("# %s", strstr(said, "t_contract: "));
        skip();
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !strstr(said, "ok 1")) {
        print_error("%s\n", said);
        fail();
    }
    if (strstr(said, "# SKIP")) /* no disk could be mounted */
        skip();
}

/* A disk that is full changes nothing, and what was acknowledged before is there. */
static void fill_a_disk(const struct subject *subject)
{
    const char           *disk = path_in(subject, "disk");
    char                  dir[512];
    struct open_store     s;
    struct buf            value = {0}, copy = {0};
    uint64_t              count = 0;
    kv_status             status;
    bool                  replaced = false;

    assert_int_equal(mkdir(disk, 0777), 0);
    if (mount("assay", disk, "tmpfs", 0, "size=96m") != 0)
        skip();
    snprintf(dir, sizeof dir, "%s/store", disk);
    s = open_at(subject, dir);
    must(buf_reserve(&value, 300000));
    for (size_t i = 0; i < 300000; i += 8) {
        uint64_t word = rng_mix(i);
        memcpy(value.data + i, &word, 8);
    }
    value.size = 300000;
    put_text(s.session, "old", "value");
    for (;; count++) {
        memcpy(value.data, &count, sizeof count);
        fail_set("%s", "");
        status = kv_put(s.session, slice_of(&count, sizeof count), buf_slice(&value));
        if (status != KV_OK || count > 1000)
            break;
    }
    if (status != KV_NO_SPACE) {
        print_error("put %" PRIu64 ": %s (%s)\n", count, kv_status_word(status), fail_text());
    } else {
        /* Work in the background may have given space back meanwhile: then this one is written, and the disk is still nearly full. */
        kv_status again = kv_put(s.session, slice_text("old"), buf_slice(&value));
        replaced = again == KV_OK;
        expect_at(replaced ? KV_OK : KV_NO_SPACE, again, "kv_put", __LINE__);
    }
    for (int round = 0; round < 2 && status == KV_NO_SPACE; round++) {
        expect_held(s.session, slice_text("old"), replaced ? buf_slice(&value) : slice_text("value"));
        expect(KV_NOT_FOUND, kv_get(s.session, slice_of(&count, sizeof count), never, NULL));
        for (uint64_t i = 0; i < count; i += 7) {
            must(kv_get(s.session, slice_of(&i, sizeof i), take, &copy));
            assert_int_equal(memcmp(copy.data, &i, sizeof i), 0);
        }
        if (round == 0) {
            close_store(&s);
            s = open_on_full_disk(subject, disk, dir);
        }
    }
    close_store(&s);
    buf_free(&value);
    buf_free(&copy);
    assert_int_equal(status, KV_NO_SPACE);
}

static void a_full_disk_changes_nothing(void **state)
{
    const struct subject *subject = *state;

    if (strcmp(subject->engine->name, "rocksdb") == 0 && !getenv("ASSAY_ONLY"))
        a_full_disk_in_another_process(subject);
    else
        fill_a_disk(subject);
}

/* ---- Tests: snapshots. ---- */

static int stream_at(const struct subject *subject, const char *name)
{
    int fd = open(path_in(subject, name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    assert_true(fd >= 0);
    return fd;
}

/* A new store from the stream: restored into dir, or, for an engine that keeps nothing on disk, loaded. */
static kv_status restore_at(const struct subject *subject, const char *dir, int fd, struct open_store *out)
{
    struct kv_config config = config_at(subject, dir);
    kv_status        status;

    *out = (struct open_store){0};
    lseek(fd, 0, SEEK_SET);
    if (subject->engine->can & KV_DURABLE) {
        TRY(kv_restore(subject->engine, &config, fd));
        *out = open_at(subject, dir);
        return KV_OK;
    }
    *out = open_at(subject, dir);
    status = kv_load(out->session, fd);
    expect_at(status, status, "kv_load", __LINE__); /* a refusal has its sentence, which the close may not outlive */
    if (status != KV_OK) {
        close_store(out);
        fail_set("refused");
    }
    return status;
}

static void expect_restored(const struct subject *subject, const char *dir, int fd, const struct model *model)
{
    struct open_store s;

    must(restore_at(subject, dir, fd, &s));
    check_model(subject, s.session, model);
    close_store(&s);
}

static void a_snapshot_restores_to_the_same(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    struct model          model = {0}, empty = {0};
    struct kv_config      config;
    int                   fd = stream_at(subject, "empty"), full = stream_at(subject, "full");

    rng_seed(&model.rng, seed, 10);
    must(kv_snapshot(s.session, fd));
    expect_restored(subject, path_in(subject, "from-empty"), fd, &empty);
    fill_model(subject, s.session, &model, 600);
    must(kv_snapshot(s.session, full));
    expect_restored(subject, path_in(subject, "from-full"), full, &model);
    assert_int_equal(mkdir(path_in(subject, "is-empty"), 0777), 0);
    expect_restored(subject, path_in(subject, "is-empty"), full, &model);
    if (subject->engine->can & KV_DURABLE) {
        config = config_at(subject, path_in(subject, "from-empty")); /* has a store */
        lseek(full, 0, SEEK_SET);
        expect(KV_MISMATCH, kv_restore(subject->engine, &config, full));
    }
    check_model(subject, s.session, &model); /* the source is as it was */
    close_store(&s);
    close(fd);
    close(full);
}

static void a_damaged_stream_restores_nothing(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject), restored;
    struct model          model = {0};
    int                   good = stream_at(subject, "good"), bad;
    off_t                 bytes;
    char                 *stream;
    char                  dir[512]; /* kept longer than path_in lends it */

    snprintf(dir, sizeof dir, "%s", path_in(subject, "restored"));
    rng_seed(&model.rng, seed, 11);
    fill_model(subject, s.session, &model, 200);
    must(kv_snapshot(s.session, good));
    bytes = lseek(good, 0, SEEK_END);
    stream = malloc((size_t)bytes);
    assert_int_equal(pread(good, stream, (size_t)bytes, 0), bytes);
    for (int i = 0; i < 16; i++) {
        off_t     at = i < 8 ? (off_t[]){0, 1, 7, 8, 20, bytes / 2, bytes - 8, bytes - 1}[i]
                             : (off_t)rng_below(&model.rng, (uint64_t)bytes);
        kv_status status;

        for (int cut = 0; cut < 2; cut++) {
            char damaged = (char)(stream[at] ^ (1 << i % 8));

            bad = stream_at(subject, "bad");
            assert_int_equal(pwrite(bad, stream, (size_t)(cut ? at : bytes), 0), cut ? at : bytes);
            if (!cut)
                assert_int_equal(pwrite(bad, &damaged, 1, at), 1);
            fail_set("%s", "");
            status = restore_at(subject, dir, bad, &restored);
            if (status != KV_CORRUPT && status != KV_MISMATCH) {
                print_error("%s at %ld of %ld: %s (%s)\n", cut ? "cut" : "altered", (long)at, (long)bytes,
                            kv_status_word(status), fail_text());
                fail();
            }
            assert_true(*fail_text());
            assert_int_equal(entries_in(dir), 0);
            close(bad);
        }
    }
    expect_restored(subject, dir, good, &model); /* and then the good one goes in */
    close_store(&s);
    close(good);
    free(stream);
}

static void what_follows_an_idle_snapshot_is_kept(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject);
    struct model          first = {0}, later;
    int                   one = stream_at(subject, "one"), two = stream_at(subject, "two");

    rng_seed(&first.rng, seed, 12);
    fill_model(subject, s.session, &first, 200);
    must(kv_snapshot(s.session, one));
    later = first;
    fill_model(subject, s.session, &later, 200);
    must(kv_snapshot(s.session, two));
    check_model(subject, s.session, &later);
    reopen(subject, &s);
    check_model(subject, s.session, &later);
    close_store(&s);
    expect_restored(subject, path_in(subject, "restored-one"), one, &first);
    expect_restored(subject, path_in(subject, "restored-two"), two, &later);
    close(one);
    close(two);
}

#define CUT_KEYS 20000

/* Worker n inserts n:0, n:1, n:2 ... each only after the worker before it has acknowledged that number, and keeps a pair
 * of keys equal by batches. */
static void *write_a_chain(void *arg)
{
    struct worker     *worker = arg;
    bool               batches = worker->subject->engine->can & KV_BATCH;
    struct kv_session *session;

    if (kv_session_open(worker->store, &session) != KV_OK) {
        worker_fail(worker, KV_INVALID);
        return NULL;
    }
    for (uint64_t i = 0; i < CUT_KEYS && !__atomic_load_n(worker->stop, __ATOMIC_ACQUIRE); i++) {
        uint64_t  key[2] = {worker->number, i}, pair[2] = {worker->number + 100, 0}, twin[2] = {worker->number + 100, 1};
        slice     value = slice_of(&i, sizeof i);
        kv_status status;

        while (worker->before && __atomic_load_n(worker->before, __ATOMIC_ACQUIRE) <= i) {
            if (__atomic_load_n(worker->stop, __ATOMIC_ACQUIRE))
                goto out;
            sched_yield();
        }
        status = kv_put(session, slice_of(key, sizeof key), value);
        if (status == KV_OK && batches)
            status = kv_write(session, (struct kv_write[]){{KV_PUT, slice_of(pair, sizeof pair), value},
                                                           {KV_PUT, slice_of(twin, sizeof twin), value}}, 2);
        if (status != KV_OK)
            worker_fail(worker, status);
        __atomic_store_n(worker->done, i + 1, __ATOMIC_RELEASE);
    }
out:
    kv_session_close(session);
    return NULL;
}

/* How many of a worker's chain are there; a hole is wrong. */
static uint64_t chain_in(struct kv_session *session, uint64_t number, uint64_t acknowledged)
{
    struct buf copy = {0};
    uint64_t   count = 0;

    for (uint64_t i = 0; i <= acknowledged + 1; i++) {
        uint64_t  key[2] = {number, i};
        kv_status status = kv_get(session, slice_of(key, sizeof key), take, &copy);

        assert_true(status == KV_OK || status == KV_NOT_FOUND);
        if (status == KV_OK) {
            assert_int_equal(count, i); /* else one before it is missing */
            count++;
        }
    }
    buf_free(&copy);
    return count;
}

static void expect_moments(const struct subject *subject, bool checkpoints)
{
    struct open_store     s = open_here(subject), restored;
    struct worker         workers[WRITERS] = {0};
    uint64_t              done[WRITERS] = {0}, least[4][WRITERS], chain[WRITERS];
    bool                  stop = false;
    struct buf            pair = {0}, twin = {0};
    char                  name[32];
    int                   fd[4];

    for (unsigned i = 0; i < WRITERS; i++)
        workers[i] = (struct worker){.subject = subject, .store = s.store, .number = i, .done = &done[i],
                                     .before = i ? &done[i - 1] : NULL, .stop = &stop};
    start(workers, WRITERS, write_a_chain);
    for (int round = 0; round < 4; round++) {
        uint64_t wait_for = (uint64_t)round * 60 + 10;
        while (__atomic_load_n(&done[WRITERS - 1], __ATOMIC_ACQUIRE) < wait_for)
            sched_yield();
        for (int i = 0; i < WRITERS; i++)
            least[round][i] = __atomic_load_n(&done[i], __ATOMIC_ACQUIRE);
        snprintf(name, sizeof name, "moment-%d", round);
        fd[round] = checkpoints ? -1 : stream_at(subject, name);
        must(checkpoints ? kv_checkpoint(s.session, path_in(subject, name)) : kv_snapshot(s.session, fd[round]));
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    finish(workers, WRITERS);
    close_store(&s);
    for (int round = 0; round < 4; round++) {
        snprintf(name, sizeof name, checkpoints ? "moment-%d" : "restored-%d", round);
        if (checkpoints)
            restored = open_at(subject, path_in(subject, name));
        else
            must(restore_at(subject, path_in(subject, name), fd[round], &restored));
        for (uint64_t i = 0; i < WRITERS; i++) {
            uint64_t  first[2] = {i + 100, 0}, second[2] = {i + 100, 1};
            kv_status status;

            chain[i] = chain_in(restored.session, i, done[i]);
            assert_true(chain[i] >= least[round][i]); /* what was acknowledged before the call is in it */
            if (i && !(subject->engine->can & KV_PREFIX_SESSION))
                assert_true(chain[i - 1] >= chain[i]);
            status = kv_get(restored.session, slice_of(first, sizeof first), take, &pair);
            assert_int_equal(kv_get(restored.session, slice_of(second, sizeof second), take, &twin), status);
            if (status == KV_OK)
                assert_true(slice_equal(buf_slice(&pair), buf_slice(&twin)));
        }
        close_store(&restored);
        if (!checkpoints)
            close(fd[round]);
    }
    buf_free(&pair);
    buf_free(&twin);
}

static void a_snapshot_while_writing_is_one_moment(void **state)
{
    expect_moments(*state, false);
}

/* ---- Tests: checkpoints. ---- */

static void a_checkpoint_is_a_store_of_its_own(void **state)
{
    const struct subject *subject = *state;
    struct open_store     s = open_here(subject), other;
    struct model          first = {0}, later, copy, empty = {0};
    char                  dir[512]; /* kept longer than path_in lends it */

    snprintf(dir, sizeof dir, "%s", path_in(subject, "checkpoint"));
    must(kv_checkpoint(s.session, path_in(subject, "of-empty")));
    expect(KV_INVALID, kv_checkpoint(s.session, path_in(subject, "store/within")));
    assert_int_equal(access(path_in(subject, "store/within.checkpointing"), F_OK), -1);
    rng_seed(&first.rng, seed, 15);
    fill_model(subject, s.session, &first, 400);
    if (subject->engine->can & KV_COMPACT)
        must(kv_compact(s.session));
    fill_model(subject, s.session, &first, 200);
    assert_int_equal(mkdir(dir, 0777), 0); /* an empty directory will do */
    must(kv_checkpoint(s.session, dir));
    expect(KV_MISMATCH, kv_checkpoint(s.session, dir));
    later = copy = first;
    fill_model(subject, s.session, &later, 300);
    other = open_at(subject, dir); /* while the first is open: it has a lock of its own */
    check_model(subject, other.session, &first);
    rng_seed(&copy.rng, seed, 16);
    fill_model(subject, other.session, &copy, 300);
    if (subject->engine->can & KV_COMPACT) {
        must(kv_compact(other.session));
        must(kv_compact(s.session));
    }
    must(kv_checkpoint(other.session, path_in(subject, "of-the-checkpoint")));
    check_model(subject, s.session, &later);
    check_model(subject, other.session, &copy);
    reopen(subject, &s);
    check_model(subject, s.session, &later);
    close_store(&s);
    close_store(&other);
    other = open_at(subject, dir);
    check_model(subject, other.session, &copy);
    close_store(&other);
    other = open_at(subject, path_in(subject, "of-the-checkpoint"));
    check_model(subject, other.session, &copy);
    close_store(&other);
    other = open_at(subject, path_in(subject, "of-empty"));
    check_model(subject, other.session, &empty);
    close_store(&other);
}

static void a_checkpoint_while_writing_is_one_moment(void **state)
{
    expect_moments(*state, true);
}

/* ---- The list. ---- */

static void a_plugin_that_is_here_loads(void **state)
{
    print_error("%s\n", (const char *)*state);
    fail();
}

/* Of a plug-in that was not built, and of an engine whose program is not on this machine. */
static void it_can_run_here(void **state)
{
    (void)state;
    skip();
}

static const struct contract_case {
    const char      *name;
    CMUnitTestFunction test;
    uint32_t         needs;    /* capabilities; all of them */
    bool             per_tier; /* else with the first tier that suits */
} cases[] = {
#define CASE(test, needs, per_tier) {#test, test, needs, per_tier}
    CASE(the_table_is_sound, 0, false),
    CASE(options_are_read_and_refused, 0, false),
    CASE(what_is_not_claimed_is_refused, 0, false),
    CASE(an_open_store_leaves_no_descriptor_behind, KV_RETAINS, false),
    CASE(past_a_limit_nothing_changes, 0, false),
    CASE(a_tier_opens_or_is_refused, KV_DURABLE | KV_RETAINS, false),
    CASE(a_wrong_directory_is_refused_and_left_alone, KV_DURABLE, false),
    CASE(a_store_of_another_engine_is_refused, KV_DURABLE, false),
    CASE(an_empty_value_is_a_value, KV_RETAINS, false),
    CASE(keys_and_values_are_any_bytes, KV_RETAINS, false),
    CASE(a_value_of_every_size_comes_back, KV_RETAINS, false),
    CASE(the_last_value_counts, KV_RETAINS, false),
    CASE(a_deleted_key_stays_absent, KV_RETAINS, false),
    CASE(get_many_answers_in_order, KV_RETAINS, false),
    CASE(modify_sees_and_replaces, KV_RETAINS, false),
    CASE(a_refused_modify_writes_nothing, KV_RETAINS, false),
    CASE(a_batch_is_done_in_its_order, KV_RETAINS | KV_BATCH, false),
    CASE(a_batch_of_the_largest_size_is_taken, KV_RETAINS | KV_BATCH, false),
    CASE(many_keys_are_all_there, KV_RETAINS, false),
    CASE(a_scan_visits_each_live_key_once, KV_RETAINS | KV_SCAN, false),
    CASE(a_scan_begins_at_its_key_and_goes_up, KV_RETAINS | KV_ORDERED, false),
    CASE(sessions_see_each_key_as_a_register, KV_RETAINS | KV_SESSIONS, true),
    CASE(concurrent_modifies_add_up, KV_RETAINS | KV_SESSIONS, true),
    CASE(a_modify_is_atomic_against_a_put, KV_RETAINS | KV_SESSIONS | KV_MODIFY, false),
    CASE(everything_is_there_after_a_reopen, KV_RETAINS | KV_DURABLE, true),
    CASE(a_random_history_follows_the_model, KV_RETAINS, true),
    CASE(one_process_at_a_time_and_a_kill_leaves_no_lock, KV_RETAINS | KV_DURABLE, true),
    CASE(compaction_keeps_what_lives_and_gives_back_the_rest, KV_RETAINS | KV_COMPACT, false),
    CASE(the_figures_make_sense, KV_RETAINS, false),
    CASE(a_full_disk_changes_nothing, KV_RETAINS | KV_DURABLE, false),
    CASE(a_snapshot_restores_to_the_same, KV_RETAINS | KV_SNAPSHOT, false),
    CASE(a_damaged_stream_restores_nothing, KV_RETAINS | KV_SNAPSHOT, false),
    CASE(what_follows_an_idle_snapshot_is_kept, KV_RETAINS | KV_SNAPSHOT, false),
    CASE(a_snapshot_while_writing_is_one_moment, KV_RETAINS | KV_SNAPSHOT | KV_SESSIONS, false),
    CASE(a_checkpoint_is_a_store_of_its_own, KV_RETAINS | KV_CHECKPOINT, true),
    CASE(a_checkpoint_while_writing_is_one_moment, KV_RETAINS | KV_CHECKPOINT | KV_SESSIONS, true),
};

static struct CMUnitTest tests[TESTS_MAX];
static size_t            test_count;
static struct subject    subjects[SUBJECTS_MAX];
static size_t            subject_count;

/* Takes the name. */
static void add_test(char *name, CMUnitTestFunction test, struct subject *subject, const char *only)
{
    assert(test_count < TESTS_MAX);
    if (only && !strstr(name, only))
        free(name);
    else
        tests[test_count++] = (struct CMUnitTest){name, test, make_root, remove_root, subject};
}

static void add_skipped(const char *name)
{
    char *text;

    printf("# %s: left out: %s\n", name, fail_text());
    assert(test_count < TESTS_MAX);
    if (asprintf(&text, "%s: it_can_run_here", name) > 0)
        tests[test_count++] = (struct CMUnitTest){text, it_can_run_here, NULL, NULL, NULL};
}

/* False when the engine refuses a store of a tier that it maps: what it needs is not here. */
static bool can_run(struct subject *subject)
{
    struct kv_store *store = NULL;
    void            *state = subject;
    struct kv_config config;
    kv_status        status;

    if (make_root(&state) != 0)
        return true; /* the tests will say so */
    config = config_at(subject, path_in(subject, "store"));
    status = kv_open(subject->engine, &config, &store);
    if (status == KV_OK)
        status = kv_close(store);
    remove_root(&state);
    return status != KV_UNSUPPORTED;
}

static void add_cases(const struct kv_engine *engine, const char *path, const char *only)
{
    struct subject *plain = &subjects[subject_count++];
    char            words[256] = "";
    char           *name;

    *plain = (struct subject){.engine = engine, .durability = {KV_TIER_PROCESS, 0}};
    for (enum kv_tier tier = KV_TIER_COUNT; tier-- > 0 && engine->tiers;) /* process, or the lowest that is mapped */
        if (engine->tiers & KV_TIER_BIT(tier) && !(plain->durability.tier == KV_TIER_PROCESS && tier < KV_TIER_PROCESS &&
                                                  engine->tiers & KV_TIER_BIT(KV_TIER_PROCESS)))
            plain->durability = (struct kv_durability){tier, tier == KV_TIER_INTERVAL ? 5 * NS_PER_MS : 0};
    if (!can_run(plain)) {
        add_skipped(engine->name);
        return;
    }
    for (unsigned bit = 0; bit < KV_CAPABILITIES; bit++)
        if (!(engine->can & (1u << bit)))
            snprintf(words + strlen(words), sizeof words - strlen(words), " %s", kv_capability_word(bit));
    for (enum kv_tier tier = 0; tier < KV_TIER_COUNT; tier++)
        if (!(engine->tiers & KV_TIER_BIT(tier)))
            snprintf(words + strlen(words), sizeof words - strlen(words), " tier-%s", kv_tier_word(tier));
    printf("# %s (%s): not claimed, so not tested:%s\n", engine->name, path, *words ? words : " nothing");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if ((engine->can & cases[i].needs) != cases[i].needs)
            continue;
        if (!cases[i].per_tier || !engine->tiers) {
            if (asprintf(&name, "%s: %s", engine->name, cases[i].name) > 0)
                add_test(name, cases[i].test, plain, only);
            continue;
        }
        for (enum kv_tier tier = 0; tier < KV_TIER_COUNT; tier++) {
            struct subject *subject = &subjects[subject_count];

            if (!(engine->tiers & KV_TIER_BIT(tier)))
                continue;
            if (subject_count + 1 < SUBJECTS_MAX)
                subject_count++;
            *subject = (struct subject){engine, {tier, tier == KV_TIER_INTERVAL ? 5 * NS_PER_MS : 0}, ""};
            if (asprintf(&name, "%s/%s: %s", engine->name, kv_tier_word(tier), cases[i].name) > 0)
                add_test(name, cases[i].test, subject, only);
        }
    }
}

static void note_engine(void *arg, const char *name, const struct kv_engine *engine)
{
    char missing[5000];

    (void)arg;
    snprintf(missing, sizeof missing, "%s/%s.missing", getenv("ASSAY_PLUGINS"), name);
    if (!engine && access(missing, F_OK) == 0)
        add_skipped(name);
    else if (!engine && not_loaded_count < ENGINES_MAX)
        not_loaded[not_loaded_count++] = strdup(fail_text());
    else if (engine && engine_count < ENGINES_MAX) {
        engine_paths[engine_count] = strdup(name);
        engines[engine_count++] = engine;
    }
}

/* Plug-ins lie beside the program, one folder above the tests. */
static void find_plugins(void)
{
    ssize_t bytes = readlink("/proc/self/exe", own_path, sizeof own_path - 1);
    char    plugins[5000], *slash;

    assert(bytes > 0);
    own_path[bytes] = '\0';
    snprintf(plugins, sizeof plugins, "%s", own_path);
    slash = strrchr(plugins, '/');
    snprintf(slash, sizeof plugins - (size_t)(slash - plugins), "/../plugins");
    setenv("ASSAY_PLUGINS", plugins, 0);
}

int main(int argc, char **argv)
{
    const char *set = getenv("ASSAY_SEED"), *only = getenv("ASSAY_ONLY");
    int         failed;

    find_plugins();
    if (argc == 5 && strcmp(argv[1], "--hold") == 0)
        return hold(argv[2], argv[3], argv[4]);
    seed = set ? strtoull(set, NULL, 0) : clock_read_ns(CLOCK_REALTIME);
    printf("# ASSAY_SEED=%" PRIu64 "\n", seed);
    if (argc == 1)
        kv_engine_each(note_engine, NULL);
    for (int i = 1; i < argc; i++) {
        const struct kv_engine *engine = NULL;
        kv_status               status = kv_engine_find(argv[i], &engine);
        note_engine(NULL, argv[i], status == KV_OK ? engine : NULL);
    }
    for (size_t i = 0; i < engine_count; i++)
        add_cases(engines[i], engine_paths[i], only);
    for (size_t i = 0; i < not_loaded_count; i++)
        tests[test_count++] = (struct CMUnitTest){"a_plugin_that_is_here_loads", a_plugin_that_is_here_loads, NULL, NULL,
                                                  (void *)not_loaded[i]};
    fflush(stdout);
    failed = _cmocka_run_group_tests("contract", tests, test_count, NULL, NULL);
    for (size_t i = 0; i < test_count; i++)
        if (tests[i].setup_func || tests[i].test_func == it_can_run_here)
            free((void *)tests[i].name);
    for (size_t i = 0; i < engine_count; i++)
        free((void *)engine_paths[i]);
    return failed ? 1 : 0;
}
