/* tree.h -- a directory with all below it: copied, holes staying holes, removed, compared.  Not for directories that change. */
#ifndef ASSAY_CRASHTEST_TREE_H
#define ASSAY_CRASHTEST_TREE_H

#include <stdbool.h>
#include <sys/types.h>

/* Files, directories and symbolic links; `to` must be absent or an empty directory.  False with fail_set(). */
bool tree_copy(const char *from, const char *to);
/* True when it was not there. */
bool tree_remove(const char *dir);

/* True when both hold the same names and bytes; else false with fail_set() naming the first difference. */
bool tree_same(const char *a, const char *b);

/* Makes a directory, or finds it empty.  False with fail_set(). */
bool tree_make_empty(const char *path);

/* [0, size) of one file into a new one, holes staying holes.  False with errno. */
bool tree_copy_bytes(int from, int to, off_t size);

#endif
