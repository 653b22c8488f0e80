/*
 * status.h -- what happened, one value for each reaction of the caller.
 *
 * A status other than KV_OK and KV_NOT_FOUND comes with a sentence in fail_text().
 */
#ifndef ASSAY_ENGINES_BASE_STATUS_H
#define ASSAY_ENGINES_BASE_STATUS_H

#include "common/fail.h"

#define KV_STATUS_LIST(X)                                                                          \
    X(KV_OK,          "ok",          "done")                                                       \
    X(KV_NOT_FOUND,   "not_found",   "no such key: an answer, not a failure")                      \
    X(KV_INVALID,     "invalid",     "the call or a setting is wrong: mend the caller")            \
    X(KV_UNSUPPORTED, "unsupported", "this engine does not offer that: do without")                \
    X(KV_TOO_LARGE,   "too_large",   "past a limit of key, value or batch: nothing changed")       \
    X(KV_BUSY,        "busy",        "another process has the store open: wait for it")            \
    X(KV_MISMATCH,    "mismatch",    "no store of this engine and version: use another directory") \
    X(KV_NO_MEMORY,   "no_memory",   "out of memory: nothing changed")                             \
    X(KV_NO_SPACE,    "no_space",    "out of disk space: nothing changed")                         \
    X(KV_IO,          "io",          "the system failed a call: the store takes no more writes")   \
    X(KV_CORRUPT,     "corrupt",     "bytes on disk contradict their checksum: restore")

typedef enum kv_status {
#define X(name, word, meaning) name,
    KV_STATUS_LIST(X)
#undef X
    KV_STATUS_COUNT
} kv_status;

#define MUST_USE __attribute__((warn_unused_result))

/* "not_found": the word of results and messages. */
const char *kv_status_word(kv_status status);

/* The exit code of a command that ends with status: 0; 2 when the command was wrong (INVALID, UNSUPPORTED, TOO_LARGE,
 * MISMATCH), 1 when the answer, the data or the device was. */
int kv_status_exit(kv_status status);

/* Writes the sentence and returns status, so that a failing function ends in one line. */
__attribute__((format(printf, 2, 3)))
kv_status kv_fail(kv_status status, const char *format, ...);

/* The same for a failed system call: appends ": " and the text of errno; ENOSPC, EDQUOT -> KV_NO_SPACE, ENOMEM ->
 * KV_NO_MEMORY, all else KV_IO. */
__attribute__((format(printf, 1, 2)))
kv_status kv_fail_errno(const char *format, ...);

/* Returns from the calling function when the status is not KV_OK; for places with nothing to undo. */
#define TRY(call)                                    \
    do {                                             \
        kv_status try_status_ = (call);              \
        if (try_status_ != KV_OK) return try_status_; \
    } while (0)

#endif
