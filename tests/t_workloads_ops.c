/* t_workloads_ops.c -- streams of operations: the same for the same seed, with keys that never collide. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/fail.h"
#include "tests/chi_square.h"
#include "workloads/key.h"
#include "workloads/ops.h"
#include "workloads/value.h"

static struct workload preset(const char *name)
{
    struct workload workload;

    if (!workload_load(&workload, name) || !workload_check(&workload))
        fail_msg("%s", fail_text());
    return workload;
}

static bool same_op(const struct op *a, const struct op *b)
{
    return a->kind == b->kind && a->scan_records == b->scan_records && a->key_number == b->key_number &&
           slice_equal(a->key, b->key) && slice_equal(a->value, b->value);
}

static void cutting_a_stream_into_other_blocks_changes_nothing(void **state)
{
    (void)state;
    for (const char *const *name = workload_names(); *name; name++) {
        struct workload workload = preset(*name);
        struct ops     *a = ops_new(&workload, 0), *b = ops_new(&workload, 0);
        static const size_t cuts[] = {1, 2, 3, 17, 100, 256, 5, 128};

        for (size_t cut = 0; cut < 8; cut++) {
            const struct op *whole = ops_next(a, cuts[cut]);

            for (size_t i = 0; i < cuts[cut]; i++)
                if (!same_op(&whole[i], ops_next(b, 1)))
                    fail_msg("%s: cut %zu, operation %zu", *name, cut, i);
        }
        ops_free(a);
        ops_free(b);
    }
}

static void threads_and_seeds_have_streams_of_their_own(void **state)
{
    struct workload workload = preset("ycsb-a"), other = preset("ycsb-a");

    (void)state;
    workload.threads = 2;
    assert_true(ops_hash(&workload, 0) == ops_hash(&workload, 0));
    assert_true(ops_hash(&workload, 0) != ops_hash(&workload, 1));
    other.threads = 2;
    other.seed    = 2;
    assert_true(ops_hash(&workload, 0) != ops_hash(&other, 0));
}

/* Results carry these hashes: a change here breaks the comparison with every earlier result, and must be meant. */
static void streams_are_what_they_always_were(void **state)
{
    static const struct {
        const char *name;
        uint64_t    hash;
    } golden[] = {
        {"batch-fsync", UINT64_C(0x8cf2f21b443ba9b7)},
        {"churn", UINT64_C(0x727232d3008d3f0e)},
        {"fill", UINT64_C(0xd9342965bd86976d)},
        {"fill-ordered", UINT64_C(0xf8204c8a73e7f4b9)},
        {"grid-hotset", UINT64_C(0xd71adca3de9a6b2d)},
        {"grid-uniform", UINT64_C(0x2993893eb24ee2af)},
        {"grid-zipfian", UINT64_C(0x9eeeec522fe7fa59)},
        {"hotset", UINT64_C(0xf3a27f96b7811332)},
        {"lsm-ladder", UINT64_C(0xbc86963ac2379407)},
        {"lsm-put-read-compact", UINT64_C(0x648d840e64d50a9b)},
        {"missing", UINT64_C(0xdc3e119c539f3521)},
        {"mixed-batch", UINT64_C(0xdd5cbc309a42da60)},
        {"read", UINT64_C(0x498a97da2b1f775c)},
        {"scan", UINT64_C(0x710a20720f935188)},
        {"shard-bursty", UINT64_C(0x59d39631849d4474)},
        {"shard-consistent", UINT64_C(0x59d39631849d4474)},
        {"shard-unthrottled", UINT64_C(0x59d39631849d4474)},
        {"uniform", UINT64_C(0x91a6b79e451acc7c)},
        {"ycsb-a", UINT64_C(0x0c6428fb4246bda9)},
        {"ycsb-b", UINT64_C(0x20d9da3ad1ae08e4)},
        {"ycsb-c", UINT64_C(0xc3f7c28c52e6b59f)},
        {"ycsb-d", UINT64_C(0x1d7e582eadc51f32)},
        {"ycsb-e", UINT64_C(0x6cf9b94c0170a155)},
        {"ycsb-f", UINT64_C(0x766a31c8e5cae722)},
        {"zipfian", UINT64_C(0x0c6428fb4246bda9)},
    };

    (void)state;
    for (size_t i = 0; i < DRAWS(sizeof golden / sizeof *golden); i++) {
        struct workload workload = preset(golden[i].name);
        uint64_t        hash = ops_hash(&workload, 0);

        if (hash != golden[i].hash)
            fail_msg("{\"%s\", UINT64_C(0x%016llx)},", golden[i].name, (unsigned long long)hash);
    }
}

