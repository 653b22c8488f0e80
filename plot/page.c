#include "plot/page.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/fail.h"
#include "common/units.h"
#include "plot/beside.h"
#include "plot/draw.h"

static const struct {
    const char *id, *title, *says;
} sections[SECTIONS] = {
    [SECTION_THROUGHPUT] = {"throughput", "Throughput",
                            "Ratios between engines use the engine's own time, inside the stamps; all in adds preparing the "
                            "operations and reading every byte of every value."},
    [SECTION_LATENCY]    = {"latency", "Latency",
                            "Each further nine of a percentile has the same room; a line ends at its slowest operation."},
    [SECTION_TIME]       = {"time", "Throughput over time", "Stalls are results: they are drawn, not averaged away."},
    [SECTION_COST]       = {"cost", "Cost per operation",
                            "Costs hardly depend on how busy the machine was. The device counts other writers too."},
    [SECTION_SPACE]      = {"space", "Space, writes and reopening",
                            "Amplification is by the bytes of live keys and values, or by those that the workload put."},
    [SECTION_CRASH]      = {"crash", "Crash verdicts",
                            "Each state that a crash left was reopened and read; only “held” is a promise kept."},
};

static const char style[] =
    ":root{--ink:#1f2328;--muted:#5c6570;--line:#d8dde3;--soft:#f5f7f9}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;padding:2rem 1.25rem 4rem;max-width:66rem;color:var(--ink);background:#fff;"
    "font:16px/1.55 system-ui,-apple-system,'Segoe UI','Noto Sans',Helvetica,Arial,sans-serif}"
    "h1{font-size:1.9rem;line-height:1.2;margin:0 0 .3rem;letter-spacing:-.01em}"
    "h2{font-size:1.35rem;margin:3rem 0 .4rem;padding-top:.6rem;border-top:1px solid var(--line)}"
    "h3{font-size:1.05rem;margin:1.8rem 0 .4rem}"
    "h4{font-size:.78rem;margin:0 0 .3rem;color:var(--muted);text-transform:uppercase;letter-spacing:.05em}"
    "p{margin:.4rem 0;max-width:48rem}.lead{color:var(--muted)}"
    "nav{margin:1rem 0 0;font-size:.92rem}nav a{margin-right:1.1rem;white-space:nowrap}a{color:#0b5cad}"
    "code,pre{font:.86em/1.5 ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace}"
    "pre{background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:.6rem .8rem;overflow-x:auto;"
    "white-space:pre-wrap;overflow-wrap:anywhere;margin:.4rem 0}"
    ".scroll{overflow-x:auto;margin:.5rem 0}"
    "table{border-collapse:collapse;font-size:.87rem;font-variant-numeric:tabular-nums}"
    "th,td{padding:.28rem .7rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}"
    "thead th{color:var(--muted);font-weight:600;border-bottom:2px solid var(--line);white-space:nowrap;vertical-align:bottom}"
    ".n{text-align:right;white-space:nowrap}tbody tr:hover{background:var(--soft)}td small{color:var(--muted)}"
    "th[scope=row]{font-weight:600;white-space:nowrap}"
    ".long{min-width:15rem}"
    ".group th{background:var(--soft);font-weight:600;padding-top:.45rem}"
    "figure{margin:1.2rem 0 2.2rem}figure>.scroll svg{display:block;width:100%;min-width:44rem;height:auto}"
    "figcaption{font-size:.87rem;color:var(--muted);max-width:60rem;margin-top:.3rem}"
    ".beside{display:flex;flex-wrap:wrap;gap:1rem 3rem;margin:.8rem 0}.beside table{font-size:.83rem}"
    ".beside td{border:0;padding:.1rem .8rem .1rem 0}.why{color:var(--muted)}"
    ".badge{display:inline-block;padding:0 .5rem;border-radius:999px;border:1px solid;font-size:.92em;white-space:nowrap}"
    ".held{color:#00563f;background:#e3f4ed;border-color:#7fc4ab}.broken{color:#8a2f00;background:#fdebdf;"
    "border-color:#e59a6b;font-weight:600}.open{color:#4d5660;background:#f3f4f6;border-color:#c4cad1}"
    ".none{color:#4d5660;background:#fff;border-color:#d8dde3}"
    ".warnings{border:1px solid #e0a800;border-left-width:6px;background:#fff8e1;border-radius:6px;padding:.7rem 1rem;"
    "margin:1.2rem 0}.warnings h2{margin:0 0 .2rem;padding:0;border:0}p.warnings{max-width:none}.warnings ul{margin:.3rem 0;padding-left:1.2rem}"
    ".warnings li{overflow-wrap:anywhere}"
    "details{margin:.5rem 0}summary{cursor:pointer;font-size:.9rem;color:#0b5cad}"
    ".engines{margin:.5rem 0;font-size:.9rem}.engines>span{color:var(--muted)}.engines details{display:inline-block;margin:.1rem 0 .1rem .9rem}"
    ".engines details[open]{display:block}"
    ".pair{overflow-wrap:anywhere}.pair em{font-style:normal;font-weight:600}"
    ".files{font-size:.87rem}"
    "@media (max-width:40rem){body{padding:1.2rem .8rem 3rem}h1{font-size:1.5rem}th,td{padding:.25rem .45rem}}"
    "@media print{body{max-width:none;padding:0;font-size:11px}nav,.files{display:none}tr,figure>.scroll,.beside>div"
    "{break-inside:avoid}h2,h3,.lead{break-after:avoid}figure>.scroll svg{min-width:0}.long{min-width:0}"
    "th,td{padding:.2rem .45rem}.scroll{overflow:visible}"
    "details::details-content{content-visibility:visible;display:block}}";

