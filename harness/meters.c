/* meters.c -- counters of the process and what it started (getrusage, /proc/self/io), of the disk and of the machine. */
#include "harness/meters.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "engines/engine.h"

#define SECTOR_BYTES 512 /* of /sys/block: always, whatever the device's own sectors are */

static uint64_t timeval_ns(struct timeval t)
{
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_usec * NS_PER_US;
}

static void add(uint64_t *sum, uint64_t value)
{
    *sum = *sum == KV_UNKNOWN ? value : *sum + value;
}

/* Of a process and the children that it has reaped. */
static void add_io(struct meters *out, pid_t pid)
{
    char     path[64], name[64];
    FILE    *stream;
    uint64_t value;

    snprintf(path, sizeof path, "/proc/%d/io", (int)pid);
    stream = fopen(path, "re");
    while (stream && fscanf(stream, "%63[^:]: %" SCNu64 " ", name, &value) == 2) {
        if (strcmp(name, "rchar") == 0)
            add(&out->rchar, value);
        else if (strcmp(name, "wchar") == 0)
            add(&out->wchar, value);
        else if (strcmp(name, "syscr") == 0)
            add(&out->syscr, value);
        else if (strcmp(name, "syscw") == 0)
            add(&out->syscw, value);
        else if (strcmp(name, "read_bytes") == 0)
            add(&out->read_bytes, value);
        else if (strcmp(name, "write_bytes") == 0)
            add(&out->write_bytes, value);
    }
    if (stream)
        fclose(stream);
}

/* Processes that this one started, and those that they started: an engine may be a server. */

#define DESCENDANTS_MAX 64

struct process {
    pid_t    pid, parent;
    uint64_t minor_faults, major_faults, user_ticks, system_ticks; /* its own and those of children that it reaped */
};

static bool read_process(pid_t pid, struct process *out)
{
    char          path[64], text[1024], *rest;
    FILE         *stream;
    size_t        size;
    int           parent;
    unsigned long minor_, minor_reaped, major_, major_reaped, user, system_, user_reaped, system_reaped;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (!(stream = fopen(path, "re")))
        return false;
    size = fread(text, 1, sizeof text - 1, stream);
    fclose(stream);
    text[size] = '\0';
    rest = strrchr(text, ')'); /* behind the name, which may hold anything */
    if (!rest || sscanf(rest + 1, " %*c %d %*d %*d %*d %*d %*u %lu %lu %lu %lu %lu %lu %lu %lu", &parent, &minor_, &minor_reaped,
                        &major_, &major_reaped, &user, &system_, &user_reaped, &system_reaped) != 9)
        return false;
    *out = (struct process){pid, parent, minor_ + minor_reaped, major_ + major_reaped, user + user_reaped, system_ + system_reaped};
    return true;
}

/* Whether this process has a child at all: a look at all processes costs a millisecond. */
static bool has_children(void)
{
    siginfo_t info;

    return waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) == 0;
}

static size_t descendants(struct process out[DESCENDANTS_MAX])
{
    static struct process all[4096];
    size_t                all_count = 0, count = 0;
    DIR                  *proc;
    pid_t                 self = getpid();

    if (!has_children() || !(proc = opendir("/proc")))
        return 0;
    for (struct dirent *entry; (entry = readdir(proc)) && all_count < sizeof all / sizeof *all;) {
        pid_t pid = (pid_t)atoi(entry->d_name);

        all_count += pid > 0 && read_process(pid, &all[all_count]);
    }
    closedir(proc);
    for (size_t known = 0, i; known <= count && count < DESCENDANTS_MAX; known++) {
        pid_t parent = known == 0 ? self : out[known - 1].pid;

        for (i = 0; i < all_count && count < DESCENDANTS_MAX; i++)
            if (all[i].parent == parent)
                out[count++] = all[i];
    }
    return count;
}

