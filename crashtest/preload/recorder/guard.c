/*
 * guard.c -- catches the calls that pass libc's symbols by: stdio's own writes, raw system calls, io_uring.
 *
 * A seccomp filter lets a mutating system call through when it comes from the one syscall instruction of the recorder
 * (raw_syscall), and turns every other one into SIGSYS on the same thread.  The handler hands it to recorder_call() like
 * any call, and puts the answer where the kernel would have put it.  A thread that blocks SIGSYS would die of it, so the
 * calls that set the mask leave it open (calls.c).  A program that the process runs by exec inherits the filter without
 * the handler; process.c joins it to the life before it does anything that the filter stops.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "crashtest/preload/recorder/inside.h"

#ifndef __x86_64__
#error "the recorder knows the system calls of x86-64 only"
#endif

/* The code is copied to one page that is at the same address in every process of a life, since the filter is inherited by
 * programs that are run.  Low memory is free in every layout: above programs that are linked to a fixed place and their heap,
 * below the shadows of sanitizers. */
#define PLACE UINT64_C(0x70000000)

__asm__(".text\n"
        ".globl raw_code\n.hidden raw_code\n.type raw_code, @function\n"
        "raw_code:\n"
        "  mov %rdi, %rax\n"
        "  mov %rsi, %rdi\n"
        "  mov %rdx, %rsi\n"
        "  mov %rcx, %rdx\n"
        "  mov %r8, %r10\n"
        "  mov %r9, %r8\n"
        "  mov 8(%rsp), %r9\n"
        "  syscall\n"
        ".globl raw_code_entered\n.hidden raw_code_entered\n"
        "raw_code_entered:\n" /* the instruction pointer that the filter sees */
        "  ret\n"
        ".globl raw_code_end\n.hidden raw_code_end\n"
        "raw_code_end:\n"
        ".size raw_code, . - raw_code\n");
HIDDEN long raw_code(long number, long a, long b, long c, long d, long e, long f);
extern HIDDEN const char raw_code_entered[], raw_code_end[];

long (*raw_syscall)(long number, long a, long b, long c, long d, long e, long f) = raw_code;

bool guard_place(void)
{
    const char *code = (const char *)(uintptr_t)raw_code;
    long        page = RAW(mmap, PLACE, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    if (page != (long)PLACE)
        return false;
    memcpy((void *)page, code, (size_t)(raw_code_end - code));
    if (RAW(mprotect, page, 4096, PROT_READ | PROT_EXEC) != 0)
        return false;
    memcpy(&raw_syscall, &page, sizeof raw_syscall);
    return true;
}

/* Reading, closing and duplicating need not be seen: what a descriptor leads to is asked when something is done with it. */
static const int watched[] = {
    SYS_write, SYS_pwrite64, SYS_writev, SYS_pwritev, SYS_pwritev2, SYS_openat2, SYS_creat,
    SYS_ftruncate, SYS_truncate, SYS_fallocate, SYS_rename, SYS_renameat, SYS_renameat2,
    SYS_unlink, SYS_unlinkat, SYS_link, SYS_linkat, SYS_symlink, SYS_symlinkat, SYS_mkdir, SYS_mkdirat, SYS_rmdir,
    SYS_fsync, SYS_fdatasync, SYS_sync, SYS_syncfs, SYS_sync_file_range, SYS_msync,
    SYS_copy_file_range, SYS_sendfile, SYS_splice, SYS_io_uring_setup, SYS_io_setup,
    SYS_remap_file_pages,
};
#define WATCHED (sizeof watched / sizeof *watched)

static void on_sigsys(int signal, siginfo_t *info, void *context)
{
    greg_t     *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    struct call call = {
        .number = info->si_syscall,
        .arg = {regs[REG_RDI], regs[REG_RSI], regs[REG_RDX], regs[REG_R10], regs[REG_R8], regs[REG_R9]},
        .flags = TRACE_TRAPPED,
    };

    (void)signal;
    regs[REG_RAX] = recorder_call(&call);
}

#define NUMBER   offsetof(struct seccomp_data, nr)
#define POINTER  offsetof(struct seccomp_data, instruction_pointer)
#define ARG(i)   (offsetof(struct seccomp_data, args) + 8 * (i)) /* the low half */
#define LOAD(at) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at)
#define IS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define HAS(bits, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, yes, no)
#define PASS     BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define TRAP     BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP)
#define KILL     BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

/* Opens that change something.  The dynamic linker's do not, and come before any handler can be there. */
#define OPENS_FOR_CHANGE (O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY))

bool guard_handle(void)
{
    struct sigaction action = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};
    sigset_t         set;

    sigemptyset(&action.sa_mask);
    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    RAW(rt_sigprocmask, SIG_UNBLOCK, &set, 0, 8);
    return sigaction(SIGSYS, &action, NULL) == 0;
}