static void text(FILE *html, const char *words)
{
    text_html(html, words);
}

/* Words of a command as a shell takes them back. */
static void write_command(FILE *html, const json_t *command)
{
    json_t *word;
    size_t  i;

    json_array_foreach(command, i, word) {
        const char *plain = json_string_value(word);

        if (!plain)
            continue;
        if (i)
            fputc(' ', html);
        if (*plain && strspn(plain, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@%") ==
                          strlen(plain)) {
            text(html, plain);
            continue;
        }
        fputs("&#39;", html);
        for (; *plain; plain++) {
            char one[2] = {*plain, '\0'};

            if (*plain == '\'')
                fputs("&#39;\\&#39;&#39;", html);
            else
                text(html, one);
        }
        fputs("&#39;", html);
    }
}

static void write_row(FILE *html, const char *head, const char *words)
{
    if (!*words)
        return;
    fprintf(html, "<tr><th scope=\"row\">%s</th><td>", head);
    text(html, words);
    fputs("</td></tr>\n", html);
}

static void write_number_row(FILE *html, const char *head, enum text_kind kind, double value)
{
    char number[TEXT_NUMBER_MAX];

    if (isfinite(value))
        write_row(html, head, text_number(number, kind, value));
}

/* One line of the scalar fields of an object: "key_bytes 16, order random". */
static void write_scalars(FILE *html, const char *head, const json_t *object)
{
    const char *key, *comma = "";
    json_t     *value;

    if (json_object_size(object) == 0)
        return;
    fprintf(html, "<tr><th scope=\"row\">%s</th><td>", head);
    json_object_foreach((json_t *)object, key, value) {
        char *plain = json_is_string(value) ? text_of("%s", json_string_value(value)) : json_dumps(value, JSON_ENCODE_ANY |
                                                                                        JSON_REAL_PRECISION(6));

        fprintf(html, "%s", comma);
        text(html, key);
        fputs("&nbsp;", html);
        text(html, plain ? plain : "");
        comma = ", ";
        free(plain);
    }
    fputs("</td></tr>\n", html);
}

static void write_list(FILE *html, const char *head, const json_t *words)
{
    json_t *word;
    size_t  i;

    if (json_array_size(words) == 0)
        return;
    fprintf(html, "<tr><th scope=\"row\">%s</th><td>", head);
    json_array_foreach(words, i, word) {
        fputs(i ? ", " : "", html);
        text(html, json_string_value(word) ? json_string_value(word) : "");
    }
    fputs("</td></tr>\n", html);
}

/* The pairs of an object of texts, in a row of their own; size and name of a setting may be any text. */
static void write_pairs(FILE *html, const char *head, const json_t *first, const json_t *second)
{
    const json_t *objects[] = {first, second};
    const char   *key, *comma = "";
    json_t       *value;

    if (json_object_size(first) + json_object_size(second) == 0)
        return;
    fprintf(html, "<tr><th scope=\"row\">%s</th><td>", head);
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        json_object_foreach((json_t *)objects[i], key, value) {
            fputs(comma, html);
            fputs("<span class=\"pair\">", html);
            text(html, key);
            fputs("=<em>", html);
            text(html, json_string_value(value) ? json_string_value(value) : "");
            fputs("</em></span>", html);
            comma = ", ";
        }
    }
    fputs("</td></tr>\n", html);
}

