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
    struct sockaddr_in source = {.sin_family = AF_INET};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + index / BENCH_PORTS_PER_ADDRESS);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        bench_fail("no more descriptors (%s): raise ulimit -n, or hold fewer connections", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&source, sizeof(source)) ||
        connect(fd, (struct sockaddr *)&address, sizeof(address)))
        bench_fail("cannot connect: %s", strerror(errno));
    return fd;
}

void bench_send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            bench_fail("cannot send: %s", strerror(errno));
        if (sent > 0) {
            bytes += sent;
            len -= (size_t)sent;
        }
    }
}

/* Reads one answer; its length is announced. */
static void bench_read_answer(int fd)
{
    static char bytes[1u << 16];
    size_t have = 0;
    size_t whole = 0;
    size_t skipped = 0;
    while (!whole || have + skipped < whole) {
        if (whole) {
            /* Only the head is of interest. */
            skipped += have;
            have = 0;
        }
        ssize_t got = recv(fd, bytes + have, sizeof(bytes) - 1 - have, 0);
        if (got <= 0)
            bench_fail("the server closed the publishing connection");
        have += (size_t)got;
        bytes[have] = '\0';
        const char *end = whole ? NULL : strstr(bytes, "\r\n\r\n");
        const char *length = end ? strcasestr(bytes, "Content-Length:") : NULL;
        if (length)
            whole = (size_t)(end + 4 - bytes) + strtoul(length + 15, NULL, 10);
        if (end && bytes[9] != '2')
            bench_fail("publishing was refused: %.300s", bytes);
    }
}

void bench_publish(const struct bench_options *options, int fd, const char *channel, unsigned count)
{
    static char message[BENCH_MESSAGE_BYTES + 1];
    static char *body;
    char head[256];
    size_t len = 0;
    (void)options;
    if (!body) {
        memset(message, 'x', BENCH_MESSAGE_BYTES - 1);
        message[BENCH_MESSAGE_BYTES - 1] = BENCH_MARK;
        body = malloc(2u << 20);
    }
    if (!body)
        bench_fail("no memory");
    if (count == 1) {
        len = (size_t)sprintf(
            body,
            "POST /channels/%s HTTP/1.1\r\nHost: b\r\nContent-Type: text/plain\r\nContent-Length: "
            "%d\r\n\r\n%s",
            channel, BENCH_MESSAGE_BYTES, message);
        bench_send_all(fd, body, len);
    } else {
        for (unsigned i = 0; i < count; i++)
            len += (size_t)sprintf(body + len, "{\"channel\":\"%s\",\"data\":\"%s\"}\n", channel, message);
        int head_len = snprintf(head, sizeof(head),
                                "POST /channels HTTP/1.1\r\nHost: b\r\nContent-Type: application/x-ndjson\r\n"
                                "Content-Length: %zu\r\n\r\n",
                                len);
        bench_send_all(fd, head, (size_t)head_len);
        bench_send_all(fd, body, len);
    }
    bench_read_answer(fd);
}

/* Batches without a subscriber: how many messages a second of the server's CPU. */
static int publish_main(const struct bench_options *options)
{
    int fd = bench_connect(options->port, 0);
    for (unsigned i = 0; i < 10; i++)
        bench_publish(options, fd, "nobody/listens", options->burst);
    uint64_t begun_ns = bench_now_ns();
    uint64_t cpu_ns = bench_cpu_ns(options->server_pid);
    for (unsigned i = 0; i < options->messages; i++)
        bench_publish(options, fd, "nobody/listens", options->burst);
    cpu_ns = bench_cpu_ns(options->server_pid) - cpu_ns;
    uint64_t wall_ns = bench_now_ns() - begun_ns;
    double count = (double)options->messages * options->burst;
    printf("{\"cpu_us\":%.3f,\"per_second\":%.0f,\"cpu_per_second\":%.0f}\n", (double)cpu_ns / 1000 / count,
           count * 1e9 / (double)wall_ns, count * 1e9 / (double)cpu_ns);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"port", required_argument, NULL, 'p'},
                                          {"pid", required_argument, NULL, 'i'},
                                          {"bare", no_argument, NULL, 'b'},
                                          {"transport", required_argument, NULL, 't'},
                                          {"connections", required_argument, NULL, 'c'},
                                          {"messages", required_argument, NULL, 'm'},
                                          {"burst", required_argument, NULL, 'u'},
                                          {"one-of-many", no_argument, NULL, 'o'},
                                          {"head", required_argument, NULL, 'h'},
                                          {"rate", required_argument, NULL, 'r'},
                                          {"http-port", required_argument, NULL, 'w'},
                                          {"envelopes", no_argument, NULL, 'e'},
                                          {"tcp-port", required_argument, NULL, 'q'},
                                          {0}};
    struct bench_options options = {.connections = 1000, .messages = 100, .burst = 1, .head_bytes = 500};
    struct rlimit limit;
    int name;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (argc > 1 && strcmp(argv[1], "bare") == 0)
        return bare_main();
    bool is_publish = argc > 1 && strcmp(argv[1], "publish") == 0;
    bool is_echo = argc > 1 && strcmp(argv[1], "echo") == 0;
    bool is_redis = argc > 1 && strcmp(argv[1], "redis") == 0;
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        unsigned value = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
        switch (name) {
        case 'p':
            options.port = (int)value;
            break;
        case 'i':
            options.server_pid = (int)value;
            break;
        case 'b':
            options.is_bare = true;
            break;
        case 't':
            options.transport = optarg[0] == 'p'                ? BENCH_POLL
                                : optarg[0] == 't'              ? BENCH_TCP
                                : strcmp(optarg, "stream") == 0 ? BENCH_STREAM
                                                                : BENCH_SSE;
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
        case 'e':
            options.is_envelopes = true;
            break;
        default:
            return 2;
        }
    }
    if (is_redis)
        return redis_main(&options);
    if (is_echo)
        return echo_main(&options);
    return is_publish ? publish_main(&options) : load_main(&options);
}
