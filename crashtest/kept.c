#include "crashtest/kept.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/fail.h"
#include "crashtest/tree.h"

#define MAGIC   "ASSAYHST"
#define VERSION 2u

/* history.bin := header, ops, writes, the values before; sum covers all that follows it and the counts. */
struct header {
    char     magic[8];
    uint32_t version;
    uint32_t keys;
    uint64_t op_count, write_count;
    uint64_t sum;
};

static char *path_of(char out[PATH_MAX], const char *dir, const char *name)
{
    snprintf(out, PATH_MAX, "%s/%s", dir, name);
    return out;
}

static uint64_t sum_of(const struct header *header, const struct history_record *record,
                       const struct history_value *before)
{
    XXH3_state_t state;

    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, &header->version, sizeof header->version + sizeof header->keys);
    XXH3_64bits_update(&state, &header->op_count, 2 * sizeof header->op_count);
    XXH3_64bits_update(&state, record->ops, record->op_count * sizeof *record->ops);
    XXH3_64bits_update(&state, record->writes, record->write_count * sizeof *record->writes);
    XXH3_64bits_update(&state, before, header->keys * sizeof *before);
    return XXH3_64bits_digest(&state);
}

static bool save_history(const struct kept *kept, const char *dir)
{
    const struct history_record *record = &kept->record;
    struct header header = {.magic = MAGIC, .version = VERSION, .keys = kept->key_count, .op_count = record->op_count,
                            .write_count = record->write_count};
    char  path[PATH_MAX];
    FILE *file = fopen(path_of(path, dir, "history.bin"), "we");
    bool  good;

    if (!file) {
        fail_set("cannot write %s: %s", path, strerror(errno));
        return false;
    }
    header.sum = sum_of(&header, record, kept->before);
    good = fwrite(&header, sizeof header, 1, file) == 1 &&
           fwrite(record->ops, sizeof *record->ops, record->op_count, file) == record->op_count &&
           fwrite(record->writes, sizeof *record->writes, record->write_count, file) == record->write_count &&
           fwrite(kept->before, sizeof *kept->before, kept->key_count, file) == kept->key_count;
    if (fclose(file) != 0 || !good) {
        fail_set("cannot write %s: %s", path, strerror(errno));
        return false;
    }
    return true;
}

static bool save_text(const struct kept *kept, const char *dir)
{
    char  path[PATH_MAX], tier[KV_DURABILITY_TEXT_MAX];
    FILE *file = fopen(path_of(path, dir, "verdict.txt"), "we");

    if (!file) {
        fail_set("cannot write %s: %s", path, strerror(errno));
        return false;
    }
    fprintf(file, "%s: %s\n\nengine    %s, durability %s\nexpected  %s\nfound     %s\nwhy       %s\nreplay    assay crash --replay %s\n",
            verdict_word(kept->verdict.verdict), verdict_meaning(kept->verdict.verdict), kept->engine,
            kv_durability_text(kept->durability, tier), kept->verdict.expected, kept->verdict.found, kept->verdict.why, dir);
    return fclose(file) == 0;
}

static bool save_run(const struct kept *kept, const char *dir)
{
    char    path[PATH_MAX], tier[KV_DURABILITY_TEXT_MAX];
    json_t *options = json_object();
    json_t *run = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:I, s:I, s:s, s:s, s:s, s:s, s:o}", "schema", "assay-kept/1",
        "engine", kept->engine, "durability", kv_durability_text(kept->durability, tier), "crash",
        kept->crash == ORACLE_POWER ? "power" : "kill", "profile", kept->profile, "keys", (json_int_t)kept->key_count,
        "key_bytes_max", (json_int_t)kept->key_bytes_max, "seed", (json_int_t)kept->seed, "life", (json_int_t)kept->life,
        "abrupt", kept->abrupt, "death_ns", (json_int_t)kept->death_ns, "timeout_ns", (json_int_t)kept->timeout_ns,
        "verdict", verdict_word(kept->verdict.verdict), "expected", kept->verdict.expected, "found", kept->verdict.found,
        "why", kept->verdict.why, "options", options);
    bool    good;

    for (uint32_t i = 0; i < kept->option_count; i++)
        json_object_set_new(options, kept->option_name[i], json_string(kept->option_value[i]));
    good = run && json_dump_file(run, path_of(path, dir, "run.json"), JSON_INDENT(2) | JSON_SORT_KEYS) == 0;
    json_decref(run);
    if (!good)
        fail_set("cannot write %s/run.json", dir);
    return good;
}

bool kept_save(const struct kept *kept, const char *image_dir, const char *dir)
{
    char image[PATH_MAX];

    if (mkdir(dir, 0777) != 0) {
        fail_set("cannot make %s: %s", dir, strerror(errno));
        return false;
    }
    return save_run(kept, dir) && save_history(kept, dir) && save_text(kept, dir) &&
           tree_copy(image_dir, path_of(image, dir, "image"));
}

/* Loading. */

static bool copy_text(char *out, size_t bytes, const char *text)
{
    if (!text || strlen(text) >= bytes)
        return false;
    strcpy(out, text);
    return true;
}

