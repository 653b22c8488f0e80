/*
 * t_lsm_damage.c -- whatever happens to a file of the tree: the right values, or an error that names the file and the place.
 *
 * A small store of all kinds of files is damaged in one place at a time: each byte changed, each file cut at each length,
 * removed, lengthened, exchanged with another, blocks exchanged in a table.  Then all of it is read in every way, merged, and
 * opened again.  Of a store that was closed nothing may ever be missing without a word; of one that was killed only the end of its
 * log, as far as no group behind it says that it was durable: then what is left must be all that was written up to some moment.
 *
 * By default every ASSAY_STEP-th (7th) place is taken, from ASSAY_SEED on; ASSAY_LONG=1: every byte, with three masks.  Under
 * ThreadSanitizer, which sees the same few threads at each place and takes ten times as long, every 97th.
 */
#define ENGINE lsm_engine
#include "tests/bitcask_util.h"

#include <inttypes.h>

#include "engines/lsm/table.h"
#include "engines/lsm/wal.h"

#define KEYS      60
#define WRITES    400
#define IN_LAST_LOG 8
#define FILES_MAX 16

/* ---- The store, and all that it ever was. ---- */

struct content {
    char   name[32];
    char  *bytes;
    size_t size;
};

static struct content content[FILES_MAX];
static size_t         content_count;
static int            version_at[WRITES + 1][KEYS]; /* of each key after so many writes; 0: absent */
static int            writes_made;
static int            known_durable; /* writes of which something behind them says that they were durable, when one of the log is damaged */
static int            before_log;    /* writes before the last log began: they are known to be durable when it is cut or gone */
static char           store_options[256];

static slice key_of(int key, char out[32])
{
    return slice_of(out, (size_t)sprintf(out, "the key %02d%s", key, key % 3 ? "" : " and more"));
}

static slice value_of(int key, int version, char out[128])
{
    return slice_of(out, (size_t)sprintf(out, "key %02d in version %04d %.*s", key, version, version % 50,
                                         "--------------------------------------------------"));
}

static void write_some(struct db *db, int count)
{
    char text[32], value[128];

    for (int i = 0; i < count; i++) {
        int key = (writes_made * 7 + writes_made / 11) % KEYS, next = writes_made + 1;
        assert_true(next <= WRITES);
        memcpy(version_at[next], version_at[writes_made], sizeof version_at[0]);
        version_at[next][key] = next % 6 ? next : 0;
        must(next % 6 ? kv_put(db->session, key_of(key, text), value_of(key, next, value)) : kv_del(db->session, key_of(key, text)));
        writes_made = next;
    }
}

static void settle(struct db *db)
{
    while (kv_stat(db->store, "debt_bytes") > 0)
        usleep(1000);
}

static void take_contents(const char *dir)
{
    DIR           *list = opendir(dir);
    struct dirent *entry;
    char           path[1024];

    assert_non_null(list);
    while ((entry = readdir(list)) != NULL) {
        struct content *file = &content[content_count];
        if (entry->d_name[0] == '.')
            continue;
        assert_true(content_count < FILES_MAX && strlen(entry->d_name) < sizeof file->name);
        strcpy(file->name, entry->d_name);
        snprintf(path, sizeof path, "%s/%s", dir, file->name);
        file->bytes = read_file(path, &file->size);
        content_count++;
    }
    closedir(list);
}

