/* words.h -- "did you mean": the nearest of some words to one that nobody knows. */
#ifndef ASSAY_COMMON_WORDS_H
#define ASSAY_COMMON_WORDS_H

#include <stddef.h>

/* The nearest word by edit distance, NULL when none is near. */
const char *words_nearest(const char *word, const char *const *words, size_t count);

/* "; did you mean \"zipfian\"?", or "; write one of a, b, c" when none is near: the end of an error sentence.  Lent
 * until the next call of this thread. */
const char *words_hint(const char *word, const char *const *words, size_t count);

/* Makes one line of a sentence: what a person typed or a file holds may have line ends, which become '?'. */
void words_one_line(char *sentence);

#endif
