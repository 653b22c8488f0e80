/*
 * ops.c -- one thread's stream of operations.
 *
 * A block is made in passes, each of which touches one thing: kinds, key numbers, keys, value fills, value checks.  So
 * each loop is small enough to be pipelined, its generator stays in registers, and nothing is read that was stored just
 * before.  Each kind of draw (kind, key, size, scan length) has a generator of its own, so that the n-th operation does
 * not depend on how the stream is cut into blocks, and two phases with the same key draws ask for the same keys whatever
 * their mixes.
 */
#include "workloads/ops.h"

#include <stdlib.h>

#include "common/fail.h"
#include "workloads/key.h"
#include "workloads/keys.h"
#include "workloads/value_fill.h"

#define HASHED_OPS 65536

#define KIND_STREAM UINT64_C(0x6b696e64) /* set the generators of one seed apart */
#define SIZE_STREAM UINT64_C(0x73697a65)
#define SCAN_STREAM UINT64_C(0x7363616e)
#define LOAD_STREAM UINT64_C(0x6c6f6164)

struct ops {
    const struct workload *workload;
    uint32_t     thread;
    size_t       phase;
    uint64_t     inserts;  /* made so far, in all phases */
    uint64_t     sequence; /* of the next value: phase + 1 (load: 0) above bit 40, the operation's position below */
    uint64_t     loaded;   /* records of this thread's share that the load has made */

    uint32_t     kind_count; /* kinds with a share, and where each one's share ends, in 2^-64 */
    uint8_t      kind[OP_KINDS];
    uint64_t     kind_end[OP_KINDS];
    struct rng   kind_rng, size_rng, scan_rng, load_size_rng;
    struct keys  keys;
    struct zipf  size_zipf;
    uint32_t     fixed_random_bytes;

    struct op   *block;
    uint32_t    *writer;      /* positions in the block of the operations that carry a value */
    char        *key_arena, *value_arena;
    size_t       block_count; /* room in block, writer and key_arena, in operations */
    size_t       value_bytes; /* room in value_arena */
    bool         sizes_only;  /* values have a size and no bytes: for whoever looks at the stream alone */
};

static const uint8_t writes_value[OP_KINDS] = {[OP_UPDATE] = 1, [OP_INSERT] = 1, [OP_RMW] = 1};

struct ops *ops_new(const struct workload *workload, uint32_t thread)
{
    struct ops *ops = calloc(1, sizeof *ops);

    if (!ops) {
        fail_set("no memory for a stream of operations");
        return NULL;
    }
    ops->workload = workload;
    ops->thread   = thread;
    rng_seed(&ops->load_size_rng, workload->seed ^ LOAD_STREAM, thread);
    if (workload->value_bytes_min >= VALUE_BYTES_FULL)
        ops->fixed_random_bytes = value_random_bytes(workload->value_bytes_min, workload->compressibility);
    if ((workload->value_size == SIZE_ZIPFIAN &&
         !zipf_init(&ops->size_zipf, workload->value_bytes_max - workload->value_bytes_min + 1,
                    workload->value_exponent)) ||
        !ops_begin_phase(ops, 0)) {
        ops_free(ops);
        return NULL;
    }
    return ops;
}

void ops_free(struct ops *ops)
{
    if (!ops)
        return;
    keys_free(&ops->keys);
    zipf_free(&ops->size_zipf);
    free(ops->block);
    free(ops->writer);
    free(ops->key_arena);
    free(ops->value_arena);
    free(ops);
}

/* Which phase's key draws this phase uses. */
static size_t key_stream(const struct workload *workload, size_t phase)
{
    while (phase > 0 && workload->phases[phase].repeat_keys)
        phase--;
    return phase;
}

bool ops_begin_phase(struct ops *ops, size_t number)
{
    const struct workload *workload = ops->workload;
    const struct phase    *phase    = &workload->phases[number];
    uint64_t               stream   = (uint64_t)number << 32 | ops->thread;
    size_t                 source   = key_stream(workload, number);
    double                 end      = 0;

    ops->phase      = number;
    ops->sequence   = ((uint64_t)number + 1) << 40;
    ops->kind_count = 0;
    for (int kind = 0; kind < OP_KINDS; kind++) {
        if (phase->mix[kind] <= 0)
            continue;
        end += phase->mix[kind];
        ops->kind[ops->kind_count]       = (uint8_t)kind;
        ops->kind_end[ops->kind_count++] = end >= 1 ? UINT64_MAX : (uint64_t)(end * 0x1p64);
    }
    rng_seed(&ops->kind_rng, workload->seed ^ KIND_STREAM, stream);
    rng_seed(&ops->size_rng, workload->seed ^ SIZE_STREAM, stream);
    rng_seed(&ops->scan_rng, workload->seed ^ SCAN_STREAM, stream);
    keys_free(&ops->keys);
    return keys_init(&ops->keys, workload, &workload->phases[source].keys, source, ops->thread);
}