/* The sum over a process's threads of a line of their status. */
static void add_switches(struct meters *out, pid_t pid)
{
    char           path[320], line[128];
    DIR           *tasks;
    uint64_t       value;
    struct dirent *entry;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    tasks = opendir(path);
    while (tasks && (entry = readdir(tasks))) {
        FILE *stream;

        snprintf(path, sizeof path, "/proc/%d/task/%s/status", (int)pid, entry->d_name);
        stream = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
        while (stream && fgets(line, sizeof line, stream)) {
            if (sscanf(line, "voluntary_ctxt_switches: %" SCNu64, &value) == 1)
                add(&out->voluntary_switches, value);
            else if (sscanf(line, "nonvoluntary_ctxt_switches: %" SCNu64, &value) == 1)
                add(&out->involuntary_switches, value);
        }
        if (stream)
            fclose(stream);
    }
    if (tasks)
        closedir(tasks);
}

static void add_descendants(struct meters *out)
{
    struct process list[DESCENDANTS_MAX];
    size_t         count = descendants(list);
    uint64_t       tick_ns = NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);

    for (size_t i = 0; i < count; i++) {
        add(&out->cpu_user_ns, list[i].user_ticks * tick_ns);
        add(&out->cpu_system_ns, list[i].system_ticks * tick_ns);
        add(&out->minor_faults, list[i].minor_faults);
        add(&out->major_faults, list[i].major_faults);
        add_switches(out, list[i].pid);
        add_io(out, list[i].pid);
    }
}

/* Documentation/admin-guide/iostats.rst: sectors read and written are fields 3 and 7, flushes (since Linux 5.5) 16. */
static void read_device(struct meters *out, const char *device)
{
    char     path[PATH_MAX];
    uint64_t field[17] = {0};
    FILE    *stream;
    int      count = 0;

    snprintf(path, sizeof path, "%s/stat", device);
    if (!(stream = fopen(path, "re")))
        return;
    while (count < 17 && fscanf(stream, "%" SCNu64, &field[count]) == 1)
        count++;
    fclose(stream);
    if (count >= 7) {
        out->device_read_bytes = field[2] * SECTOR_BYTES;
        out->device_write_bytes = field[6] * SECTOR_BYTES;
    }
    if (count >= 16)
        out->device_flushes = field[15];
}

void meters_read(struct meters *out, const char *device)
{
    struct rusage usage;

#define X(name, per_op) out->name = KV_UNKNOWN;
    METERS_LIST(X)
#undef X
    for (int who = 0; who < 2; who++) {
        if (getrusage(who ? RUSAGE_CHILDREN : RUSAGE_SELF, &usage) != 0)
            continue;
        add(&out->cpu_user_ns, timeval_ns(usage.ru_utime));
        add(&out->cpu_system_ns, timeval_ns(usage.ru_stime));
        add(&out->minor_faults, (uint64_t)usage.ru_minflt);
        add(&out->major_faults, (uint64_t)usage.ru_majflt);
        add(&out->voluntary_switches, (uint64_t)usage.ru_nvcsw);
        add(&out->involuntary_switches, (uint64_t)usage.ru_nivcsw);
    }
    add_io(out, getpid());
    add_descendants(out);
    if (device)
        read_device(out, device);
}

struct meters meters_delta(const struct meters *begin, const struct meters *end)
{
    struct meters delta;

#define X(name, per_op) \
    delta.name = begin->name == KV_UNKNOWN || end->name == KV_UNKNOWN || end->name < begin->name ? KV_UNKNOWN \
                                                                                                  : end->name - begin->name;
    METERS_LIST(X)
#undef X
    return delta;
}

