/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

/* Ports of one source address that are used before the next one is taken. */
#define BENCH_PORTS_PER_ADDRESS 20000u
#define BENCH_BACKLOG 4096
/* How long a blocking read waits for what must come. */
#define BENCH_PATIENCE_S 60

void bench_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("sluice-bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool bench_is_thread(int pid, const char *task, const char *name)
{
    char path[512];
    char found[64] = "";
    snprintf(path, sizeof(path), "/proc/%d/task/%.32s/comm", pid, task);
    FILE *file = fopen(path, "r");
    bool is_it = file && fgets(found, sizeof(found), file) && strncmp(found, name, strlen(name)) == 0;
    if (file)
        fclose(file);
    return is_it;
}

uint64_t bench_cpu_ns(int pid)
{
    return bench_thread_cpu_ns(pid, NULL);
}

uint64_t bench_thread_cpu_ns(int pid, const char *name)
{
    char path[512];
    uint64_t sum = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        bench_fail("there is no process %d", pid);
    for (struct dirent *task; (task = readdir(tasks));) {
        unsigned long long ns = 0;
        if (task->d_name[0] == '.' || (name && !bench_is_thread(pid, task->d_name, name)))
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%.32s/schedstat", pid, task->d_name);
        FILE *file = fopen(path, "r");
        if (file && fscanf(file, "%llu", &ns) == 1)
            sum += ns;
        if (file)
            fclose(file);
    }
    closedir(tasks);
    return sum;
}

uint64_t bench_resident_bytes(int pid)
{
    char path[64];
    unsigned long long size;
    unsigned long long resident = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%llu %llu", &size, &resident) != 2)
        bench_fail("cannot read %s", path);
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

int bench_connect(int port, unsigned index)
{
    const int on = 1;
    const struct timeval patience = {.tv_sec = BENCH_PATIENCE_S};
    struct sockaddr_in source = {.sin_family = AF_INET};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + index / BENCH_PORTS_PER_ADDRESS);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        bench_fail("no more descriptors (%s): raise ulimit -n, or hold fewer connections", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (bind(fd, (struct sockaddr *)&source, sizeof(source)) ||
        connect(fd, (struct sockaddr *)&address, sizeof(address)))
        bench_fail("cannot connect: %s", strerror(errno));
    return fd;
}

int bench_listen(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) || listen(fd, BENCH_BACKLOG) ||
        getsockname(fd, (struct sockaddr *)&address, &len))
        bench_fail("cannot listen: %s", strerror(errno));
    *port = ntohs(address.sin_port);
    return fd;
}

void bench_send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = bench_send(fd, bytes, len);
        if (sent < 0 && errno != EINTR)
            bench_fail("cannot send: %s", strerror(errno));
        if (sent > 0) {
            bytes += sent;
            len -= (size_t)sent;
        }
    }
}

unsigned bench_count_marks(const char *bytes, size_t len)
{
    unsigned count = 0;
    const char *end = bytes + len;
    for (; bytes < end && (bytes = memchr(bytes, BENCH_MARK, (size_t)(end - bytes))); bytes++)
        count++;
    return count;
}

static enum bench_transport bench_transport_named(const char *name)
{
    static const char *const names[] = {
        [BENCH_SSE] = "sse", [BENCH_STREAM] = "stream",       [BENCH_POLL] = "poll",
        [BENCH_TCP] = "tcp", [BENCH_WEBSOCKET] = "websocket", [BENCH_COMMANDS] = "commands",
        [BENCH_XHR] = "xhr"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0)
            return (enum bench_transport)i;
    }
    bench_fail("--transport is sse, stream, poll, tcp, websocket, commands or xhr");
}

static enum bench_server bench_server_named(const char *name)
{
    static const char *const names[] = {
        [BENCH_SLUICE] = "sluice", [BENCH_NCHAN] = "nchan", [BENCH_BARE] = "bare", [BENCH_MHD] = "mhd"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0)
            return (enum bench_server)i;
    }
    bench_fail("--server is sluice, nchan, bare or mhd");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const struct bench_options *options);
    } modes[] = {{"load", load_main},    {"publish", publish_main}, {"singles", singles_main},
                 {"redis", redis_main},  {"echo", echo_main},       {"rules", rules_main},
                 {"tokens", tokens_main}};
    static const struct option names[] = {{"port", required_argument, NULL, 'p'},
                                          {"pid", required_argument, NULL, 'i'},
                                          {"server", required_argument, NULL, 's'},
                                          {"transport", required_argument, NULL, 't'},
                                          {"keys", required_argument, NULL, 'k'},
                                          {"channel", required_argument, NULL, 'n'},
                                          {"connections", required_argument, NULL, 'c'},
                                          {"messages", required_argument, NULL, 'm'},
                                          {"burst", required_argument, NULL, 'u'},
                                          {"one-of-many", no_argument, NULL, 'o'},
                                          {"pipelined", no_argument, NULL, 'l'},
                                          {"head", required_argument, NULL, 'h'},
                                          {"rate", required_argument, NULL, 'r'},
                                          {"http-port", required_argument, NULL, 'w'},
                                          {"envelopes", no_argument, NULL, 'e'},
                                          {"tcp-port", required_argument, NULL, 'q'},
                                          {"tls", no_argument, NULL, 'x'},
                                          {0}};
    struct bench_options options = {
        .connections = 1000, .messages = 100, .burst = 1, .head_bytes = 500, .channel = "nobody/listens"};
    struct rlimit limit;
    int name;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    const char *mode = argc > 1 ? argv[1] : "";
    if (strcmp(mode, "bare") == 0)
        return bare_main();
    if (strcmp(mode, "mhd") == 0)
        return mhd_main();
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        unsigned value = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
        switch (name) {
        case 'p':
            options.port = (int)value;
            break;
        case 'i':
            options.server_pid = (int)value;
            break;
        case 's':
            options.server = bench_server_named(optarg);
            break;
        case 't':
            options.transport = bench_transport_named(optarg);
            break;
        case 'c':
            options.connections = value;
            break;
        case 'm':
            options.messages = value;
            break;
        case 'u':
            options.burst = value;
            break;
        case 'o':
            options.is_one_of_many = true;
            break;
        case 'l':
            options.is_pipelined = true;
            break;
        case 'h':
            options.head_bytes = value;
            break;
        case 'r':
            options.rate = value;
            break;
        case 'w':
            options.http_port = (int)value;
            break;
        case 'q':
            options.tcp_port = (int)value;
            break;
        case 'x':
            options.is_tls = true;
            break;
        case 'k':
            options.keys = value;
            break;
        case 'n':
            options.channel = optarg;
            break;
        case 'e':
            options.is_envelopes = true;
            break;
        default:
            return 2;
        }
    }
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(mode, modes[i].name) == 0)
            return modes[i].run(&options);
    }
    bench_fail("the first argument is bare, mhd, load, publish, singles, redis, echo, rules or tokens");
}