static bool reserve_block(struct ops *ops, size_t count)
{
    if (count <= ops->block_count)
        return true;
    free(ops->block);
    free(ops->writer);
    free(ops->key_arena);
    ops->block       = malloc(count * sizeof *ops->block);
    ops->writer      = malloc(count * sizeof *ops->writer);
    ops->key_arena   = malloc(count * key_room(ops->workload));
    ops->block_count = ops->block && ops->writer && ops->key_arena ? count : 0;
    if (!ops->block_count)
        fail_set("no memory for a block of %zu operations", count);
    return ops->block_count != 0;
}

static bool reserve_values(struct ops *ops, size_t bytes)
{
    if (bytes <= ops->value_bytes)
        return true;
    free(ops->value_arena);
    ops->value_arena = malloc(bytes);
    ops->value_bytes = ops->value_arena ? bytes : 0;
    if (!ops->value_bytes)
        fail_set("no memory for %zu bytes of values; smaller values or smaller blocks will do", bytes);
    return ops->value_bytes != 0;
}

static void draw_kinds(struct ops *ops, struct op *block, size_t count)
{
    struct rng rng  = ops->kind_rng;
    uint32_t   last = ops->kind_count - 1;

    if (last == 0) {
        for (size_t i = 0; i < count; i++)
            block[i] = (struct op){.kind = ops->kind[0]};
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t random = rng_u64(&rng);
        uint32_t row    = 0;

        for (uint32_t j = 0; j < last; j++)
            row += random >= ops->kind_end[j];
        block[i] = (struct op){.kind = ops->kind[row]};
    }
    ops->kind_rng = rng;
}

/* Every operation draws a key, needed or not, so that the draws of two phases stay in step. */
static bool draw_keys(struct ops *ops, struct op *block, size_t count)
{
    const struct workload *workload = ops->workload;
    bool                   latest   = ops->keys.distribution.kind == DISTRIBUTION_LATEST;

    if (workload->records && !latest)
        keys_draw(&ops->keys, &block[0].key_number, sizeof *block, count);
    if (workload->records && !latest && workload->phases[ops->phase].mix[OP_INSERT] <= 0)
        return true;
    for (size_t i = 0; i < count; i++) {
        if (latest && workload->records && !keys_draw_latest(&ops->keys, ops->inserts, &block[i].key_number))
            return false;
        if (block[i].kind == OP_INSERT)
            block[i].key_number = workload->records + ops->thread + ops->inserts++ * workload->threads;
    }
    return true;
}

static void encode_keys(struct ops *ops, struct op *block, size_t count)
{
    struct workload shape = *ops->workload; /* a copy, which the compiler knows the loop does not change */
    char           *at    = ops->key_arena;
    uint32_t        room  = key_room(&shape);

    for (size_t i = 0; i < count; i++, at += room)
        block[i].key = slice_of(at, key_encode(&shape, block[i].key_number, block[i].kind == OP_MISS, at));
}

static uint32_t draw_size(const struct ops *ops, struct rng *rng)
{
    const struct workload *workload = ops->workload;

    switch (workload->value_size) {
    case SIZE_UNIFORM:
        return workload->value_bytes_min +
               (uint32_t)rng_below(rng, workload->value_bytes_max - workload->value_bytes_min + 1);
    case SIZE_ZIPFIAN:
        return workload->value_bytes_min + (uint32_t)zipf_draw(&ops->size_zipf, rng) - 1;
    default:
        return workload->value_bytes_min;
    }
}

/* The writers' positions first: reads and writes in random order would make each loop guess wrong half of the time.
 * Then the sizes, because the arena must not move once a value lies in it. */
