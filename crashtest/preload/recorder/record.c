/* record.c -- one record after the other, while there is room. */
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "common/clock.h"
#include "crashtest/preload/recorder/inside.h"

static struct trace *records;
static bool          wanted;

static __thread uint16_t thread_number; /* 0: has none yet */

void record_start(struct trace *trace, bool are_wanted)
{
    records = trace;
    wanted = are_wanted;
}

void record_forked(void)
{
    thread_number = 0;
}

bool record_wanted(void)
{
    return wanted && process_mode == MODE_AWAKE;
}

struct trace *record_trace(void)
{
    return records;
}

void record_room(uint64_t payload_bytes)
{
    if (!record_wanted() || records->capacity_bytes - records->used_bytes >= trace_record_bytes(payload_bytes))
        return;
    records->full = 1;
    process_kill();
}

struct trace_record *record_begin(enum trace_kind kind, uint32_t file, unsigned flags, uint64_t payload_bytes)
{
    struct trace_record *rec;

    record_room(payload_bytes);
    rec = trace_begin(records, kind, payload_bytes);
    if (thread_number == 0)
        thread_number = (uint16_t)++shared->threads;
    rec->thread = (uint16_t)(thread_number - 1);
    rec->time_ns = clock_now_ns();
    rec->file = file;
    rec->flags = (uint8_t)flags;
    return rec;
}

void record_end(struct trace_record *rec)
{
    trace_end(records, rec);
}

void record_range(enum trace_kind kind, uint32_t file, unsigned flags, uint64_t offset, uint64_t length)
{
    struct trace_record *rec;

    if (!record_wanted())
        return;
    rec = record_begin(kind, file, flags, 0);
    rec->offset = offset;
    rec->length = length;
    record_end(rec);
}

void record_name(enum trace_kind kind, uint32_t file, unsigned flags, uint32_t dir, const char *name, size_t name_bytes,
                 uint32_t dir2, const char *name2, size_t name2_bytes, uint64_t length)
{
    struct trace_record *rec;
    unsigned char       *at;

    if (!record_wanted())
        return;
    rec = record_begin(kind, file, flags, name_bytes + 1 + (name2 ? name2_bytes + 1 : 0));
    rec->dir = dir;
    rec->dir2 = dir2;
    rec->length = length;
    rec->name_bytes = (uint16_t)name_bytes;
    at = rec->payload;
    memcpy(at, name, name_bytes);
    at[name_bytes] = '\0';
    if (name2) {
        rec->name2_bytes = (uint16_t)name2_bytes;
        memcpy(at + name_bytes + 1, name2, name2_bytes);
        at[name_bytes + 1 + name2_bytes] = '\0';
    }
    record_end(rec);
}

void record_sync(enum trace_kind kind, uint32_t file, unsigned flags, uint64_t covers, uint64_t offset, uint64_t length)
{
    struct trace_record *rec;

    if (!record_wanted())
        return;
    rec = record_begin(kind, file, flags, 0);
    rec->covers = (uint32_t)covers;
    rec->offset = offset;
    rec->length = length;
    record_end(rec);
}

void record_unsupported(const char *call)
{
    if (process_mode != MODE_AWAKE)
        return;
    if (__atomic_fetch_add(&records->unsupported, 1, __ATOMIC_RELAXED) == 0)
        strncpy(records->unsupported_call, call, sizeof records->unsupported_call - 1);
    record_name(TRACE_NOTE, 0, 0, 0, call, strlen(call), 0, NULL, 0, 0);
}
