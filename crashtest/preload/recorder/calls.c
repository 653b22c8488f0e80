/*
 * calls.c -- the symbols of libc that the recorder stands before.
 *
 * Each brings its arguments into the shape of the system call it means.  What is missing here is still caught, at ten
 * times the price, by the guard.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "crashtest/preload/recorder/inside.h"

#define EXPORT __attribute__((visibility("default")))

static long answer(long result)
{
    if ((unsigned long)result >= -4095UL) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

#define CALL(name, ...) recorder_call(&(struct call){.number = SYS_##name, .arg = {__VA_ARGS__}})
#define L(x)            (long)(x)

/* ---- open ---- */

#define MODE_ARGUMENT(flags, mode)                                            \
    mode_t mode = 0;                                                          \
    if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) {            \
        va_list list;                                                         \
        va_start(list, flags);                                                \
        mode = va_arg(list, mode_t);                                          \
        va_end(list);                                                         \
    }

EXPORT int open(const char *path, int flags, ...)
{
    MODE_ARGUMENT(flags, mode)
    return (int)answer(CALL(openat, AT_FDCWD, L(path), flags, mode));
}

EXPORT int open64(const char *path, int flags, ...)
{
    MODE_ARGUMENT(flags, mode)
    return (int)answer(CALL(openat, AT_FDCWD, L(path), flags, mode));
}

EXPORT int openat(int dirfd, const char *path, int flags, ...)
{
    MODE_ARGUMENT(flags, mode)
    return (int)answer(CALL(openat, dirfd, L(path), flags, mode));
}

EXPORT int openat64(int dirfd, const char *path, int flags, ...)
{
    MODE_ARGUMENT(flags, mode)
    return (int)answer(CALL(openat, dirfd, L(path), flags, mode));
}

/* What -D_FORTIFY_SOURCE makes of open without a mode. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dirfd, const char *path, int flags);
int __openat64_2(int dirfd, const char *path, int flags);

EXPORT int __open_2(const char *path, int flags) { return open(path, flags); }
EXPORT int __open64_2(const char *path, int flags) { return open(path, flags); }
EXPORT int __openat_2(int dirfd, const char *path, int flags) { return openat(dirfd, path, flags); }
EXPORT int __openat64_2(int dirfd, const char *path, int flags) { return openat(dirfd, path, flags); }

EXPORT int creat(const char *path, mode_t mode)
{
    return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

EXPORT int creat64(const char *path, mode_t mode)
{
    return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list list;
    long    argument;

    va_start(list, request);
    argument = va_arg(list, long);
    va_end(list);
    return (int)answer(CALL(ioctl, fd, L(request), argument));
}

/* ---- bytes ---- */

EXPORT ssize_t write(int fd, const void *data, size_t bytes)
{
    return answer(CALL(write, fd, L(data), L(bytes)));
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    return answer(CALL(pwrite64, fd, L(data), L(bytes), offset));
}

EXPORT ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset)
{
    return answer(CALL(pwrite64, fd, L(data), L(bytes), offset));
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int count)
{
    return answer(CALL(writev, fd, L(iov), count));
}

EXPORT ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    return answer(CALL(pwritev, fd, L(iov), count, offset));
}

EXPORT ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t offset)
{
    return answer(CALL(pwritev, fd, L(iov), count, offset));
}

EXPORT ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return answer(CALL(pwritev2, fd, L(iov), count, offset, 0, flags));
}

EXPORT ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
{
    return answer(CALL(pwritev2, fd, L(iov), count, offset, 0, flags));
}

EXPORT int ftruncate(int fd, off_t bytes) { return (int)answer(CALL(ftruncate, fd, bytes)); }
EXPORT int ftruncate64(int fd, off64_t bytes) { return (int)answer(CALL(ftruncate, fd, bytes)); }
EXPORT int truncate(const char *path, off_t bytes) { return (int)answer(CALL(truncate, L(path), bytes)); }
EXPORT int truncate64(const char *path, off64_t bytes) { return (int)answer(CALL(truncate, L(path), bytes)); }

EXPORT int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    return (int)answer(CALL(fallocate, fd, mode, offset, bytes));
}

EXPORT int fallocate64(int fd, int mode, off64_t offset, off64_t bytes)
{
    return (int)answer(CALL(fallocate, fd, mode, offset, bytes));
}

EXPORT int posix_fallocate(int fd, off_t offset, off_t bytes)
{
    long result = CALL(fallocate, fd, 0, offset, bytes);

    if (result == -EOPNOTSUPP) { /* libc writes a byte to each block then, which the guard sees */
        int (*emulated)(int, off_t, off_t) = (int (*)(int, off_t, off_t))dlsym(RTLD_NEXT, "posix_fallocate");

        return emulated(fd, offset, bytes);
    }
    return (int)-result; /* by its return value, not by errno */
}

