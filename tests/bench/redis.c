/* SPDX-License-Identifier: MIT */
/* One subscriber behind Redis: how long a PUBLISH takes to get to it, and how many a second. Either it is a
 * plain SUBSCRIBE in C, or an SSE client of a Sluice that is connected to the same Redis. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "bench.h"

#define REDIS_READ_BYTES (1u << 18)
#define REDIS_EPOCH_LEN 12u

struct redis_bench {
    const struct bench_options *options;
    int publish_fd;
    int subscribe_fd;
    char epoch[REDIS_EPOCH_LEN + 1]; /* of --envelopes */
    unsigned long long offset;
    char *commands;
    char *answers;
    uint64_t owed; /* answers of Redis that were not read yet */
};

static int redis_compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* Reads until `text` has come; what follows it is read too. */
static void redis_await(int fd, char *bytes, size_t room, const char *text)
{
    size_t have = 0;
    bytes[0] = '\0';
    while (!strstr(bytes, text)) {
        ssize_t got = have + 1 < room ? recv(fd, bytes + have, room - 1 - have, 0) : 0;
        if (got <= 0)
            bench_fail("no \"%s\" came, but: %.300s", text, bytes);
        have += (size_t)got;
        bytes[have] = '\0';
    }
}

static void redis_subscribe(struct redis_bench *bench)
{
    const struct bench_options *options = bench->options;
    char bytes[4096];
    if (options->http_port == 0) {
        bench->subscribe_fd = bench_connect(options->port, 0);
        bench_send_all(bench->subscribe_fd, "SUBSCRIBE updates\r\n", 19);
        redis_await(bench->subscribe_fd, bytes, sizeof(bytes), "\r\n:1\r\n");
        return;
    }
    char head[200];
    int len = snprintf(head, sizeof(head),
                       "GET /channels/%s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n",
                       options->is_envelopes ? "bench" : "updates");
    bench->subscribe_fd = bench_connect(options->http_port, 0);
    bench_send_all(bench->subscribe_fd, head, (size_t)len);
    redis_await(bench->subscribe_fd, bytes, sizeof(bytes), "\nid: ");
    snprintf(bench->epoch, sizeof(bench->epoch), "%.12s", strstr(bytes, "\nid: ") + 5);
}

/* A burst of commands; each payload has BENCH_MESSAGE_BYTES bytes and ends with the mark. */
static size_t redis_fill(struct redis_bench *bench)
{
    const struct bench_options *options = bench->options;
    char payload[BENCH_MESSAGE_BYTES + 1];
    char envelope[BENCH_MESSAGE_BYTES + 128];
    size_t len = 0;
    memset(payload, 'x', BENCH_MESSAGE_BYTES - 1);
    payload[BENCH_MESSAGE_BYTES - 1] = BENCH_MARK;
    payload[BENCH_MESSAGE_BYTES] = '\0';
    for (unsigned i = 0; i < options->burst; i++) {
        if (!options->is_envelopes) {
            len += (size_t)sprintf(bench->commands + len,
                                   "*3\r\n$7\r\nPUBLISH\r\n$7\r\nupdates\r\n$%d\r\n%s\r\n",
                                   BENCH_MESSAGE_BYTES, payload);
            continue;
        }
        int size = sprintf(envelope, "sluice2 message %s %llu 1700000000000 0 text 0 0 0 300000 0 0\n%s",
                           bench->epoch, ++bench->offset, payload);
        len += (size_t)sprintf(bench->commands + len,
                               "*3\r\n$8\r\nSPUBLISH\r\n$22\r\nsluice:{bench}:p:bench\r\n$%d\r\n%s\r\n", size,
                               envelope);
    }
    return len;
}

/* Redis' answers are ":N\r\n" each. */
static void redis_read_answers(struct redis_bench *bench, int flags)
{
    ssize_t got;
    while (bench->owed > 0 && (got = recv(bench->publish_fd, bench->answers, REDIS_READ_BYTES, flags)) > 0) {
        for (ssize_t i = 0; i < got; i++)
            bench->owed -= bench->answers[i] == '\n';
        if (memchr(bench->answers, '-', (size_t)got))
            bench_fail("Redis refused: %.200s", bench->answers);
    }
}

static void redis_send_burst(struct redis_bench *bench, size_t len)
{
    size_t sent = 0;
    while (sent < len) {
        size_t part = len - sent < 65536 ? len - sent : 65536;
        bench_send_all(bench->publish_fd, bench->commands + sent, part);
        sent += part;
        redis_read_answers(bench, MSG_DONTWAIT);
    }
}

static void redis_await_marks(struct redis_bench *bench, unsigned count)
{
    static char bytes[REDIS_READ_BYTES];
    unsigned seen = 0;
    while (seen < count) {
        ssize_t got = recv(bench->subscribe_fd, bytes, sizeof(bytes), 0);
        if (got <= 0)
            bench_fail("%u of %u messages have not come to the subscriber", count - seen, count);
        for (ssize_t i = 0; i < got; i++)
            seen += bytes[i] == BENCH_MARK;
    }
    if (seen > count)
        bench_fail("%u messages came that were not sent here", seen - count);
}

/* Sent from here and read here: a burst that fits into the sockets' buffers on its way. */
int redis_main(const struct bench_options *options)
{
    struct redis_bench bench = {.options = options};
    uint64_t *latencies = calloc(options->messages, sizeof(*latencies));
    bench.commands = malloc((size_t)options->burst * 320 + 1);
    bench.answers = malloc(REDIS_READ_BYTES);
    if (!latencies || !bench.commands || !bench.answers)
        bench_fail("no memory");
    bench.publish_fd = bench_connect(options->port, 0);
    redis_subscribe(&bench);
    uint64_t begun_ns = bench_now_ns();
    uint64_t cpu_ns = bench_cpu_ns(options->server_pid);
    uint64_t thread_ns = bench_thread_cpu_ns(options->server_pid, "sluice-redis");
    for (unsigned i = 0; i < options->messages; i++) {
        size_t len = redis_fill(&bench);
        bench.owed = options->burst;
        uint64_t sent_ns = bench_now_ns();
        redis_send_burst(&bench, len);
        redis_await_marks(&bench, options->burst);
        latencies[i] = bench_now_ns() - sent_ns;
        redis_read_answers(&bench, 0);
        if (options->rate > 0) {
            const struct timespec pause = {.tv_nsec = 1000000000 / (long)options->rate};
            nanosleep(&pause, NULL);
        }
    }
    double count = (double)options->messages * options->burst;
    double wall_ns = (double)(bench_now_ns() - begun_ns);
    cpu_ns = bench_cpu_ns(options->server_pid) - cpu_ns;
    thread_ns = bench_thread_cpu_ns(options->server_pid, "sluice-redis") - thread_ns;
    qsort(latencies, options->messages, sizeof(*latencies), redis_compare);
    printf("{\"p50_us\":%.1f,\"p99_us\":%.1f,\"per_second\":%.0f,\"cpu_us\":%.3f,\"thread_us\":%.3f}\n",
           (double)latencies[options->messages / 2] / 1000,
           (double)latencies[options->messages * 99 / 100] / 1000, count * 1e9 / wall_ns,
           (double)cpu_ns / 1000 / count, (double)thread_ns / 1000 / count);
    return 0;
}
