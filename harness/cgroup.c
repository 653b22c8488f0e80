#include "harness/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fail.h"

static bool put_text(const char *dir, const char *file, const char *text)
{
    char path[640];
    int  fd;
    bool good;

    snprintf(path, sizeof path, "%s/%s", dir, file);
    if ((fd = open(path, O_WRONLY | O_CLOEXEC)) < 0) {
        fail_set("cannot write %s: %s", path, strerror(errno));
        return false;
    }
    good = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (!good)
        fail_set("cannot write %s to %s: %s", text, path, strerror(errno));
    close(fd);
    return good;
}

/* Where this process stands: the line of the memory controller (v1) or the line "0::" (v2). */
static bool own_path(bool v2, char *out, size_t out_bytes)
{
    FILE *stream = fopen("/proc/self/cgroup", "re");
    char  line[512];
    bool  found = false;

    while (stream && !found && fgets(line, sizeof line, stream)) {
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;

        if (!path)
            continue;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        if (v2 ? controllers[1] == '\0' : strcmp(controllers + 1, "memory") == 0)
            found = snprintf(out, out_bytes, "%s", strcmp(path, "/") == 0 ? "" : path) < (int)out_bytes;
    }
    if (stream)
        fclose(stream);
    return found;
}

static bool is_dir(const char *path)
{
    struct stat stat_;

    return stat(path, &stat_) == 0 && S_ISDIR(stat_.st_mode);
}

static bool make_v1(struct cgroup *group, const char *limit)
{
    char own[256], path[400];

    if (!own_path(false, own, sizeof own))
        return false;
    snprintf(path, sizeof path, "/sys/fs/cgroup/memory%s", own);
    /* In a container the path is often that of the host, and what is mounted is our own part of it. */
    if (!is_dir(path))
        snprintf(path, sizeof path, "/sys/fs/cgroup/memory");
    snprintf(group->path, sizeof group->path, "%s/assay-%d", path, (int)getpid());
    if (mkdir(group->path, 0755) != 0) {
        fail_set("cannot make %s: %s", group->path, strerror(errno));
        return false;
    }
    group->version = 1;
    if (!put_text(group->path, "memory.limit_in_bytes", limit))
        return false;
    put_text(group->path, "memory.memsw.limit_in_bytes", limit); /* where swap is accounted */
    return true;
}

static bool make_v2(struct cgroup *group, const char *limit)
{
    char own[256], path[400];

    if (!own_path(true, own, sizeof own))
        return false;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s", own);
    if (!is_dir(path))
        snprintf(path, sizeof path, "/sys/fs/cgroup");
    /* A group with processes cannot give controllers to its children, so the new one stands beside us. */
    if (*own && strrchr(path, '/') > path + strlen("/sys/fs/cgroup") - 1)
        *strrchr(path, '/') = '\0';
    snprintf(group->path, sizeof group->path, "%s/assay-%d", path, (int)getpid());
    if (mkdir(group->path, 0755) != 0) {
        fail_set("cannot make %s: %s", group->path, strerror(errno));
        return false;
    }
    group->version = 2;
    if (!put_text(group->path, "memory.max", limit))
        return false;
    put_text(group->path, "memory.swap.max", "0"); /* where there is swap */
    return true;
}

bool cgroup_make(struct cgroup *group, uint64_t memory_bytes)
{
    char limit[32];
    bool made;

    *group = (struct cgroup){0};
    snprintf(limit, sizeof limit, "%" PRIu64, memory_bytes);
    fail_set("there is no memory controller below /sys/fs/cgroup");
    if (is_dir("/sys/fs/cgroup/memory"))
        made = make_v1(group, limit);
    else
        made = access("/sys/fs/cgroup/cgroup.controllers", R_OK) == 0 && make_v2(group, limit);
    if (!made)
        cgroup_remove(group);
    return made;
}

bool cgroup_enter(const struct cgroup *group)
{
    return put_text(group->path, "cgroup.procs", "0");
}

void cgroup_remove(struct cgroup *group)
{
    /* The kernel needs a moment after the last process was reaped. */
    for (int attempt = 0; *group->path && attempt < 50; attempt++) {
        if (rmdir(group->path) == 0 || errno == ENOENT)
            break;
        clock_sleep_until_ns(clock_now_ns() + 10 * NS_PER_MS);
    }
    *group = (struct cgroup){0};
}
