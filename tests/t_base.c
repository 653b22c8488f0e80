/* t_base.c -- small things that engines share: copies of short keys, buffers, pages. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engines/base/buf.h"
#include "engines/base/pages.h"

/* Every length around the switches, from every alignment; exact sizes, so that a sanitizer sees a byte too many. */
static void a_short_copy_is_exact(void **state)
{
    (void)state;
    for (size_t size = 0; size < 100; size++) {
        for (size_t off = 0; off < 9; off++) {
            unsigned char *from = malloc(off + size + 1), *to = malloc(off + size + 1);
            for (size_t i = 0; i <= off + size; i++) {
                from[i] = (unsigned char)(i * 7 + size);
                to[i] = 0xee;
            }
            bytes_copy(to + off, from + off, size);
            for (size_t i = 0; i <= off + size; i++)
                assert_int_equal(to[i], i >= off && i < off + size ? from[i] : 0xee);
            free(from);
            free(to);
        }
    }
}

static void a_buffer_has_what_was_appended(void **state)
{
    struct buf    buf = {0};
    unsigned char want[5000];
    size_t        at = 0;
    volatile size_t endless = SIZE_MAX - 10;

    (void)state;
    assert_int_equal(buf_append(&buf, NULL, 0), KV_OK);
    assert_null(buf.data);
    for (size_t size = 1; at + size <= sizeof want; size++) {
        for (size_t i = 0; i < size; i++)
            want[at + i] = (unsigned char)(at + i * 3);
        assert_int_equal(buf_append(&buf, want + at, size), KV_OK);
        at += size;
        assert_int_equal(buf.size, at);
        assert_memory_equal(buf.data, want, at);
    }
    assert_int_equal(buf_append(&buf, want, endless), KV_NO_MEMORY);
    assert_int_equal(buf.size, at);
    buf_free(&buf);
}

static void pages_are_zero_and_large_ones_aligned(void **state)
{
    static const size_t sizes[] = {1, 4096, 5000, PAGES_HUGE - 1, PAGES_HUGE, PAGES_HUGE + 1, 3 * PAGES_HUGE + 4097};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *memory = pages_map(sizes[i]);
        assert_non_null(memory);
        assert_true(sizes[i] < PAGES_HUGE || (uintptr_t)memory % PAGES_HUGE == 0);
        for (size_t at = 0; at < sizes[i]; at++)
            assert_int_equal(memory[at], 0);
        memset(memory, 1, sizes[i]);
        pages_unmap(memory, sizes[i]);
    }
    assert_null(pages_map(SIZE_MAX / 2));
    pages_unmap(NULL, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_copy_is_exact),
        cmocka_unit_test(a_buffer_has_what_was_appended),
        cmocka_unit_test(pages_are_zero_and_large_ones_aligned),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
