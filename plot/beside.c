#include "plot/beside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plot/gather.h"

void beside_badge(FILE *html, enum badge badge)
{
    static const char *const classes[] = {"none", "open", "open", "held", "broken"};
    static const char *const signs[]   = {"○", "?", "?", "✓", "✗"};

    fprintf(html, "<span class=\"badge %s\">%s %s</span>", classes[badge], signs[badge], badge_word(badge));
}

static const struct {
    const char      *name;
    enum text_kind kind;
    const char      *label;
    enum { NOWHERE, SYNCED, CACHED } limits; /* the tiers that sync, or the others */
} quantities[] = {
    {"append_fdatasync", TEXT_RATE, "append 128 B + fdatasync", SYNCED},
    {"overwrite_fdatasync", TEXT_RATE, "overwrite 128 B, preallocated, + fdatasync", SYNCED},
    {"overwrite_dsync", TEXT_RATE, "overwrite 128 B, O_DSYNC", SYNCED},
    {"overwrite_direct_dsync_4096", TEXT_RATE, "overwrite 4 KiB, O_DIRECT and O_DSYNC", SYNCED},
    {"group_commit_1", TEXT_RATE, "group commit, one leader, 1 thread", SYNCED},
    {"group_commit_8", TEXT_RATE, "group commit, one leader, 8 threads", SYNCED},
    {"group_commit_64", TEXT_RATE, "group commit, one leader, 64 threads", SYNCED},
    {"create_fsync_dirsync", TEXT_RATE, "create a file, fsync it and its directory", SYNCED},
    {"memory_dependent_ns", TEXT_NS, "random memory access, each waits for the last", CACHED},
    {"memory_independent_ns", TEXT_NS, "random memory access, many in flight", CACHED},
    {"syscall_ns", TEXT_NS, "system call", CACHED},
    {"write_128_ns", TEXT_NS, "write() of 128 B into the page cache", CACHED},
    {"pread_128_ns", TEXT_NS, "pread() of 128 B from the page cache", CACHED},
    {"random_read_4096_depth_1", TEXT_RATE, "random 4 KiB read, direct, one at a time", CACHED},
    {"random_read_4096_depth_32", TEXT_RATE, "random 4 KiB read, direct, 32 in flight", CACHED},
    {"sequential_write_bytes_per_s", TEXT_BANDWIDTH, "sequential write and one fdatasync", NOWHERE},
    {"sequential_read_bytes_per_s", TEXT_BANDWIDTH, "sequential read, direct", NOWHERE},
    {"memcpy_bytes_per_s", TEXT_BANDWIDTH, "memcpy, one thread", NOWHERE},
    {"xxh3_100_ns", TEXT_NS, "xxh3 of 100 B", NOWHERE},
    {"xxh3_4096_ns", TEXT_NS, "xxh3 of 4 KiB", NOWHERE},
    {"clock_gettime_ns", TEXT_NS, "clock_gettime", NOWHERE},
    {"rdtsc_ns", TEXT_NS, "rdtsc", NOWHERE},
};

/* The number of a quantity, and its latencies when it has some. */
static double quantity_of(const json_t *calibration, size_t i, double *p50_ns, double *p99_ns)
{
    const json_t *value = json_object_get(calibration, quantities[i].name);

    *p50_ns = number_at(value, "p50_ns");
    *p99_ns = number_at(value, "p99_ns");
    return json_is_object(value) ? number_at(value, "ops_per_s") : json_is_number(value) ? json_number_value(value) : NAN;
}

static bool tier_syncs(const char *tier)
{
    return strcmp(tier, "commit") == 0 || strcmp(tier, "ordered") == 0 || strncmp(tier, "interval", 8) == 0;
}

