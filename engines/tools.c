/*
 * tools.c -- assay get, put, del, scan, stats, checkpoint, dump: a look into a store, also one that a crash left.
 *
 * Opening a store is what any program's opening is: the engine recovers it, and may cut a torn tail.  To keep what a
 * crash left as it is, look into a copy, or use dump, which opens no store and changes nothing.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/args.h"
#include "common/commands.h"
#include "engines/base/snapshot.h"
#include "engines/base/storedir.h"
#include "engines/engine.h"

/* What the commands share: where the store is and how to open it. */
struct place {
    const struct arg_command *command;
    const char               *engine_name, *dir, *durability;
    struct arg_list           set;
    bool                      hex;
    const struct kv_engine   *engine;
    struct kv_store          *store;
    struct kv_session        *session;
};

#define PLACE_OPTIONS(place)                                                                                             \
    {"engine", ARG_TEXT, &(place).engine_name, "A", "the store's engine; \"assay engines\" lists them", NULL},           \
    {"dir", ARG_TEXT, &(place).dir, "D", "the store's directory", NULL},                                                 \
    {"set", ARG_EACH, &(place).set, "A.O=V", "an option of the engine; \"assay engines A\" lists them", NULL},           \
    {"hex", ARG_FLAG, &(place).hex, NULL, "keys and values are written in hexadecimal", NULL}

static int report(const struct place *place, kv_status status)
{
    fprintf(stderr, "%s: %s\n", place->command->name, fail_text());
    return kv_status_exit(status);
}

/* Text as people write bytes: \xNN, \\, \t, \n and the rest as it is; or hexadecimal digits in pairs. */
static kv_status parse_bytes(const char *text, bool hex, struct buf *out)
{
    for (const char *at = text; *at;) {
        unsigned value;
        char     byte = *at;

        if (hex || (at[0] == '\\' && at[1] == 'x')) {
            at += hex ? 0 : 2;
            if (!isxdigit((unsigned char)at[0]) || !isxdigit((unsigned char)at[1]))
                return kv_fail(KV_INVALID, hex ? "\"%s\" is not pairs of hexadecimal digits" :
                                                 "in \"%s\" two hexadecimal digits are missing behind \\x", text);
            sscanf(at, "%2x", &value);
            byte = (char)value;
            at += 2;
        } else if (at[0] == '\\') {
            static const char names[] = "\\tnr0", bytes[] = "\\\t\n\r\0";
            const char       *name = at[1] ? strchr(names, at[1]) : NULL;

            if (!name)
                return kv_fail(KV_INVALID, "in \"%s\" a backslash begins none of \\xNN \\\\ \\t \\n \\r \\0", text);
            byte = bytes[name - names];
            at += 2;
        } else {
            at++;
        }
        TRY(buf_append(out, &byte, 1));
    }
    return KV_OK;
}

static void print_bytes(FILE *out, slice bytes, bool hex)
{
    const unsigned char *data = bytes.data;

    for (size_t i = 0; i < bytes.size; i++) {
        if (hex)
            fprintf(out, "%02x", data[i]);
        else if (data[i] == '\\')
            fputs("\\\\", out);
        else if (data[i] >= 0x20 && data[i] < 0x7f)
            putc(data[i], out);
        else
            fprintf(out, "\\x%02x", data[i]);
    }
}

static bool is_empty(DIR *dir)
{
    struct dirent *entry;
    bool           empty = true;

    while (empty && (entry = readdir(dir)))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    return empty;
}

/* A file, or a directory with something in it. */
static bool is_there(const char *path)
{
    DIR *dir = opendir(path);
    bool there = dir ? !is_empty(dir) : errno != ENOENT;

    if (dir)
        closedir(dir);
    return there;
}

