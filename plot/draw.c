#include "plot/draw.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fail.h"
#include "common/stop.h"

#ifndef ASSAY_PREFIX
#define ASSAY_PREFIX "/usr/local"
#endif

static bool has_templates(const char *dir)
{
    char path[PATH_MAX + 16];

    snprintf(path, sizeof path, "%s/style.gp", dir);
    return access(path, R_OK) == 0;
}

bool draw_find_templates(char out[PATH_MAX])
{
    const char *chosen = getenv("ASSAY_PLOT");
    char        program[PATH_MAX - 32];
    ssize_t     length;

    if (chosen) {
        if (realpath(chosen, out) && has_templates(out))
            return true;
        fail_set("ASSAY_PLOT=%s: there is no style.gp in that folder", chosen);
        return false;
    }
    /* build/assay has them at ../plot, a test in build/tests at ../../plot, PREFIX/bin/assay at ../share/assay. */
    length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length > 0) {
        static const char *const places[] = {"../plot", "../../plot", "../share/assay"};

        program[length] = '\0';
        *strrchr(program, '/') = '\0';
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            char place[PATH_MAX];

            snprintf(place, sizeof place, "%s/%s", program, places[i]);
            if (realpath(place, out) && has_templates(out))
                return true;
        }
    }
    if (realpath(ASSAY_PREFIX "/share/assay", out) && has_templates(out))
        return true;
    fail_set("the plot templates are not beside the program nor in " ASSAY_PREFIX
             "/share/assay; say where in ASSAY_PLOT");
    return false;
}

char *draw_read_file(const char *path)
{
    FILE  *stream = fopen(path, "re"), *copy;
    char  *text   = NULL, block[65536];
    size_t bytes, got;

    if (!stream) {
        fail_set("cannot read %s: %s", path, strerror(errno));
        return NULL;
    }
    copy = open_memstream(&text, &bytes);
    while ((got = fread(block, 1, sizeof block, stream)) > 0)
        fwrite(block, 1, got, copy);
    fclose(stream);
    fclose(copy);
    return text;
}

static bool write_table(const struct table *table, const char *dir, const char *name, const char *end)
{
    char *path   = text_of("%s/%s%s.tsv", dir, name, end);
    FILE *stream = fopen(path, "we");
    bool  good   = stream != NULL;

    if (stream) {
        table_write_tsv(table, stream);
        good = !ferror(stream);
        good = fclose(stream) == 0 && good;
    }
    if (!good)
        fail_set("cannot write %s: %s", path, strerror(errno));
    free(path);
    return good;
}

/* Both pictures by one script: the same template twice, before each the terminal. */
static bool write_script(const struct figure *figure, const char *templates, const char *path)
{
    FILE *gp = fopen(path, "we");
    bool  good;

    if (!gp) {
        fail_set("cannot write %s: %s", path, strerror(errno));
        return false;
    }
    fprintf(gp, "set loadpath '");
    for (const char *c = templates; *c; c++)
        fprintf(gp, "%s%c", *c == '\'' ? "'" : "", *c);
    fprintf(gp, "'\nW = %d.\nH = %d.\n", figure->width, figure->height);
    fprintf(gp, "data = '%s.tsv'\npoints = '%s-points.tsv'\n", figure->name, figure->name);
    fwrite(figure->settings, 1, figure->settings_bytes, gp);
    fprintf(gp, "load 'style.gp'\nface = 'sans-serif'\ntitle_size = 12.5\n"
                "set terminal svg size W, H dynamic noenhanced font 'sans-serif,12' background rgb 'white'\n"
                "set output '%s.svg'\nload '%s'\nunset output\nreset\n", figure->name, figure->template);
    fprintf(gp, "load 'style.gp'\nface = 'Sans'\ntitle_size = 9.5\n"
                "set terminal pngcairo size W*1.5, H*1.5 noenhanced font 'Sans,9' fontscale 1.5 linewidth 1.5 pointscale 1.5 "
                "background rgb 'white'\n"
                "set output '%s.png'\nload '%s'\nunset output\n", figure->name, figure->template);
    good = !ferror(gp);
    good = fclose(gp) == 0 && good;
    if (!good)
        fail_set("cannot write %s: %s", path, strerror(errno));
    return good;
}

/* The line of gnuplot's complaint that says what: the last that is not empty. */
static void fail_with_complaint(const struct figure *figure, const char *path)
{
    char       *text = draw_read_file(path), *rest = text, *last = NULL;

    for (char *line; rest && (line = strsep(&rest, "\n"));)
        if (strspn(line, " ^\t") < strlen(line))
            last = line;
    fail_set("gnuplot cannot draw %s (%s): %s", figure->name, figure->template, last ? last : "it says nothing");
    free(text);
}