static void kinds_come_in_the_shares_of_the_mix(void **state)
{
    (void)state;
    for (const char *const *name = workload_names(); *name; name++) {
        struct workload workload = preset(*name);
        struct ops     *ops = ops_new(&workload, 0);

        for (size_t phase = 0; phase < workload.phase_count; phase++) {
            uint64_t observed[OP_KINDS] = {0};

            assert_true(ops_begin_phase(ops, phase));
            for (int block = 0; block < DRAWS(400); block++) {
                const struct op *op = ops_next(ops, 256);
                for (int i = 0; i < 256; i++)
                    observed[op[i].kind]++;
            }
            assert_true(chi_square_fits(observed, workload.phases[phase].mix, OP_KINDS, *name));
        }
        ops_free(ops);
    }
}

static void the_load_makes_each_record_once(void **state)
{
    struct workload workload = preset("uniform");
    int             seen[1003] = {0};

    (void)state;
    workload.records = 1003;
    workload.threads = 4;
    for (uint32_t thread = 0; thread < 4; thread++) {
        struct ops      *ops = ops_new(&workload, thread);
        const struct op *op;
        size_t           count;

        while ((count = ops_next_load(ops, &op, 100)) > 0) {
            assert_true(count <= 100);
            for (size_t i = 0; i < count; i++) {
                assert_int_equal(op[i].kind, OP_INSERT);
                assert_int_equal(value_check(op[i].key, op[i].value), VALUE_GOOD);
                seen[op[i].key_number]++;
            }
        }
        ops_free(ops);
    }
    for (int i = 0; i < 1003; i++)
        assert_int_equal(seen[i], 1);
}

static void loading_first_does_not_change_the_stream(void **state)
{
    struct workload  workload = preset("churn");
    struct ops      *a = ops_new(&workload, 0), *b = ops_new(&workload, 0);
    const struct op *load, *op_a, *op_b;

    (void)state;
    assert_int_equal(ops_next_load(b, &load, 100), 100);
    op_a = ops_next(a, 256);
    op_b = ops_next(b, 256);
    for (int i = 0; i < 256; i++)
        assert_true(same_op(&op_a[i], &op_b[i]));
    ops_free(a);
    ops_free(b);
}

static void inserts_of_threads_never_collide_and_are_dense(void **state)
{
    struct workload workload = preset("ycsb-d");
    uint8_t        *seen;
    uint64_t        most = 0, total = 0;

    (void)state;
    workload.records = 1000;
    workload.threads = 3;
    seen = calloc(100000, 1);
    for (uint32_t thread = 0; thread < 3; thread++) {
        struct ops *ops = ops_new(&workload, thread);

        for (int block = 0; block < 200; block++) {
            const struct op *op = ops_next(ops, 256);

            for (int i = 0; i < 256; i++) {
                if (op[i].kind != OP_INSERT) {
                    assert_true(op[i].key_number < 1000 || seen[op[i].key_number]); /* born before it is read */
                    continue;
                }
                assert_true(op[i].key_number >= 1000 && op[i].key_number < 100000);
                assert_int_equal(seen[op[i].key_number]++, 0);
                assert_int_equal((op[i].key_number - 1000) % 3, thread);
                total++;
                most = op[i].key_number > most ? op[i].key_number : most;
            }
        }
        ops_free(ops);
    }
    assert_true(total > 7000);
    assert_true(most < 1000 + total + 1000);
    free(seen);
}

static void a_phase_can_repeat_the_keys_of_the_one_before(void **state)
{
    struct workload workload = preset("grid-hotset");
    struct ops     *write = ops_new(&workload, 0), *read = ops_new(&workload, 0);

    (void)state;
    assert_true(ops_begin_phase(read, 1));
    for (int block = 0; block < 20; block++) {
        const struct op *w = ops_next(write, 256), *r = ops_next(read, 256);

        for (int i = 0; i < 256; i++) {
            assert_int_equal(w[i].kind, OP_UPDATE);
            assert_int_equal(r[i].kind, OP_READ);
            assert_true(slice_equal(w[i].key, r[i].key));
        }
    }
    workload.phases[1].repeat_keys = false;
    assert_true(ops_begin_phase(read, 1) && ops_begin_phase(write, 0));
    assert_int_not_equal(ops_next(write, 256)[7].key_number, ops_next(read, 256)[7].key_number);
    ops_free(write);
    ops_free(read);
}

