/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_SHARD_CLIENT_H
#define SLUICE_SHARD_CLIENT_H

/* An HTTP connection, from accept to close. Everything runs on the shard's thread. */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "shard/garbage.h"
#include "shard/watch.h"
#include "tbl/errors.h"

struct cell;
struct shard;

/*   waiting ──► slow ──► admitted ──► gone
 *      │ `────────┼──────────^           ^
 *      ├──────────┴──► refused ──────────┤   (and from all at once)
 *      `──► unwanted ─────^
 */
enum client_state {
    CLIENT_WAITING,  /* at the door, looked at with each piece of its head */
    CLIENT_SLOW,     /* the same, but its pieces are so small that it is looked at by the clock */
    CLIENT_UNWANTED, /* is going to be refused; its head says how it has to be told. Not counted any more */
    CLIENT_ADMITTED, /* its cell's; counted there */
    CLIENT_REFUSED,  /* has been answered at the door; what it still sends is dropped for a while. Not counted
                        any more */
    CLIENT_GONE,     /* not watched any more, freed after this turn */
};

struct client {
    struct watch watch;
    struct garbage garbage;
    struct list link; /* in its cell, or in the door's list for its state */
    struct shard *shard;
    struct cell *cell; /* NULL at the door */
    /* What the connection is for now, in the words of the HTTP side; NULL between requests. */
    struct client_owner *owner;
    uint64_t deadline_ms; /* waiting, slow, unwanted: for the head; refused: for the peer's end */
    enum client_state state;
    enum error_code refusal; /* of an unwanted client */
    bool has_hung_up;        /* the peer has closed its side; told once by the kernel */
    uint32_t peeks;
    uint32_t bytes; /* of the head that were there at the last look; refused: dropped so far */
    uint8_t key_len;
    unsigned char key[8];                  /* of address_client_key */
    _Alignas(8) unsigned char address[28]; /* a sockaddr_in or sockaddr_in6 */
};

/* What the owner of a connection wants to know of its socket. */
struct client_owner {
    const struct client_owner_ops *ops;
};

struct client_owner_ops {
    void (*hung_up)(struct client_owner *owner);  /* the peer has closed */
    void (*writable)(struct client_owner *owner); /* it takes bytes again */
    void (*tick)(struct client_owner *owner,
                 uint64_t now_ms);               /* now and then, a few times for each heartbeat */
    void (*drain)(struct client_owner *owner);   /* the server stops: let the client go */
    void (*cut)(struct client_owner *owner);     /* the drain time is over: end at once */
    bool (*is_held)(struct client_owner *owner); /* it is one to let go */
};

/* Moves the client on to its next state, and with it between the lists and out of the counts. An admitted
 * one has its cell. Its descriptor is the caller's. */
void client_move(struct client *client, enum client_state to);

/* The client is gone, and its descriptor closed. */
void client_close(struct client *client);

#endif
