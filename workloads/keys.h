/*
 * keys.h -- which key is asked for: draws of key numbers from a distribution.  One drawer belongs to one stream.
 *
 * Adding a distribution: a row in enum distribution_kind and in its words (workload.c), a case in keys_draw.
 */
#ifndef ASSAY_WORKLOADS_KEYS_H
#define ASSAY_WORKLOADS_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/rng.h"
#include "workloads/permute.h"
#include "workloads/workload.h"
#include "workloads/zipf.h"

struct keys {
    struct distribution distribution;
    uint64_t       records;
    uint32_t       thread, threads;
    struct rng     rng;
    struct permute permute;  /* ranks to key numbers, the same for all threads of a seed */
    struct zipf    zipf;     /* zipfian, latest */
    uint64_t       position; /* draws made: sequential, and the drift of a hot set */
    uint64_t       hot_keys;
    double         decay, reach; /* exponential: rate, and the share of the whole exponential below records */
};

/* False with fail_set() when memory is short.  stream: the phase whose draws these are. */
bool keys_init(struct keys *keys, const struct workload *workload, const struct distribution *distribution,
               size_t stream, uint32_t thread);
void keys_free(struct keys *keys);

/* The next `count` key numbers, each `stride` bytes after the one before.  Not for latest. */
void keys_draw(struct keys *keys, uint64_t *out, size_t stride, size_t count);

/* Latest: the next key number when the stream itself has inserted `inserts` keys so far; false when memory is
 * short. */
bool keys_draw_latest(struct keys *keys, uint64_t inserts, uint64_t *out);

#endif
