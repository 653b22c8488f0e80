/* t_workloads_values.c -- values describe themselves: whatever is torn, swapped or cut is found. */
#include <lz4.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "workloads/value.h"

#define KEY slice_text("the key of this value")

static void every_changed_byte_is_found(void **state)
{
    char value[600];

    (void)state;
    for (uint32_t size = VALUE_BYTES_FULL; size <= sizeof value; size += size < 200 ? 1 : 37) {
        value_make(value, size, KEY, 7, 99, size % 3 * 0.3);
        assert_int_equal(value_check(KEY, slice_of(value, size)), VALUE_GOOD);
        for (uint32_t at = 0; at < size; at++) {
            for (int bit = 0; bit < 8; bit += 7) {
                value[at] ^= (char)(1 << bit);
                assert_int_not_equal(value_check(KEY, slice_of(value, size)), VALUE_GOOD);
                assert_int_not_equal(value_check(slice_of(NULL, 0), slice_of(value, size)), VALUE_GOOD);
                value[at] ^= (char)(1 << bit);
            }
        }
    }
}

static void every_cut_or_extended_value_is_found(void **state)
{
    char value[401] = {0};

    (void)state;
    value_make(value, 400, KEY, 7, 99, 0.5); /* ends in zeros, as what a crash leaves at the end of a file does */
    for (uint32_t size = VALUE_BYTES_FULL; size < 400; size++)
        assert_int_equal(value_check(KEY, slice_of(value, size)), VALUE_TORN);
    assert_int_equal(value_check(KEY, slice_of(value, 401)), VALUE_TORN);
    for (uint32_t size = 100; size < 400; size += 7) { /* the head of one write, the tail of another */
        char other[400], mixed[400];

        value_make(other, 400, KEY, 7, 100, 0);
        value_make(value, 400, KEY, 7, 99, 0);
        memcpy(mixed, value, size);
        memcpy(mixed + size, other + size, 400 - size);
        assert_int_equal(value_check(KEY, slice_of(mixed, 400)), VALUE_TORN);
    }
}

static void the_value_of_another_key_is_named_as_that(void **state)
{
    char value[100];

    (void)state;
    value_make(value, sizeof value, slice_text("another"), 1, 2, 0);
    assert_int_equal(value_check(KEY, slice_of(value, sizeof value)), VALUE_OF_ANOTHER_KEY);
    assert_int_equal(value_check(slice_of(NULL, 0), slice_of(value, sizeof value)), VALUE_GOOD);
}

static void small_values_are_checked_as_far_as_their_bytes_go(void **state)
{
    (void)state;
    for (uint32_t size = 1; size < VALUE_BYTES_FULL; size++) {
        int flips_missed = 0, keys_missed = 0, same = 0, rounds = 2000;

        for (int round = 0; round < rounds; round++) {
            char  value[VALUE_BYTES_FULL], before[VALUE_BYTES_FULL], name[32];
            slice key = slice_of(name, (size_t)snprintf(name, sizeof name, "key %d", round));

            value_make(before, size, key, 1, (uint64_t)round, 0);
            value_make(value, size, key, 1, (uint64_t)round + 1, 0);
            assert_int_equal(value_check(key, slice_of(value, size)), VALUE_GOOD);
            same += memcmp(before, value, size) == 0;
            value[round % size] ^= (char)(1 + round % 255);
            flips_missed += value_check(key, slice_of(value, size)) == VALUE_GOOD;
            value[round % size] ^= (char)(1 + round % 255);
            keys_missed += value_check(KEY, slice_of(value, size)) == VALUE_GOOD;
        }
        /* One byte of check misses 1 in 256; the bounds are wide, the seed is fixed. */
        assert_true(keys_missed <= (size < 4 ? rounds / 128 : 2));
        if (size >= 2)
            assert_true(flips_missed <= (size < 4 ? rounds / 128 : 2));
        if (size >= 4)
            assert_true(same <= 2); /* an overwrite can be told */
    }
}

static void an_empty_value_is_good(void **state)
{
    (void)state;
    value_make(NULL, 0, KEY, 1, 1, 0);
    assert_int_equal(value_check(KEY, slice_of(NULL, 0)), VALUE_GOOD);
}

static void a_value_tells_who_wrote_it(void **state)
{
    char     value[100];
    uint32_t writer;
    uint64_t sequence;

    (void)state;
    for (uint32_t size = 0; size <= sizeof value; size++) {
        value_make(value, size, KEY, UINT32_MAX - 3, UINT64_C(0x123456789abcdef0), 0.5);
        assert_true(value_origin(slice_of(value, size), &writer, &sequence) == (size >= VALUE_BYTES_FULL));
        if (size >= VALUE_BYTES_FULL) {
            assert_true(writer == UINT32_MAX - 3);
            assert_true(sequence == UINT64_C(0x123456789abcdef0));
        }
    }
}

static void the_same_write_gives_the_same_bytes_and_no_more(void **state)
{
    unsigned char a[400], b[400];

    (void)state;
    for (uint32_t size = 0; size < 300; size++) {
        memset(a, 0xaa, sizeof a);
        memset(b, 0x55, sizeof b);
        value_make(a, size, KEY, 3, 4, 0.25);
        value_make(b, size, KEY, 3, 4, 0.25);
        if (size)
            assert_memory_equal(a, b, size);
        for (size_t i = size; i < sizeof a; i++)
            assert_true(a[i] == 0xaa && b[i] == 0x55);
    }
}

static void lz4_compresses_values_as_much_as_asked(void **state)
{
    static const uint32_t sizes[] = {100, 400, 1000, 4000};
    static const double   shares[] = {0, 0.25, 0.5, 0.75};
    const size_t          total = 64000; /* about what engines compress at once */
    char                 *block = malloc(total + 4000), *packed = malloc((size_t)LZ4_compressBound((int)total + 4000));

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < 4; j++) {
            size_t used = 0;
            double left;

            if (sizes[i] * (1 - shares[j]) < VALUE_BYTES_FULL + 2)
                continue; /* the head alone is more than may remain */
            for (uint64_t n = 0; used < total; n++, used += sizes[i]) {
                char name[32];
                slice key = slice_of(name, (size_t)snprintf(name, sizeof name, "%d", (int)n));

                value_make(block + used, sizes[i], key, 0, n, shares[j]);
            }
            left = LZ4_compress_default(block, packed, (int)used, LZ4_compressBound((int)used)) / (double)used;
            if (fabs(1 - left - shares[j]) > 0.03)
                fail_msg("size %u: asked for %.2f, LZ4 removed %.3f", sizes[i], shares[j], 1 - left);
        }
    }
    free(block);
    free(packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_changed_byte_is_found),
        cmocka_unit_test(every_cut_or_extended_value_is_found),
        cmocka_unit_test(the_value_of_another_key_is_named_as_that),
        cmocka_unit_test(small_values_are_checked_as_far_as_their_bytes_go),
        cmocka_unit_test(an_empty_value_is_good),
        cmocka_unit_test(a_value_tells_who_wrote_it),
        cmocka_unit_test(the_same_write_gives_the_same_bytes_and_no_more),
        cmocka_unit_test(lz4_compresses_values_as_much_as_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
