/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_SHARD_STREAM_H
#define SLUICE_SHARD_STREAM_H

/* Stream sockets: connections that the shard reads and writes by itself, without libmicrohttpd. Whoever
 * speaks on them embeds a struct stream_socket and learns of bytes, not of sockets. Everything runs on the
 * shard's thread.
 *
 * A socket owes its peer what it could not take: the tail of one message's rendering and a text of answers.
 * While it owes anything it is not read from, so nobody makes it owe much by not reading.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/timer.h"
#include "core/message.h"
#include "shard/garbage.h"
#include "shard/listener.h"
#include "shard/watch.h"

struct shard;
struct stream_socket;

/*   open ──► ending ──► lingering ──► closed
 *     `─────────┴───────────────────────^
 */
enum stream_state {
    STREAM_OPEN,
    STREAM_ENDING,    /* what is owed is still written, nothing is read any more */
    STREAM_LINGERING, /* everything is written and said to be; waits for the peer's end */
    STREAM_CLOSED,
};

struct stream_socket_ops {
    /* Bytes have come. Returns how many of them are done with; what is left comes again, with more behind it.
     * May write, pause, finish and close. */
    size_t (*read)(struct stream_socket *socket, const char *bytes, size_t len);
    /* The peer will send nothing more. May do the same. */
    void (*ended)(struct stream_socket *socket);
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

/* What a delivery touches stands first, in one line of the cache. */
struct stream_socket {
    struct watch watch;
    struct list flush_link; /* among those that have something to write at the end of this turn */
    struct shard *shard;
    uint64_t progress_ms; /* when the peer took something last, or may have begun to linger */
    uint32_t events;      /* waited for */
    uint8_t state;        /* enum stream_state */
    bool is_paused;       /* its holder wants nothing read now */
    bool is_blocked;      /* the peer takes nothing now */
    bool is_reading;      /* in ops->read */
    bool has_ended;       /* the peer sends nothing more */
    bool is_drained;      /* ops->drain was called */
    struct limit_key key;
    const struct stream_socket_ops *ops;
    struct garbage garbage;
    struct list link;      /* in the table */
    struct list wait_link; /* among the blocked, the relieved or the lingering */
    struct message *owed;  /* whose rendering is owed from `tail` on; before `out` */
    const char *tail;
    size_t tail_len;
    struct buf out; /* what is owed after it */
    size_t out_at;
    struct buf in;      /* came, but is not done with */
    uint32_t discarded; /* bytes, while lingering */
};

struct stream_table {
    struct shard *shard;
    struct list sockets;
    struct list to_flush;
    struct list blocked;
    struct list relieved; /* no longer blocked, and not told so yet */
    struct list lingering;
    struct timer timer; /* looks at the blocked and the lingering while there are any */
    struct timer tick;
    uint64_t tick_ms; /* 0 is never */
    uint64_t count;
    char *scratch; /* what is read goes here first */
};

/* Returns 0 or -ENOMEM. */
int stream_table_init(struct stream_table *table, struct shard *shard);

void stream_table_deinit(struct stream_table *table);

/* Has each open socket ticked at least so often; 0 is never. Main thread, before the shard runs. */
void stream_table_tick(struct stream_table *table, uint64_t every_ms);

/* Writes what has been appended in this turn. */
void stream_table_run(struct stream_table *table);

/* Calls `visit` for each socket, which may close it. */
void stream_table_visit(struct stream_table *table, void (*visit)(struct stream_socket *socket));

/* The socket of a connection that has been accepted, all zeros but for its ops. Returns 0, or -errno and then
 * nothing has been taken. */
int stream_socket_open(struct stream_socket *socket, struct shard *shard, const struct arrival *arrival);

/* Whether a socket is one to let go when the server stops. */
bool stream_socket_is_held(const struct stream_socket *socket);
void stream_socket_drain(struct stream_socket *socket);

/* Appends to the text that is owed; written at the end of this turn at the latest. */
struct buf *stream_socket_text(struct stream_socket *socket);

/* Whether something has to be flushed before more may be sent. */
static inline bool stream_socket_owes(const struct stream_socket *socket)
{
    return socket->is_blocked || !list_is_empty(&socket->flush_link);
}

/* Writes what is owed now. Returns whether nothing is owed and the socket is open: more may be written. */
bool stream_socket_flush(struct stream_socket *socket);

/* Writes parts at once when nothing is owed. Returns how many bytes were taken, 0 and more, or -EPIPE when
 * the socket has been closed. When not all were taken the rest has to be owed, or forgotten at the end of a
 * message. */
ssize_t stream_socket_send(struct stream_socket *socket, const struct iovec *parts, int count);

/* Owes the tail of a message's rendering; takes a reference. Nothing else is owed. */
void stream_socket_owe(struct stream_socket *socket, struct message *message, const char *tail, size_t len);

/* Stops and goes on reading; what has come already is then given to ops->read again, once the peer takes what
 * it is owed. */
void stream_socket_pause(struct stream_socket *socket);
void stream_socket_resume(struct stream_socket *socket);

/* Writes what is owed, says that it was all, and closes once the peer has had time to read it. */
void stream_socket_finish(struct stream_socket *socket);
void stream_socket_close(struct stream_socket *socket);
void stream_socket_deinit(struct stream_socket *socket);

#endif