/* "ok: one session 48 syncs of 48 due, the device was flushed 48 times; ...". */
static void write_tier_check(FILE *html, const json_t *check)
{
    json_t *part, *ok = json_object_get(check, "ok");
    char   *line;
    size_t  i;

    if (!json_is_object(check))
        return;
    fprintf(html, "<tr><th scope=\"row\">Tier check</th><td>%s", json_is_true(ok) ? "✓ ok" : json_is_null(ok) ? "? unknown" : "✗ broken");
    if (*text_at(check, "why")) {
        fputs(": ", html);
        text(html, text_at(check, "why"));
    }
    json_array_foreach(json_object_get(check, "parts"), i, part) {
        line = text_of("%s%s: %lld syncs of %lld due, %lld flushes of the device", i ? "; " : ". ", text_at(part, "name"),
                       (long long)json_integer_value(json_object_get(part, "syncs")),
                       (long long)json_integer_value(json_object_get(part, "syncs_due")),
                       (long long)json_integer_value(json_object_get(part, "flushes")));
        text(html, line);
        free(line);
    }
    fputs("</td></tr>\n", html);
}

static void write_engine(FILE *html, const json_t *engine)
{
    fputs("<details><summary>", html);
    text(html, text_at(engine, "name"));
    fputs("</summary><div class=\"scroll\"><table><tbody>\n", html);
    write_row(html, "Engine", *text_at(engine, "engine") ? text_at(engine, "engine") : text_at(engine, "name"));
    write_row(html, "What it is", text_at(engine, "summary"));
    write_row(html, "Version", text_at(engine, "version"));
    write_row(html, "Licence", text_at(engine, "licence"));
    write_row(html, "Tier", text_at(engine, "tier"));
    write_tier_check(html, json_object_get(engine, "tier_check"));
    write_list(html, "Capabilities", json_object_get(engine, "capabilities"));
    write_pairs(html, "Options", json_object_get(engine, "options"), json_object_get(engine, "sizes"));
    write_pairs(html, "In effect", json_object_get(engine, "settings"), NULL);
    fputs("</tbody></table></div></details>\n", html);
}

/* One fold an engine: its options, and what it made of them. */
static void write_engines(FILE *html, const json_t *engines)
{
    json_t *engine;
    size_t  i;

    if (json_array_size(engines) == 0)
        return;
    fputs("<div class=\"engines\"><span>Engines as they were set up:</span>\n", html);
    json_array_foreach(engines, i, engine)
        write_engine(html, engine);
    fputs("</div>\n", html);
}

/* Machine and build; an experiment says them again only where they differ from the first one's. */
static void write_provenance(FILE *html, const json_t *root)
{
    json_t *host = json_object_get(root, "host"), *build = json_object_get(root, "build");
    json_t *fs = json_object_get(host, "fs"), *device = json_object_get(host, "device");
    char   *line;

    line = text_of("%s%s%s, Linux %s", text_at(host, "cpu_model"), *text_at(host, "cpu_model") ? ", " : "",
                   *text_at(host, "distro") ? text_at(host, "distro") : "distribution unknown", text_at(host, "kernel"));
    write_row(html, "Host", line);
    free(line);
    write_number_row(html, "Cores", TEXT_COUNT, number_at(host, "cores"));
    write_number_row(html, "Memory", TEXT_BYTES, number_at(host, "memory_bytes"));
    line = text_of("%s%s%s%s%s%s%s", text_at(fs, "type"), *text_at(fs, "mount_options") ? " (" : "",
                   text_at(fs, "mount_options"), *text_at(fs, "mount_options") ? ")" : "",
                   *text_at(device, "name") ? " on " : "", text_at(device, "name"),
                   *text_at(device, "write_cache") ? "" : "");
    write_row(html, "File system", line);
    free(line);
    line = text_of("%s %s%s; %s; %s%s%s", text_at(build, "version"), text_at(build, "git"),
                   json_is_true(json_object_get(build, "dirty")) ? " with uncommitted changes" : "",
                   text_at(build, "compiler"), text_at(build, "cflags"),
                   *text_at(build, "sanitizer") ? "; sanitizer " : "", text_at(build, "sanitizer"));
    write_row(html, "Build", line);
    free(line);
}

