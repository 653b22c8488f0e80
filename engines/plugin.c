/*
 * plugin.c -- finds engines by name: built-in ones, and plug-ins loaded with dlopen.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/words.h"
#include "engines/engine.h"

#define NAMES_MAX 128

/* What the wrappers rely on; a plug-in that breaks it would crash the program at its first call. */
static kv_status check_table(const char *path, const struct kv_engine *e)
{
    struct kv_config config;
    size_t           options = 0;

    if (!e->name || !*e->name || !e->version || !e->summary)
        return kv_fail(KV_INVALID, "plug-in %s: its table lacks name, version or summary", path);
    if (!e->open || !e->close || !e->session_open || !e->session_close || !e->put || !e->get || !e->del || !e->sync)
        return kv_fail(KV_INVALID, "plug-in %s: its table lacks one of open, close, session_open, session_close, put, get, del, sync",
                       path);
    if (((e->can & KV_BATCH) && !e->write) || ((e->can & KV_SCAN) && !e->scan) || ((e->can & KV_SNAPSHOT) && !e->snapshot) ||
        ((e->can & KV_COMPACT) && !e->compact) || ((e->can & KV_MODIFY) && !e->modify))
        return kv_fail(KV_INVALID, "plug-in %s claims write, scan, snapshot, compact or modify without the function", path);
    if ((e->can & KV_ORDERED) && !(e->can & KV_SCAN))
        return kv_fail(KV_INVALID, "plug-in %s claims ordered scans without scans", path);
    if (!(e->can & KV_DURABLE) != !e->tiers)
        return kv_fail(KV_INVALID, "plug-in %s: durability tiers belong to KV_DURABLE, and the other way round", path);
    if (!e->key_bytes_max || e->key_bytes_max > KV_KEY_BYTES_MAX || e->value_bytes_max > KV_VALUE_BYTES_MAX)
        return kv_fail(KV_INVALID, "plug-in %s: its limits are not within 1 to %u for keys and %u for values", path,
                       KV_KEY_BYTES_MAX, KV_VALUE_BYTES_MAX);
    for (const struct kv_option *option = e->options; option && option->name; option++, options++) {
        if (options == KV_OPTIONS_MAX || !option->fallback || !option->help || (option->type == KV_WORD && !option->words))
            return kv_fail(KV_INVALID, "plug-in %s: option %s lacks default, help or words, or is one too many", path, option->name);
        if (kv_config_set(e, &config, option->name, option->fallback) != KV_OK)
            return kv_fail(KV_INVALID, "plug-in %s: a default is refused by its own row: %s", path, fail_text());
    }
    return KV_OK;
}

static kv_status load(const char *path, const struct kv_engine **out)
{
    char                    full[PATH_MAX];
    void                   *library;
    const struct kv_engine *engine = NULL;
    kv_plugin_fn           *plugin;
    kv_status               status;

    /* dlopen looks a bare name up in the library path; a path with a slash is taken as it is. */
    if (!realpath(path, full))
        return kv_fail(KV_INVALID, "plug-in %s: %s", path, strerror(errno));
    library = dlopen(full, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return kv_fail(KV_INVALID, "plug-in %s does not load: %s", path, dlerror());
    *(void **)&plugin = dlsym(library, KV_PLUGIN_SYMBOL);
    if (!plugin)
        status = kv_fail(KV_INVALID, "plug-in %s exports no %s(); engines/plugins/skeleton.c shows how", path, KV_PLUGIN_SYMBOL);
    else if (!(engine = plugin()))
        status = kv_fail(KV_INVALID, "plug-in %s gives no engine", path);
    else if (engine->abi != KV_ABI)
        status = kv_fail(KV_INVALID, "plug-in %s was built for interface %u, this program has %u; build it again", path,
                         engine->abi, KV_ABI);
    else
        status = check_table(path, engine);
    if (status != KV_OK)
        dlclose(library);
    else
        *out = engine;
    return status;
}

/* Beside the program in a build, in ../lib/assay of an installed one. */
static const char *plugin_dir(char out[PATH_MAX])
{
    static const char *const places[] = {"plugins", "../lib/assay/plugins"};
    const char              *set = getenv("ASSAY_PLUGINS");
    char                    *slash;
    ssize_t                  size;

    if (set && *set)
        return set;
    size = readlink("/proc/self/exe", out, PATH_MAX - 32);
    if (size <= 0)
        return "plugins";
    out[size] = '\0';
    slash = strrchr(out, '/');
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        strcpy(slash ? slash + 1 : out, places[i]);
        if (access(out, F_OK) == 0)
            break;
    }
    return out;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* NAME of "NAME.so" and "NAME.missing"; 0 for other files. */
static size_t stem_bytes(const char *file)
{
    static const char *const endings[] = {".so", ".missing"};
    size_t                   size = strlen(file);

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t ending = strlen(endings[i]);
        if (size > ending && file[0] != '.' && strcmp(file + size - ending, endings[i]) == 0)
            return size - ending;
    }
    return 0;
}

