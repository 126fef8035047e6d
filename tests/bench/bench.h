/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_TESTS_BENCH_BENCH_H
#define SLUICE_TESTS_BENCH_BENCH_H

/* The load program: holds connections, publishes in patterns, and reads what it costs the server from /proc.
 * One process, one core; the driver tests/bench/run starts the servers, pins everybody and makes the table.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each message holds this byte once, as its last, so that counting messages costs a scan and no parsing. */
#define BENCH_MARK '~'
#define BENCH_MESSAGE_BYTES 100

enum bench_transport { BENCH_SSE, BENCH_STREAM, BENCH_POLL, BENCH_TCP };

struct bench_options {
    int port;
    int server_pid;
    bool is_bare; /* the bare send() loop of bare.c instead of Sluice */
    enum bench_transport transport;
    unsigned connections;
    unsigned messages; /* rounds of publishing */
    unsigned burst;    /* messages in each round */
    bool is_one_of_many;
    unsigned head_bytes;
    int tcp_port;      /* of the crlf listener that the subscribers of BENCH_TCP are on */
    int http_port;     /* redis: of the Sluice whose SSE client is measured; 0 is a plain SUBSCRIBE */
    bool is_envelopes; /* redis: publish on a durable channel's feed, past the stream */
    unsigned rate;     /* rounds a second; 0 is each when all have the last */
};

/* CPU time of all threads of a process so far, in nanoseconds. */
uint64_t bench_cpu_ns(int pid);

/* The same of its threads of that name. */
uint64_t bench_thread_cpu_ns(int pid, const char *name);

/* Resident bytes of a process. */
uint64_t bench_resident_bytes(int pid);

uint64_t bench_now_ns(void);

/* Ends the program with a message. */
void bench_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* A blocking connection to the server under test. */
int bench_connect(int port, unsigned index);
void bench_send_all(int fd, const char *bytes, size_t len);

/* Publishes `count` messages to a channel in one request, and reads the answer. */
void bench_publish(const struct bench_options *options, int fd, const char *channel, unsigned count);

/* The bare server: announces its port on standard output. */
int bare_main(void);

/* A subscriber behind Redis: prints one JSON object. `port` is that of Redis. */
int redis_main(const struct bench_options *options);

/* Clients of an echo server: prints one JSON object. */
int echo_main(const struct bench_options *options);

/* The client: prints one JSON object. */
int load_main(const struct bench_options *options);

#endif