static bool load_run(const char *dir, struct kept *kept)
{
    char         path[PATH_MAX];
    json_error_t error;
    json_t      *run = json_load_file(path_of(path, dir, "run.json"), JSON_REJECT_DUPLICATES, &error), *options, *value;
    const char  *engine, *durability, *crash, *profile, *verdict, *name;
    json_int_t   keys, key_bytes, seed, life, death_ns, timeout_ns;
    int          abrupt;
    bool         good;

    if (!run) {
        if (error.line < 0)
            fail_set("no failure is kept in \"%s\": %s; give the directory of one", dir, error.text);
        else
            fail_set("%s line %d: %s; give the directory of a kept failure", path, error.line, error.text);
        return false;
    }
    good = json_unpack_ex(run, &error, 0, "{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:I, s:I, s:s, s:o}", "engine",
                          &engine, "durability", &durability, "crash", &crash, "profile", &profile, "keys", &keys,
                          "key_bytes_max", &key_bytes, "seed", &seed, "life", &life, "abrupt", &abrupt, "death_ns",
                          &death_ns, "timeout_ns", &timeout_ns, "verdict", &verdict, "options", &options) == 0;
    if (!good) {
        fail_set("%s: %s", path, error.text);
    } else if (!copy_text(kept->engine, sizeof kept->engine, engine) ||
               !copy_text(kept->profile, sizeof kept->profile, profile) || keys < 1 || keys > KEYSPACE_MAX ||
               key_bytes < 1 || key_bytes > (json_int_t)KV_KEY_BYTES_MAX || timeout_ns < 0 || !json_is_object(options) ||
               json_object_size(options) > KV_OPTIONS_MAX || (strcmp(crash, "kill") != 0 && strcmp(crash, "power") != 0)) {
        fail_set("%s: a field is out of range", path);
        good = false;
    } else {
        good = kv_durability_parse(durability, &kept->durability) == KV_OK;
        kept->crash         = strcmp(crash, "power") == 0 ? ORACLE_POWER : ORACLE_KILL;
        kept->key_count     = (uint32_t)keys;
        kept->key_bytes_max = (uint32_t)key_bytes;
        kept->seed          = (uint64_t)seed;
        kept->life          = (uint32_t)life;
        kept->abrupt        = abrupt;
        kept->death_ns      = (uint64_t)death_ns;
        kept->timeout_ns    = (uint64_t)timeout_ns;
        for (enum verdict v = 0; v < VERDICT_COUNT; v++)
            if (strcmp(verdict, verdict_word(v)) == 0)
                kept->verdict.verdict = v;
        json_object_foreach(options, name, value) {
            good = good && copy_text(kept->option_name[kept->option_count], KEPT_TEXT_MAX, name) &&
                   copy_text(kept->option_value[kept->option_count], KV_OPTION_TEXT_MAX, json_string_value(value));
            kept->option_count++;
        }
    }
    json_decref(run);
    return good;
}

/* Numbers that are used as indexes or kinds. */
static bool sane(const struct kept *kept)
{
    const struct history_record *record = &kept->record;

    for (size_t i = 0; i < record->op_count; i++) {
        const struct history_op *op = &record->ops[i];
        bool reads = op->kind == HISTORY_READ || op->kind == HISTORY_MODIFY;
        if (op->kind > HISTORY_SYNC || op->session >= HISTORY_SESSIONS_MAX || (reads && op->key >= kept->key_count) ||
            op->first_write > record->write_count || op->write_count > record->write_count - op->first_write)
            return false;
    }
    for (size_t i = 0; i < record->write_count; i++)
        if (record->writes[i].key >= kept->key_count)
            return false;
    return true;
}

static bool load_history(const char *dir, struct kept *kept)
{
    struct history_record *record = &kept->record;
    struct header          header;
    struct stat            about;
    char                   path[PATH_MAX];
    FILE                  *file = fopen(path_of(path, dir, "history.bin"), "re");
    bool                   good = false;

    if (!file || fstat(fileno(file), &about) != 0) {
        fail_set("cannot read %s: %s", path, strerror(errno));
        goto out;
    }
    fail_set("%s is not a whole history of this program", path);
    if (fread(&header, sizeof header, 1, file) != 1 || memcmp(header.magic, MAGIC, 8) != 0 || header.version != VERSION ||
        header.keys != kept->key_count || header.op_count > (uint64_t)about.st_size / sizeof *record->ops ||
        header.write_count > (uint64_t)about.st_size / sizeof *record->writes ||
        (uint64_t)about.st_size != sizeof header + header.op_count * sizeof *record->ops +
                                       header.write_count * sizeof *record->writes + header.keys * sizeof *kept->before)
        goto out;
    record->op_count    = header.op_count;
    record->write_count = header.write_count;
    record->ops         = malloc(header.op_count * sizeof *record->ops + 1);
    record->writes      = malloc(header.write_count * sizeof *record->writes + 1);
    kept->before        = malloc(header.keys * sizeof *kept->before + 1);
    good = record->ops && record->writes && kept->before &&
           fread(record->ops, sizeof *record->ops, record->op_count, file) == record->op_count &&
           fread(record->writes, sizeof *record->writes, record->write_count, file) == record->write_count &&
           fread(kept->before, sizeof *kept->before, header.keys, file) == header.keys &&
           sum_of(&header, record, kept->before) == header.sum && sane(kept);
out:
    if (file)
        fclose(file);
    return good;
}

bool kept_load(const char *dir, struct kept *out)
{
    memset(out, 0, sizeof *out);
    return load_run(dir, out) && load_history(dir, out);
}

void kept_free(struct kept *kept)
{
    history_record_free(&kept->record);
    free(kept->before);
    kept->before = NULL;
}
