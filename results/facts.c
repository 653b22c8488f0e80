#include "results/facts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "build-facts.h" /* generated: FACTS_VERSION, _GIT, _DIRTY, _COMPILER, _CFLAGS, _SANITIZER */
#include "common/clock.h"

/* The first line of a small file, without its end; NULL when it cannot be read. */
static char *line_of(const char *path, char *out, size_t out_bytes)
{
    FILE *stream = fopen(path, "re");
    char *got;

    if (!stream)
        return NULL;
    got = fgets(out, (int)out_bytes, stream);
    fclose(stream);
    if (got)
        out[strcspn(out, "\n")] = '\0';
    return got;
}

static json_t *line_json(const char *path)
{
    char line[256];

    return line_of(path, line, sizeof line) ? json_string(line) : json_null();
}

static json_t *number_json(const char *path)
{
    char line[64], *end;
    long number;

    if (!line_of(path, line, sizeof line))
        return json_null();
    number = strtol(line, &end, 10);
    return end != line ? json_integer(number) : json_null();
}

/* What follows "name" and a separator in a file of such lines ("model name : X", "MemTotal: X kB", "PRETTY_NAME=X"). */
static json_t *field_json(const char *path, const char *name)
{
    FILE   *stream = fopen(path, "re");
    char    line[512];
    json_t *found = NULL;
    size_t  length = strlen(name);

    while (stream && !found && fgets(line, sizeof line, stream)) {
        char *value = line + length;

        if (strncmp(line, name, length) != 0)
            continue;
        value += strspn(value, " \t:=\"");
        value[strcspn(value, "\"\n")] = '\0';
        found = json_string(value);
    }
    if (stream)
        fclose(stream);
    return found ? found : json_null();
}

bool facts_file_xxh3(const char *path, char out[17])
{
    int         fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    void       *bytes;

    if (fd < 0)
        return false;
    if (fstat(fd, &stat) != 0 || stat.st_size == 0 ||
        (bytes = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED) {
        close(fd);
        return false;
    }
    snprintf(out, 17, "%016llx", (unsigned long long)XXH3_64bits(bytes, (size_t)stat.st_size));
    munmap(bytes, (size_t)stat.st_size);
    close(fd);
    return true;
}

json_t *facts_build(void)
{
    char hash[17];

    return json_pack("{s:s, s:s?, s:b, s:s, s:s, s:s?, s:s?}", "version", FACTS_VERSION, "git",
                     *FACTS_GIT ? FACTS_GIT : NULL, "dirty", FACTS_DIRTY, "compiler", FACTS_COMPILER, "cflags",
                     FACTS_CFLAGS, "sanitizer", *FACTS_SANITIZER ? FACTS_SANITIZER : NULL, "binary_xxh3",
                     facts_file_xxh3("/proc/self/exe", hash) ? hash : NULL);
}

/* Clocks. */

static json_t *clock_json(void)
{
    struct timespec resolution = {0};
    uint64_t        best = UINT64_MAX;

    /* The cheapest of some tries is what a call costs when nothing else gets in its way. */
    for (int attempt = 0; attempt < 8; attempt++) {
        uint64_t begin = clock_now_ns(), end = begin;

        for (int i = 0; i < 1000; i++)
            end = clock_now_ns();
        if (end - begin < best)
            best = end - begin;
    }
    clock_getres(CLOCK_MONOTONIC, &resolution);
    return json_pack("{s:o, s:f, s:I}", "source",
                     line_json("/sys/devices/system/clocksource/clocksource0/current_clocksource"), "cost_ns",
                     (double)best / 1000.0, "resolution_ns",
                     (json_int_t)(resolution.tv_sec * 1000000000L + resolution.tv_nsec));
}

/* File system and device. */

bool facts_fs_is_memory(const char *dir)
{
    struct statfs fs;

    return statfs(dir, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

bool facts_device_path(const char *dir, char *out, size_t out_bytes)
{
    struct stat stat_;
    char        link[64], path[PATH_MAX], probe[PATH_MAX + 16];

    if (stat(dir, &stat_) != 0 || major(stat_.st_dev) == 0)
        return false;
    snprintf(link, sizeof link, "/sys/dev/block/%u:%u", major(stat_.st_dev), minor(stat_.st_dev));
    if (!realpath(link, path))
        return false;
    snprintf(probe, sizeof probe, "%s/partition", path);
    if (access(probe, F_OK) == 0) /* flushes and queue settings belong to the disk, not to its partition */
        *strrchr(path, '/') = '\0';
    return snprintf(out, out_bytes, "%s", path) < (int)out_bytes;
}

static json_t *device_json(const char *dir)
{
    char path[PATH_MAX], file[PATH_MAX + 32];

    if (!facts_device_path(dir, path, sizeof path))
        return json_null();
#define OF_QUEUE(read, name) (snprintf(file, sizeof file, "%s/queue/%s", path, name), read(file))
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "name", strrchr(path, '/') + 1, "rotational",
                     OF_QUEUE(number_json, "rotational"), "scheduler", OF_QUEUE(line_json, "scheduler"), "write_cache",
                     OF_QUEUE(line_json, "write_cache"), "fua", OF_QUEUE(number_json, "fua"));
#undef OF_QUEUE
}

/* The mount that holds dir: the line of mountinfo with its device number, the last one mounted. */
static json_t *fs_json(const char *dir)
{
    FILE       *stream = fopen("/proc/self/mountinfo", "re");
    struct stat stat_;
    char       *line = NULL, wanted[32];
    size_t      line_bytes = 0;
    json_t     *found = NULL;

    if (!stream || stat(dir, &stat_) != 0) {
        if (stream)
            fclose(stream);
        return json_null();
    }
    snprintf(wanted, sizeof wanted, "%u:%u", major(stat_.st_dev), minor(stat_.st_dev));
    while (getline(&line, &line_bytes, stream) > 0) {
        char *save = NULL, *word = strtok_r(line, " ", &save);
        char *number = NULL, *options = NULL;

        for (int field = 0; word && strcmp(word, "-") != 0; field++, word = strtok_r(NULL, " ", &save)) {
            if (field == 2)
                number = word;
            if (field == 5)
                options = word;
        }
        if (!word || !number || strcmp(number, wanted) != 0)
            continue;
        word = strtok_r(NULL, " ", &save);
        json_decref(found);
        found = json_pack("{s:s?, s:s?}", "type", word, "mount_options", options);
    }
    free(line);
    fclose(stream);
    return found ? found : json_null();
}

static json_t *memory_json(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    return pages > 0 && page > 0 ? json_integer((json_int_t)pages * page) : json_null();
}

json_t *facts_host(const char *dir)
{
    struct utsname name;
    json_t        *kernel = uname(&name) == 0 ? json_string(name.release) : json_null();
    bool           v2 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
    bool           v1 = access("/sys/fs/cgroup/memory", F_OK) == 0;

    return json_pack("{s:o, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "kernel", kernel, "distro",
                     field_json("/etc/os-release", "PRETTY_NAME"), "cpu_model",
                     field_json("/proc/cpuinfo", "model name"), "cores", (int)sysconf(_SC_NPROCESSORS_ONLN),
                     "memory_bytes", memory_json(), "governor",
                     line_json("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"), "thp",
                     line_json("/sys/kernel/mm/transparent_hugepage/enabled"), "aslr",
                     number_json("/proc/sys/kernel/randomize_va_space"), "clock", clock_json(), "fs", fs_json(dir),
                     "device", device_json(dir), "cgroup",
                     v2   ? json_string("v2")
                     : v1 ? json_string("v1")
                          : json_null());
}
