/* recorder.c -- finds the preloaded recorder, or runs the program again with it. */
#include "crashtest/recorder.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fail.h"

#define LIBRARY   "libassay-recorder.so"
#define INSTALLED "lib/assay/" LIBRARY /* from PREFIX, when the program is PREFIX/bin/assay */
#define TRIED   "ASSAY_RECORDER_TRIED"

const struct recorder_api *recorder(void)
{
    const struct recorder_api *api = dlsym(RTLD_DEFAULT, RECORDER_SYMBOL);

    return api && api->abi == RECORDER_ABI ? api : NULL;
}

/* Beside the executable, or one folder up (tests). */
static bool find_library(char path[PATH_MAX])
{
    const char *given = getenv("ASSAY_RECORDER");
    ssize_t     bytes;

    if (given) {
        if (access(given, R_OK) == 0 && realpath(given, path))
            return true;
        fail_set("the recorder %s (from $ASSAY_RECORDER): %s", given, strerror(errno));
        return false;
    }
    bytes = readlink("/proc/self/exe", path, PATH_MAX - sizeof INSTALLED - 1);
    for (int up = 0; bytes > 0 && up < 2; up++) {
        char *slash;

        path[bytes] = '\0';
        slash = strrchr(path, '/');
        if (!slash)
            break;
        strcpy(slash + 1, LIBRARY);
        if (access(path, R_OK) == 0)
            return true;
        strcpy(slash + 1, INSTALLED);
        if (access(path, R_OK) == 0)
            return true;
        bytes = slash - path;
    }
    fail_set("no " LIBRARY " beside the program: build it with `make`, or name it in $ASSAY_RECORDER");
    return false;
}

bool recorder_preload(char **argv)
{
    char        library[PATH_MAX], joined[2 * PATH_MAX];
    const char *others = getenv("LD_PRELOAD");

    if (recorder()) {
        unsetenv("LD_PRELOAD"); /* what this process runs is not recorded, and needs no second copy of it */
        return true;
    }
    if (getenv(TRIED)) {
        fail_set("the recorder cannot be preloaded here (a static or set-user-id program, or LD_PRELOAD is ignored)");
        return false;
    }
    if (!find_library(library))
        return false;
    snprintf(joined, sizeof joined, "%s%s%s", library, others && *others ? ":" : "", others ? others : "");
    if (setenv("LD_PRELOAD", joined, 1) != 0 || setenv(TRIED, "1", 1) != 0) {
        fail_set("setenv: %s", strerror(errno));
        return false;
    }
    execv("/proc/self/exe", argv);
    fail_set("run the program again with the recorder: %s", strerror(errno));
    return false;
}