EXPORT int posix_fallocate64(int fd, off64_t offset, off64_t bytes)
{
    return posix_fallocate(fd, offset, bytes);
}

EXPORT ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t bytes, unsigned flags)
{
    return answer(CALL(copy_file_range, in, L(in_offset), out, L(out_offset), L(bytes), flags));
}

EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t bytes)
{
    return answer(CALL(sendfile, out, in, L(offset), L(bytes)));
}

EXPORT ssize_t sendfile64(int out, int in, off64_t *offset, size_t bytes)
{
    return answer(CALL(sendfile, out, in, L(offset), L(bytes)));
}

EXPORT ssize_t splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t bytes, unsigned flags)
{
    return answer(CALL(splice, in, L(in_offset), out, L(out_offset), L(bytes), flags));
}

/* ---- names ---- */

EXPORT int rename(const char *from, const char *to)
{
    return (int)answer(CALL(rename, L(from), L(to)));
}

EXPORT int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return (int)answer(CALL(renameat, from_dir, L(from), to_dir, L(to)));
}

EXPORT int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    return (int)answer(CALL(renameat2, from_dir, L(from), to_dir, L(to), flags));
}

EXPORT int unlink(const char *path) { return (int)answer(CALL(unlink, L(path))); }
EXPORT int rmdir(const char *path) { return (int)answer(CALL(rmdir, L(path))); }
EXPORT int unlinkat(int dir, const char *path, int flags) { return (int)answer(CALL(unlinkat, dir, L(path), flags)); }
EXPORT int link(const char *from, const char *to) { return (int)answer(CALL(link, L(from), L(to))); }
EXPORT int symlink(const char *target, const char *path) { return (int)answer(CALL(symlink, L(target), L(path))); }
EXPORT int mkdir(const char *path, mode_t mode) { return (int)answer(CALL(mkdir, L(path), mode)); }
EXPORT int mkdirat(int dir, const char *path, mode_t mode) { return (int)answer(CALL(mkdirat, dir, L(path), mode)); }

EXPORT int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    return (int)answer(CALL(linkat, from_dir, L(from), to_dir, L(to), flags));
}

EXPORT int symlinkat(const char *target, int dir, const char *path)
{
    return (int)answer(CALL(symlinkat, L(target), dir, L(path)));
}

/* ---- syncs and mappings ---- */

EXPORT int fsync(int fd) { return (int)answer(CALL(fsync, fd)); }
EXPORT int fdatasync(int fd) { return (int)answer(CALL(fdatasync, fd)); }
EXPORT void sync(void) { CALL(sync, 0); }
EXPORT int syncfs(int fd) { return (int)answer(CALL(syncfs, fd)); }
EXPORT int msync(void *address, size_t bytes, int flags) { return (int)answer(CALL(msync, L(address), L(bytes), flags)); }

EXPORT int sync_file_range(int fd, off64_t offset, off64_t bytes, unsigned flags)
{
    return (int)answer(CALL(sync_file_range, fd, offset, bytes, flags));
}

EXPORT void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return (void *)answer(CALL(mmap, L(address), L(bytes), protection, flags, fd, offset));
}

EXPORT void *mmap64(void *address, size_t bytes, int protection, int flags, int fd, off64_t offset)
{
    return (void *)answer(CALL(mmap, L(address), L(bytes), protection, flags, fd, offset));
}

EXPORT int munmap(void *address, size_t bytes) { return (int)answer(CALL(munmap, L(address), L(bytes))); }

EXPORT void *mremap(void *address, size_t bytes, size_t want, int flags, ...)
{
    long to = 0;

    if (flags & MREMAP_FIXED) {
        va_list list;

        va_start(list, flags);
        to = va_arg(list, long);
        va_end(list);
    }
    return (void *)answer(CALL(mremap, L(address), L(bytes), L(want), flags, to));
}

/* ---- signals: the guard needs SIGSYS to get through ---- */

static long mask_signals(int how, const sigset_t *set, sigset_t *old)
{
    sigset_t allowed;

    if (set && how != SIG_UNBLOCK && process_mode != MODE_ASLEEP) {
        allowed = *set;
        sigdelset(&allowed, SIGSYS);
        set = &allowed;
    }
    if (set && how != SIG_UNBLOCK) { /* nor may anyone block what libc uses between its threads */
        allowed = *set;
        allowed.__val[0] &= ~(UINT64_C(3) << 31);
        set = &allowed;
    }
    if (old)
        sigemptyset(old); /* the kernel fills 8 bytes of it */
    return RAW(rt_sigprocmask, how, set, old, 8);
}

EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    return (int)answer(mask_signals(how, set, old));
}

EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    return (int)-mask_signals(how, set, old);
}
