/* fuzz_trace.c -- a child may scribble over its trace: whatever settles is printed, and leads to a state or one sentence. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/fail.h"
#include "crashtest/state.h"

#define ROOM (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input is the records. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct trace *trace;
    static FILE         *nowhere;

    if (!trace) {
        trace = trace_create(ROOM);
        nowhere = fopen("/dev/null", "w");
    }
    if (!trace || !nowhere || size > ROOM)
        return 0;
    trace_reset(trace);
    memcpy(trace + 1, data, size);
    trace->used_bytes = size;
    fail_set("%s", "");
    if (!trace_settle(trace)) {
        assert(*fail_text());
        return 0;
    }
    trace_print(nowhere, trace, 0, trace->count);
    for (const struct disk_profile *profile = disk_profiles; profile->name; profile++) {
        for (uint64_t upto = 0; upto <= trace->count; upto += 1 + trace->count / 3) {
            struct state *state = state_make(trace, upto, size % 5, profile, size, NULL);

            if (state) {
                uint64_t      hash = state_hash(state);
                struct state *again = state_make(trace, upto, size % 5, profile, size, NULL);

                assert(again && state_hash(again) == hash);
                (void)hash;
                state_free(again);
            } else {
                assert(*fail_text());
            }
            state_free(state);
        }
    }
    return 0;
}
