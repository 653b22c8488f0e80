/* slice.h -- bytes that somebody else owns, and the order of keys (memcmp, then the shorter first). */
#ifndef ASSAY_ENGINES_BASE_SLICE_H
#define ASSAY_ENGINES_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct slice {
    const void *data;
    size_t      size; /* bytes */
} slice;

static inline slice slice_of(const void *data, size_t size)
{
    return (slice){data, size};
}

static inline slice slice_text(const char *text)
{
    return (slice){text, strlen(text)};
}

/* memcpy for what is usually short, as keys are: a call with a length that is known only when it runs costs several times as much. */
static inline void bytes_copy(void *to, const void *from, size_t size)
{
    char       *out = to;
    const char *in = from;

    if (size > 32) {
        memcpy(out, in, size);
    } else if (size >= 16) {
        memcpy(out, in, 16);
        memcpy(out + size - 16, in + size - 16, 16);
    } else if (size >= 8) {
        memcpy(out, in, 8);
        memcpy(out + size - 8, in + size - 8, 8);
    } else {
        for (size_t i = 0; i < size; i++)
            out[i] = in[i];
    }
}

static inline bool slice_equal(slice a, slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline int slice_compare(slice a, slice b)
{
    size_t both = a.size < b.size ? a.size : b.size;
    int    order = both ? memcmp(a.data, b.data, both) : 0;

    return order ? order : (a.size > b.size) - (a.size < b.size);
}

#endif
