/* SPDX-License-Identifier: MIT */
#pragma once

/* An HTTP connection, from accept to close. Everything runs on the shard's thread. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "base/list.h"
#include "shard/early.h"
#include "shard/garbage.h"
#include "shard/limits.h"
#include "shard/watch.h"
#include "tables/errors.h"

struct cell;
struct entrance;
struct MHD_Connection;
struct shard;

/* From a client at the door the shard wants to know of bytes and of its end; from one that has been admitted
 * also when it takes bytes again. */
#define CLIENT_ADDRESS_BYTES 28u
#define CLIENT_EVENTS_AT_DOOR (EPOLLIN | EPOLLRDHUP | EPOLLET)
#define CLIENT_EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLOUT | EPOLLET)

/*   waiting ──► slow ──► admitted      (and gone from all)
 *     ^│ `─────────────────^ │ │ ^
 *     │`──► unwanted         │ │ │
 *     ├──────────── kept ◄───┘ │ │
 *     │               ^        v │
 *     `───────────────┴─ returned┘
 */
enum client_state {
    CLIENT_WAITING,  /* at the door, looked at with each piece of its head */
    CLIENT_SLOW,     /* the same, but its pieces are so small that it is looked at by the clock */
    CLIENT_UNWANTED, /* is going to be refused; its head says how it has to be told. Not counted any more */
    CLIENT_ADMITTED, /* its cell's, which has a request of it */
    CLIENT_KEPT,     /* between two requests, without a byte of the next one */
    CLIENT_RETURNED, /* the same, but there is something to look at in this turn */
    CLIENT_GONE,     /* not watched any more, freed after this turn */
};

/* Where the request that a client has been admitted for ends, and whether another one may follow. */
struct request_framing {
    uint64_t body_len; /* 0 when chunked */
    bool is_chunked;
    bool expects_continue; /* the client sends the body once it is told to */
    bool is_kept;
    bool
        asks_to_upgrade; /* the connection is to be another protocol's from there on, if Upgrade says which */
};

struct client {
    struct watch watch;
    struct garbage garbage;
    struct list link; /* admitted: in its cell; otherwise in the door's list for its state */
    struct shard *shard;
    struct cell *cell;                 /* that has its memory; NULL before its first request */
    struct MHD_Connection *connection; /* of its cell */
    /* What the connection is for now, in the words of the HTTP side; NULL between requests. */
    struct client_owner *owner;
    /* Waiting, slow, unwanted: for the head; kept: for its beginning. */
    uint64_t deadline_ms;
    enum client_state state;
    enum error_code refusal; /* of an unwanted client */
    bool has_input;          /* there may be bytes that nobody has read */
    bool has_hung_up;        /* the peer will send nothing more; told once by the kernel */
    bool is_broken;          /* nothing can be sent to the peer any more either */
    bool is_proxy;           /* what it says of where its requests come from counts */
    bool is_tls;             /* its socket has a TLS session: what it sends can be read, not looked at */
    bool is_whole;           /* the last answer was sent to its end */
    bool is_released;        /* its socket is somebody else's, and its place among the limits too */
    struct request_framing framing;
    struct early early;
    uint32_t peeks;
    uint32_t bytes;       /* of the head that were there at the last look */
    struct limit_key key; /* under which it is counted; of a proxy's between two requests, nothing */
    const struct entrance *entrance;                         /* by which it came */
    _Alignas(8) unsigned char address[CLIENT_ADDRESS_BYTES]; /* a sockaddr_in or sockaddr_in6 */
    unsigned char asker[CLIENT_ADDRESS_BYTES]; /* of its request: the same, unless a proxy says another */
};

/* What the owner of a connection wants to know of its socket. */
struct client_owner {
    const struct client_owner_ops *ops;
};

struct client_owner_ops {
    void (*readable)(struct client_owner *owner); /* there are bytes, or the end of them */
    void (*hung_up)(struct client_owner *owner);  /* the peer has closed its side, or all of it */
    void (*writable)(struct client_owner *owner); /* it takes bytes again */
    void (*tick)(struct client_owner *owner);     /* a few times for each heartbeat */
    void (*drain)(struct client_owner *owner);    /* the server stops: let the client go */
    void (*cut)(struct client_owner *owner);      /* the drain time is over: end at once */
    bool (*is_held)(struct client_owner *owner);  /* it is one to let go */
    void (*lost)(struct client_owner *owner); /* the connection is closed, and nothing has told so before */
};

/* Moves the client on to its next state, and with it between the lists and out of the counts. An admitted
 * one has its cell. Its descriptor is the caller's. */
void client_move(struct client *client, enum client_state to);

/* Puts a client into a list that is in the order of deadlines. */
void client_line_up(struct client *client, struct list *list);

/* Reads up to `len` bytes, to nowhere when `to` is NULL; returns as recv(). */
ssize_t client_read(struct client *client, char *to, size_t len);

/* Drops bytes that have been looked at. Returns 0, or -EIO when they would be read again: then the connection
 * is to end. */
int client_skip(struct client *client, size_t len);

/* Whether what it sends stays in the socket until its whole head is there. */
static inline bool client_can_wait(const struct client *client)
{
    return !client->cell && !client->is_tls;
}

/* Looks at up to `size` bytes, which stay; *bytes is `room` or our own. Returns as recv(); with ENOBUFS when
 * connection-memory has no room for them. */
ssize_t client_peek(struct client *client, const char **bytes, char *room, size_t size);

/* Whatever there is to read is told once more, to its owner. */
void client_rewatch(struct client *client);

/* The client is gone, and its socket closed; it is one at the door. */
void client_close(struct client *client);