/* A merged table, one of level 0 above it, and two logs.  killed: as a kill leaves it, else closed. */
static void make_store(const char *options, bool killed)
{
    char      with_size[256];
    struct db db;

    snprintf(with_size, sizeof with_size, "memtable_bytes=4096 block_bytes=256 %s", options);
    content_count = 0;
    writes_made = 0;
    db = open_db(at("made"), with_size);
    write_some(&db, 70);
    must(kv_compact(db.session));
    write_some(&db, 60);
    settle(&db);
    close_db(&db);
    snprintf(store_options, sizeof store_options, "memtable_bytes=16k %s", options);
    db = open_db(at("made"), store_options);
    settle(&db);
    write_some(&db, 10);
    close_db(&db);
    db = open_db(at("made"), store_options); /* too little for a table */
    write_some(&db, IN_LAST_LOG);
    if (killed) {
        copy_dir(at("made"), at("image"));
        close_db(&db);
    } else {
        close_db(&db);
        copy_dir(at("made"), at("image"));
    }
    take_contents(at("image"));
    assert_true(files(at("image"), ".table", NULL) >= 2 && files(at("image"), ".wal", NULL) >= 2);
    assert_true(files(at("image"), "MANIFEST", NULL) == 1);
}

static void forget_store(void)
{
    for (size_t i = 0; i < content_count; i++)
        free(content[i].bytes);
    content_count = 0;
    remove_tree(at("made"));
    remove_tree(at("image"));
}

/* The store as it was made, in "db". */
static void lay_out(void)
{
    char path[1024];

    remove_tree(at("db"));
    assert_int_equal(mkdir(at("db"), 0755), 0);
    for (size_t i = 0; i < content_count; i++) {
        snprintf(path, sizeof path, "%s/%s", at("db"), content[i].name);
        write_file(path, content[i].bytes, content[i].size);
    }
}

static void replace(const struct content *file, const char *bytes, size_t size)
{
    char path[1024];

    snprintf(path, sizeof path, "%s/%s", at("db"), file->name);
    write_file(path, bytes, size);
}

static bool ends(const char *name, const char *ending)
{
    size_t length = strlen(name), tail = strlen(ending);

    return length >= tail && strcmp(name + length - tail, ending) == 0;
}

/* ---- Judging. ---- */

static char     what[2048]; /* is done to it just now */
static bool     several;    /* files show it, and the error may name any */
static uint64_t silent, told, prefixes;

struct answers {
    kv_status status[KEYS];
    int       version[KEYS]; /* 0: absent */
};

static void expect(bool right, const char *sentence)
{
    if (!right) {
        print_error("%s: %s (%s)\n", what, sentence, fail_text());
        fail();
    }
}

/* An error says in which file, and where. */
static void expect_told(kv_status status)
{
    char dir[600];

    snprintf(dir, sizeof dir, "%s", at("db"));
    expect(status == KV_CORRUPT || status == KV_MISMATCH || status == KV_IO, "an error of another kind");
    expect(strstr(fail_text(), dir) != NULL, "an error that does not name the file");
    expect(status != KV_CORRUPT || strstr(fail_text(), " at ") != NULL, "an error that does not say where");
}

static int version_in(slice key, slice value)
{
    char     text[128];
    int      number = -1, version = -1;
    unsigned length = value.size < sizeof text ? (unsigned)value.size : (unsigned)sizeof text - 1;

    memcpy(text, value.data, length);
    text[length] = '\0';
    expect(sscanf(text, "key %d in version %d", &number, &version) == 2 && number >= 0 && number < KEYS, "a value that was never written");
    char mine[128], name[32];
    expect(slice_equal(value, value_of(number, version, mine)), "a value that was never written");
    expect(slice_equal(key, key_of(number, name)), "a value of another key");
    return version;
}

static bool take_version(void *arg, slice key, slice value)
{
    *(int *)arg = version_in(key, value);
    return true;
}

static void get_all(struct db *db, struct answers *answers)
{
    char text[32];

    for (int key = 0; key < KEYS; key++) {
        answers->version[key] = 0;
        answers->status[key] = kv_get(db->session, key_of(key, text), take_version, &answers->version[key]);
        if (answers->status[key] == KV_NOT_FOUND)
            answers->status[key] = KV_OK;
        else if (answers->status[key] != KV_OK)
            expect_told(answers->status[key]);
    }
}

