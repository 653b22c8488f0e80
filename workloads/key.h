/*
 * key.h -- the bytes of a key from its number: injective, and the same for every seed, so a store can be read again.
 *
 * Fixed size (8 bytes or more): the first 8 bytes are a bijection of the number, in no visible order or, for keys in
 * order, big-endian; the others are hashes of it, so that no byte is constant.  Short keys: numbers take the shortest
 * size that is free (128 keys of 1 byte, 32,768 of 2 ...), mixed within their size.  Existing keys have even codes
 * and missing ones odd codes, so a missing key lies among the others and never is one of them.
 */
#ifndef ASSAY_WORKLOADS_KEY_H
#define ASSAY_WORKLOADS_KEY_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/rng.h"
#include "workloads/workload.h"

#define KEY_NUMBER_MAX (UINT64_C(1) << 62)

/* Room for one key, whole words: key_encode writes up to here. */
static inline uint32_t key_room(const struct workload *workload)
{
    return workload->key_bytes ? (workload->key_bytes + 7) & ~UINT32_C(7) : 8;
}

/* A bijection on the numbers of `bits` bits, 8 to 64. */
static inline uint64_t key_mix_bits(uint64_t x, uint32_t bits)
{
    uint64_t mask = UINT64_MAX >> (64 - bits);

    for (int round = 0; round < 3; round++) {
        x = (x * UINT64_C(0xd1342543de82ef95) + UINT64_C(0x9e3779b97f4a7c15)) & mask;
        x ^= x >> (bits / 2 + 1);
    }
    return x;
}

static inline uint32_t key_encode_short(bool in_order, uint64_t code, void *out)
{
    uint32_t size = 1;

    for (; size < 8 && code >= UINT64_C(1) << (8 * size); size++)
        code -= UINT64_C(1) << (8 * size);
    if (!in_order)
        code = key_mix_bits(code, 8 * size);
    code = __builtin_bswap64(code << (64 - 8 * size));
    memcpy(out, &code, 8);
    return size;
}

/* Writes the key into out (key_room bytes, the rest of the last word too) and returns its size. */
static inline uint32_t key_encode(const struct workload *workload, uint64_t number, bool missing, void *out)
{
    uint64_t code = number << 1 | missing, word;

    if (workload->key_bytes == 0)
        return key_encode_short(workload->key_in_order, code, out);
    word = workload->key_in_order ? __builtin_bswap64(code) : rng_mix(code + UINT64_C(0x9e3779b97f4a7c15));
    memcpy(out, &word, 8);
    for (uint32_t at = 8; at < workload->key_bytes; at += 8) {
        word = rng_mix(code * UINT64_C(0xd1342543de82ef95) + at);
        memcpy((char *)out + at, &word, 8);
    }
    return workload->key_bytes;
}

#endif