json_t *meters_json(const struct meters *delta)
{
    json_t *object = json_object();

#define X(name, per_op) \
    json_object_set_new(object, #name, delta->name == KV_UNKNOWN ? json_null() : json_integer((json_int_t)delta->name));
    METERS_LIST(X)
#undef X
    return object;
}

json_t *meters_per_op_json(const struct meters *delta, uint64_t ops)
{
    json_t *object;

    if (ops == 0)
        return json_null();
    object = json_object();
#define X(name, per_op)                                                                        \
    json_object_set_new(object, per_op, delta->name == KV_UNKNOWN ? json_null()                \
                                                                  : json_real((double)delta->name / (double)ops));
    METERS_LIST(X)
#undef X
    return object;
}

static uint64_t peak_of(pid_t pid)
{
    char     path[64], line[256];
    FILE    *stream;
    uint64_t kib, found = KV_UNKNOWN;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    stream = fopen(path, "re");
    while (stream && fgets(line, sizeof line, stream)) {
        if (sscanf(line, "VmHWM: %" SCNu64, &kib) == 1)
            found = kib * 1024;
    }
    if (stream)
        fclose(stream);
    return found;
}

uint64_t meters_peak_memory_bytes(void)
{
    struct process list[DESCENDANTS_MAX];
    size_t         count = descendants(list);
    uint64_t       sum = peak_of(getpid());

    for (size_t i = 0; i < count && sum != KV_UNKNOWN; i++) {
        uint64_t peak = peak_of(list[i].pid);

        sum += peak == KV_UNKNOWN ? 0 : peak;
    }
    return sum;
}

/* The machine. */

static uint64_t pressure_us(const char *path)
{
    FILE    *stream = fopen(path, "re");
    char     line[256];
    uint64_t total = KV_UNKNOWN;

    while (stream && fgets(line, sizeof line, stream)) {
        char *at = strstr(line, "total=");
        if (strncmp(line, "some", 4) == 0 && at)
            total = strtoull(at + 6, NULL, 10);
    }
    if (stream)
        fclose(stream);
    return total;
}

void machine_read(struct machine *out)
{
    FILE         *stream = fopen("/proc/stat", "re");
    uint64_t      t[8] = {0};
    struct rusage usage;

    *out = (struct machine){.at_ns = clock_now_ns(), .total_ticks = KV_UNKNOWN, .load_average = -1};
    if (stream) {
        /* user nice system idle iowait irq softirq steal */
        if (fscanf(stream,
                   "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                   &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]) == 8) {
            out->total_ticks = t[0] + t[1] + t[2] + t[3] + t[4] + t[5] + t[6] + t[7];
            out->busy_ticks = t[0] + t[1] + t[2] + t[5] + t[6];
            out->steal_ticks = t[7];
        }
        fclose(stream);
    }
    out->psi_cpu_us = pressure_us("/proc/pressure/cpu");
    out->psi_io_us = pressure_us("/proc/pressure/io");
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        out->own_cpu_ns = timeval_ns(usage.ru_utime) + timeval_ns(usage.ru_stime);
    if (getrusage(RUSAGE_CHILDREN, &usage) == 0)
        out->own_cpu_ns += timeval_ns(usage.ru_utime) + timeval_ns(usage.ru_stime);
    if (getloadavg(&out->load_average, 1) != 1)
        out->load_average = -1;
}

static json_t *share(double part, double whole)
{
    double value = whole > 0 ? part / whole : 0;

    return json_real(value < 0 ? 0 : value > 1 ? 1 : value);
}

json_t *machine_json(const struct machine *begin, const struct machine *end, uint64_t gap_max_ns)
{
    json_t *object = json_pack("{s:n, s:n, s:n, s:n, s:o, s:I}", "steal_share", "other_cpu_share", "psi_cpu_share",
                               "psi_io_share", "load_average",
                               begin->load_average < 0 ? json_null() : json_real(begin->load_average), "gap_max_ns",
                               (json_int_t)gap_max_ns);
    double wall_us = (double)(end->at_ns - begin->at_ns) / (double)NS_PER_US;

    if (begin->total_ticks != KV_UNKNOWN && end->total_ticks != KV_UNKNOWN) {
        double total = (double)(end->total_ticks - begin->total_ticks);
        double tick_ns = (double)NS_PER_S / (double)sysconf(_SC_CLK_TCK);
        double own = (double)(end->own_cpu_ns - begin->own_cpu_ns) / tick_ns;

        json_object_set_new(object, "steal_share", share((double)(end->steal_ticks - begin->steal_ticks), total));
        json_object_set_new(object, "other_cpu_share",
                            share((double)(end->busy_ticks - begin->busy_ticks) - own, total));
    }
    if (begin->psi_cpu_us != KV_UNKNOWN && end->psi_cpu_us != KV_UNKNOWN)
        json_object_set_new(object, "psi_cpu_share", share((double)(end->psi_cpu_us - begin->psi_cpu_us), wall_us));
    if (begin->psi_io_us != KV_UNKNOWN && end->psi_io_us != KV_UNKNOWN)
        json_object_set_new(object, "psi_io_share", share((double)(end->psi_io_us - begin->psi_io_us), wall_us));
    return object;
}