static void take_one_of_many(void *arg, size_t position, kv_status status, slice value)
{
    struct answers *answers = arg;
    char            text[32];

    answers->status[position] = status == KV_NOT_FOUND ? KV_OK : status;
    answers->version[position] = status == KV_OK ? version_in(key_of((int)position, text), value) : 0;
    if (status != KV_OK && status != KV_NOT_FOUND)
        expect_told(status);
}

static void get_many(struct db *db, struct answers *answers)
{
    static char text[KEYS][32];
    slice       keys[KEYS];
    kv_status   status;

    for (int key = 0; key < KEYS; key++) {
        keys[key] = key_of(key, text[key]);
        answers->status[key] = KV_IO;
    }
    status = kv_get_many(db->session, keys, KEYS, take_one_of_many, answers);
    if (status != KV_OK)
        expect_told(status);
}

struct scanning {
    struct answers *answers;
    struct buf      last;
};

static bool take_scanned(void *arg, slice key, slice value)
{
    struct scanning *scanning = arg;
    int              number;

    expect(!scanning->last.size || slice_compare(buf_slice(&scanning->last), key) < 0, "a scan out of order");
    scanning->last.size = 0;
    must(buf_append(&scanning->last, key.data, key.size));
    assert_int_equal(sscanf((const char *)value.data, "key %d", &number), 1);
    scanning->answers->version[number] = version_in(key, value);
    return true;
}

/* Keys that a scan did not come to have its status. */
static void scan(struct db *db, struct answers *answers)
{
    struct scanning scanning = {.answers = answers};
    kv_status       status;
    char            text[32];

    memset(answers, 0, sizeof *answers);
    status = kv_scan(db->session, (slice){0}, take_scanned, &scanning);
    if (status != KV_OK)
        expect_told(status);
    for (int key = 0; key < KEYS && status != KV_OK; key++)
        if (!scanning.last.size || slice_compare(key_of(key, text), buf_slice(&scanning.last)) > 0)
            answers->status[key] = status;
    buf_free(&scanning.last);
}

static bool agrees(const struct answers *answers, int writes)
{
    for (int key = 0; key < KEYS; key++)
        if (answers->status[key] == KV_OK && answers->version[key] != version_at[writes][key])
            return false;
    return true;
}

/* Where the log ended: of all moments with which the answers agree, the last. */
static int moment_of(const struct answers *answers)
{
    int writes = writes_made;

    while (writes >= 0 && !agrees(answers, writes))
        writes--;
    expect(writes >= 0, "what is there was never there at one time");
    return writes;
}

static bool all_answered(const struct answers *answers)
{
    for (int key = 0; key < KEYS; key++)
        if (answers->status[key] != KV_OK)
            return false;
    return true;
}

/* Reads in every way; returns the moment, and says by *complete that no error was met. */
static int read_all(struct db *db, int moment, bool *complete)
{
    struct answers answers;

    get_all(db, &answers);
    *complete = all_answered(&answers);
    if (moment < 0)
        moment = moment_of(&answers);
    expect(agrees(&answers, moment), "a get is of another moment");
    get_many(db, &answers);
    *complete &= all_answered(&answers);
    expect(agrees(&answers, moment), "get_many is of another moment");
    scan(db, &answers);
    *complete &= all_answered(&answers);
    expect(agrees(&answers, moment), "a scan is of another moment");
    return moment;
}

static void dump(const struct content *file)
{
    char      path[1024], *text = NULL;
    size_t    size = 0;
    FILE     *out = open_memstream(&text, &size);
    kv_status status;

    snprintf(path, sizeof path, "%s/%s", at("db"), file->name);
    if (access(path, F_OK) == 0) {
        status = lsm_engine.dump(path, out);
        if (status != KV_OK)
            expect_told(status);
    }
    fclose(out);
    free(text);
}

/* Of all names and bytes in "db". */
static uint64_t sum_of_all(void)
{
    DIR           *list = opendir(at("db"));
    struct dirent *entry;
    uint64_t       sum = 0;

    assert_non_null(list);
    while ((entry = readdir(list)) != NULL) {
        char   path[1024], *bytes;
        size_t size;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", at("db"), entry->d_name);
        bytes = read_file(path, &size);
        sum += XXH3_64bits_withSeed(bytes, size, XXH3_64bits(entry->d_name, strlen(entry->d_name)));
        free(bytes);
    }
    closedir(list);
    return sum;
}

