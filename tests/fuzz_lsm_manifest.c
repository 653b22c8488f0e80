/*
 * fuzz_lsm_manifest.c -- a manifest of the tree from anywhere: its rows are refused, or in order and below next_id.
 *
 * An odd first byte: the sum at the end is put right before, so that the parser behind it gets its share.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engines/lsm/version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct manifest_row *rows;
    struct manifest            manifest;
    uint64_t                   sum;
    char                      *bytes;
    bool                       newer;
    long                       count;

    if (size < 1 || !(bytes = malloc(size))) /* of its own: every byte read behind it is seen */
        return 0;
    memcpy(bytes, data + 1, size - 1);
    if (data[0] % 2 && size - 1 > sizeof sum) {
        sum = XXH3_64bits(bytes, size - 1 - sizeof sum);
        memcpy(bytes + size - 1 - sizeof sum, &sum, sizeof sum);
    }
    bytes = realloc(bytes, size - 1 ? size - 1 : 1);
    count = manifest_parse(slice_of(bytes, size - 1), &manifest, &rows, &newer);
    for (long i = 0; i < count; i++) {
        assert(rows[i].id < manifest.next_id && rows[i].level < LEVELS_MAX);
        if (i > 0 && rows[i].level == rows[i - 1].level)
            assert(rows[i].run == rows[i - 1].run || rows[i].run == rows[i - 1].run + 1);
        else
            assert(rows[i].run == 0 && (i == 0 || rows[i].level > rows[i - 1].level));
    }
    free(bytes);
    return 0;
}
