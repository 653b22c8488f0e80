/* pages.c -- mmap, aligned. */
#include "engines/base/pages.h"

#include <stdint.h>
#include <sys/mman.h>

#define PAGE_BYTES ((size_t)4096)

void *pages_map(size_t bytes)
{
    size_t slack = bytes >= PAGES_HUGE ? PAGES_HUGE : 0, before;
    char  *mapped;

    bytes = (bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
    mapped = mmap(NULL, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (mapped == MAP_FAILED)
        return NULL;
    if (!slack)
        return mapped;
    before = -(uintptr_t)mapped & (PAGES_HUGE - 1);
    if (before)
        munmap(mapped, before);
    munmap(mapped + before + bytes, PAGES_HUGE - before);
    madvise(mapped + before, bytes, MADV_HUGEPAGE);
    return mapped + before;
}

void pages_unmap(void *memory, size_t bytes)
{
    if (memory)
        munmap(memory, bytes);
}
