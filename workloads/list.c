/* list.c -- `assay workloads`: the presets, one of them resolved, or the first operations of its streams. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/args.h"
#include "common/commands.h"
#include "common/fail.h"
#include "common/units.h"
#include "workloads/ops.h"
#include "workloads/workload.h"

#define EMIT_BLOCK 256

static int print_presets(bool as_json)
{
    json_t *list = json_array();

    for (const char *const *name = workload_names(); *name; name++) {
        struct workload workload;

        if (!workload_load(&workload, *name)) { /* our own file: a test holds that each can be read */
            fprintf(stderr, "assay workloads: %s\n", fail_text());
            json_decref(list);
            return 2;
        }
        if (as_json)
            json_array_append_new(list, json_pack("{s:s, s:s}", "name", workload.name, "summary", workload.summary));
        else
            printf("%-22s %s\n", workload.name, workload.summary);
    }
    if (as_json) {
        json_dumpf(list, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(list);
    return 0;
}

static void print_phase(const struct phase *phase)
{
    char number[UNITS_TEXT_MAX];

    printf("  %-18s", phase->name);
    if (phase->compact_before)
        printf(" compact, then");
    if (phase->ops)
        printf(" %s operations", units_text_count(number, (double)phase->ops));
    if (phase->run_ns)
        printf(" %s%s", phase->ops ? "or " : "", units_text_ns(number, phase->run_ns));
    printf(" of");
    for (int kind = 0, first = 1; kind < OP_KINDS; kind++) {
        if (phase->mix[kind] <= 0)
            continue;
        printf("%s %.4g %% %s", first ? "" : ",", 100 * phase->mix[kind], op_kind_word(kind));
        first = 0;
    }
    printf("; %s keys", distribution_word(phase->keys.kind));
    if (phase->keys.kind == DISTRIBUTION_ZIPFIAN || phase->keys.kind == DISTRIBUTION_LATEST)
        printf(", exponent %.4g%s", phase->keys.exponent, phase->keys.ycsb_compat ? " as YCSB has it" : "");
    if (phase->keys.kind == DISTRIBUTION_HOTSET)
        printf(", %.4g %% of the operations on %.4g %% of the keys", 100 * phase->keys.hot_probability,
               100 * phase->keys.hot_fraction);
    if (phase->repeat_keys)
        printf(", the same as before");
    putchar('\n');
}

static void print_workload(const struct workload *workload)
{
    const char *order = workload->key_in_order ? ", in order" : "";
    char        text[UNITS_TEXT_MAX], more[UNITS_TEXT_MAX];

    printf("%s: %s\n\n", workload->name, workload->summary[0] ? workload->summary : "(no summary)");
    printf("  %-18s %s%s\n", "records", units_text_count(text, (double)workload->records),
           workload->load ? ", loaded first" : ", not loaded");
    if (workload->key_bytes)
        printf("  %-18s %" PRIu32 " bytes%s\n", "keys", workload->key_bytes, order);
    else
        printf("  %-18s as short as possible%s\n", "keys", order);
    if (workload->value_bytes_min == workload->value_bytes_max)
        printf("  %-18s %s\n", "values", units_text_bytes(text, workload->value_bytes_min));
    else
        printf("  %-18s %s to %s, %s\n", "values", units_text_bytes(text, workload->value_bytes_min),
               units_text_bytes(more, workload->value_bytes_max),
               workload->value_size == SIZE_UNIFORM ? "uniform" : "Zipfian");
    printf("  %-18s %" PRIu32 ", %s\n", "threads", workload->threads, arrival_word(workload->arrival));
    if (workload->batch_gets > 1 || workload->batch_writes > 1)
        printf("  %-18s gets by %" PRIu32 ", writes by %" PRIu32 "\n", "batches", workload->batch_gets,
               workload->batch_writes);
    for (size_t i = 0; i < workload->phase_count; i++)
        print_phase(&workload->phases[i]);
    printf("\n  `assay workloads %s --json` prints every field; --emit N prints operations\n", workload->name);
}

static void print_op(const struct op *op)
{
    const unsigned char *key = op->key.data;

    printf("%s ", op_kind_word(op->kind));
    for (size_t i = 0; i < op->key.size; i++)
        printf("%02x", key[i]);
    if (op->kind == OP_SCAN)
        printf(" %" PRIu32, op->scan_records);
    else
        printf(" %zu", op->value.size);
    printf(" %" PRIu64 "\n", op->key_number);
}

/* The first `count` operations of one thread, over all phases: as many of each as the phase has. */
static int emit(const struct workload *workload, uint32_t thread, uint64_t count)
{
    struct ops *ops = ops_new(workload, thread);

    for (size_t phase = 0; ops && phase < workload->phase_count && count; phase++) {
        uint64_t left = workload_share(workload, workload->phases[phase].ops, thread);

        if (left == 0 || left > count)
            left = count;
        if (!ops_begin_phase(ops, phase))
            break;
        count -= left;
        while (left && !ferror(stdout)) {
            size_t           block = left < EMIT_BLOCK ? (size_t)left : EMIT_BLOCK;
            const struct op *op    = ops_next(ops, block);

            if (!op)
                goto failed;
            for (size_t i = 0; i < block; i++)
                print_op(&op[i]);
            left -= block;
        }
    }
    if (ops) {
        ops_free(ops);
        return 0;
    }
failed:
    fprintf(stderr, "assay workloads: %s\n", fail_text());
    ops_free(ops);
    return 1;
}

/* A list that was cut by a full disk is not a list. */
static int written(int code)
{
    if (code == 0 && (fflush(stdout) != 0 || ferror(stdout))) {
        fprintf(stderr, "assay workloads: cannot write to standard output: %s\n", strerror(errno));
        return 1;
    }
    return code;
}

int command_workloads(int argc, char **argv)
{
    bool     as_json = false, emits = false;
    uint64_t emit_count = 0, thread = 0;
    struct workload_options options;
    struct arg rows[WORKLOAD_OPTIONS_MAX + 4] = {
        {"json", ARG_FLAG, &as_json, NULL, "print JSON: the list, or every field of one workload", NULL},
        {"emit", ARG_COUNT, &emit_count, "N",
         "print the first N operations: kind, key in hex, value bytes or scan length, key number", &emits},
        {"thread", ARG_COUNT, &thread, "T", "with --emit: whose operations (default 0)", NULL},
    };
    struct arg_command command = {
        "assay workloads", "[NAME|FILE.json] [--emit N] [--json] [overrides]",
        "Presets, one of them resolved, or its operations.",
        rows,
        "  assay workloads ycsb-a\n"
        "  assay workloads zipfian --records 1k --exponent 1.2 --emit 1M | cut -d' ' -f4 | sort | uniq -c\n"
        "  assay workloads ./mine.json --json\n",
    };
    struct arg_list names = {0};
    struct workload workload;
    int             end;

    workload_option_rows(&options, rows + 3, NULL);
    end = args_parse(&command, argc, argv, &names);
    if (end >= 0)
        return end;
    if (names.count > 1)
        return args_wrong(&command, "one workload at a time; \"%s\" is the second", names.item[1]);
    if (names.count == 0) {
        if (emits)
            return args_wrong(&command, "--emit needs a workload, such as ycsb-a");
        return written(print_presets(as_json));
    }
    if (!workload_load(&workload, names.item[0]) || !workload_set_options(&workload, &options) ||
        !workload_check(&workload))
        return args_wrong(&command, "%s", fail_text());
    if (thread >= workload.threads)
        return args_wrong(&command, "--thread is %" PRIu64 ", but the workload has %" PRIu32 " (0 is the first)",
                          thread, workload.threads);
    if (emits)
        return written(emit(&workload, (uint32_t)thread, emit_count));
    if (as_json) {
        json_t *json = workload_json(&workload);
        json_dumpf(json, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(json);
    } else {
        print_workload(&workload);
    }
    return written(0);
}