/* Compared as they would be shown: the clock's cost, say, is measured anew by each run. */
static bool same_provenance(const json_t *a, const json_t *b)
{
    char  *text[2] = {NULL, NULL};
    size_t bytes;
    bool   same;

    for (int i = 0; i < 2; i++) {
        FILE *stream = open_memstream(&text[i], &bytes);

        write_provenance(stream, i ? b : a);
        fclose(stream);
    }
    same = strcmp(text[0], text[1]) == 0;
    free(text[0]);
    free(text[1]);
    return same;
}

static void write_experiment(FILE *html, const struct experiment *experiment, const json_t *first)
{
    json_t *root = experiment->root, *workload = json_object_get(root, "workload");

    fputs("<h3>", html);
    text(html, experiment->label);
    fputs(", ", html);
    text(html, experiment->setting);
    fputs("</h3>\n", html);
    if (*text_at(workload, "summary")) {
        fputs("<p>", html);
        text(html, text_at(workload, "summary"));
        fputs("</p>\n", html);
    }
    fputs("<pre>", html);
    write_command(html, json_object_get(root, "command"));
    fputs("</pre>\n<div class=\"scroll\"><table><tbody>\n", html);
    write_row(html, "Result", experiment->path);
    write_row(html, "Started", text_at(root, "started_utc"));
    if (!same_provenance(root, first))
        write_provenance(html, root);
    fputs("</tbody></table></div>\n<details><summary>Workload and settings in full</summary><div class=\"scroll\"><table>"
          "<tbody>\n", html);
    write_scalars(html, "Workload", workload);
    write_scalars(html, "Settings", json_object_get(root, "settings"));
    write_list(html, "Stream hashes", json_object_get(root, "opstream_xxh3"));
    fputs("</tbody></table></div></details>\n", html);
    write_engines(html, json_object_get(root, "engines"));
}

/*
 * Warnings: those of files, of cells, and what the page itself must say of comparing them.
 *
 * A noisy machine makes the same complaint of every cell.  Those of one file that begin alike, up to a colon, are one reason
 * with its count and first instance; the result file has them all.
 */
struct warnings {
    json_t *reasons; /* array of {where, head, text, count} */
};

static void warn(struct warnings *warnings, const char *where, const char *who, const char *what)
{
    size_t  head_bytes = strcspn(what, ":");
    char   *head = text_of("%.*s", (int)head_bytes, what), *text = text_of("%s%s%s", who, *who ? ": " : "", what);
    json_t *reason;
    size_t  i;
    bool    known = false;

    json_array_foreach(warnings->reasons, i, reason) {
        if (strcmp(text_at(reason, "where"), where) != 0 || strcmp(text_at(reason, "head"), head) != 0)
            continue;
        known = true;
        if (strcmp(text_at(reason, "text"), text) != 0)
            json_object_set_new(reason, "count",
                                json_integer(json_integer_value(json_object_get(reason, "count")) + 1));
        break;
    }
    if (!known)
        json_array_append_new(warnings->reasons, json_pack("{s:s, s:s, s:s, s:i}", "where", where, "head", head, "text", text,
                                                           "count", 1));
    free(head);
    free(text);
}

static void collect(struct warnings *warnings, const char *path, const json_t *root)
{
    json_t *item, *cell;
    size_t  i, j;

    json_array_foreach(json_object_get(root, "warnings"), i, item)
        warn(warnings, path, "", json_string_value(item) ? json_string_value(item) : "");
    if (json_is_false(json_object_get(root, "complete")))
        warn(warnings, path, "", "the run was ended before it was complete");
    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        const char *status = text_at(cell, "status"), *reason = text_at(cell, "reason"), *engine = text_at(cell, "engine");
        bool        always = strcmp(status, "refused") == 0 || strcmp(status, "unsupported") == 0;
        char       *who    = text_of("%s, round %lld", engine,
                                     (long long)json_integer_value(json_object_get(cell, "round")));

        json_array_foreach(json_object_get(cell, "warnings"), j, item)
            warn(warnings, path, who, json_string_value(item) ? json_string_value(item) : "");
        if (strcmp(status, "ok") != 0) {
            /* Each broken cell counts: its engine stands first, so that it groups with no other. */
            char *line = always ? text_of("%s %s: %s", engine, status, reason)
                                : text_of("%s %s%s%s", who, status, *reason ? ": " : "", reason);
            warn(warnings, path, "", line);
            free(line);
        }
        free(who);
    }
}

