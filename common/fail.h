/*
 * fail.h -- the sentence that says what went wrong.
 *
 * The sentence is written once, where it is known, into a buffer that belongs to the calling thread; the status goes
 * up untouched.  Nothing is allocated, so that a failure for want of memory can be told too.
 */
#ifndef ASSAY_COMMON_FAIL_H
#define ASSAY_COMMON_FAIL_H

#define FAIL_BYTES_MAX 1024

/* Replaces this thread's sentence.  No trailing full stop or line end; the arguments may point into fail_text(). */
__attribute__((visibility("default"), format(printf, 1, 2)))
void fail_set(const char *format, ...);

/* This thread's last sentence, "" when there was none.  Lent until the next fail_set() of the same thread. */
__attribute__((visibility("default")))
const char *fail_text(void);

#endif
