/*
 * report.c -- assay report: result files in, a folder with figures and one page out.
 *
 * Everything is made in a folder beside the target, DIR.tmp-PID, synced, and then changes places with DIR in one call:
 * whoever looks sees the former report or the new one.  A DIR that holds anything else than a report is not touched.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/args.h"
#include "common/commands.h"
#include "common/fail.h"
#include "common/progress.h"
#include "common/stop.h"
#include "plot/draw.h"
#include "plot/figures.h"
#include "plot/model.h"
#include "plot/page.h"
#include "plot/table.h"

/* Calls visit for each entry of a folder until it returns false. */
static bool each_entry(const char *dir, bool (*visit)(int dir_fd, const char *name, void *arg), void *arg)
{
    DIR  *folder = opendir(dir);
    bool  good   = folder != NULL;
    for (struct dirent *entry; good && (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            good = visit(dirfd(folder), entry->d_name, arg);
    if (folder)
        closedir(folder);
    return good;
}

static bool remove_entry(int dir_fd, const char *name, void *arg)
{
    (void)arg;
    unlinkat(dir_fd, name, 0);
    return true;
}

static void remove_folder(const char *dir)
{
    each_entry(dir, remove_entry, NULL);
    rmdir(dir);
}

static bool sync_entry(int dir_fd, const char *name, void *arg)
{
    int  fd   = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;

    (void)arg;
    if (!good)
        fail_set("cannot sync %s: %s", name, strerror(errno));
    if (fd >= 0)
        close(fd);
    return good;
}

static bool is_ours(int dir_fd, const char *name, void *arg)
{
    static const char *const ends[] = {".svg", ".png", ".tsv", ".html"};
    const char              *dot    = strrchr(name, '.');
    struct stat              status;

    for (size_t i = 0; dot && i < sizeof ends / sizeof *ends; i++)
        if (strcmp(dot, ends[i]) == 0 && fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(status.st_mode))
            return true;
    snprintf(arg, NAME_MAX + 1, "%s", name);
    return false;
}

static bool count_entry(int dir_fd, const char *name, void *arg)
{
    (void)dir_fd;
    (void)name;
    ++*(size_t *)arg;
    return true;
}

/* 0: DIR is not there, is empty or holds a former report; else the exit code, with the message told. */
static int check_target(const struct arg_command *command, const char *dir)
{
    char        stranger[NAME_MAX + 1] = "", *index, *page;
    struct stat status;
    size_t      count = 0;
    bool        former;

    if (stat(dir, &status) != 0) {
        const char *slash = strrchr(dir, '/');
        char       *parent = slash ? text_of("%.*s", slash == dir ? 1 : (int)(slash - dir), dir) : text_of(".");
        bool        absent = errno == ENOENT && parent && stat(parent, &status) != 0;
        int         code = errno == ENOENT && !absent ? 0 : args_wrong(command, "--out %s: %s", dir, strerror(errno));

        free(parent);
        return code;
    }
    if (!S_ISDIR(status.st_mode))
        return args_wrong(command, "--out %s: there is a file of that name; name a folder", dir);
    if (!each_entry(dir, is_ours, stranger))
        return args_wrong(command, "--out %s: the folder holds %s, which is no part of a report; name another folder", dir,
                          *stranger ? stranger : "what cannot be read");
    each_entry(dir, count_entry, &count);
    if (count == 0)
        return 0;
    index  = text_of("%s/index.html", dir);
    page   = draw_read_file(index);
    former = page && strstr(page, PAGE_GENERATOR);
    free(index);
    free(page);
    return former ? 0 : args_wrong(command, "--out %s: the folder is no former report; name another folder", dir);
}

/* Puts the new folder where the old one was, or where there was none. */
static bool publish(const char *made, const char *dir)
{
    int parent;

    if (!each_entry(made, sync_entry, NULL))
        return false;
    parent = open(made, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent >= 0) {
        fsync(parent);
        close(parent);
    }
    if (renameat2(AT_FDCWD, made, AT_FDCWD, dir, RENAME_NOREPLACE) == 0)
        return true;
    if (errno == EEXIST && renameat2(AT_FDCWD, made, AT_FDCWD, dir, RENAME_EXCHANGE) == 0) {
        remove_folder(made); /* the former report */
        return true;
    }
    if (errno == EINVAL || errno == ENOSYS) { /* a file system that cannot exchange: two renames */
        char *old  = text_of("%s.old-%d", dir, (int)getpid());
        bool  good = (rename(dir, old) == 0 || errno == ENOENT) && rename(made, dir) == 0;

        if (good) {
            remove_folder(old);
        } else {
            int error = errno;

            rename(old, dir);
            errno = error;
        }
        free(old);
        if (good)
            return true;
    }
    fail_set("cannot put the report at %s: %s", dir, strerror(errno));
    return false;
}

static bool make_report(const struct model *model, const char *templates, const char *made)
{
    struct figures  figures;
    struct progress progress;
    bool            good = true;

    figures_make(&figures, model);
    progress_start(&progress, "figures", figures.count);
    for (size_t i = 0; good && i < figures.count; i++) {
        progress_show(&progress, figures.items[i].name, i);
        good = draw_figure(&figures.items[i], templates, made);
        if (good && stop_requested()) {
            fail_set("interrupted");
            good = false;
        }
    }
    progress_end(&progress);
    good = good && page_write(model, &figures, made);
    figures_clear(&figures);
    return good;
}

static int failed(void)
{
    fprintf(stderr, "assay report: %s\n", fail_text());
    return 1;
}

int command_report(int argc, char **argv)
{
    const char      *out       = NULL;
    const struct arg options[] = {
        {"out", ARG_TEXT, &out, "DIR", "the folder of the report; a former report there is replaced as a whole"},
        {0},
    };
    const struct arg_command command = {
        "assay report", "RESULT.json... --out DIR",
        "Turns results of bench, crash and calibrate into figures (SVG, PNG, TSV) and one page, DIR/index.html.", options,
        "  assay report r.json --out report\n"
        "  assay report bench.json kill.json power.json --out report     durability badges from the crash runs\n"};
    char            templates[PATH_MAX], *made = NULL, *target = NULL;
    struct arg_list files = {0};
    struct model    model;
    int             rc = args_parse(&command, argc, argv, &files);

    if (rc >= 0)
        return rc;
    stop_install();
    if (!out)
        return args_wrong(&command, "--out is missing; write --out DIR");
    if (files.count == 0)
        return args_wrong(&command, "no result file is named; write assay report r.json --out %s", out);
    if ((rc = check_target(&command, out)) != 0)
        return rc;
    if (!draw_find_templates(templates))
        return failed();
    if (!model_load(&model, files.item, files.count)) {
        model_clear(&model);
        return failed();
    }
    rc     = 1;
    target = realpath(out, NULL); /* the folder itself is replaced, not a link to it, nor "." */
    target = target ? target : text_of("%s", out);
    while (strlen(target) > 1 && target[strlen(target) - 1] == '/')
        target[strlen(target) - 1] = '\0';
    made = text_of("%s.tmp-%d", target, (int)getpid());
    if (mkdir(made, 0777) != 0)
        fail_set("cannot make %s: %s", made, strerror(errno));
    else if (make_report(&model, templates, made) && publish(made, target))
        rc = 0;
    if (rc != 0)
        remove_folder(made);
    if (rc == 0)
        fprintf(stderr, "%s/index.html\n", out);
    else
        failed();
    model_clear(&model);
    free(target);
    free(made);
    return rc;
}
