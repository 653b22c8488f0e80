/*
 * alloc.c -- counts the allocations of whatever it is preloaded into: calls and bytes asked for.
 *
 * glibc lets a library replace malloc and keeps its own under __libc_ names, so nothing has to be looked up, and the
 * library works from the first allocation of the loader on.  A realloc is one allocation.
 */
#include "harness/preload/alloc.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void  __libc_free(void *);

EXPORT struct alloc_counts assay_alloc_counts;

static void count(size_t bytes)
{
    __atomic_fetch_add(&assay_alloc_counts.allocations, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&assay_alloc_counts.allocated_bytes, bytes, __ATOMIC_RELAXED);
}

EXPORT void *malloc(size_t bytes)
{
    count(bytes);
    return __libc_malloc(bytes);
}

EXPORT void *calloc(size_t items, size_t bytes)
{
    count(items * bytes);
    return __libc_calloc(items, bytes);
}

EXPORT void *realloc(void *old, size_t bytes)
{
    count(bytes);
    return __libc_realloc(old, bytes);
}

EXPORT void *memalign(size_t alignment, size_t bytes);
EXPORT void *memalign(size_t alignment, size_t bytes)
{
    count(bytes);
    return __libc_memalign(alignment, bytes);
}

EXPORT void *aligned_alloc(size_t alignment, size_t bytes)
{
    return memalign(alignment, bytes);
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    void *memory;

    if (alignment % sizeof(void *) || alignment & (alignment - 1) || alignment == 0)
        return EINVAL;
    if (!(memory = memalign(alignment, bytes)))
        return ENOMEM;
    *out = memory;
    return 0;
}

EXPORT void free(void *memory)
{
    if (memory)
        __atomic_fetch_add(&assay_alloc_counts.frees, 1, __ATOMIC_RELAXED);
    __libc_free(memory);
}