static void a_phase_begins_the_same_whatever_came_before(void **state)
{
    struct workload  workload = preset("ycsb-a");
    struct ops      *a = ops_new(&workload, 0), *b = ops_new(&workload, 0);
    const struct op *op_a, *op_b;

    (void)state;
    ops_next(b, 1000);
    assert_true(ops_begin_phase(b, 0));
    op_a = ops_next(a, 256);
    op_b = ops_next(b, 256);
    for (int i = 0; i < 256; i++)
        assert_true(same_op(&op_a[i], &op_b[i]));
    ops_free(a);
    ops_free(b);
}

static void values_of_a_stream_are_those_of_value_make(void **state)
{
    static const char *const names[] = {"ycsb-a", "churn", "grid-uniform", "shard-unthrottled", "lsm-put-read-compact"};

    (void)state;
    for (size_t n = 0; n < 5; n++) {
        for (int compressible = 0; compressible < 2; compressible++) {
            struct workload  workload = preset(names[n]);
            struct ops      *ops;
            const struct op *op;
            char             value[300];

            workload.compressibility = compressible * 0.4;
            workload.phases[0].mix[OP_READ] = 0.2;
            workload.phases[0].mix[OP_UPDATE] = 0.8;
            ops = ops_new(&workload, 0);
            op  = ops_next(ops, 1000);
            for (uint64_t i = 0; i < 1000; i++) {
                uint32_t size = (uint32_t)op[i].value.size;

                if (op[i].kind != OP_UPDATE && op[i].kind != OP_INSERT) {
                    assert_int_equal(size, 0);
                    continue;
                }
                assert_true(size >= workload.value_bytes_min && size <= workload.value_bytes_max);
                value_make(value, size, op[i].key, 0, (UINT64_C(1) << 40) + i, workload.compressibility);
                if (size)
                    assert_memory_equal(value, op[i].value.data, size);
            }
            ops_free(ops);
        }
    }
}

static void value_sizes_have_their_distribution(void **state)
{
    for (int zipfian = 0; zipfian < 2; zipfian++) {
        struct workload workload = preset("fill");
        uint64_t        observed[91] = {0};
        double          expected[91];
        struct ops     *ops;

        (void)state;
        assert_true(workload_set(&workload, "value-sizes", zipfian ? "zipfian" : "uniform"));
        workload.value_bytes_min = 30;
        workload.value_bytes_max = 120;
        workload.value_exponent  = 1.1;
        ops = ops_new(&workload, 0);
        for (int block = 0; block < DRAWS(400); block++) {
            const struct op *op = ops_next(ops, 256);
            for (int i = 0; i < 256; i++)
                observed[op[i].value.size - 30]++;
        }
        for (int i = 0; i < 91; i++)
            expected[i] = zipfian ? pow(i + 1, -1.1) : 1;
        assert_true(chi_square_fits(observed, expected, 91, zipfian ? "zipfian sizes" : "uniform sizes"));
        ops_free(ops);
    }
}

static void scans_have_uniform_lengths(void **state)
{
    struct workload workload = preset("ycsb-e");
    uint64_t        observed[100] = {0};
    double          expected[100];
    struct ops     *ops = ops_new(&workload, 0);

    (void)state;
    for (int block = 0; block < DRAWS(400); block++) {
        const struct op *op = ops_next(ops, 256);
        for (int i = 0; i < 256; i++) {
            if (op[i].kind == OP_SCAN)
                observed[op[i].scan_records - 1]++;
            else
                assert_int_equal(op[i].scan_records, 0);
        }
    }
    for (int i = 0; i < 100; i++)
        expected[i] = 1;
    assert_true(chi_square_fits(observed, expected, 100, "scan lengths"));
    ops_free(ops);
}

/* ---- Keys. ---- */

struct encoded {
    unsigned char bytes[40];
    uint32_t      size;
};

