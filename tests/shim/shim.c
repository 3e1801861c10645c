// Makes a server's disk and clock misbehave as a test tells it to. Loaded with LD_PRELOAD.
//
// STRONGROOM_SHIM         a file of sizeof(struct control) bytes, through which the test steers and counts
// STRONGROOM_SHIM_FOLDER  only calls that concern files below this folder are counted and fail; without it none are looked at
//
// Calls that change files are caught with a seccomp filter that turns each into SIGSYS, and not as symbols of libc: some
// of the server's writes are system calls of its own. The filter lets through what comes from `system_call` below. The
// clock is read without a system call, so `clock_gettime` is replaced by name.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

// Read and written by the test as 64-bit numbers in this order.
struct control {
    int64_t first;      // the first call that fails, from 1; 0: none
    int64_t many;       // how many fail from there on
    int64_t error;      // what they fail with
    int64_t short_first; // 1: the first of them writes half of its bytes and says so; with no error, that is all
    int64_t counted;    // calls so far
    int64_t failed;     // how many of them failed or were cut short
    int64_t clock_s;    // added to the clock
    int64_t synced;     // the call that failed last: 1: fsync, 2: fdatasync, 0: another
    int64_t spares_syncs; // 1: fsync and fdatasync do not fail
    char where[192];    // and the file that it was about, below the folder
};

static struct control idle;
static struct control *control = &idle;
static char folder[4096];
static size_t folder_length;

long system_call(long number, long a, long b, long c, long d, long e, long f);
extern const char after_system_call[];

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
__asm__(".text\n.globl system_call\n.type system_call,@function\nsystem_call:\n"
        "mov %rdi,%rax\nmov %rsi,%rdi\nmov %rdx,%rsi\nmov %rcx,%rdx\nmov %r8,%r10\nmov %r9,%r8\nmov 8(%rsp),%r9\n"
        "syscall\n.globl after_system_call\nafter_system_call:\nret\n");
#define ARGUMENT(context, n) ((long)(context)->uc_mcontext.gregs[(int[]){REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9}[n]])
#define ANSWER(context) ((context)->uc_mcontext.gregs[REG_RAX])
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
__asm__(".text\n.globl system_call\n.type system_call,%function\nsystem_call:\n"
        "mov x8,x0\nmov x0,x1\nmov x1,x2\nmov x2,x3\nmov x3,x4\nmov x4,x5\nmov x5,x6\n"
        "svc #0\n.globl after_system_call\nafter_system_call:\nret\n");
#define ARGUMENT(context, n) ((long)(context)->uc_mcontext.regs[n])
#define ANSWER(context) ((context)->uc_mcontext.regs[0])
#else
#error "the shim knows x86_64 and aarch64"
#endif

static const int caught[] = {
    SYS_write, SYS_writev, SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_fsync, SYS_fdatasync, SYS_sync_file_range,
    SYS_ftruncate, SYS_fallocate, SYS_openat, SYS_renameat2, SYS_unlinkat, SYS_mkdirat,
#ifdef SYS_renameat
    SYS_renameat,
#endif
#ifdef SYS_open
    SYS_open, SYS_rename, SYS_unlink, SYS_mkdir,
#endif
};
#define CAUGHT (sizeof caught / sizeof *caught)

// Whether a path lies below the folder; `relative` is what follows it, if anything. Then `about` is the rest of it.
static _Thread_local __attribute__((tls_model("initial-exec"))) char about[sizeof control->where];

static int below(const char *path, long length, const char *relative) {
    if (length < (long)folder_length || memcmp(path, folder, folder_length) || (path[folder_length] != '/' && path[folder_length] != 0))
        return 0;
    size_t put = 0;
    const char *parts[] = {path + folder_length, relative ? "/" : "", relative ? relative : ""};
    for (int part = 0; part < 3; part++)
        for (const char *at = parts[part]; *at && put < sizeof about - 1; at++)
            about[put++] = *at;
    about[put] = 0;
    return 1;
}

static int concerns_descriptor(long descriptor, const char *relative) {
    char link[32] = "/proc/self/fd/", path[4096], digits[16];
    size_t at = strlen(link), count = 0;
    if (descriptor < 0)
        return 0;
    do
        digits[count++] = (char)('0' + descriptor % 10);
    while (descriptor /= 10);
    while (count)
        link[at++] = digits[--count];
    link[at] = 0;
    long length = system_call(SYS_readlinkat, AT_FDCWD, (long)link, (long)path, sizeof path - 1, 0, 0);
    if (length < 0)
        return 0;
    path[length] = 0;
    return below(path, length, relative);
}

