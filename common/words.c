#include "common/words.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define WORD_BYTES_MAX 64

/* Levenshtein, with a swap of neighbours counted as one step (optimal string alignment). */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][WORD_BYTES_MAX + 1];
    size_t a_size = strlen(a), b_size = strlen(b);

    if (a_size > WORD_BYTES_MAX || b_size > WORD_BYTES_MAX)
        return SIZE_MAX; /* near nothing */
    for (size_t j = 0; j <= b_size; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t *row = rows[i % 3], *before = rows[(i + 2) % 3], *earlier = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t best = before[j - 1] + (a[i - 1] != b[j - 1]);
            if (before[j] + 1 < best) best = before[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && earlier[j - 2] + 1 < best)
                best = earlier[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[a_size % 3][b_size];
}

const char *words_nearest(const char *word, const char *const *words, size_t count)
{
    const char *nearest = NULL;
    size_t      near = strlen(word) / 3 + 1; /* a third may be wrong */

    for (size_t i = 0; i < count; i++) {
        size_t steps = distance(word, words[i]);
        if (steps <= near && (!nearest || steps < near)) {
            near = steps;
            nearest = words[i];
        }
    }
    return nearest;
}

const char *words_hint(const char *word, const char *const *words, size_t count)
{
    static _Thread_local char hint[512];
    const char               *nearest = words_nearest(word, words, count);
    size_t                    used;

    if (nearest) {
        snprintf(hint, sizeof hint, "; did you mean \"%s\"?", nearest);
        return hint;
    }
    used = (size_t)snprintf(hint, sizeof hint, "; write one of ");
    for (size_t i = 0; i < count && used < sizeof hint; i++)
        used += (size_t)snprintf(hint + used, sizeof hint - used, "%s%s", i ? ", " : "", words[i]);
    return hint;
}

void words_one_line(char *sentence)
{
    for (unsigned char *at = (unsigned char *)sentence; *at; at++) {
        if (*at < ' ' || *at == 127)
            *at = '?';
    }
}
