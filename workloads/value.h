/*
 * value.h -- values that describe themselves, so that any read can be judged alone.
 *
 * value := check:u64 key_hash:u32 size:u32 writer:u32 sequence:u48.. fill; smaller values keep as much of it as fits (the
 * .c says what is checked at which size).  The fill is compressible to the workload's share.
 */
#ifndef ASSAY_WORKLOADS_VALUE_H
#define ASSAY_WORKLOADS_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "engines/base/slice.h"

enum value_verdict { VALUE_GOOD, VALUE_TORN, VALUE_OF_ANOTHER_KEY };

/* Fills size bytes.  (writer, sequence) name this write; the same arguments give the same bytes. */
void value_make(void *out, uint32_t size, slice key, uint32_t writer, uint64_t sequence, double compressibility);
/* Judges a value by itself.  With key.size 0 the key is not looked at. */
enum value_verdict value_check(slice key, slice value);
/* Who wrote it; false when the value is too small (below 24 bytes) to tell. */
bool value_origin(slice value, uint32_t *writer, uint64_t *sequence);

#endif