// A path from the working directory is none of the server's.
static int concerns_path(long directory, const char *path) {
    return *path == '/' ? below(path, (long)strlen(path), NULL) : concerns_descriptor((int)directory, path);
}

static int concerns(long number, const long *a) {
    switch (number) {
#ifdef SYS_open
    case SYS_open:
        return (a[1] & O_CREAT) && concerns_path(AT_FDCWD, (const char *)a[0]);
    case SYS_rename:
    case SYS_unlink:
    case SYS_mkdir:
        return concerns_path(AT_FDCWD, (const char *)a[0]);
#endif
    case SYS_openat:
        return (a[2] & O_CREAT) && concerns_path(a[0], (const char *)a[1]);
#ifdef SYS_renameat
    case SYS_renameat:
#endif
    case SYS_renameat2:
    case SYS_unlinkat:
    case SYS_mkdirat:
        return concerns_path(a[0], (const char *)a[1]);
    default:
        return concerns_descriptor((int)a[0], NULL);
    }
}

// The same call with half of its bytes; -1 if there is nothing to halve.
static long cut_short(long number, const long *a) {
    switch (number) {
    case SYS_write:
    case SYS_pwrite64:
        return a[2] < 2 ? -1 : system_call(number, a[0], a[1], a[2] / 2, a[3], a[4], a[5]);
    case SYS_writev:
    case SYS_pwritev:
    case SYS_pwritev2: {
        struct iovec half = *(const struct iovec *)a[1];
        if (half.iov_len < 2)
            return -1;
        half.iov_len /= 2;
        return system_call(number, a[0], (long)&half, 1, a[3], a[4], a[5]);
    }
    default:
        return -1;
    }
}

static long answer(long number, const long *a) {
    if (concerns(number, a)) {
        int is_sync = number == SYS_fsync || number == SYS_fdatasync;
        int64_t at = __atomic_add_fetch(&control->counted, 1, __ATOMIC_SEQ_CST);
        int64_t first = __atomic_load_n(&control->first, __ATOMIC_SEQ_CST);
        int is_meant = first > 0 && at >= first && at - first < __atomic_load_n(&control->many, __ATOMIC_SEQ_CST);
        if (is_meant && !(is_sync && control->spares_syncs)) {
            long done = at == first && control->short_first ? cut_short(number, a) : -1;
            if (done >= 0 || control->error) {
                control->synced = is_sync ? 1 + (number == SYS_fdatasync) : 0;
                memcpy(control->where, about, sizeof about);
                __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
                return done >= 0 ? done : -(long)control->error;
            }
        }
    }
    return system_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void on_caught(int signal, siginfo_t *info, void *context) {
    (void)signal;
    ucontext_t *caller = context;
    long arguments[6];
    for (int n = 0; n < 6; n++)
        arguments[n] = ARGUMENT(caller, n);
    ANSWER(caller) = answer(info->si_syscall, arguments);
}

static void refuse_to_start(const char *why) {
    ssize_t told = write(2, why, strlen(why));
    (void)told;
    _exit(70);
}

static void catch_calls(void) {
    uint64_t let_through = (uint64_t)(uintptr_t)after_system_call;
    struct sock_filter filter[8 + 2 * CAUGHT + 1] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)let_through, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(let_through >> 32), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    size_t put = 8;
    filter[put++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t call = 0; call < CAUGHT; call++)
        filter[put++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)caught[call], (uint8_t)(CAUGHT - call), 0);
    filter[put++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[put++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    struct sock_fprog program = {.len = (unsigned short)put, .filter = filter};
    struct sigaction action = {.sa_sigaction = on_caught, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    if (sigaction(SIGSYS, &action, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0))
        refuse_to_start("shim: calls cannot be caught here\n");
}

__attribute__((constructor)) static void begin(void) {
    const char *file = getenv("STRONGROOM_SHIM"), *below_this = getenv("STRONGROOM_SHIM_FOLDER");
    if (!file)
        return;
    int descriptor = open(file, O_RDWR | O_CLOEXEC);
    void *shared = descriptor < 0 ? MAP_FAILED : mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (shared == MAP_FAILED)
        refuse_to_start("shim: its file cannot be used\n");
    close(descriptor);
    control = shared;
    if (!below_this || !realpath(below_this, folder))
        return;
    folder_length = strlen(folder);
    catch_calls();
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    long failed = system_call(SYS_clock_gettime, clock, (long)time, 0, 0, 0, 0);
    if (failed) {
        errno = (int)-failed;
        return -1;
    }
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        time->tv_sec += __atomic_load_n(&control->clock_s, __ATOMIC_SEQ_CST);
    return 0;
}