/* The store in "db" was damaged in this file.  least: of the moments at which the log may have its end, the first. */
static void judge(const struct content *file, int least)
{
    struct db db;
    kv_status status;
    bool      complete;
    int       moment;
    uint64_t  before = sum_of_all();

    dump(file);
    status = try_open(at("db"), store_options, &db);
    if (status != KV_OK) {
        expect_told(status);
        expect(sum_of_all() == before, "an open that tells of damage has changed a file");
        expect(several || strstr(fail_text(), file->name), "the error names another file");
        told++;
        return;
    }
    moment = read_all(&db, -1, &complete);
    if (moment < least)
        print_error("the writes up to %d are there, of %d that were durable, and %d were made\n", moment, least, writes_made);
    expect(moment >= least, "writes that were durable are missing, without a word");
    status = kv_compact(db.session);
    if (status != KV_OK)
        expect_told(status);
    expect(!complete || status == KV_OK, "all of it can be read, and yet not be merged");
    (void)read_all(&db, moment, &complete);
    kv_session_close(db.session);
    status = kv_close(db.store);
    if (status != KV_OK)
        expect_told(status);
    status = try_open(at("db"), store_options, &db);
    if (status == KV_OK) {
        (void)read_all(&db, moment, &complete);
        close_db(&db);
    } else {
        expect_told(status);
        complete = false;
    }
    *(complete ? moment == writes_made ? &silent : &prefixes : &told) += 1;
}

/* ---- Damage. ---- */

static bool is_log(const struct content *file)
{
    return ends(file->name, ".wal");
}

static bool is_last_log(const struct content *file)
{
    for (size_t i = 0; i < content_count; i++)
        if (is_log(&content[i]) && strcmp(content[i].name, file->name) > 0 && content[i].size > 0 &&
            *content[i].bytes) /* else one that waits for its turn, or was just being made */
            return false;
    return is_log(file);
}

static size_t from_environment(const char *name, size_t fallback)
{
    const char *text = getenv(name);

    return text && *text ? (size_t)strtoull(text, NULL, 10) : fallback;
}

#if defined(__SANITIZE_THREAD__)
#define STEP 97
#else
#define STEP 7
#endif

/* Places that are tried: all of them, or some. */
static size_t step_of(void)
{
    return getenv("ASSAY_LONG") ? 1 : from_environment("ASSAY_STEP", STEP);
}

static size_t first_of(void)
{
    return from_environment("ASSAY_SEED", 1) % step_of();
}

/* The zeros between the headers of a log are nobody's, and are tried here and there. */
static size_t next_place(const struct content *file, size_t place)
{
    bool between = is_log(file) && place > sizeof(struct wal_header) && place + 200 < WAL_SECOND;

    return place + step_of() + (between ? 190 : 0);
}

static void change_bytes(const struct content *file)
{
    static const unsigned char masks[] = {0, 0xff, 0x80}; /* 0: one bit, another one at each place */
    char                      *bytes = malloc(file->size + 1);

    for (size_t place = first_of(); place < file->size; place = next_place(file, place)) {
        for (size_t mask = 0; mask < (getenv("ASSAY_LONG") ? 3 : 1); mask++) {
            memcpy(bytes, file->bytes, file->size);
            bytes[place] = (char)(bytes[place] ^ (masks[mask] ? masks[mask] : 1 << place % 8));
            snprintf(what, sizeof what, "%s, byte %zu ^ %02x", file->name, place, (unsigned char)(bytes[place] ^ file->bytes[place]));
            lay_out();
            replace(file, bytes, file->size);
            judge(file, is_last_log(file) ? known_durable : writes_made);
        }
    }
    free(bytes);
}

