/*
 * value.h -- values that describe themselves, so that any read can be judged alone.
 *
 * value := check:u64 key_hash:u32 writer:u32 sequence:u64 fill   (little-endian; check is XXH3 of all that follows)
 * Values below 24 bytes keep as much as fits; value.c says what is checked at which size.  The fill is compressible
 * to the workload's share.
 */
#ifndef ASSAY_WORKLOADS_VALUE_H
#define ASSAY_WORKLOADS_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "engines/base/slice.h"

#define VALUE_BYTES_FULL 24 /* from this size on a value tells key, writer and sequence */

enum value_verdict { VALUE_GOOD, VALUE_TORN, VALUE_OF_ANOTHER_KEY };

/* Fills size bytes.  (writer, sequence) name this write; the same arguments give the same bytes. */
void value_make(void *out, uint32_t size, slice key, uint32_t writer, uint64_t sequence, double compressibility);
/* Judges a value by itself.  With key.size 0 the key is not looked at (and a value below 24 bytes not at all). */
enum value_verdict value_check(slice key, slice value);
/* Who wrote it; false when the value is too small to tell.  Meaningful for values that value_check found good. */
bool value_origin(slice value, uint32_t *writer, uint64_t *sequence);

#endif
