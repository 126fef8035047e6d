/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_SHARD_DOOR_H
#define SLUICE_SHARD_DOOR_H

/* The door: accepts connections, and lets each wait without any of libmicrohttpd's memory until its whole
 * request head is there. Then it goes to a cell whose connections have room for such a head. Keeps the
 * deadline for the head, the largest head and the caps on connections, and one spare descriptor to refuse
 * with when there are none left.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/list.h"
#include "base/timer.h"
#include "config/options.h"
#include "shard/garbage.h"
#include "shard/limits.h"
#include "shard/watch.h"
#include "tbl/errors.h"

struct shard;
struct cell;

/* A connection, from accept to close. */
struct client {
    struct watch watch;
    struct garbage garbage;
    struct list link; /* at the door, or in its cell */
    struct shard *shard;
    struct cell *cell; /* NULL at the door */
    /* What the connection is for now, in the words of the HTTP side; NULL between requests. */
    struct client_owner *owner;
    uint64_t deadline_ms; /* at the door: for the head */
    bool has_hung_up;     /* the peer has closed its side; told once by the kernel */
    uint32_t peeks;
    uint32_t head_seen; /* bytes that were there at the last look */
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

/* What the door wants to know of HTTP. */
struct door_handlers {
    /* Looks at `len` bytes that a new connection has sent. Returns the length of the whole head, 0 if it is
     * not there yet, or sets *error when these bytes can never become one that is accepted. *pool_bytes: the
     * memory that its connection is to have. */
    size_t (*inspect)(const char *bytes, size_t len, size_t *pool_bytes, enum error_code *error);
    /* Writes a whole response for an error to `to`. Returns its length. */
    size_t (*render_error)(enum error_code error, char *to, size_t size);
};

struct listener {
    struct watch watch;
    struct door *door;
};

struct door {
    struct shard *shard;
    struct listener *listeners;
    size_t listener_count;
    struct list waiting; /* clients without a whole head, by deadline */
    struct timer timer;  /* of the first deadline */
    struct timer pause;  /* after which a full process tries to accept again */
    int spare_fd;
    char *head; /* head_size bytes to look at heads in */
    size_t head_size;
};

/* Returns 0 or -errno. */
int door_init(struct door *door, struct shard *shard);

/* Adds a listening socket; the door owns it from then on. Main thread, before the shard runs. */
int door_listen(struct door *door, int fd);

/* Begins to accept; when the loop begins. */
int door_open(struct door *door);

/* Stops accepting and closes those that wait for their head. */
void door_shut(struct door *door);
void door_deinit(struct door *door);

/* A client leaves for good: removes its watch and its counts, and frees it after this turn. Its descriptor is
 * the caller's. */
void client_release(struct client *client);

/* Answers an error straight to the socket and ends writing, so that the peer reads it before the close. */
void door_write_error(struct shard *shard, int fd, enum error_code error);

/* Opens a listening socket on an address; with `is_shared`, so that other shards can do the same. Main
 * thread. Returns a descriptor or -errno. */
int door_bind(const struct address *address, bool is_shared);

#endif