static int by_bytes(const void *a, const void *b)
{
    const struct encoded *x = a, *y = b;

    return slice_compare(slice_of(x->bytes, x->size), slice_of(y->bytes, y->size));
}

static void no_two_key_numbers_share_their_bytes(void **state)
{
    static const uint32_t sizes[] = {0, 8, 9, 16, 33};
    const size_t          numbers = 70000;
    struct encoded       *keys = malloc(2 * numbers * sizeof *keys);

    (void)state;
    for (size_t s = 0; s < 5; s++) {
        for (int in_order = 0; in_order < 2; in_order++) {
            struct workload workload = {.key_bytes = sizes[s], .key_in_order = in_order};

            for (size_t i = 0; i < 2 * numbers; i++) {
                keys[i].size = key_encode(&workload, i / 2, i % 2, keys[i].bytes);
                assert_true(keys[i].size >= 1 && keys[i].size <= 33);
                if (sizes[s])
                    assert_int_equal(keys[i].size, sizes[s]);
                if (in_order && i && sizes[s])
                    assert_true(by_bytes(&keys[i - 1], &keys[i]) < 0);
            }
            qsort(keys, 2 * numbers, sizeof *keys, by_bytes);
            for (size_t i = 1; i < 2 * numbers; i++)
                assert_true(by_bytes(&keys[i - 1], &keys[i]) != 0);
        }
    }
    free(keys);
}

static void short_keys_take_the_fewest_bytes_that_are_free(void **state)
{
    static const struct {
        uint64_t number;
        uint32_t size;
    } rows[] = {{0, 1}, {127, 1}, {128, 2}, {128 + 32767, 2}, {128 + 32768, 3}, {128 + 32768 + 8388607, 3},
                {128 + 32768 + 8388608, 4}, {UINT64_C(2000000000), 4}, {UINT64_C(3000000000), 5},
                {KEY_NUMBER_MAX - 1, 8}};
    struct workload workload = {0};
    char            key[8];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(key_encode(&workload, rows[i].number, false, key), rows[i].size);
}

static void no_byte_of_a_key_is_constant(void **state)
{
    struct workload workload = {.key_bytes = 29};
    unsigned char   first[40], key[40];
    bool            differs[29] = {false};

    (void)state;
    key_encode(&workload, 0, false, first);
    for (uint64_t i = 1; i < 50; i++) {
        key_encode(&workload, i, false, key);
        for (int at = 0; at < 29; at++)
            differs[at] = differs[at] || key[at] != first[at];
    }
    for (int at = 0; at < 29; at++)
        assert_true(differs[at]);
}

static void missing_keys_lie_among_the_others(void **state)
{
    struct workload workload = preset("missing");
    struct ops     *ops;
    uint64_t        observed[16] = {0};
    double          even[16];

    (void)state;
    ops = ops_new(&workload, 0);
    for (int block = 0; block < 100; block++) {
        const struct op *op = ops_next(ops, 256);
        for (int i = 0; i < 256; i++)
            observed[((const unsigned char *)op[i].key.data)[0] >> 4]++;
    }
    for (int i = 0; i < 16; i++)
        even[i] = 1;
    assert_true(chi_square_fits(observed, even, 16, "first byte of missing keys"));
    ops_free(ops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cutting_a_stream_into_other_blocks_changes_nothing),
        cmocka_unit_test(threads_and_seeds_have_streams_of_their_own),
        cmocka_unit_test(streams_are_what_they_always_were),
        cmocka_unit_test(kinds_come_in_the_shares_of_the_mix),
        cmocka_unit_test(the_load_makes_each_record_once),
        cmocka_unit_test(loading_first_does_not_change_the_stream),
        cmocka_unit_test(inserts_of_threads_never_collide_and_are_dense),
        cmocka_unit_test(a_phase_can_repeat_the_keys_of_the_one_before),
        cmocka_unit_test(a_phase_begins_the_same_whatever_came_before),
        cmocka_unit_test(values_of_a_stream_are_those_of_value_make),
        cmocka_unit_test(value_sizes_have_their_distribution),
        cmocka_unit_test(scans_have_uniform_lengths),
        cmocka_unit_test(no_two_key_numbers_share_their_bytes),
        cmocka_unit_test(short_keys_take_the_fewest_bytes_that_are_free),
        cmocka_unit_test(no_byte_of_a_key_is_constant),
        cmocka_unit_test(missing_keys_lie_among_the_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
