/* SPDX-License-Identifier: MIT */
/* Calls of the C library and the kernel; those of libmicrohttpd's, which Sluice makes for it (shard/feed.h),
 * among them. The file that says which fail is in tests/e2e/support/faults.py.
 */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* One for each kind of fault, in the file. */
struct fault {
    char name[32];
    _Atomic int64_t countdown; /* 0 is never; 1 the next call, 2 the one after; -N the next N calls */
    int64_t error;             /* errno */
    _Atomic int64_t calls;     /* so far */
    int64_t following;         /* how many more fail after the one that was counted down to */
};

static struct fault *faults;
static size_t fault_count;

__attribute__((constructor)) static void faults_map(void)
{
    struct stat status;
    const char *path = getenv("SLUICE_FAULTS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    if (fstat(fd, &status) == 0) {
        void *memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory != MAP_FAILED) {
            faults = memory;
            fault_count = (size_t)status.st_size / sizeof(*faults);
        }
    }
    close(fd);
}

bool fault_is_due(const char *name)
{
    size_t i = 0;
    while (i < fault_count && strcmp(faults[i].name, name))
        i++;
    if (i == fault_count)
        return false;
    atomic_fetch_add(&faults[i].calls, 1);
    int64_t countdown = atomic_load(&faults[i].countdown);
    int64_t next;
    do
        next = countdown > 1   ? countdown - 1
               : countdown < 0 ? countdown + 1
                               : -countdown * faults[i].following;
    while (countdown != 0 && !atomic_compare_exchange_weak(&faults[i].countdown, &countdown, next));
    bool is_due = countdown < 0 || countdown == 1;
    if (is_due)
        errno = (int)faults[i].error;
    return is_due;
}

/* clang-format off: a row each */
FAULTY("malloc", void *, NULL, malloc, (size_t size), (size))
FAULTY("calloc", void *, NULL, calloc, (size_t count, size_t size), (count, size))
FAULTY("realloc", void *, NULL, realloc, (void *memory, size_t size), (memory, size))
FAULTY("realloc", void *, NULL, reallocarray, (void *memory, size_t count, size_t size),
       (memory, count, size))
FAULTY("strdup", char *, NULL, strdup, (const char *text), (text))
FAULTY("strdup", char *, NULL, strndup, (const char *text, size_t most), (text, most))

FAULTY("accept4", int, -1, accept4, (int fd, struct sockaddr *address, socklen_t *len, int flags),
       (fd, address, len, flags))
FAULTY("recv", ssize_t, -1, recvfrom,
       (int fd, void *to, size_t size, int flags, struct sockaddr *address, socklen_t *len),
       (fd, to, size, flags, address, len))
FAULTY("setsockopt", int, -1, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),
       (fd, level, name, value, len))
FAULTY("socket", int, -1, socket, (int family, int kind, int protocol), (family, kind, protocol))
FAULTY("socket", int, -1, eventfd, (unsigned count, int flags), (count, flags))
FAULTY("socket", int, -1, epoll_create1, (int flags), (flags))
FAULTY("socket", int, -1, signalfd, (int fd, const sigset_t *signals, int flags), (fd, signals, flags))
FAULTY("connect", int, -1, connect, (int fd, const struct sockaddr *address, socklen_t len),
       (fd, address, len))
FAULTY("listen", int, -1, bind, (int fd, const struct sockaddr *address, socklen_t len), (fd, address, len))
FAULTY("listen", int, -1, listen, (int fd, int backlog), (fd, backlog))

FAULTY("open", FILE *, NULL, fopen64, (const char *path, const char *mode), (path, mode))
FAULTY("open", int, -1, dup, (int fd), (fd))
FAULTY("read", ssize_t, -1, read, (int fd, void *to, size_t size), (fd, to, size))
FAULTY("write", ssize_t, -1, write, (int fd, const void *bytes, size_t len), (fd, bytes, len))
FAULTY("mmap", void *, MAP_FAILED, mmap64,
       (void *at, size_t size, int protection, int flags, int fd, off_t offset),
       (at, size, protection, flags, fd, offset))
FAULTY("thread", int, errno, pthread_create,
       (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *object),
       (thread, attributes, run, object))

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __real_openat64(int folder_fd, const char *path, int flags, ...);
int __wrap_openat64(int folder_fd, const char *path, int flags, ...);
int __wrap_asprintf(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
int __real_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event);
int __real_epoll_wait(int epoll_fd, struct epoll_event *events, int most, int wait_ms);
int __wrap_epoll_wait(int epoll_fd, struct epoll_event *events, int most, int wait_ms);
int __real_fcntl64(int fd, int command, int value);
int __wrap_fcntl64(int fd, int command, int value);
int __real_dup3(int fd, int to, int flags);
int __wrap_dup3(int fd, int to, int flags);
enum MHD_Result __real_MHD_add_connection(struct MHD_Daemon *daemon, MHD_socket fd,
                                          const struct sockaddr *address, socklen_t len);
