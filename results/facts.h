/* facts.h -- what was built, and what it runs on.  Whatever the system does not tell is null. */
#ifndef ASSAY_RESULTS_FACTS_H
#define ASSAY_RESULTS_FACTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* version, git, dirty, compiler, cflags, sanitizer, binary_xxh3 of this executable. */
json_t *facts_build(void);

/* kernel, distro, cpu_model, cores, memory_bytes, governor, virtualized, thp, aslr, clock, fs and device of dir,
 * cgroup. */
json_t *facts_host(const char *dir);

/* XXH3 of a file's bytes as 16 hex digits; false when it cannot be read. */
bool facts_file_xxh3(const char *path, char out[17]);

/* "/sys/dev/block/8:0", the whole disk below the file system of dir; false when it has none (tmpfs, overlay, network).
 */
bool facts_device_path(const char *dir, char *out, size_t out_bytes);

/* True for file systems that live in memory and so lose all with the power: tmpfs and ramfs. */
bool facts_fs_is_memory(const char *dir);

#endif
