/* dump.h -- one file of a store, for people. */
#ifndef ASSAY_ENGINES_BITCASK_DUMP_H
#define ASSAY_ENGINES_BITCASK_DUMP_H

#include <stdio.h>

#include "engines/base/status.h"

/* As kv_engine.dump says: KV_MISMATCH with nothing printed for other files, KV_CORRUPT after printing what is damaged. */
MUST_USE kv_status bitcask_dump(const char *path, FILE *out);

#endif
