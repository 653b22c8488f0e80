/*
 * watch.c -- which pages of a mapping were stored to since the last question.
 *
 * The kernel protects pages for us and takes the protection off at the first store, without a signal or a fault that anybody
 * sees (userfaultfd, asynchronous write protection, Linux 6.7); /proc/self/pagemap tells which pages still have it.  Only
 * "protected" is trusted: a page that was read in again, moved, cut off or never touched has no protection, and counts as
 * stored to.  Where the kernel has none of this, the caller compares everything.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "crashtest/preload/recorder/inside.h"

#define PAGE 4096u

/* Newer than the headers of Debian 12. */
#define USER_MODE_ONLY   1
#define WP_UNPOPULATED   (UINT64_C(1) << 13)
#define WP_ASYNC         (UINT64_C(1) << 15)
#define PAGE_IS_PROTECTED (UINT64_C(1) << 57)

static int  protector = -1, page_map = -1;
static bool impossible;

static bool start(void)
{
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | WP_UNPOPULATED | WP_ASYNC};

    if (impossible || protector >= 0)
        return !impossible;
    protector = (int)RAW(userfaultfd, O_CLOEXEC | USER_MODE_ONLY);
    page_map = (int)RAW(openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
    impossible = protector < 0 || page_map < 0 || RAW(ioctl, protector, UFFDIO_API, &api) != 0;
    return !impossible;
}

static bool protect(uint64_t address, uint64_t bytes, bool on)
{
    struct uffdio_writeprotect range = {{address, bytes}, on ? UFFDIO_WRITEPROTECT_MODE_WP : 0};

    return RAW(ioctl, protector, UFFDIO_WRITEPROTECT, &range) == 0;
}

bool watch_begin(uint64_t address, uint64_t bytes)
{
    uint64_t               whole = (bytes + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    struct uffdio_register range = {.range = {address, whole}, .mode = UFFDIO_REGISTER_MODE_WP};

    /* Off: what a move from elsewhere left behind.  Nothing is on before the first question, which is about everything. */
    return start() && RAW(ioctl, protector, UFFDIO_REGISTER, &range) == 0 && protect(address, whole, false);
}

void watch_no_more(void)
{
    impossible = true;
}

bool watch_ask(uint64_t address, uint64_t bytes, unsigned char *stored)
{
    static uint64_t entries[512];
    uint64_t        pages = (bytes + PAGE - 1) / PAGE;

    if (impossible)
        return false;
    for (uint64_t page = 0; page < pages;) {
        uint64_t count = pages - page < 512 ? pages - page : 512, run = 0;

        if (RAW(pread64, page_map, entries, count * 8, (address / PAGE + page) * 8) != (long)(count * 8))
            return false;
        for (uint64_t i = 0; i < count; i += run + !run) {
            for (run = 0; i + run < count && !(entries[i + run] & PAGE_IS_PROTECTED); run++)
                stored[page + i + run] = 1;
            /* These only: another may be stored to in this moment.  The caller reads them after this. */
            if (run && !protect(address + (page + i) * PAGE, run * PAGE, true))
                return false;
        }
        page += count;
    }
    return true;
}

void watch_forked(void)
{
    if (protector >= 0)
        RAW(close, protector);
    if (page_map >= 0)
        RAW(close, page_map);
    protector = page_map = -1;
    impossible = false;
}
