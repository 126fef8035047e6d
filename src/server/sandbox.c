/* SPDX-License-Identifier: MIT */
#include "server/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/container.h"
#include "base/number.h"

/* With any arguments. A name that this machine's kernel does not have is passed over by libseccomp. */
static const int sandbox_calls[] = {
    /* sockets and what is read and written */
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(recv),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(send),
    SCMP_SYS(close),
    SCMP_SYS(shutdown),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(dup),
    SCMP_SYS(dup2),
    SCMP_SYS(dup3),
    SCMP_SYS(fcntl),
    SCMP_SYS(fcntl64),
    /* waiting */
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(ppoll_time64),
    SCMP_SYS(select),
    SCMP_SYS(_newselect),
    SCMP_SYS(pselect6),
    SCMP_SYS(eventfd2),
    SCMP_SYS(pipe2),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_nanosleep_time64),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(alarm),
    SCMP_SYS(setitimer),
    /* what files are there: pages, keys, configuration, the resolver's */
    SCMP_SYS(fstat),
    SCMP_SYS(fstat64),
    SCMP_SYS(newfstatat),
    SCMP_SYS(fstatat64),
    SCMP_SYS(statx),
    SCMP_SYS(stat),
    SCMP_SYS(stat64),
    SCMP_SYS(lstat),
    SCMP_SYS(lstat64),
    SCMP_SYS(statfs),
    SCMP_SYS(fstatfs),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(getcwd),
    SCMP_SYS(lseek),
    SCMP_SYS(_llseek),
    SCMP_SYS(getdents64),
    SCMP_SYS(fadvise64),
    /* memory and threads */
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(mlock),
    SCMP_SYS(munlock),
    SCMP_SYS(futex),
    SCMP_SYS(futex_time64),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(membarrier),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(getcpu),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    /* signals and clocks, who and where we are */
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_gettime64),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getrlimit),
    SCMP_SYS(ugetrlimit),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
    SCMP_SYS(getrusage),
    SCMP_SYS(times),
};

/* The C library has another way for each. */
static const int sandbox_unknown_calls[] = {
    SCMP_SYS(clone3),      SCMP_SYS(openat2),     SCMP_SYS(epoll_pwait2),
    SCMP_SYS(close_range), SCMP_SYS(futex_waitv), SCMP_SYS(set_mempolicy_home_node),
};

static const int sandbox_families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
/* libmicrohttpd and GnuTLS; TCGETS is how stdio finds out whether it writes to a terminal. */
static const unsigned long sandbox_requests[] = {FIONREAD, FIONBIO, TCGETS, TIOCOUTQ};

static int sandbox_allow(scmp_filter_ctx filter, int call, const struct scmp_arg_cmp *condition)
{
    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, condition ? 1 : 0, condition);
}

static int sandbox_add_calls(scmp_filter_ctx filter)
{
    int err = 0;
    for (size_t i = 0; !err && i < ARRAY_LENGTH(sandbox_calls); i++)
        err = sandbox_allow(filter, sandbox_calls[i], NULL);
    for (size_t i = 0; !err && i < ARRAY_LENGTH(sandbox_unknown_calls); i++)
        err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), sandbox_unknown_calls[i], 0);
    return err;
}

/* Files are read only: neither written nor made. */
static int sandbox_add_open(scmp_filter_ctx filter)
{
    const unsigned long writing = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND;
    const struct scmp_arg_cmp second = SCMP_A1(SCMP_CMP_MASKED_EQ, writing, O_RDONLY);
    const struct scmp_arg_cmp third = SCMP_A2(SCMP_CMP_MASKED_EQ, writing, O_RDONLY);
    int err = sandbox_allow(filter, SCMP_SYS(open), &second);
    return err ? err : sandbox_allow(filter, SCMP_SYS(openat), &third);
}

