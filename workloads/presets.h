/* presets.h -- the workload files of this folder, built into the program, which finds them wherever it is started. */
#ifndef ASSAY_WORKLOADS_PRESETS_H
#define ASSAY_WORKLOADS_PRESETS_H

#include <stddef.h>

/* The text of a preset, NULL when there is none of this name. */
const char *presets_text(const char *name);
/* Names, sorted, NULL-terminated. */
const char *const *presets_names(size_t *count);

#endif