static void cut(const struct content *file)
{
    for (size_t size = first_of(); size < file->size; size = next_place(file, size)) {
        snprintf(what, sizeof what, "%s, cut at %zu", file->name, size);
        lay_out();
        replace(file, file->bytes, size);
        judge(file, is_last_log(file) ? before_log : writes_made);
    }
}

static void lengthen(const struct content *file)
{
    for (size_t more = 1; more <= 4096; more *= 8) {
        char *bytes = calloc(1, file->size + more);
        memcpy(bytes, file->bytes, file->size);
        for (int kind = 0; kind < 2; kind++) { /* zeros, and its own bytes once more */
            if (kind)
                memcpy(bytes + file->size, file->bytes, more < file->size ? more : file->size);
            snprintf(what, sizeof what, "%s, %zu bytes longer", file->name, more);
            lay_out();
            replace(file, bytes, file->size + more);
            judge(file, writes_made); /* no write is missing for it */
        }
        free(bytes);
    }
}

static void take_away(const struct content *file)
{
    char path[1024];

    snprintf(what, sizeof what, "%s, removed", file->name);
    lay_out();
    snprintf(path, sizeof path, "%s/%s", at("db"), file->name);
    assert_int_equal(unlink(path), 0);
    several = true; /* a log in the middle is missed by the next one */
    judge(file, is_last_log(file) ? before_log : writes_made);
    several = false;
    snprintf(what, sizeof what, "%s, empty", file->name);
    lay_out();
    replace(file, "", 0);
    judge(file, is_last_log(file) ? before_log : writes_made);
}

static void exchange_files(void)
{
    several = true;
    for (size_t i = 0; i < content_count; i++) {
        for (size_t j = 0; j < i; j++) {
            snprintf(what, sizeof what, "%s and %s, exchanged", content[i].name, content[j].name);
            lay_out();
            replace(&content[i], content[j].bytes, content[j].size);
            replace(&content[j], content[i].bytes, content[i].size);
            bool logs = is_log(&content[i]) && is_log(&content[j]); /* that is told: their headers have their numbers */
            judge(&content[i], !logs && (is_last_log(&content[i]) || is_last_log(&content[j])) ? before_log : writes_made);
        }
    }
    several = false;
}

/* As a disk does, or a write that it lost. */
static void spoil_sectors(const struct content *file)
{
    static const char zeros[512];
    char             *bytes = malloc(file->size + 1);

    for (size_t place = 0; place < file->size; place += sizeof zeros) {
        size_t length = file->size - place < sizeof zeros ? file->size - place : sizeof zeros;
        if (memcmp(file->bytes + place, zeros, length) == 0)
            continue;
        memcpy(bytes, file->bytes, file->size);
        memset(bytes + place, 0, length);
        snprintf(what, sizeof what, "%s, the sector at %zu spoilt", file->name, place);
        lay_out();
        replace(file, bytes, file->size);
        judge(file, is_last_log(file) && place >= WAL_SECOND ? before_log : writes_made); /* a header is there twice */
    }
    free(bytes);
}

/* Pieces of the same length in another order: what has a good sum may stand in the wrong place. */
static void exchange_pieces(const struct content *file)
{
    static const size_t lengths[] = {8, 64, 256};
    char               *bytes = malloc(file->size + 1);

    for (size_t l = 0; l < 3; l++) {
        size_t length = lengths[l];
        for (size_t place = first_of() % 8 * 8; place + 2 * length <= file->size; place += length * (getenv("ASSAY_LONG") ? 1 : 3)) {
            memcpy(bytes, file->bytes, file->size);
            memcpy(bytes + place, file->bytes + place + length, length);
            memcpy(bytes + place + length, file->bytes + place, length);
            snprintf(what, sizeof what, "%s, %zu bytes at %zu and behind, exchanged", file->name, length, place);
            lay_out();
            replace(file, bytes, file->size);
            judge(file, is_last_log(file) ? before_log : writes_made);
        }
    }
    free(bytes);
}

