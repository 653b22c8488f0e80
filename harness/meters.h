/*
 * meters.h -- what the process and the machine used between two readings.
 *
 * Counters of the whole process and of those that it started, so background threads are in, and an engine that is a server.
 * Whatever the system does not tell is KV_UNKNOWN and becomes null.  A reading costs some 30 us, and 1 ms where there are other
 * processes: take it outside of timed stretches.  One thread at a time.
 */
#ifndef ASSAY_HARNESS_METERS_H
#define ASSAY_HARNESS_METERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* name in "meters", name in "per_op" */
#define METERS_LIST(X)                                 \
    X(cpu_user_ns,          "cpu_user_ns")             \
    X(cpu_system_ns,        "cpu_system_ns")           \
    X(minor_faults,         "minor_faults")            \
    X(major_faults,         "major_faults")            \
    X(voluntary_switches,   "voluntary_switches")      \
    X(involuntary_switches, "involuntary_switches")    \
    X(rchar,                "rchar")                   \
    X(wchar,                "wchar")                   \
    X(syscr,                "read_calls")              \
    X(syscw,                "write_calls")             \
    X(read_bytes,           "read_bytes")              \
    X(write_bytes,          "write_bytes")             \
    X(device_read_bytes,    "device_read_bytes")       \
    X(device_write_bytes,   "device_write_bytes")      \
    X(device_flushes,       "device_flushes")

struct meters {
#define X(name, per_op) uint64_t name;
    METERS_LIST(X)
#undef X
};

/* device: what facts_device_path() found, NULL: no device counters. */
void meters_read(struct meters *out, const char *device);
/* end - begin, field by field; unknown where either is. */
struct meters meters_delta(const struct meters *begin, const struct meters *end);
json_t *meters_json(const struct meters *delta);
/* Null when ops is 0. */
json_t *meters_per_op_json(const struct meters *delta, uint64_t ops);

/* The machine over the time of a cell: what others did to it. */
struct machine {
    uint64_t at_ns;
    uint64_t total_ticks, busy_ticks, steal_ticks;
    uint64_t psi_cpu_us, psi_io_us;
    uint64_t own_cpu_ns; /* of this process and of the children that it has reaped */
    double   load_average; /* negative: unknown */
};

void machine_read(struct machine *out);
/* The object "contamination".  Read the end after the cell was reaped, so that its processor time counts as our own. */
json_t *machine_json(const struct machine *begin, const struct machine *end, uint64_t gap_max_ns);

/* Peak resident memory of this process and those that it started, pages that they share counted for each, KV_UNKNOWN when /proc does not tell. */
uint64_t meters_peak_memory_bytes(void);

#endif
