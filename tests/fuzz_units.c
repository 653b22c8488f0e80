/* fuzz_units.c -- sizes, times and tiers as people write them: any text is a value or one sentence. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"
#include "engines/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                *text = malloc(size + 1), written[KV_DURABILITY_TEXT_MAX], units[UNITS_TEXT_MAX];
    struct kv_durability first, second;
    uint64_t             number, again;

    memcpy(text, data, size);
    text[size] = '\0';
    fail_set("%s", "");
    /* What was read, written out, is read back as the same. */
    if (kv_durability_parse(text, &first) == KV_OK) {
        kv_status status = kv_durability_parse(kv_durability_text(first, written), &second);
        assert(status == KV_OK && first.tier == second.tier && first.interval_ns == second.interval_ns);
        (void)status;
    } else {
        assert(*fail_text());
    }
    if (units_parse_bytes(text, &number)) {
        bool parsed = units_parse_bytes(units_exact_bytes(units, number), &again);
        assert(parsed && again == number);
        (void)parsed;
    }
    if (units_parse_ns(text, &number)) {
        bool parsed = units_parse_ns(units_exact_ns(units, number), &again);
        assert(parsed && again == number);
        (void)parsed;
    }
    free(text);
    return 0;
}
