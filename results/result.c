#include "results/result.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/child.h"
#include "common/clock.h"
#include "common/fail.h"
#include "results/facts.h"

static uint64_t started_ns; /* of the one result that a process makes */

/* Sorts by time, and two runs that start in the same second differ. */
static json_t *run_id(time_t now)
{
    char      text[48];
    uint32_t  random = 0;
    struct tm utc;

    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = (uint32_t)getpid();
    gmtime_r(&now, &utc);
    strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &utc);
    snprintf(text + strlen(text), sizeof text - strlen(text), "-%08" PRIx32, random);
    return json_string(text);
}

static json_t *utc_text(time_t now)
{
    char      text[32];
    struct tm utc;

    gmtime_r(&now, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_string(text);
}

/* Words of a command line may be any bytes, JSON only takes UTF-8. */
static json_t *text_json(const char *text)
{
    json_t *string = json_string(text);

    return string ? string : json_string("(not UTF-8)");
}

json_t *result_new(const char *kind, int argc, char **argv, const char *dir)
{
    time_t  now = time(NULL);
    json_t *command = json_array();

    started_ns = clock_now_ns();
    json_array_append_new(command, json_string("assay"));
    for (int i = 0; i < argc; i++)
        json_array_append_new(command, text_json(argv[i]));
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:[], s:n}", "schema", RESULT_SCHEMA, "kind", kind,
                     "run_id", run_id(now), "started_utc", utc_text(now), "command", command, "build", facts_build(),
                     "host", facts_host(dir ? dir : "."), "complete", 1, "warnings", "calibration");
}

void result_warn(json_t *object, const char *format, ...)
{
    char    text[512];
    va_list arguments;
    json_t *warnings = json_object_get(object, "warnings"), *old;
    size_t  i;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!warnings) {
        warnings = json_array();
        json_object_set_new(object, "warnings", warnings);
    }
    json_array_foreach(warnings, i, old) {
        if (strcmp(json_string_value(old), text) == 0)
            return;
    }
    json_array_append_new(warnings, text_json(text));
}

json_t *result_engine(const struct kv_engine *engine, const struct kv_config *config)
{
    json_t *capabilities = json_array(), *tiers = json_array(), *options = json_object(), *sizes = json_object(), *binary = json_null();
    char    text[KV_OPTION_TEXT_MAX], tier[KV_DURABILITY_TEXT_MAX], hash[17];
    Dl_info info;

    for (unsigned bit = 0; bit < KV_CAPABILITIES; bit++) {
        if (engine->can & (1u << bit))
            json_array_append_new(capabilities, json_string(kv_capability_word(bit)));
    }
    for (enum kv_tier t = 0; t < KV_TIER_COUNT; t++) {
        if (engine->tiers & KV_TIER_BIT(t))
            json_array_append_new(tiers, json_string(kv_tier_word(t)));
    }
    for (size_t row = 0; engine->options && engine->options[row].name; row++)
        json_object_set_new(engine->options[row].small ? sizes : options, engine->options[row].name,
                            text_json(kv_config_text(engine, config, row, text)));
    /* The executable's own name as the linker knows it may be relative; /proc is right also after a chdir. */
    if (dladdr(engine, &info) && info.dli_fname) {
        bool plugin = strstr(info.dli_fname, ".so") != NULL;
        if (facts_file_xxh3(plugin ? info.dli_fname : "/proc/self/exe", hash))
            binary = json_string(hash);
    }
    return json_pack("{s:s, s:s, s:s, s:s?, s:o, s:o, s:o, s:o, s:n, s:s, s:o, s:n, s:n}", "name", engine->name, "version",
                     engine->version, "summary", engine->summary, "licence", engine->licence, "capabilities", capabilities, "tiers", tiers,
                     "options", options, "sizes", sizes, "settings", "tier",
                     engine->can & KV_DURABLE ? kv_durability_text(config->durability, tier) : "volatile", "binary_xxh3",
                     binary, "verified", "tier_check");
}

static void add_setting(void *arg, const char *name, const char *value)
{
    json_object_set_new(arg, name, text_json(value));
}

json_t *result_settings(struct kv_store *store)
{
    json_t *settings;

    if (!store->engine->settings)
        return json_null();
    settings = json_object();
    kv_settings(store, add_setting, settings);
    return settings;
}

