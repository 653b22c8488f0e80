/* fuzz_workload.c -- workload files: any bytes are a workload or one sentence; what is written reads back. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/fail.h"
#include "workloads/ops.h"
#include "workloads/workload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *written(const struct workload *workload)
{
    json_t *json = workload_json(workload);
    char   *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));

    assert(text);
    json_decref(json);
    return text;
}

/* Small enough to make a few operations of it. */
static void run(struct workload *workload)
{
    if (workload->value_bytes_max > 4096 || workload->key_bytes > 4096)
        return;
    for (uint32_t thread = 0; thread < workload->threads && thread < 2; thread++) {
        struct ops      *ops = ops_new(workload, thread);
        const struct op *op;

        assert(ops);
        ops_next_load(ops, &op, 3);
        for (size_t phase = 0; phase < workload->phase_count; phase++) {
            bool began = ops_begin_phase(ops, phase);
            assert(began);
            op = ops_next(ops, 20);
            assert(op);
            for (int i = 0; i < 20; i++)
                assert(op[i].key.size > 0 && op[i].value.size <= workload->value_bytes_max);
        }
        ops_free(ops);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct workload first, second;
    char           *text, *again;

    fail_set("%s", "");
    if (!workload_read(&first, (const char *)data, size, "fuzz.json")) {
        assert(strncmp(fail_text(), "fuzz.json:", 10) == 0);
        assert(!strchr(fail_text(), '\n'));
        return 0;
    }
    text = written(&first);
    if (!workload_read(&second, text, strlen(text), "again.json"))
        abort();
    again = written(&second);
    assert(strcmp(text, again) == 0);
    free(text);
    free(again);
    if (workload_check(&first))
        run(&first);
    else
        assert(*fail_text());
    return 0;
}
