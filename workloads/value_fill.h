/*
 * value_fill.h -- the two halves of value_make, apart: ops.c fills all values of a block before it seals the first, because a
 * checksum that reads what was stored just before waits for the store buffer.
 */
#ifndef ASSAY_WORKLOADS_VALUE_FILL_H
#define ASSAY_WORKLOADS_VALUE_FILL_H

#include <stdint.h>

#include "workloads/value.h"

#define VALUE_ROOM(size) (((size_t)(size) + 63) / 64 * 64 + VALUE_BYTES_FULL) /* what value_fill may write to */

/* How many of the bytes behind the head cannot be compressed. */
uint32_t value_random_bytes(uint32_t size, double compressibility);
/* All but the check; may write up to VALUE_ROOM(size) bytes.  size >= VALUE_BYTES_FULL. */
void value_fill(void *out, uint32_t size, uint32_t random_bytes, slice key, uint32_t writer, uint64_t sequence);
/* The check. */
void value_seal(void *out, uint32_t size);

#endif