bool guard_start(void)
{
    uint64_t           own = PLACE + (uint64_t)(raw_code_entered - (const char *)(uintptr_t)raw_code);
    struct sock_filter code[64 + 2 * WATCHED];
    unsigned short     n = 0;

    code[n++] = (struct sock_filter)LOAD(offsetof(struct seccomp_data, arch));
    code[n++] = (struct sock_filter)IS(AUDIT_ARCH_X86_64, 1, 0);
    code[n++] = (struct sock_filter)KILL; /* a 32-bit program: its calls have other numbers */
    code[n++] = (struct sock_filter)LOAD(POINTER);
    code[n++] = (struct sock_filter)IS((uint32_t)own, 0, 3);
    code[n++] = (struct sock_filter)LOAD(POINTER + 4);
    code[n++] = (struct sock_filter)IS((uint32_t)(own >> 32), 0, 1);
    code[n++] = (struct sock_filter)PASS;
    code[n++] = (struct sock_filter)LOAD(NUMBER);
    for (size_t i = 0; i < WATCHED; i++) {
        code[n++] = (struct sock_filter)IS((uint32_t)watched[i], 0, 1);
        code[n++] = (struct sock_filter)TRAP;
    }
    /* Of these only some uses matter, and the others are frequent. */
    code[n++] = (struct sock_filter)IS(SYS_mmap, 0, 5);
    code[n++] = (struct sock_filter)LOAD(ARG(3));
    code[n++] = (struct sock_filter)HAS(MAP_SHARED, 0, 2);
    code[n++] = (struct sock_filter)HAS(MAP_ANONYMOUS, 1, 0);
    code[n++] = (struct sock_filter)TRAP;
    code[n++] = (struct sock_filter)PASS;
    code[n++] = (struct sock_filter)IS(SYS_madvise, 0, 4);
    code[n++] = (struct sock_filter)LOAD(ARG(2));
    code[n++] = (struct sock_filter)IS(MADV_REMOVE, 0, 1);
    code[n++] = (struct sock_filter)TRAP;
    code[n++] = (struct sock_filter)PASS;
    code[n++] = (struct sock_filter)IS(SYS_open, 0, 4);
    code[n++] = (struct sock_filter)LOAD(ARG(1));
    code[n++] = (struct sock_filter)HAS(OPENS_FOR_CHANGE, 0, 1);
    code[n++] = (struct sock_filter)TRAP;
    code[n++] = (struct sock_filter)PASS;
    code[n++] = (struct sock_filter)IS(SYS_openat, 0, 4);
    code[n++] = (struct sock_filter)LOAD(ARG(2));
    code[n++] = (struct sock_filter)HAS(OPENS_FOR_CHANGE, 0, 1);
    code[n++] = (struct sock_filter)TRAP;
    code[n++] = (struct sock_filter)PASS;
    code[n++] = (struct sock_filter)IS(SYS_ioctl, 0, 4);
    code[n++] = (struct sock_filter)LOAD(ARG(1));
    code[n++] = (struct sock_filter)IS((uint32_t)FICLONE, 1, 0);
    code[n++] = (struct sock_filter)IS((uint32_t)FICLONERANGE, 0, 1);
    code[n++] = (struct sock_filter)TRAP;
    code[n++] = (struct sock_filter)PASS;

    struct sock_fprog program = {n, code};

    return guard_handle() && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           RAW(seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}