/* Memory is written or executed, never both: a library of the resolver may still be mapped. */
static int sandbox_add_memory(scmp_filter_ctx filter)
{
    static const int calls[] = {SCMP_SYS(mmap), SCMP_SYS(mmap2)};
    const struct scmp_arg_cmp not_executed = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    const struct scmp_arg_cmp not_written = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC);
    int err = sandbox_allow(filter, SCMP_SYS(mprotect), &not_executed);
    for (size_t i = 0; !err && i < ARRAY_LENGTH(calls); i++) {
        err = sandbox_allow(filter, calls[i], &not_executed);
        if (!err)
            err = sandbox_allow(filter, calls[i], &not_written);
    }
    return err;
}

/* Threads, not processes; signals to ourselves, as abort() sends one. */
static int sandbox_add_process(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp is_thread = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD);
    const struct scmp_arg_cmp is_own = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0);
    const struct scmp_arg_cmp is_name = SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0);
    const struct scmp_arg_cmp only_asks = SCMP_A2(SCMP_CMP_EQ, 0, 0);
    int err = sandbox_allow(filter, SCMP_SYS(clone), &is_thread);
    if (!err)
        err = sandbox_allow(filter, SCMP_SYS(tgkill), &is_own);
    if (!err)
        err = sandbox_allow(filter, SCMP_SYS(prctl), &is_name);
    return err ? err : sandbox_allow(filter, SCMP_SYS(prlimit64), &only_asks);
}

static int sandbox_add_sockets(scmp_filter_ctx filter)
{
    int err = 0;
    for (size_t i = 0; !err && i < ARRAY_LENGTH(sandbox_families); i++) {
        const struct scmp_arg_cmp family = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)sandbox_families[i], 0);
        err = sandbox_allow(filter, SCMP_SYS(socket), &family);
    }
    for (size_t i = 0; !err && i < ARRAY_LENGTH(sandbox_requests); i++) {
        const struct scmp_arg_cmp request = SCMP_A1(SCMP_CMP_EQ, sandbox_requests[i], 0);
        err = sandbox_allow(filter, SCMP_SYS(ioctl), &request);
    }
    return err;
}

static int sandbox_add_rules(scmp_filter_ctx filter, bool has_files)
{
    static int (*const parts[])(scmp_filter_ctx filter) = {
        sandbox_add_calls, sandbox_add_open, sandbox_add_memory, sandbox_add_process, sandbox_add_sockets,
    };
    int err = 0;
    for (size_t i = 0; !err && i < ARRAY_LENGTH(parts); i++)
        err = parts[i](filter);
    if (!err && has_files)
        err = sandbox_allow(filter, SCMP_SYS(unlink), NULL);
    if (!err && has_files)
        err = sandbox_allow(filter, SCMP_SYS(unlinkat), NULL);
    return err;
}

/* In the thread that made the call, which has not been executed. The number names it: `ausyscall NUMBER`. */
static void sandbox_violated(int number, siginfo_t *info, void *context)
{
    char text[160] = "sluice: the system call ";
    size_t len = strlen(text);
    static const char end[] = " is not allowed by the option seccomp: the process ends\n";
    (void)context;
    len += number_format_u64(text + len, (uint64_t)info->si_syscall);
    memcpy(text + len, end, sizeof(end) - 1);
    len += sizeof(end) - 1;
    ssize_t written = write(STDERR_FILENO, text, len);
    (void)written; /* there is no other place to tell it */
    raise(number); /* the handler is gone by now: SA_RESETHAND */
}

static int sandbox_catch_violations(void)
{
    struct sigaction action = {.sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_NODEFER)};
    action.sa_sigaction = sandbox_violated;
    return sigaction(SIGSYS, &action, NULL) ? -errno : 0;
}

int sandbox_enter(bool has_files, char fault[SANDBOX_FAULT_MAX])
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
    int err = filter ? sandbox_catch_violations() : -ENOMEM;
    if (!err)
        err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!err)
        err =
            seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree: the cost is log2 of the calls */
    if (!err)
        err = sandbox_add_rules(filter, has_files);
    if (!err)
        err = seccomp_load(filter);
    seccomp_release(filter);
    if (err)
        snprintf(
            fault, SANDBOX_FAULT_MAX,
            "the filter of system calls cannot be put on: %s; a kernel without seccomp needs seccomp = no",
            strerror(-err));
    return err;
}
