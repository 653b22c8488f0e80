#include "common/outfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fail.h"

/* /dev/null, a pipe: there is nothing to rename over, and renaming would replace the device itself. */
static bool is_device(const struct stat *status)
{
    return !S_ISREG(status->st_mode) && !S_ISDIR(status->st_mode);
}

bool outfile_open(struct outfile *file, const char *path)
{
    struct stat status;
    bool        there = stat(path, &status) == 0;

    *file = (struct outfile){0};
    if (strcmp(path, "-") == 0) {
        file->stream = open_memstream(&file->text, &file->text_bytes);
    } else if (there && S_ISDIR(status.st_mode)) {
        errno = EISDIR; /* known now, and not when the rename fails after hours of work */
    } else if (there && is_device(&status)) {
        if ((file->path = strdup(path)))
            file->stream = open_memstream(&file->text, &file->text_bytes);
    } else if ((file->path = strdup(path)) && asprintf(&file->temporary, "%s.tmp-%d", path, (int)getpid()) > 0) {
        file->stream = fopen(file->temporary, "we");
    }
    if (file->stream)
        return true;
    fail_set("cannot write %s: %s", path, strerror(errno));
    free(file->path);
    free(file->temporary);
    *file = (struct outfile){0};
    return false;
}

void outfile_discard(struct outfile *file)
{
    if (file->stream)
        fclose(file->stream);
    if (file->temporary)
        unlink(file->temporary);
    free(file->path);
    free(file->temporary);
    free(file->text);
    *file = (struct outfile){0};
}

static bool write_text(struct outfile *file)
{
    FILE *target = file->path ? fopen(file->path, "we") : stdout;
    bool  good;

    fclose(file->stream); /* completes text */
    file->stream = NULL;
    if (!target)
        return false;
    good = fwrite(file->text, 1, file->text_bytes, target) == file->text_bytes && fflush(target) == 0;
    if (target != stdout)
        good = fclose(target) == 0 && good;
    return good;
}

bool outfile_commit(struct outfile *file)
{
    bool good = fflush(file->stream) == 0 && !ferror(file->stream);

    if (good && file->temporary)
        good = fsync(fileno(file->stream)) == 0 && rename(file->temporary, file->path) == 0;
    else if (good)
        good = write_text(file);
    if (!good)
        fail_set("cannot write %s: %s", file->path ? file->path : "to standard output", strerror(errno));
    outfile_discard(file);
    return good;
}
