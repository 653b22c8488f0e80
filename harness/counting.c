/* counting.c -- system calls by name and allocations of a whole process, between two marks. */
#include "harness/counting.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/reg.h>
#include <unistd.h>

#include "common/fail.h"
#include "harness/preload/alloc.h"
#include "harness/traced.h"
#include "results/result.h"

static const char *const call_names[COUNTING_CALLS_MAX] = {
#define X(number, name) [number] = name,
#include "syscall-names.h" /* generated from the kernel's headers */
#undef X
};

/* The tracer. */

/* A sanitizer brings its own malloc, and a library before it would break it. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAN_PRELOAD 0
#else
#define CAN_PRELOAD 1
#endif

/* Beside the executable, as the build leaves it, or in ../lib/assay, as an installation does. */
static bool find_preload(char *out, size_t out_bytes)
{
    char    exe[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", exe, sizeof exe - 1);

    if (!CAN_PRELOAD || size <= 0)
        return false;
    exe[size] = '\0';
    *strrchr(exe, '/') = '\0';
    snprintf(out, out_bytes, "%s/libassay-alloc.so", exe);
    if (access(out, R_OK) != 0)
        snprintf(out, out_bytes, "%s/../lib/assay/libassay-alloc.so", exe);
    return access(out, R_OK) == 0;
}

static bool count_call(void *arg, pid_t thread)
{
    struct counting_page *page = arg;
    long                  number;

    if (!page->counting)
        return false;
    errno = 0;
    number = ptrace(PTRACE_PEEKUSER, thread, (void *)(sizeof(long) * ORIG_RAX), NULL);
    if (errno == 0 && number >= 0 && number < COUNTING_CALLS_MAX)
        page->calls[number]++;
    return false;
}

int counting_trace(void *arg)
{
    struct counting_start *start = arg;
    char                   preload[PATH_MAX + 64];
    struct traced traced = {.argv = start->argv, .variable = start->variable, .entered = count_call, .arg = start->page};

    if (find_preload(preload, sizeof preload))
        traced.preload = preload;
    return traced_main(&traced);
}

/* The counted process. */

static struct alloc_counts at_begin;
static uint64_t            calls_at_begin[COUNTING_CALLS_MAX];

static const struct alloc_counts *allocations(void)
{
    return dlsym(RTLD_DEFAULT, ALLOC_COUNTS_SYMBOL);
}

static bool calls_counted;

void counting_begin(struct counting_page *page)
{
    const struct alloc_counts *now = allocations();

    if (now)
        at_begin = *now;
    calls_counted = page && (calls_counted || traced_stop_at(NULL, 0)); /* filters stay, and a second one would stop twice */
    for (int i = 0; calls_counted && i < COUNTING_CALLS_MAX; i++)
        calls_at_begin[i] = page->calls[i];
    if (calls_counted)
        page->counting = 1;
}

void counting_end(struct counting_page *page, struct counts *out)
{
    const struct alloc_counts *now = allocations();

    *out = (struct counts){.has_calls = calls_counted, .has_allocations = now != NULL};
    if (calls_counted)
        page->counting = 0;
    for (int i = 0; calls_counted && i < COUNTING_CALLS_MAX; i++)
        out->calls[i] = page->calls[i] - calls_at_begin[i];
    if (!now)
        return;
    out->allocations = now->allocations - at_begin.allocations;
    out->frees = now->frees - at_begin.frees;
    out->allocated_bytes = now->allocated_bytes - at_begin.allocated_bytes;
}

static void set_count(json_t *meters, json_t *per_op, const char *name, bool known, uint64_t value, double ops)
{
    json_object_set_new(meters, name, known ? json_integer((json_int_t)value) : json_null());
    json_object_set_new(per_op, name, known ? result_ratio((double)value, ops) : json_null());
}

void counting_fill(json_t *phase, const struct counts *counts)
{
    double   ops = (double)json_integer_value(json_object_get(phase, "ops"));
    json_t  *meters = json_object(), *per_op = json_object();
    json_t *names = counts->has_calls ? json_object() : json_null(),
           *shares = counts->has_calls ? json_object() : json_null();
    uint64_t total = 0;

    for (int i = 0; i < COUNTING_CALLS_MAX; i++) {
        char number[16];

        if (!counts->calls[i])
            continue;
        total += counts->calls[i];
        snprintf(number, sizeof number, "%d", i);
        json_object_set_new(names, call_names[i] ? call_names[i] : number, json_integer((json_int_t)counts->calls[i]));
        json_object_set_new(shares, call_names[i] ? call_names[i] : number,
                            result_ratio((double)counts->calls[i], ops));
    }
    set_count(meters, per_op, "syscalls", counts->has_calls, total, ops);
    json_object_set_new(meters, "syscalls_by_name", names);
    json_object_set_new(per_op, "syscalls_by_name", shares);
    set_count(meters, per_op, "allocations", counts->has_allocations, counts->allocations, ops);
    set_count(meters, per_op, "frees", counts->has_allocations, counts->frees, ops);
    set_count(meters, per_op, "allocated_bytes", counts->has_allocations, counts->allocated_bytes, ops);
    json_object_set_new(phase, "meters", meters);
    json_object_set_new(phase, "per_op", per_op);
}