static bool make_values(struct ops *ops, struct op *block, size_t count, uint64_t sequence, struct rng *sizes)
{
    const struct workload *workload = ops->workload;
    size_t                 bytes = 64, writers = 0; /* the last value's fill may write this far past it */
    uint32_t               random_bytes = ops->fixed_random_bytes;
    char                  *at;

    for (size_t i = 0; i < count; i++) {
        ops->writer[writers] = (uint32_t)i;
        writers += writes_value[block[i].kind];
    }
    for (size_t i = 0; i < writers; i++) {
        struct op *op = &block[ops->writer[i]];

        op->value.size = draw_size(ops, sizes);
        bytes += (op->value.size + 7) & ~(size_t)7;
    }
    if (ops->sizes_only)
        return true;
    if (!reserve_values(ops, bytes))
        return false;
    at = ops->value_arena;
    for (size_t i = 0; i < writers; i++) {
        struct op *op   = &block[ops->writer[i]];
        uint32_t   size = (uint32_t)op->value.size;

        op->value.data = at;
        if (size >= VALUE_BYTES_FULL) {
            if (workload->value_size != SIZE_FIXED)
                random_bytes = value_random_bytes(size, workload->compressibility);
            value_fill(at, size, random_bytes, op->key, ops->thread, sequence + ops->writer[i], false);
        } else {
            value_make(at, size, op->key, ops->thread, sequence + ops->writer[i], workload->compressibility);
        }
        at += (size + 7) & ~UINT32_C(7);
    }
    at = ops->value_arena;
    for (size_t i = 0; i < writers; i++) {
        uint32_t size = (uint32_t)block[ops->writer[i]].value.size;

        if (size >= VALUE_BYTES_FULL)
            value_seal(at, size);
        at += (size + 7) & ~UINT32_C(7);
    }
    return true;
}

static void draw_scans(struct ops *ops, struct op *block, size_t count)
{
    const struct phase *phase = &ops->workload->phases[ops->phase];

    if (phase->mix[OP_SCAN] <= 0)
        return;
    for (size_t i = 0; i < count; i++)
        if (block[i].kind == OP_SCAN)
            block[i].scan_records = phase->scan_records_min +
                                    (uint32_t)rng_below(&ops->scan_rng, 1 + phase->scan_records_max - phase->scan_records_min);
}

const struct op *ops_next(struct ops *ops, size_t count)
{
    if (!reserve_block(ops, count))
        return NULL;
    draw_kinds(ops, ops->block, count);
    if (!draw_keys(ops, ops->block, count))
        return NULL;
    draw_scans(ops, ops->block, count);
    encode_keys(ops, ops->block, count);
    if (!make_values(ops, ops->block, count, ops->sequence, &ops->size_rng))
        return NULL;
    ops->sequence += count;
    return ops->block;
}

size_t ops_next_load(struct ops *ops, const struct op **out, size_t count)
{
    const struct workload *workload = ops->workload;
    uint64_t share = workload_share(workload, workload->records, ops->thread), left = share - ops->loaded;

    if (count > left)
        count = (size_t)left;
    if (count == 0)
        return 0;
    if (!reserve_block(ops, count))
        return SIZE_MAX;
    for (size_t i = 0; i < count; i++)
        ops->block[i] = (struct op){
            .kind = OP_INSERT, .key_number = ops->thread + (ops->loaded + i) * workload->threads,
        };
    encode_keys(ops, ops->block, count);
    if (!make_values(ops, ops->block, count, ops->loaded, &ops->load_size_rng))
        return SIZE_MAX;
    ops->loaded += count;
    *out = ops->block;
    return count;
}

uint64_t ops_hash(const struct workload *workload, uint32_t thread)
{
    struct ops   *ops = ops_new(workload, thread);
    XXH3_state_t *state = XXH3_createState();
    uint64_t      hash = 0;

    if (!ops || !state)
        goto out;
    XXH3_64bits_reset(state);
    ops->sizes_only = true; /* or 65,536 values of 256 MiB would be made, and not looked at */
    for (size_t phase = 0; phase < workload->phase_count; phase++) {
        if (!ops_begin_phase(ops, phase))
            goto out;
        for (size_t done = 0; done < HASHED_OPS; done += 64) {
            const struct op *block = ops_next(ops, 64);

            if (!block)
                goto out;
            for (size_t i = 0; i < 64; i++) {
                uint64_t numbers[] = {block[i].kind, block[i].value.size, block[i].scan_records};
                XXH3_64bits_update(state, numbers, sizeof numbers);
                XXH3_64bits_update(state, block[i].key.data, block[i].key.size);
            }
        }
    }
    hash = XXH3_64bits_digest(state);
out:
    XXH3_freeState(state);
    ops_free(ops);
    return hash;
}