void result_publish(const json_t *json, int fd)
{
    char  *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
    size_t size = text ? strlen(text) : 0, done = 0;

    if (!text || ftruncate(fd, 0) != 0)
        goto out;
    while (done < size) {
        ssize_t wrote = pwrite(fd, text + done, size - done, (off_t)done);

        if (wrote < 0 && errno != EINTR)
            break;
        done += wrote > 0 ? (size_t)wrote : 0;
    }
out:
    free(text);
}

json_t *result_take(int fd)
{
    struct stat status;
    json_t     *json = NULL;
    void       *text;

    if (fstat(fd, &status) != 0 || status.st_size == 0)
        return NULL;
    text = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (text == MAP_FAILED)
        return NULL;
    json = json_loadb(text, (size_t)status.st_size, 0, NULL);
    munmap(text, (size_t)status.st_size);
    return json;
}

struct telling {
    const struct kv_engine *engine;
    const struct kv_config *config;
    int                     fd;
};

static int tell_settings(void *arg)
{
    struct telling  *telling = arg;
    struct kv_store *store;
    json_t          *settings;

    if (kv_open(telling->engine, telling->config, &store) != KV_OK)
        return 1;
    settings = result_settings(store);
    result_publish(settings, telling->fd);
    json_decref(settings);
    return kv_close(store) == KV_OK ? 0 : 1;
}

json_t *result_settings_of(const struct kv_engine *engine, const struct kv_config *config)
{
    struct telling telling = {engine, config, -1};
    json_t        *settings = NULL;
    pid_t          pid;

    if (engine->settings && (telling.fd = memfd_create("assay-settings", MFD_CLOEXEC)) >= 0 &&
        (pid = child_start(tell_settings, &telling)) > 0) {
        child_wait(pid, 60 * NS_PER_S);
        settings = result_take(telling.fd);
    }
    if (telling.fd >= 0)
        close(telling.fd);
    return settings ? settings : json_null();
}

bool result_write(json_t *result, struct outfile *file, bool complete)
{
    bool good;

    json_object_set_new(result, "wall_s", json_real((double)(clock_now_ns() - started_ns) / (double)NS_PER_S));
    json_object_set_new(result, "complete", json_boolean(complete));
    good = json_dumpf(result, file->stream, JSON_SORT_KEYS | JSON_INDENT(1) | JSON_REAL_PRECISION(17)) == 0 &&
           fputc('\n', file->stream) != EOF;
    json_decref(result);
    if (good)
        return outfile_commit(file);
    fail_set("cannot write %s: %s", file->path ? file->path : "to standard output",
             errno ? strerror(errno) : "no memory");
    outfile_discard(file);
    return false;
}

json_t *result_read(const char *path, const char *kind)
{
    json_error_t error;
    json_t      *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    const char  *schema, *found;

    if (!root) {
        struct stat status;

        if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
            fail_set("%s is a directory; name the results in it: %s/*.json", path, path);
        else if (error.line > 0)
            fail_set("%s, line %d, column %d: %s; the file is cut or is no result", path, error.line, error.column,
                     error.text);
        else
            fail_set("cannot read %s: %s", path, strerror(errno));
        return NULL;
    }
    schema = json_string_value(json_object_get(root, "schema"));
    found = json_string_value(json_object_get(root, "kind"));
    if (!schema || !found)
        fail_set("%s is no result of assay: it has no schema or no kind", path);
    else if (strcmp(schema, RESULT_SCHEMA) != 0)
        fail_set("%s has schema \"%s\"; this build reads %s", path, schema, RESULT_SCHEMA);
    else if (kind && strcmp(found, kind) != 0)
        fail_set("%s is a result of kind \"%s\"; a %s result is wanted", path, found, kind);
    else
        return root;
    json_decref(root);
    return NULL;
}

json_t *result_known(uint64_t value)
{
    return value == KV_UNKNOWN ? json_null() : json_integer((json_int_t)value);
}

json_t *result_ratio(double numerator, double denominator)
{
    double ratio = numerator / denominator;

    return denominator != 0 && isfinite(ratio) ? json_real(ratio) : json_null();
}