void beside_limits(FILE *html, const struct model *model, const json_t *root)
{
    json_t     *calibration = json_object_get(root, "calibration");
    const char *tier        = text_at(json_object_get(root, "settings"), "durability");
    double      p50_ns, p99_ns, fold_ns = number_at(json_object_get(root, "harness"), "fold_ns_per_100_bytes");
    struct step run = {"run", ""};
    char        text[TEXT_NUMBER_MAX], more[TEXT_NUMBER_MAX];
    json_t     *engine, *idle = json_object_get(json_object_get(root, "harness"), "idle");
    size_t      e;

    if (!json_is_object(calibration))
        calibration = json_object_get(json_array_get(model->calibrations, 0), "calibration");
    fputs("<div class=\"limits\"><h4>Limits of machine and harness</h4><table><tbody>", html);
    for (size_t i = 0; i < COUNT_OF(quantities); i++) {
        double value = quantity_of(calibration, i, &p50_ns, &p99_ns);

        if (quantities[i].limits != (tier_syncs(tier) ? SYNCED : CACHED) || !isfinite(value))
            continue;
        fprintf(html, "<tr><td>%s</td><td class=\"n\">%s</td></tr>", quantities[i].label,
                text_number(text, quantities[i].kind, value));
    }
    if (json_is_object(idle))
        fprintf(html, "<tr><td>the harness alone, an operation: in the stamps, all in</td><td class=\"n\">%s, %s</td></tr>",
                text_number(text, TEXT_NS, number_at(idle, "engine_ns_per_op")),
                text_number(more, TEXT_NS, number_at(idle, "all_in_ns_per_op")));
    json_array_foreach(json_is_object(idle) ? NULL : json_object_get(root, "engines"), e, engine) {
        struct spread own = gather_spread(root, text_at(engine, "name"), run, "engine_ns_per_op");
        struct spread all = gather_spread(root, text_at(engine, "name"), run, "all_in_ns_per_op");

        if (gather_retains(engine) || own.n == 0)
            continue;
        fprintf(html, "<tr><td>the harness alone, an operation: in the stamps, all in</td><td class=\"n\">%s, %s</td></tr>",
                text_number(text, TEXT_NS, own.median), text_number(more, TEXT_NS, all.median));
    }
    if (isfinite(fold_ns))
        fprintf(html, "<tr><td>reading every byte of a value of 100 B, in the stamps</td><td class=\"n\">%s</td></tr>",
                text_number(text, TEXT_NS, fold_ns));
    fputs("</tbody></table></div>", html);
}

void beside_badges(FILE *html, const struct model *model, const char *setting)
{
    fputs("<div class=\"badges\"><h4>Durability</h4><table><tbody>", html);
    for (size_t m = 0; m < model->mark_count; m++) {
        bool told = false;

        for (size_t e = 0; e < model->experiment_count && !told; e++) {
            json_t *root   = model->experiments[e].root;
            json_t *engine = engine_at(root, model->marks[m].name);
            char   *why;

            if (!engine || strcmp(model->experiments[e].setting, setting) != 0)
                continue;
            enum badge badge = model_badge(model, root, engine, &why);
            fputs("<tr><td>", html);
            text_html(html, model->marks[m].name);
            fputs("</td><td>", html);
            text_html(html, text_at(engine, "tier"));
            fputs("</td><td>", html);
            beside_badge(html, badge);
            fputs("</td><td class=\"why\">", html);
            text_html(html, why);
            fputs("</td></tr>", html);
            free(why);
            told = true;
        }
    }
    fputs("</tbody></table></div>", html);
}

void beside_calibration(struct table *table, const struct model *model, struct column **columns)
{
    size_t  count = json_array_size(model->calibrations);
    json_t *entry;
    size_t  i;

    *columns      = calloc(count + 1, sizeof **columns);
    (*columns)[0] = (struct column){"quantity", "Quantity", COLUMN_TEXT};
    for (i = 0; i < count; i++)
        (*columns)[i + 1] = (struct column){"value", count > 1 ? "" : "This machine", COLUMN_NUMBER};
    table_init(table, *columns, count + 1);
    if (count > 1) {
        table_text(table, "measured by");
        json_array_foreach(model->calibrations, i, entry)
            table_text(table, text_at(entry, "path"));
    }
    for (size_t q = 0; q < COUNT_OF(quantities); q++) {
        table_text(table, quantities[q].label);
        json_array_foreach(model->calibrations, i, entry) {
            double p50_ns, p99_ns;
            double value = quantity_of(json_object_get(entry, "calibration"), q, &p50_ns, &p99_ns);
            char   a[TEXT_NUMBER_MAX], b[TEXT_NUMBER_MAX], c[TEXT_NUMBER_MAX];
            char  *exact = isfinite(value) ? text_of("%.17g", value) : text_of("%s", "");
            char  *html  = isfinite(p50_ns) ? text_of("%s <small>p50 %s, p99 %s</small>",
                                                      text_number(a, quantities[q].kind, value),
                                                      text_number(b, TEXT_NS, p50_ns), text_number(c, TEXT_NS, p99_ns))
                                            : text_of("%s", text_number(a, quantities[q].kind, value));

            table_markup(table, exact, html);
            free(exact);
            free(html);
        }
    }
}
