/* meters.c -- counters of the process (getrusage, /proc/self/io), of the disk and of the machine. */
#include "harness/meters.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "engines/engine.h"

#define SECTOR_BYTES 512 /* of /sys/block: always, whatever the device's own sectors are */

static uint64_t timeval_ns(struct timeval t)
{
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_usec * NS_PER_US;
}

static void read_io(struct meters *out)
{
    FILE    *stream = fopen("/proc/self/io", "re");
    char     name[64];
    uint64_t value;

    while (stream && fscanf(stream, "%63[^:]: %" SCNu64 " ", name, &value) == 2) {
        if (strcmp(name, "rchar") == 0)
            out->rchar = value;
        else if (strcmp(name, "wchar") == 0)
            out->wchar = value;
        else if (strcmp(name, "syscr") == 0)
            out->syscr = value;
        else if (strcmp(name, "syscw") == 0)
            out->syscw = value;
        else if (strcmp(name, "read_bytes") == 0)
            out->read_bytes = value;
        else if (strcmp(name, "write_bytes") == 0)
            out->write_bytes = value;
    }
    if (stream)
        fclose(stream);
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
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        out->cpu_user_ns = timeval_ns(usage.ru_utime);
        out->cpu_system_ns = timeval_ns(usage.ru_stime);
        out->minor_faults = (uint64_t)usage.ru_minflt;
        out->major_faults = (uint64_t)usage.ru_majflt;
        out->voluntary_switches = (uint64_t)usage.ru_nvcsw;
        out->involuntary_switches = (uint64_t)usage.ru_nivcsw;
    }
    read_io(out);
    if (device)
        read_device(out, device);
}

struct meters meters_delta(const struct meters *begin, const struct meters *end)
{
    struct meters delta;

#define X(name, per_op) \
    delta.name = begin->name == KV_UNKNOWN || end->name == KV_UNKNOWN ? KV_UNKNOWN : end->name - begin->name;
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

uint64_t meters_peak_memory_bytes(void)
{
    FILE    *stream = fopen("/proc/self/status", "re");
    char     line[256];
    uint64_t kib, found = KV_UNKNOWN;

    while (stream && fgets(line, sizeof line, stream)) {
        if (sscanf(line, "VmHWM: %" SCNu64, &kib) == 1)
            found = kib * 1024;
    }
    if (stream)
        fclose(stream);
    return found;
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