/* -1 to go on.  Looking into a store never makes one. */
static int check_directory(const struct place *place)
{
    struct stat info;
    DIR        *dir;
    bool        empty;

    if (stat(place->dir, &info) != 0)
        return args_wrong(place->command, "there is no store in %s: %s", place->dir, strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return args_wrong(place->command, "%s is a file; a store is a directory (\"assay dump FILE\" prints one file)", place->dir);
    if (!(dir = opendir(place->dir))) {
        fprintf(stderr, "%s: cannot read %s: %s\n", place->command->name, place->dir, strerror(errno));
        return 1;
    }
    empty = is_empty(dir);
    closedir(dir);
    return empty ? args_wrong(place->command, "there is no store in %s: it is empty", place->dir) : -1;
}

/* Ends a command: the status of its work, then that of the close, then whether all was printed. */
static int close_place(struct place *place, kv_status status)
{
    int       code = status == KV_OK ? 0 : report(place, status);
    kv_status closed;

    kv_session_close(place->session);
    closed = kv_close(place->store);
    if (code == 0 && closed != KV_OK)
        code = report(place, closed);
    if (code == 0 && (fflush(stdout) != 0 || ferror(stdout))) {
        fprintf(stderr, "%s: cannot write to standard output: %s\n", place->command->name, strerror(errno));
        code = 1;
    }
    return code;
}

/* -1 when the store is open. */
static int open_place(struct place *place, bool may_create)
{
    struct kv_config config;
    kv_status        status;
    int              code;

    if (!place->engine_name || !place->dir)
        return args_wrong(place->command, "which store? write --engine and --dir");
    if (kv_engine_find(place->engine_name, &place->engine) != KV_OK)
        return args_wrong(place->command, "%s", fail_text());
    if (!(place->engine->can & KV_DURABLE))
        return args_wrong(place->command, "engine %s keeps nothing when its process ends", place->engine->name);
    kv_config_init(place->engine, &config);
    config.dir = place->dir;
    for (enum kv_tier tier = 0; tier < KV_TIER_COUNT; tier++) /* the strongest that wants no further word */
        if (tier != KV_TIER_INTERVAL && place->engine->tiers & KV_TIER_BIT(tier))
            config.durability.tier = tier;
    if (place->durability && kv_durability_parse(place->durability, &config.durability) != KV_OK)
        return args_wrong(place->command, "--durability: %s", fail_text());
    for (size_t i = 0; i < place->set.count; i++) {
        status = kv_config_assign(place->engine, &config, place->set.item[i]);
        if (status == KV_NOT_FOUND)
            return args_wrong(place->command, "--set %s is for another engine; write %s.OPTION=VALUE", place->set.item[i],
                              place->engine->name);
        if (status != KV_OK)
            return args_wrong(place->command, "--set: %s", fail_text());
    }
    if (kv_config_check(place->engine, &config) != KV_OK)
        return args_wrong(place->command, "--set: %s", fail_text());
    if (!may_create && (code = check_directory(place)) >= 0)
        return code;
    if ((status = kv_open(place->engine, &config, &place->store)) != KV_OK)
        return report(place, status);
    status = kv_session_open(place->store, &place->session);
    return status == KV_OK ? -1 : close_place(place, status);
}

static bool write_value(void *arg, slice key, slice value)
{
    const struct place *place = arg;

    (void)key;
    if (place->hex)
        print_bytes(stdout, value, true);
    else if (value.size)
        fwrite(value.data, 1, value.size, stdout);
    return true;
}

int command_get(int argc, char **argv)
{
    struct place             place = {0};
    const struct arg         options[] = {PLACE_OPTIONS(place), {0}};
    const struct arg_command command = {
        "assay get", "--engine A --dir D KEY", "Writes the value of a key to standard output, as it is.\n"
        "A key is text; \\xNN stands for any byte.  Exit 1 when there is no such key.", options,
        "  assay get --engine bitcask --dir store user42\n  assay get --engine bitcask --dir store '\\x00\\x2a'\n"
        "  assay get --engine bitcask --dir store --hex 002a\n"};
    struct arg_list          words = {0};
    struct buf               key = {0};
    kv_status                status;
    int                      code = args_parse(&command, argc, argv, &words);

    place.command = &command;
    if (code >= 0)
        return code;
    if (words.count != 1)
        return args_wrong(&command, "which key? write one KEY");
    if (parse_bytes(words.item[0], place.hex, &key) != KV_OK)
        code = args_wrong(&command, "%s", fail_text());
    else if ((code = open_place(&place, false)) < 0) {
        status = kv_get(place.session, buf_slice(&key), write_value, &place);
        if (status == KV_NOT_FOUND)
            fail_set("there is no key \"%s\" in %s", words.item[0], place.dir);
        code = close_place(&place, status);
    }
    buf_free(&key);
    return code;
}

static kv_status read_all(FILE *in, struct buf *out)
{
    size_t got;

    do {
        TRY(buf_reserve(out, 65536));
        got = fread(out->data + out->size, 1, out->capacity - out->size, in);
        out->size += got;
    } while (got && out->size <= KV_VALUE_BYTES_MAX);
    return ferror(in) ? kv_fail_errno("cannot read standard input") : KV_OK;
}

/* put and del differ in little. */
static int change_store(const struct arg_command *command, struct place *place, int argc, char **argv, enum kv_write_kind kind)
{
    struct arg_list words = {0};
    struct buf      key = {0}, value = {0};
    kv_status       status;
    int             code = args_parse(command, argc, argv, &words);

    place->command = command;
    if (code >= 0)
        return code;
    if (words.count < 1 || words.count > (kind == KV_PUT ? 2 : 1))
        return args_wrong(command, kind == KV_PUT ? "write KEY VALUE, or KEY with the value on standard input" :
                                                    "which key? write one KEY");
    if (parse_bytes(words.item[0], place->hex, &key) != KV_OK ||
        (words.count == 2 && parse_bytes(words.item[1], place->hex, &value) != KV_OK))
        code = args_wrong(command, "%s", fail_text());
    else if (kind == KV_PUT && words.count == 1 && (status = read_all(stdin, &value)) != KV_OK)
        code = report(place, status);
    else if ((code = open_place(place, kind == KV_PUT)) < 0) {
        status = kind == KV_PUT ? kv_put(place->session, buf_slice(&key), buf_slice(&value))
                                : kv_del(place->session, buf_slice(&key));
        code = close_place(place, status);
    }
    buf_free(&key);
    buf_free(&value);
    return code;
}

int command_put(int argc, char **argv)
{
    struct place             place = {0};
    const struct arg         options[] = {
        PLACE_OPTIONS(place),
        {"durability", ARG_TEXT, &place.durability, "TIER", "what the write survives; commit where the engine offers it", NULL}, {0}};
    const struct arg_command command = {
        "assay put", "--engine A --dir D KEY [VALUE]",
        "Writes one key; without VALUE its value is read from standard input.  Makes the store when there is none.", options,
        "  assay put --engine bitcask --dir store user42 hello\n  assay put --engine bitcask --dir store picture <picture.png\n"};

    return change_store(&command, &place, argc, argv, KV_PUT);
}

int command_del(int argc, char **argv)
{
    struct place             place = {0};
    const struct arg         options[] = {
        PLACE_OPTIONS(place),
        {"durability", ARG_TEXT, &place.durability, "TIER", "what the delete survives; commit where the engine offers it", NULL}, {0}};
    const struct arg_command command = {
        "assay del", "--engine A --dir D KEY", "Deletes one key; fine also when it is absent.", options,
        "  assay del --engine bitcask --dir store user42\n"};

    return change_store(&command, &place, argc, argv, KV_DELETE);
}

struct printing {
    const struct place *place;
    struct buf          prefix;
    uint64_t            left;
};

static bool print_record(void *arg, slice key, slice value)
{
    struct printing *printing = arg;

    if (key.size < printing->prefix.size ||
        (printing->prefix.size && memcmp(key.data, printing->prefix.data, printing->prefix.size) != 0))
        return true; /* an engine without order visits all */
    print_bytes(stdout, key, printing->place->hex);
    putchar('\t');
    print_bytes(stdout, value, printing->place->hex);
    putchar('\n');
    return --printing->left > 0 && !ferror(stdout);
}

int command_scan(int argc, char **argv)
{
    struct place             place = {0};
    struct printing          printing = {&place, {0}, UINT64_MAX};
    const char              *prefix = "";
    const struct arg         options[] = {
        PLACE_OPTIONS(place),
        {"prefix", ARG_TEXT, &prefix, "KEY", "only keys that begin so", NULL},
        {"limit", ARG_COUNT, &printing.left, "N", "at most so many", NULL}, {0}};
    const struct arg_command command = {
        "assay scan", "--engine A --dir D [--prefix KEY] [--limit N]",
        "Prints KEY, a tab and VALUE, a line each, in key order where the engine has one.\n"
        "What is not printable is written \\xNN, as \"assay get\" reads it.", options,
        "  assay scan --engine bitcask --dir store --prefix user --limit 10\n"};
    int                      code = args_parse(&command, argc, argv, NULL);

    place.command = &command;
    if (code >= 0)
        return code;
    if (printing.left == 0)
        return args_wrong(&command, "--limit: at least 1");
    if (parse_bytes(prefix, place.hex, &printing.prefix) != KV_OK)
        code = args_wrong(&command, "--prefix: %s", fail_text());
    else if ((code = open_place(&place, false)) < 0)
        code = close_place(&place, place.engine->can & KV_ORDERED
                                       ? kv_scan_prefix(place.session, buf_slice(&printing.prefix), print_record, &printing)
                                       : kv_scan(place.session, (slice){0}, print_record, &printing));
    buf_free(&printing.prefix);
    return code;
}

static void print_figure(void *arg, const char *name, uint64_t value)
{
    (void)arg;
    if (value != KV_UNKNOWN)
        printf("%s\t%" PRIu64 "\n", name, value);
}

int command_stats(int argc, char **argv)
{
    struct place             place = {0};
    const struct arg         options[] = {PLACE_OPTIONS(place), {0}};
    const struct arg_command command = {
        "assay stats", "--engine A --dir D", "Prints the engine's own figures: NAME, a tab and the value, a line each.", options,
        "  assay stats --engine bitcask --dir store\n"};
    int                      code = args_parse(&command, argc, argv, NULL);

    place.command = &command;
    if (code >= 0)
        return code;
    if ((code = open_place(&place, false)) < 0) {
        kv_stats(place.store, print_figure, NULL);
        code = close_place(&place, KV_OK);
    }
    return code;
}

int command_checkpoint(int argc, char **argv)
{
    struct place             place = {0};
    const char              *to = NULL;
    const struct arg         options[] = {
        PLACE_OPTIONS(place), {"to", ARG_TEXT, &to, "D2", "the new store's directory: absent or empty, on the same file system", NULL}, {0}};
    const struct arg_command command = {
        "assay checkpoint", "--engine A --dir D --to D2",
        "Makes D2 a store of its own with all that D holds.  Files that never change are in both, as hard links, so it takes little time\n"
        "and room however large D is; the rest is copied.  D2 appears whole and synced, or not at all.", options,
        "  assay checkpoint --engine lsm --dir store --to store.monday\n"};
    const struct kv_engine  *engine;
    int                      code = args_parse(&command, argc, argv, NULL);

    place.command = &command;
    if (code >= 0)
        return code;
    if (!to)
        return args_wrong(&command, "where to? write --to D2");
    if (place.engine_name && kv_engine_find(place.engine_name, &engine) == KV_OK && !(engine->can & KV_CHECKPOINT))
        return args_wrong(&command, "engine %s does not offer checkpoints; \"assay engines\" tells which do", engine->name);
    if (is_there(to))
        return args_wrong(&command, "--to: %s is there already: write a name that is not taken, or an empty directory", to);
    if (place.dir && kv_checkpoint_check(place.dir, to) != KV_OK)
        return args_wrong(&command, "--to: %s", fail_text());
    if ((code = open_place(&place, false)) < 0)
        code = close_place(&place, kv_checkpoint(place.session, to));
    return code;
}

/* Dump. */

struct dumping {
    const char *path;
    kv_status   status; /* KV_MISMATCH as long as nobody knows the file */
};

static void try_dump(void *arg, const char *name, const struct kv_engine *engine)
{
    struct dumping *dumping = arg;

    (void)name;
    if (engine && engine->dump && dumping->status == KV_MISMATCH)
        dumping->status = engine->dump(dumping->path, stdout);
}

static kv_status dump_snapshot(FILE *file)
{
    struct snapshot_reader reader;
    slice                  key, value;
    uint64_t               count = 0;
    kv_status              status = snapshot_reader_open(&reader, fileno(file));

    if (status == KV_OK)
        puts("snapshot stream\nrecord\tvalue bytes\tkey");
    while (status == KV_OK && (status = snapshot_reader_next(&reader, &key, &value)) == KV_OK) {
        printf("%" PRIu64 "\t%zu\t", count++, value.size);
        print_bytes(stdout, key, false);
        putchar('\n');
    }
    snapshot_reader_free(&reader);
    if (status == KV_NOT_FOUND)
        printf("whole: %" PRIu64 " records\n", count);
    return status == KV_NOT_FOUND ? KV_OK : status;
}

static kv_status dump_identity(const char *path, FILE *file)
{
    char   text[STOREDIR_IDENTITY_BYTES];
    size_t size = fread(text, 1, sizeof text, file);

    if (ferror(file))
        return kv_fail_errno("cannot read %s", path);
    TRY(storedir_check_identity(path, text, size));
    fwrite(text, 1, size, stdout);
    return KV_OK;
}

static int (*const other_dumps[])(const char *path) = {
#define X(name) dump_##name,
    DUMP_LIST(X)
#undef X
};

/* The kinds of files that belong to no engine: a snapshot stream, and the text that says whose a directory is. */
static kv_status dump_common(const char *path)
{
    char      start[16] = "";
    FILE     *file = fopen(path, "re");
    kv_status status = KV_MISMATCH;

    if (!file)
        return kv_fail_errno("cannot read %s", path);
    if (fread(start, 1, sizeof start, file) == sizeof start && memcmp(start, "ASSAYSNP", 8) == 0) {
        lseek(fileno(file), 0, SEEK_SET); /* the reader goes by the descriptor */
        status = dump_snapshot(file);
    } else if (memcmp(start, "assay store ", 12) == 0) {
        rewind(file);
        status = dump_identity(path, file);
    }
    fclose(file);
    return status;
}

/* An identity whose first bytes are damaged, or cut off, is known by its name. */
static kv_status dump_by_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    FILE       *file;
    kv_status   status;

    if (strcmp(slash ? slash + 1 : path, STOREDIR_IDENTITY) != 0)
        return KV_MISMATCH;
    if (!(file = fopen(path, "re")))
        return kv_fail_errno("cannot read %s", path);
    status = dump_identity(path, file);
    fclose(file);
    return status;
}

