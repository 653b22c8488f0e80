/*
 * state.h -- a directory as a crash could leave it: the start of a trace, a profile and a seed.
 *
 * base_dir is the durable directory as it was when the recording began (the recorded child works on a copy of it, made
 * with tree_copy); it is only read.  The same arguments give the same directory, always.
 */
#ifndef ASSAY_CRASHTEST_STATE_H
#define ASSAY_CRASHTEST_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "crashtest/disk.h"
#include "crashtest/trace.h"

struct state;

/*
 * The state after the first `upto` records (0 to trace->count) of a settled trace.  Call upto then is about to begin:
 * with cut_bytes below its length, when it is a write, that many of its bytes were given to the kernel before the crash.
 * The seed matters only to profiles with a DISK_CHOSEN; low seeds search the strongest states first: from 0 up they lose
 * and keep each pending name and file alone (state.c says how).  NULL with fail_set().
 */
#define STATE_NO_CUT UINT64_C(0)
struct state *state_make(const struct trace *trace, uint64_t upto, uint64_t cut_bytes,
                         const struct disk_profile *profile, uint64_t seed, const char *base_dir);

/* Equal for equal directories; comparable among states of one trace and base.  Cheap: nothing is written for it. */
uint64_t state_hash(const struct state *state);

/* Writes it into out_dir, which must be absent or an empty directory.  Files are sparse.  False with fail_set(). */
bool state_write(const struct state *state, const char *out_dir);
void state_free(struct state *state); /* NULL is fine */

/* The three in one, without a cut. */
bool state_build(const struct trace *trace, uint64_t upto, const struct disk_profile *profile, uint64_t seed,
                 const char *base_dir, const char *out_dir);

#endif