/* Whole frames of a table, sums and all, in each other's place. */
static void exchange_blocks(const struct content *file)
{
    struct cache *cache = cache_open(0, 1, true);
    struct table *table;
    char         *bytes = malloc(file->size);

    lay_out();
    must(table_open_named(at("db"), file->name, 0, cache, &table));
    for (size_t i = 0; i + 1 < table->is.blocks; i++) {
        struct table_frame a = table->frame[i], b = table->frame[i + 1];
        memcpy(bytes, file->bytes, file->size);
        if (a.bytes == b.bytes) {
            memcpy(bytes + a.offset, file->bytes + b.offset, b.bytes);
            memcpy(bytes + b.offset, file->bytes + a.offset, a.bytes);
        } else { /* the shorter one fits in, at the beginning */
            memcpy(bytes + a.offset, file->bytes + b.offset, a.bytes < b.bytes ? a.bytes : b.bytes);
        }
        snprintf(what, sizeof what, "%s, blocks %zu and %zu, exchanged", file->name, i, i + 1);
        lay_out();
        replace(file, bytes, file->size);
        judge(file, writes_made);
    }
    table_release(table);
    cache_close(cache);
    free(bytes);
}

struct shape {
    const char *options;
    bool        killed; /* else closed, and then the manifest knows that all is durable */
};

static void begin(void **state)
{
    const struct shape *shape = *state;

    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    assert_int_equal(make_root(NULL), 0);
    make_store(shape->options, shape->killed);
    known_durable = writes_made - (shape->killed ? 1 : 0);
    before_log = shape->killed ? writes_made - IN_LAST_LOG : writes_made;
    silent = told = prefixes = 0;
    lay_out();
    snprintf(what, sizeof what, "not damaged");
    judge(&content[0], writes_made);
    assert_true(silent == 1);
}

static void end(void)
{
    print_message("# told %" PRIu64 ", without a word and right %" PRIu64 ", an earlier moment %" PRIu64 "\n", told, silent, prefixes);
    forget_store();
    remove_root(NULL);
}

#define FOR_EACH_FILE(file) for (const struct content *file = content; file < content + content_count; file++)

static void a_changed_byte_is_told(void **state)
{
    begin(state);
    FOR_EACH_FILE(file) {
        change_bytes(file);
        spoil_sectors(file);
    }
    end();
}

static void a_file_that_is_cut_is_told(void **state)
{
    begin(state);
    FOR_EACH_FILE(file)
        cut(file);
    end();
}

static void a_file_that_is_gone_or_another_is_told(void **state)
{
    begin(state);
    FOR_EACH_FILE(file) {
        take_away(file);
        lengthen(file);
    }
    exchange_files();
    end();
}

static void pieces_in_another_order_are_told(void **state)
{
    begin(state);
    FOR_EACH_FILE(file) {
        exchange_pieces(file);
        if (ends(file->name, ".table"))
            exchange_blocks(file);
    }
    end();
}

int main(void)
{
    static struct shape committed = {"tier=commit", false}, killed = {"tier=commit compression=none", true},
                        mapped = {"tier=process filter_bits=0 compression=none cache=mmap", false};
#define ALL(shape)                                                                                                     \
    {#shape ": a_changed_byte_is_told", a_changed_byte_is_told, NULL, NULL, &shape},                                   \
    {#shape ": a_file_that_is_cut_is_told", a_file_that_is_cut_is_told, NULL, NULL, &shape},                           \
    {#shape ": a_file_that_is_gone_or_another_is_told", a_file_that_is_gone_or_another_is_told, NULL, NULL, &shape},   \
    {#shape ": pieces_in_another_order_are_told", pieces_in_another_order_are_told, NULL, NULL, &shape}
    const struct CMUnitTest tests[] = {ALL(committed), ALL(killed), ALL(mapped)};

    return cmocka_run_group_tests_name("lsm_damage", tests, NULL, NULL);
}
