/* SPDX-License-Identifier: MIT */
#pragma once

/* Stream sockets: connections that the shard reads and writes by itself, without libmicrohttpd. Whoever
 * speaks on them embeds a struct stream_socket and learns of bytes, not of sockets; what he writes goes to
 * its outlet. Everything runs on the shard's thread.
 *
 * While its peer takes nothing a socket is not read from, so nobody makes it owe much by not reading.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/timer.h"
#include "shard/garbage.h"
#include "shard/listener.h"
#include "shard/memory_share.h"
#include "shard/outlet.h"
#include "shard/watch.h"

struct shard;
struct stream_socket;

/*   open ──► ending ──► closed
 *     `───────────────────^
 */
enum stream_state {
    STREAM_OPEN,
    STREAM_ENDING, /* what is owed is still written, nothing is read any more */
    STREAM_CLOSED,
};

struct stream_socket_ops {
    /* Bytes have come. Returns how many of them are done with; what is left comes again, with more behind it.
     * May write, pause, finish and close. */
    size_t (*read)(struct stream_socket *socket, const char *bytes, size_t len);
    /* Nothing more is read: the peer will send nothing more (ERROR_NONE), or what is left of its bytes does
     * not fit into connection-memory (ERROR_CONNECTION_MEMORY), and is dropped. May do the same. */
    void (*ended)(struct stream_socket *socket, enum error_code why);
    /* Nothing is owed any more; at the end of that turn. May do the same. */
    void (*writable)(struct stream_socket *socket);
    /* The server stops: finish when everything pending is written. */
    void (*drain)(struct stream_socket *socket);
    /* Now and then, see stream_table_tick. May write. */
    void (*tick)(struct stream_socket *socket);
    /* It is closed. Whoever embeds it frees it after this turn (shard_reap with its garbage), and calls
     * stream_socket_deinit then. */
    void (*gone)(struct stream_socket *socket);
};

struct stream_socket {
    struct outlet outlet;
    struct watch watch;
    uint32_t events; /* waited for */
    uint8_t state;   /* enum stream_state */
    bool is_paused;  /* its holder wants nothing read now */
    bool is_reading; /* in ops->read */
    bool has_ended;  /* the peer sends nothing more */
    bool is_drained; /* ops->drain was called */
    bool is_told;    /* everything, and that it was all */
    struct limit_key key;
    const struct entrance *entrance; /* by which its connection came */
    const struct stream_socket_ops *ops;
    struct garbage garbage;
    struct list link;          /* in the table */
    struct buf in;             /* came, but is not done with */
    struct memory_share share; /* of that */
};

struct stream_table {
    struct shard *shard;
    struct list sockets;
    struct timer tick;
    uint64_t tick_ms; /* 0 is never */
    uint64_t count;
    char *scratch; /* what is read goes here first */
};

/* Returns 0 or -ENOMEM. */
int stream_table_init(struct stream_table *table, struct shard *shard);

void stream_table_deinit(struct stream_table *table);

/* Has each open socket ticked at least so often; 0 is never, and a shorter time stays. On the shard's thread,
 * or before the shard runs. */
void stream_table_tick(struct stream_table *table, uint64_t every_ms);

/* Calls `visit` for each socket, which may close it. */
void stream_table_visit(struct stream_table *table, void (*visit)(struct stream_socket *socket));

/* The socket of a connection that has been accepted, all zeros but for its ops. Returns 0, or -errno and then
 * nothing has been taken. */
int stream_socket_open(struct stream_socket *socket, struct shard *shard, const struct arrival *arrival);

/* Gives bytes that came before the socket was this one's, as if they had just come. */
void stream_socket_push(struct stream_socket *socket, const char *bytes, size_t len);

/* Whether a socket is one to let go when the server stops. */
bool stream_socket_is_held(const struct stream_socket *socket);
void stream_socket_drain(struct stream_socket *socket);

/* The drain time is over: what it can still be told without waiting, it is. */
void stream_socket_cut(struct stream_socket *socket);

/* The text that is owed, to append to; written at the end of this turn at the latest. */
static inline struct buf *stream_socket_text(struct stream_socket *socket)
{
    return outlet_text(&socket->outlet);
}

/* Stops and goes on reading; what has come already is then given to ops->read again, once the peer takes what
 * it is owed. */
void stream_socket_pause(struct stream_socket *socket);
void stream_socket_resume(struct stream_socket *socket);

/* Writes what is owed, says that it was all, and closes once the peer has had time to read it. */
void stream_socket_finish(struct stream_socket *socket);
void stream_socket_close(struct stream_socket *socket);
void stream_socket_deinit(struct stream_socket *socket);
