/* alloc.h -- what the preloaded library has counted since the process began.  Counted for all threads, relaxed. */
#ifndef ASSAY_HARNESS_PRELOAD_ALLOC_H
#define ASSAY_HARNESS_PRELOAD_ALLOC_H

#include <stdint.h>

struct alloc_counts {
    uint64_t allocations, frees, allocated_bytes;
};

#define ALLOC_COUNTS_SYMBOL "assay_alloc_counts"

#endif
