#include "common/outfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fail.h"

bool outfile_open(struct outfile *file, const char *path)
{
    *file = (struct outfile){0};
    if (strcmp(path, "-") == 0) {
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

bool outfile_commit(struct outfile *file)
{
    bool good = fflush(file->stream) == 0 && !ferror(file->stream);

    if (good && file->path) {
        /* A device or a pipe (such as /dev/stdout) cannot be synced or replaced; the temporary never is one. */
        good = fsync(fileno(file->stream)) == 0 && rename(file->temporary, file->path) == 0;
    } else if (good) {
        fclose(file->stream); /* completes text */
        file->stream = NULL;
        good = fwrite(file->text, 1, file->text_bytes, stdout) == file->text_bytes && fflush(stdout) == 0;
    }
    if (!good)
        fail_set("cannot write %s: %s", file->path ? file->path : "to standard output", strerror(errno));
    outfile_discard(file);
    return good;
}