static void compare(struct warnings *warnings, const json_t *first, const json_t *other)
{
    json_t *a = json_object_get(first, "host"), *b = json_object_get(other, "host");
    json_t *c = json_object_get(first, "build"), *d = json_object_get(other, "build");

    if (strcmp(text_at(a, "cpu_model"), text_at(b, "cpu_model")) != 0 ||
        !json_equal(json_object_get(a, "cores"), json_object_get(b, "cores")) ||
        strcmp(text_at(a, "kernel"), text_at(b, "kernel")) != 0)
        warn(warnings, "", "", "the results on this page come from different machines: compare within a file only");
    if (strcmp(text_at(c, "git"), text_at(d, "git")) != 0 ||
        strcmp(text_at(c, "sanitizer"), text_at(d, "sanitizer")) != 0 ||
        strcmp(text_at(c, "cflags"), text_at(d, "cflags")) != 0)
        warn(warnings, "", "", "the results on this page come from different builds: compare within a file only");
}

static struct warnings warnings_of(const struct model *model)
{
    struct warnings warnings = {json_array()};

    for (size_t i = 0; i < model->experiment_count; i++) {
        const json_t *root = model->experiments[i].root;

        if (i)
            compare(&warnings, model->experiments[0].root, root);
        if (*text_at(json_object_get(root, "build"), "sanitizer"))
            warn(&warnings, model->experiments[i].path, "",
                 "built with a sanitizer: no figure of it says how fast an engine is");
        collect(&warnings, model->experiments[i].path, root);
    }
    for (size_t i = 0; i < model->crash_count; i++)
        collect(&warnings, model->crashes[i].path, model->crashes[i].root);
    return warnings;
}

static void write_warnings(FILE *html, const struct warnings *warnings)
{
    json_t *reason;
    size_t  i;

    if (json_array_size(warnings->reasons) == 0)
        return;
    fputs("<section class=\"warnings\" id=\"warnings\"><h2>⚠ Reasons for doubt</h2><ul>\n", html);
    json_array_foreach(warnings->reasons, i, reason) {
        json_int_t count = json_integer_value(json_object_get(reason, "count"));

        fputs("<li>", html);
        if (*text_at(reason, "where")) {
            fputs("<code>", html);
            text(html, text_at(reason, "where"));
            fputs("</code> ", html);
        }
        text(html, text_at(reason, "text"));
        if (count > 1)
            fprintf(html, " <b>(and %lld more like this)</b>", (long long)(count - 1));
        fputs("</li>\n", html);
    }
    fputs("</ul></section>\n", html);
}

static bool write_figure(FILE *html, const struct figure *figure, const char *dir)
{
    char *svg = draw_inline_svg(figure, dir);

    if (!svg)
        return false;
    fprintf(html, "<figure id=\"%s\">\n<h3>", figure->name);
    text(html, figure->title);
    fprintf(html, "</h3>\n<div class=\"scroll\">\n%s</div>\n<figcaption>", svg);
    text(html, figure->caption);
    fputs("</figcaption>\n", html);
    if (figure->notes)
        fprintf(html, "<div class=\"beside\">%s</div>\n", figure->notes);
    if (figure->table.column_count) {
        fprintf(html, "<details%s><summary>The numbers behind it (%zu rows)</summary>\n",
                table_rows(&figure->table) <= 12 ? " open" : "", table_rows(&figure->table));
        table_write_html(&figure->table, html);
        fputs("</details>\n", html);
    }
    fprintf(html, "<p class=\"files\"><a href=\"%s.svg\">SVG</a> · <a href=\"%s.png\">PNG</a>", figure->name, figure->name);
    if (figure->table.column_count)
        fprintf(html, " · <a href=\"%s.tsv\">TSV</a>", figure->name);
    if (figure->points.column_count)
        fprintf(html, " · <a href=\"%s-points.tsv\">points (TSV)</a>", figure->name);
    fputs("</p>\n</figure>\n", html);
    free(svg);
    return true;
}