enum MHD_Result __wrap_MHD_add_connection(struct MHD_Daemon *daemon, MHD_socket fd,
                                          const struct sockaddr *address, socklen_t len);
int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);
/* clang-format on */

/* Nobody here makes a file by these. */
int __wrap_open64(const char *path, int flags, ...)
{
    return fault_is_due("open") ? -1 : __real_open64(path, flags);
}

int __wrap_openat64(int folder_fd, const char *path, int flags, ...)
{
    return fault_is_due("open") ? -1 : __real_openat64(folder_fd, path, flags);
}

int __wrap_asprintf(char **text, const char *format, ...)
{
    if (fault_is_due("strdup"))
        return -1;
    va_list values;
    va_start(values, format);
    int len = vasprintf(text, format, values);
    va_end(values);
    return len;
}

/* What is sent, all of it: see shard/feed.c and shard/socket.c. */
long __wrap_syscall(long number, ...)
{
    long words[6];
    va_list values;
    va_start(values, number);
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        words[i] = va_arg(values, long);
    va_end(values);
    bool is_send = number == SYS_sendto || number == SYS_sendmsg;
    if (is_send && fault_is_due("send"))
        return -1;
    return __real_syscall(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

int __wrap_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
    if (operation == EPOLL_CTL_ADD && fault_is_due("epoll_ctl_add"))
        return -1;
    if (operation == EPOLL_CTL_MOD && fault_is_due("epoll_ctl_mod"))
        return -1;
    return __real_epoll_ctl(epoll_fd, operation, fd, event);
}

/* What duplicates a descriptor, and nothing else, finds none left. The name is that of glibc where file
 * offsets have 64 bits. */
int __wrap_fcntl64(int fd, int command, int value)
{
    return command == F_DUPFD_CLOEXEC && fault_is_due("fcntl_dup") ? -1 : __real_fcntl64(fd, command, value);
}

int __wrap_dup3(int fd, int to, int flags)
{
    return fault_is_due("dup3") ? -1 : __real_dup3(fd, to, flags);
}

/* Its thread is stuck for good, or for as many milliseconds as the error says, or does what an attacker
 * would.
 */
int __wrap_epoll_wait(int epoll_fd, struct epoll_event *events, int most, int wait_ms)
{
    while (fault_is_due("epoll_wait_stuck"))
        for (;;)
            pause();
    if (fault_is_due("epoll_wait_slow"))
        usleep((useconds_t)errno * 1000);
    if (fault_is_due("epoll_wait_execve"))
        execl("/bin/true", "true", (char *)NULL);
    return __real_epoll_wait(epoll_fd, events, most, wait_ms);
}

/* As long as it is held, no name server answers; IPv4 addresses need none. A name that is double has an
 * address before its own where nobody listens. */
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found)
{
    const struct timespec pause_for = {.tv_nsec = 5000000};
    if (fault_is_due("getaddrinfo_fails"))
        return EAI_MEMORY;
    bool is_name = host && strspn(host, "0123456789.:") < strlen(host) && !(hints->ai_flags & AI_NUMERICHOST);
    if (is_name)
        (void)fault_is_due("getaddrinfo");
    while (is_name && fault_is_due("getaddrinfo_held"))
        nanosleep(&pause_for, NULL);
    if (!is_name || !fault_is_due("getaddrinfo_double"))
        return __real_getaddrinfo(host, service, hints, found);
    int err = __real_getaddrinfo("127.0.0.2", service, hints, found);
    return err ? err : __real_getaddrinfo(host, service, hints, &(*found)->ai_next);
}

/* Late: libmicrohttpd has begun the connection when its own epoll refuses the descriptor, which is a plain
 * file's by then. */
enum MHD_Result __wrap_MHD_add_connection(struct MHD_Daemon *daemon, MHD_socket fd,
                                          const struct sockaddr *address, socklen_t len)
{
    if (fault_is_due("add_connection_early")) {
        close(fd);
        return MHD_NO;
    }
    if (fault_is_due("add_connection_late")) {
        int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        dup2(file, fd);
        close(file);
    }
    return __real_MHD_add_connection(daemon, fd, address, len);
}
