/* SPDX-License-Identifier: MIT */
#pragma once

/* The load program: holds connections, publishes in patterns, and reads what it costs the server from /proc.
 * One process, one core; the driver tests/bench/run starts the servers, pins everybody and makes the table.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Each message holds this byte once, as its last, so that counting messages costs a scan and no parsing. */
#define BENCH_MARK '~'
#define BENCH_MESSAGE_BYTES 100

/* Whom the client talks to: the bare send() loop of bare.c has commands of its own, the bare libmicrohttpd of
 * mhd.c answers publishing as Sluice does, and nothing else. */
enum bench_server { BENCH_SLUICE, BENCH_NCHAN, BENCH_BARE, BENCH_MHD };
enum bench_transport {
    BENCH_SSE,
    BENCH_STREAM,
    BENCH_POLL,
    BENCH_TCP,
    BENCH_WEBSOCKET, /* the feed of a channel */
    BENCH_COMMANDS,  /* a WebSocket on which the channel is subscribed to */
    BENCH_XHR,       /* xhr-polling of a SockJS session */
};

struct bench_options {
    int port;
    int server_pid;
    enum bench_server server;
    enum bench_transport transport;
    unsigned connections;
    unsigned messages; /* rounds of publishing */
    unsigned burst;    /* messages in each round */
    bool is_one_of_many;
    bool is_pipelined; /* a burst is so many requests, sent at once, instead of one batch */
    unsigned head_bytes;
    int tcp_port;        /* of another listener that the subscribers are on; 0 is `port` */
    int http_port;       /* redis: of the Sluice whose SSE client is measured; 0 is a plain SUBSCRIBE */
    bool is_tls;         /* those subscribers speak TLS */
    bool is_envelopes;   /* redis: publish on a durable channel's feed, past the stream */
    unsigned keys;       /* those that the messages of a batch have in turn; 0 is none */
    const char *channel; /* publish: where to */
    unsigned rate;       /* rounds a second; 0 is each when all have the last */
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

/* How many messages end in these bytes. */
unsigned bench_count_marks(const char *bytes, size_t len);

/* A non-blocking listener on a port of the system's choice. */
int bench_listen(int *port);

/* A blocking connection to the server under test. */
int bench_connect(int port, unsigned index);
void bench_send_all(int fd, const char *bytes, size_t len);

/* Begins TLS on a connection, with whoever is there; bench_send_all and bench_receive then speak it. */
void bench_secure(int fd);

/* As recv() without waiting, and send(). `size` is at least 16 KB. */
ssize_t bench_receive(int fd, char *to, size_t size);
ssize_t bench_send(int fd, const char *bytes, size_t len);

/* One connection's answers, of any number and cut anywhere. */
struct bench_reader {
    char head[1024]; /* of the answer that is under way or was just taken */
    size_t head_len;
    size_t body_left;
    bool is_in_body;
};

/* Takes bytes up to the end of one answer, and says whether it was reached. Returns how many it took. Ends
 * the program when the answer is not of the 2xx, or has no length and may have a body. */
size_t bench_take_answer(struct bench_reader *reader, const char *bytes, size_t len, bool *is_whole);

/* Takes all bytes. Returns how many answers ended in them. */
unsigned bench_count_answers(struct bench_reader *reader, const char *bytes, size_t len);

/* Writes a request to receive a channel, padded to the length of head that the options say. `cursor` is
 * empty, or what bench_take_cursor() made of the head of the last answer. Returns its length. */
size_t bench_write_subscribe(const struct bench_options *options, char *head, size_t room,
                             const char *channel, const char *cursor);
void bench_take_cursor(const struct bench_options *options, const char *head, char *cursor, size_t room);

/* A request of a SockJS session: what the client says, or, when that is NULL, a poll. Returns its length. */
size_t bench_write_sockjs(const struct bench_options *options, char *head, size_t room, const char *session,
                          const char *said);

/* The key that every handshake of ours has, and what it is answered with (RFC 6455, section 1.3). */
#define BENCH_WEBSOCKET_KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define BENCH_WEBSOCKET_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

/* One WebSocket's frames as they come, cut anywhere. */
struct bench_frames {
    uint64_t count; /* of data, begun */
    uint64_t left;  /* of the payload of the one that is under way */
    bool is_data;
    unsigned head_len;
    unsigned char head[10];
};

/* Takes all bytes. Returns how many messages ended in them. Ends the program on what is no frame of a message
 * or a ping. */
unsigned bench_count_in_frames(struct bench_frames *frames, const char *bytes, size_t len);

/* The frame of the command that subscribes to a channel. Returns its length. */
size_t bench_write_subscribe_frame(char *frame, const char *channel);

/* The head of a server's frame of text, of at most 65,535 bytes. Returns its length. */
size_t bench_write_frame_head(char *head, size_t len);

/* Publishes `count` messages to a channel in one request, and reads the answer. */
void bench_publish(const struct bench_options *options, int fd, const char *channel, unsigned count);

/* Publishes them one a request, pipelined, and leaves the answers to the caller. */
void bench_send_singles(const struct bench_options *options, int fd, const char *channel, unsigned count);

/* What the server says of itself: requests that it holds, messages that it accepted. */
uint64_t bench_look_held(const struct bench_options *options, int fd);
uint64_t bench_look_published(const struct bench_options *options, int fd);

/* The bare server: announces its port on standard output. */
int bare_main(void);

/* A bare libmicrohttpd that answers publishing as Sluice does: announces its port on standard output. */
int mhd_main(void);

/* Batches, and single requests on many connections, to channels that nobody listens to: each prints one JSON
 * object. */
int publish_main(const struct bench_options *options);
int singles_main(const struct bench_options *options);

/* A subscriber behind Redis: prints one JSON object. `port` is that of Redis. */
int redis_main(const struct bench_options *options);

/* Clients of an echo server: prints one JSON object. */
int echo_main(const struct bench_options *options);

/* How long it takes to find what holds for a channel, of a thousand patterns and of none: prints one JSON
 * object. No server. */
int rules_main(const struct bench_options *options);

/* How long it takes to verify a token, by algorithm: prints one JSON object. No server. */
int tokens_main(const struct bench_options *options);

/* The client: prints one JSON object. */
int load_main(const struct bench_options *options);