static void write_failures(FILE *html, const struct model *model)
{
    static const char *const keys[] = {"key_hex", "expected", "found", "why", "kept_dir"};

    for (size_t i = 0; i < model->crash_count; i++) {
        json_t *failure;
        size_t  f;

        json_array_foreach(json_object_get(model->crashes[i].root, "failures"), f, failure) {
            if (f == 0) {
                fputs("<h3>What broke: ", html);
                text(html, text_at(json_object_get(model->crashes[i].root, "engine"), "name"));
                fputs(", ", html);
                text(html, text_at(model->crashes[i].root, "mode"));
                fputs("</h3>\n", html);
            }
            if (f == 20) {
                fprintf(html, "<p>… and %zu more in ",
                        json_array_size(json_object_get(model->crashes[i].root, "failures")) - f);
                text(html, model->crashes[i].path);
                fputs("</p>\n", html);
                break;
            }
            fputs("<p><span class=\"badge broken\">✗ ", html);
            text(html, text_at(failure, "verdict"));
            fputs("</span> ", html);
            for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
                const char *words = text_at(failure, keys[k]);

                if (!*words)
                    continue;
                fprintf(html, "<small>%s</small> ", keys[k]);
                text(html, words);
                fputs(" ", html);
            }
            fputs("</p>\n", html);
            if (*text_at(failure, "replay")) {
                fputs("<pre>", html);
                text(html, text_at(failure, "replay"));
                fputs("</pre>\n", html);
            }
        }
    }
}

static bool write_sections(FILE *html, const struct model *model, const struct figures *figures, const char *dir)
{
    for (enum section section = 0; section < SECTIONS; section++) {
        bool begun = false;

        for (size_t i = 0; i < figures->count; i++) {
            if (figures->items[i].section != section)
                continue;
            if (!begun)
                fprintf(html, "<section id=\"%s\"><h2>%s</h2>\n<p class=\"lead\">%s</p>\n", sections[section].id,
                        sections[section].title, sections[section].says);
            begun = true;
            if (!write_figure(html, &figures->items[i], dir))
                return false;
        }
        if (begun && section == SECTION_CRASH)
            write_failures(html, model);
        if (begun)
            fputs("</section>\n", html);
    }
    return true;
}

static void write_nav(FILE *html, const struct model *model, const struct figures *figures)
{
    fputs("<nav aria-label=\"Sections\"><a href=\"#run\">What was run</a>\n<a href=\"#headline\">Headline</a>\n", html);
    for (enum section section = 0; section < SECTIONS; section++) {
        for (size_t i = 0; i < figures->count; i++) {
            if (figures->items[i].section == section) {
                fprintf(html, "<a href=\"#%s\">%s</a>\n", sections[section].id, sections[section].title);
                break;
            }
        }
    }
    if (json_array_size(model->calibrations))
        fputs("<a href=\"#calibration\">Calibration</a>\n", html);
    fputs("</nav>\n", html);
}

static bool write_side_table(const struct table *table, const char *dir, const char *name)
{
    char *path   = text_of("%s/%s.tsv", dir, name);
    FILE *stream = fopen(path, "we");
    bool  good   = stream != NULL;

    if (good) {
        table_write_tsv(table, stream);
        good = !ferror(stream);
        good = fclose(stream) == 0 && good;
    }
    if (!good)
        fail_set("cannot write %s: %s", path, strerror(errno));
    free(path);
    return good;
}