int command_dump(int argc, char **argv)
{
    const struct arg         options[] = {{0}};
    const struct arg_command command = {
        "assay dump", "FILE", "Prints one file of a store, a snapshot stream or the trace of a crash test, for people: every record, and where it\n"
        "is damaged.  "
        "The file says itself what it is; nothing is changed.", options, "  assay dump store/00000001.log\n"};
    struct arg_list          words = {0};
    struct dumping           dumping = {0};
    struct stat              info;
    int                      code = args_parse(&command, argc, argv, &words);

    if (code >= 0)
        return code;
    if (words.count != 1)
        return args_wrong(&command, "which file? write one FILE");
    dumping.path = words.item[0];
    if (stat(dumping.path, &info) != 0)
        return args_wrong(&command, "cannot read %s: %s", dumping.path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return args_wrong(&command, "%s is no regular file; \"assay scan\" looks into a store", dumping.path);
    for (size_t i = 0; i < sizeof other_dumps / sizeof *other_dumps; i++) {
        if ((code = other_dumps[i](dumping.path)) >= 0) {
            if (code > 0)
                fprintf(stderr, "assay dump: %s\n", fail_text());
            return code;
        }
    }
    /* These go by what is in the file alone; an engine knows a damaged file of its own by the name too. */
    dumping.status = dump_common(dumping.path);
    kv_engine_each(try_dump, &dumping);
    if (dumping.status == KV_MISMATCH)
        dumping.status = dump_by_name(dumping.path);
    if (dumping.status == KV_MISMATCH)
        return args_wrong(&command, "%s is no file that an engine here writes, and no snapshot stream", dumping.path);
    fflush(stdout);
    if (dumping.status != KV_OK)
        fprintf(stderr, "assay dump: %s\n", fail_text());
    return kv_status_exit(dumping.status);
}
