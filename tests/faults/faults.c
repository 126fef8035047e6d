/* SPDX-License-Identifier: MIT */
/* Calls that fail when a test says so: linked into a copy of the server in place of the real ones (ld's
 * --wrap, see Makefile.am), and told through the file that SLUICE_FAULTS names, which both sides map
 * (tests/e2e/support/faults.py).
 *
 * Only calls from Sluice's own objects are wrapped, not those from within libraries.
 */

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* One for each kind of fault, in the file. */
struct fault {
    char name[32];
    _Atomic int64_t countdown; /* 0 is never; 1 the next call, 2 the one after; -N the next N calls */
    int64_t error;             /* errno */
    _Atomic int64_t calls;     /* so far */
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

static bool fault_is_due(const char *name)
{
    size_t i = 0;
    while (i < fault_count && strcmp(faults[i].name, name))
        i++;
    if (i == fault_count)
        return false;
    atomic_fetch_add(&faults[i].calls, 1);
    int64_t countdown = atomic_load(&faults[i].countdown);
    while (countdown != 0 && !atomic_compare_exchange_weak(&faults[i].countdown, &countdown,
                                                           countdown > 0 ? countdown - 1 : countdown + 1))
        ;
    bool is_due = countdown < 0 || countdown == 1;
    if (is_due)
        errno = (int)faults[i].error;
    return is_due;
}

/* clang-format off: the linker's names */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
int __real_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
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

void *__wrap_malloc(size_t size)
{
    return fault_is_due("malloc") ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fault_is_due("calloc") ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fault_is_due("realloc") ? NULL : __real_realloc(memory, size);
}

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    return fault_is_due("accept4") ? -1 : __real_accept4(fd, address, len, flags);
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
