/* dump.h -- a log, a table or the manifest of the tree, for people. */
#ifndef ASSAY_ENGINES_LSM_DUMP_H
#define ASSAY_ENGINES_LSM_DUMP_H

#include <stdio.h>

#include "engines/base/status.h"

kv_status lsm_dump(const char *path, FILE *out);

#endif
