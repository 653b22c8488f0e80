/*
 * value.c -- values that describe themselves.
 *
 * 24 bytes and more   check:u64 key_hash:u32 writer:u32 sequence:u64 fill.  check is XXH3 of all behind it, and XXH3
 *                     covers the size, so a torn, cut, extended or mixed value is found whatever was torn.  key_hash
 *                     tells the value of another key.  Judged with or without the key.
 * 2 to 23 bytes       check, then a tag that differs from write to write.  check has half of the bytes, 8 at most; it
 *                     is XXH3 of the tag, seeded by the key's hash and the size.  Another key's value is told, as torn,
 *                     by the check only, and only with the key: a 4-byte value passes by chance once in 65,536.
 * 1 byte              A check of the key alone: every write of a key writes the same byte.
 * 0 bytes             Always good.
 *
 * Fill: the first part cannot be compressed, the rest is zeros.  What a compressor spends on the run of zeros, less
 * what it gains on the head, is taken off the first part, so that the ratio comes out as asked.
 */
#include "workloads/value.h"

#include "workloads/value_fill.h"

static uint32_t small_check_bytes(uint32_t size)
{
    return size >= 16 ? 8 : size < 2 ? size : size / 2;
}

/* The check of a small value whose tag is there; the key goes in by its hash because the value has no room for it. */
static uint64_t small_check(const char *value, uint32_t size, slice key)
{
    uint32_t check_bytes = small_check_bytes(size);

    return XXH3_64bits_withSeed(value + check_bytes, size - check_bytes, XXH3_64bits(key.data, key.size) + size);
}

static void make_small(char *out, uint32_t size, slice key, uint32_t writer, uint64_t sequence)
{
    /* Two words of tag, because up to 15 bytes of it are wanted; low bytes come first. */
    uint64_t tag[2] = {rng_mix(sequence + UINT64_C(0x9e3779b97f4a7c15) * ((uint64_t)writer + 1)), 0};
    uint32_t check_bytes = small_check_bytes(size);
    uint64_t check;

    tag[1] = rng_mix(tag[0] + 1);
    memcpy(out + check_bytes, tag, size - check_bytes);
    check = small_check(out, size, key);
    memcpy(out, &check, check_bytes);
}

void value_make(void *out, uint32_t size, slice key, uint32_t writer, uint64_t sequence, double compressibility)
{
    if (size == 0)
        return;
    if (size < VALUE_BYTES_FULL) {
        make_small(out, size, key, writer, sequence);
        return;
    }
    value_fill(out, size, value_random_bytes(size, compressibility), key, writer, sequence, true);
    value_seal(out, size);
}

enum value_verdict value_check(slice key, slice value)
{
    const char *bytes = value.data;
    uint64_t    check;
    uint32_t    of_key;

    if (value.size < VALUE_BYTES_FULL) {
        if (value.size == 0 || key.size == 0)
            return VALUE_GOOD;
        check = small_check(bytes, (uint32_t)value.size, key);
        return memcmp(bytes, &check, small_check_bytes((uint32_t)value.size)) == 0 ? VALUE_GOOD : VALUE_TORN;
    }
    memcpy(&check, bytes, 8);
    if (check != XXH3_64bits(bytes + 8, value.size - 8))
        return VALUE_TORN;
    if (key.size == 0)
        return VALUE_GOOD;
    memcpy(&of_key, bytes + 8, 4);
    return of_key == value_key_hash(key) ? VALUE_GOOD : VALUE_OF_ANOTHER_KEY;
}

bool value_origin(slice value, uint32_t *writer, uint64_t *sequence)
{
    const char *bytes = value.data;

    if (value.size < VALUE_BYTES_FULL)
        return false;
    memcpy(writer, bytes + 12, 4);
    memcpy(sequence, bytes + 16, 8);
    return true;
}
