/* pages.h -- memory straight from the system, on huge pages where it is large enough for one: they halve the price of a miss. */
#ifndef ASSAY_ENGINES_BASE_PAGES_H
#define ASSAY_ENGINES_BASE_PAGES_H

#include <stddef.h>

#define PAGES_HUGE ((size_t)2 << 20)

/* Zeroed; from PAGES_HUGE on aligned to that.  NULL: there is none. */
void *pages_map(size_t bytes);
void pages_unmap(void *memory, size_t bytes); /* NULL is fine */

/* 1 under AddressSanitizer: who hands out pieces of such memory hands out malloc's then, so that a use after free is seen. */
#if defined(__SANITIZE_ADDRESS__)
#define PAGES_CHECKED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PAGES_CHECKED 1
#endif
#endif
#ifndef PAGES_CHECKED
#define PAGES_CHECKED 0
#endif

#endif