/* The plug-ins of the folder, sorted, those that were not built too; the names are the caller's to free. */
static size_t plugin_names(const char *dir, char *names[NAMES_MAX])
{
    DIR           *folder = opendir(dir);
    struct dirent *entry;
    size_t         count = 0;

    while (folder && count < NAMES_MAX && (entry = readdir(folder))) {
        size_t size = stem_bytes(entry->d_name);
        if (size && (names[count] = strndup(entry->d_name, size)))
            count++;
    }
    if (folder)
        closedir(folder);
    qsort(names, count, sizeof *names, by_name);
    return count;
}

static kv_status load_named(const char *dir, const char *name, const struct kv_engine **out)
{
    char  path[PATH_MAX + 256], package[128] = "";
    FILE *missing;

    snprintf(path, sizeof path, "%s/%s.missing", dir, name);
    if ((missing = fopen(path, "r")) != NULL) {
        if (!fgets(package, sizeof package, missing))
            package[0] = '\0';
        package[strcspn(package, "\n")] = '\0';
        fclose(missing);
        return kv_fail(KV_INVALID, "engine %s is not built: %s is missing; make peers", name,
                       *package ? package : "its library");
    }
    snprintf(path, sizeof path, "%s/%s.so", dir, name);
    return load(path, out);
}

void kv_engine_each(void (*each)(void *arg, const char *name, const struct kv_engine *engine), void *arg)
{
    char        buffer[PATH_MAX], *names[NAMES_MAX];
    const char *dir = plugin_dir(buffer);
    size_t      count = plugin_names(dir, names);

    for (size_t i = 0; kv_engines[i]; i++)
        each(arg, kv_engines[i]->name, kv_engines[i]);
    for (size_t i = 0; i < count; i++) {
        const struct kv_engine *engine = NULL;
        each(arg, names[i], load_named(dir, names[i], &engine) == KV_OK ? engine : NULL);
        free(names[i]);
    }
}

kv_status kv_engine_find(const char *name, const struct kv_engine **out)
{
    char        buffer[PATH_MAX], *plugins[NAMES_MAX];
    const char *known[NAMES_MAX * 2];
    const char *dir = plugin_dir(buffer);
    size_t      size = strlen(name), count = 0, plugin_count;
    kv_status   status;

    *out = NULL;
    if (strchr(name, '/') || (size > 3 && strcmp(name + size - 3, ".so") == 0))
        return load(name, out);
    for (size_t i = 0; kv_engines[i]; i++) {
        if (strcmp(kv_engines[i]->name, name) == 0) {
            *out = kv_engines[i];
            return KV_OK;
        }
        known[count++] = kv_engines[i]->name;
    }
    plugin_count = plugin_names(dir, plugins);
    status = KV_NOT_FOUND;
    for (size_t i = 0; i < plugin_count; i++) {
        if (strcmp(plugins[i], name) == 0)
            status = load_named(dir, name, out);
        known[count++] = plugins[i];
    }
    if (status == KV_NOT_FOUND)
        status = kv_fail(KV_INVALID, "there is no engine \"%s\"%s", name, words_hint(name, known, count));
    for (size_t i = 0; i < plugin_count; i++)
        free(plugins[i]);
    return status;
}
