/* tree.h -- a directory with all below it: copied, holes staying holes, and removed.  Not for directories that change. */
#ifndef ASSAY_CRASHTEST_TREE_H
#define ASSAY_CRASHTEST_TREE_H

#include <stdbool.h>

/* Files, directories and symbolic links; `to` must be absent or an empty directory.  False with fail_set(). */
bool tree_copy(const char *from, const char *to);
/* True when it was not there. */
bool tree_remove(const char *dir);

#endif