static bool write_body(FILE *html, const struct model *model, const struct figures *figures, const char *dir)
{
    struct column *columns  = NULL;
    const json_t  *first    = model->experiment_count ? model->experiments[0].root
                              : model->crash_count    ? model->crashes[0].root
                                                      : NULL;
    struct warnings warnings = warnings_of(model);
    struct table   table;
    bool           good = true;

    fputs("<header><h1>Assay report</h1>\n<p class=\"lead\">", html);
    fprintf(html, "%zu benchmark%s and %zu crash campaign%s of key-value engines. Every figure has its numbers beneath it, and "
                  "its files beside this page.</p>\n", model->experiment_count, model->experiment_count == 1 ? "" : "s",
            model->crash_count, model->crash_count == 1 ? "" : "s");
    write_nav(html, model, figures);
    if (json_array_size(warnings.reasons) > 0)
        fprintf(html, "<p class=\"warnings\">⚠ <a href=\"#warnings\">%zu reason%s for doubt</a> came with these results.</p>\n",
                json_array_size(warnings.reasons), json_array_size(warnings.reasons) == 1 ? "" : "s");
    fputs("</header>\n<main>\n<section id=\"run\"><h2>What was run</h2>\n", html);
    if (first) {
        fputs("<div class=\"scroll\"><table><tbody>\n", html);
        write_provenance(html, first);
        fputs("</tbody></table></div>\n", html);
    }
    for (size_t i = 0; i < model->experiment_count; i++)
        write_experiment(html, &model->experiments[i], first);
    for (size_t i = 0; i < model->crash_count; i++) {
        fputs(i ? "" : "<h3>Crash campaigns</h3>\n", html);
        fputs("<pre>", html);
        write_command(html, json_object_get(model->crashes[i].root, "command"));
        fputs("</pre>\n", html);
        write_engine(html, json_object_get(model->crashes[i].root, "engine"));
    }
    fputs("</section>\n", html);
    if (model->experiment_count) {
        figures_headline(&table, model);
        fputs("<section id=\"headline\"><h2>Headline</h2>\n<p class=\"lead\">Medians over n rounds; min and max are of the "
              "engine's own time, Ratio is that time's to the baseline of its run; p99 is of the samples of all rounds together; To disk is what the kernel had to write for "
              "the process, mapped files included. A badge is earned by crash runs of the same build, options and tier.</p>\n", html);
        table_write_html(&table, html);
        fputs("<p class=\"files\"><a href=\"headline.tsv\">TSV</a></p></section>\n", html);
        good = write_side_table(&table, dir, "headline");
        table_clear(&table);
        figures_ratios(&table, model);
        if (table_rows(&table)) {
            fputs("<section id=\"ratios\"><h2>Ratios</h2>\n<p class=\"lead\">Throughput in the engine's own time by that of "
                  "the baseline in the same round; the interval is a bootstrap of the median, and from three rounds on.</p>\n",
                  html);
            table_write_html(&table, html);
            fputs("<p class=\"files\"><a href=\"ratios.tsv\">TSV</a></p></section>\n", html);
            good = good && write_side_table(&table, dir, "ratios");
        }
        table_clear(&table);
    }
    good = good && write_sections(html, model, figures, dir);
    if (good && json_array_size(model->calibrations)) {
        beside_calibration(&table, model, &columns);
        fputs("<section id=\"calibration\"><h2>Calibration</h2>\n<p class=\"lead\">What the machine and its disk can do, in the "
              "terms that engines use: no engine commits faster than the device syncs.</p>\n", html);
        table_write_html(&table, html);
        fputs("<p class=\"files\"><a href=\"calibration.tsv\">TSV</a></p></section>\n", html);
        good = write_side_table(&table, dir, "calibration");
        table_clear(&table);
        free(columns);
    }
    write_warnings(html, &warnings);
    json_decref(warnings.reasons);
    fputs("</main>\n", html);
    return good;
}

bool page_write(const struct model *model, const struct figures *figures, const char *dir)
{
    char *path = text_of("%s/index.html", dir);
    FILE *html = fopen(path, "we");
    bool  good = false;

    if (!html) {
        fail_set("cannot write %s: %s", path, strerror(errno));
        goto out;
    }
    fprintf(html, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n%s\n<meta name=\"viewport\" "
                  "content=\"width=device-width,initial-scale=1\">\n<title>Assay report</title>\n<style>%s</style>\n</head>\n"
                  "<body>\n", PAGE_GENERATOR, style);
    good = write_body(html, model, figures, dir);
    fputs("</body>\n</html>\n", html);
    if (good && (ferror(html) || fflush(html) != 0)) {
        fail_set("cannot write %s: %s", path, strerror(errno));
        good = false;
    }
    if (fclose(html) != 0 && good) {
        fail_set("cannot write %s: %s", path, strerror(errno));
        good = false;
    }
out:
    free(path);
    return good;
}