static bool run_gnuplot(const struct figure *figure, const char *dir)
{
    char                      *argv[] = {"gnuplot", "--default-settings", "figure.gp", NULL};
    posix_spawn_file_actions_t actions;
    char                      *complaint = text_of("%s/complaint.txt", dir);
    extern char              **environ;
    int                        error, status = 0;
    pid_t                      pid;
    bool                       good = false;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, dir);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "complaint.txt", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error) {
        fail_set(error == ENOENT ? "gnuplot is not installed; install the package gnuplot-nox (Debian, Ubuntu) or gnuplot"
                                 : "cannot start gnuplot: %s", strerror(error));
        goto out;
    }
    /* Asked now and then, because a signal that comes just before a blocking wait would not end it. */
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (stop_requested())
            kill(pid, SIGKILL);
        clock_sleep_until_ns(clock_now_ns() + 2 * NS_PER_MS);
    }
    if (stop_requested())
        fail_set("interrupted");
    else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_with_complaint(figure, complaint);
    else
        good = true;
out:
    unlink(complaint);
    free(complaint);
    return good;
}

/* gnuplot names its symbols and patterns alike in every picture; in one page they would be one another's. */
static void write_mended(FILE *out, const char *svg, const char *prefix)
{
    static const char *const marks[] = {" id=\"", " id='", "href='#", "href=\"#", "url(#"};

    static const char bold[] = "font-family=\"sans-serif:Bold\""; /* gnuplot 5.4 takes it for a name */

    while (*svg) {
        size_t i = 0;

        if (strncmp(svg, bold, sizeof bold - 1) == 0) {
            fputs("font-family=\"sans-serif\" font-weight=\"600\"", out);
            svg += sizeof bold - 1;
            continue;
        }
        while (i < sizeof marks / sizeof *marks && strncmp(svg, marks[i], strlen(marks[i])) != 0)
            i++;
        if (i == sizeof marks / sizeof *marks) {
            fputc(*svg++, out);
            continue;
        }
        fprintf(out, "%s%s-", marks[i], prefix);
        svg += strlen(marks[i]);
    }
}

/* Gives the SVG file its title, its description and ids of its own. */
static bool mend_svg(const struct figure *figure, const char *dir)
{
    char *path = text_of("%s/%s.svg", dir, figure->name), *svg = draw_read_file(path), *title, *after;
    FILE *out;
    bool  good = false;

    if (!svg)
        goto out;
    title = strstr(svg, "<title>");
    after = title ? strstr(title, "</desc>") : NULL;
    if (!after) {
        fail_set("%s: gnuplot wrote an SVG without title; gnuplot 5.4 or later is wanted", path);
        goto out;
    }
    out = fopen(path, "we");
    if (!out) {
        fail_set("cannot write %s: %s", path, strerror(errno));
        goto out;
    }
    *title = '\0';
    write_mended(out, svg, figure->name);
    fputs("<title>", out);
    text_html(out, figure->title);
    fputs("</title>\n<desc>", out);
    text_html(out, figure->alt);
    write_mended(out, after, figure->name);
    good = !ferror(out);
    good = fclose(out) == 0 && good;
    if (!good)
        fail_set("cannot write %s: %s", path, strerror(errno));
out:
    free(svg);
    free(path);
    return good;
}

bool draw_figure(const struct figure *figure, const char *templates, const char *dir)
{
    char *script = text_of("%s/figure.gp", dir);
    bool  good   = (figure->table.column_count == 0 || write_table(&figure->table, dir, figure->name, "")) &&
                (figure->points.column_count == 0 || write_table(&figure->points, dir, figure->name, "-points")) &&
                write_script(figure, templates, script) && run_gnuplot(figure, dir) && mend_svg(figure, dir);

    unlink(script);
    free(script);
    return good;
}

char *draw_inline_svg(const struct figure *figure, const char *dir)
{
    char *path = text_of("%s/%s.svg", dir, figure->name), *svg = draw_read_file(path), *root, *copy = NULL;

    root = svg ? strstr(svg, "<svg") : NULL;
    if (root)
        copy = text_of("<svg role=\"img\"%s", root + 4);
    else if (svg)
        fail_set("%s holds no SVG", path);
    free(svg);
    free(path);
    return copy;
}
