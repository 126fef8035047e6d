/* SPDX-License-Identifier: MIT */
#pragma once

/* The door: takes HTTP connections, and lets each wait without any of libmicrohttpd's memory until its whole
 * request head is there. Then it goes to a cell whose connections have room for such a head. Keeps the
 * deadline for the head, the largest head, and how those who are refused are told.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/text.h"
#include "base/timer.h"
#include "config/options.h"
#include "shard/client.h"
#include "shard/listener.h"
#include "shard/watch.h"
#include "tables/errors.h"

struct shard;
struct shard_group;

/* What HTTP says of the bytes that a client has sent. */
struct door_head {
    size_t len;            /* of the whole head; 0 while it is not there */
    enum error_code error; /* these bytes can never become a head that is accepted */
    bool has_target;       /* the request line is there */
    struct text target;    /* in origin form; borrowed from the bytes */
    size_t pool_bytes;     /* the memory that its connection is to have */
    struct request_framing framing;
    char *fed; /* what libmicrohttpd gets of it; room for DOOR_FED_MORE bytes more than there are */
    size_t fed_len;
};

#define DOOR_FED_MORE 512u

/* What the door wants to know of HTTP. */
struct door_handlers {
    /* Looks at what a client has sent since its last request. */
    void (*inspect)(const char *bytes, size_t len, struct door_head *head);
    /* Writes a whole response for an error to `to`, for a client whose head so far is `head`. Returns its
     * length; 0 when closing the connection says it better. */
    size_t (*render_error)(const struct options *options, enum error_code error, const char *head,
                           size_t head_len, char *to, size_t size);
    /* Whose the request with this head is, that the proxy at `address` has forwarded: changes `address` when
     * the proxy says so. */
    void (*find_asker)(const struct options *options, const char *head, size_t len, struct address *address);
    /* The shard that a request for this target has to be handled on, where what it is about lives on one;
     * NULL when any will do. May be NULL itself. */
    struct shard *(*home)(const struct shard_group *group, struct text target);
};

struct door {
    struct shard *shard;
    /* By state, in the order of their deadlines; the admitted are in their cells. */
    struct list clients[CLIENT_GONE];
    uint64_t unwanted_count;
    struct timer deadline; /* of the first that waits */
    struct timer idle;     /* of the first that is kept */
    struct timer round;    /* of looking at the slow and the unwanted while there are any */
    struct timer hold;     /* of looking whether it is held still */
    char *head;            /* head_size bytes to look at heads in */
    char *fed;
    size_t head_size;
    size_t seen; /* what of it is of the client that is being looked at */
};

/* Returns 0 or -errno. */
int door_init(struct door *door, struct shard *shard);

/* Who is accepted waits for his head. */
extern const struct listener_ops door_listener_ops;

/* A client comes from another shard's door, with a whole head; takes what is `early` of it. Returns 0, or
 * -ENOMEM and then nothing has been taken. */
int door_receive(struct shard *shard, const struct arrival *arrival, const struct early *early);

/* A client has its answer, and libmicrohttpd would keep the connection: it waits at the door for its next
 * request. Within libmicrohttpd's `completed` callback. */
void door_keep(struct client *client);

/* Looks at those who have come back with more to read. */
void door_run(struct door *door);
bool door_has_to_run(const struct door *door);

/* Refuses those that wait for their head. */
void door_shut(struct door *door);

/* While another process is about to take this one's place no further request is looked at: those that wait
 * are looked at when nothing comes of that, and passed on with their connections when it has
 * (shard/passage.h). To be called once the group is_succeeded; it ends by itself. */
void door_hold(struct door *door);

/* The other process has taken the place: whoever is at the door goes on there; or is served here once more
 * when he cannot, and closed when he has sent nothing. */
void door_pass_on(struct door *door);

/* Whether somebody may still send a request. */
bool door_awaits_requests(const struct door *door);

/* As door_shut, and closes those between two requests. Until all is closed, once in each turn. */
void door_cut(struct door *door);
void door_deinit(struct door *door);

/* Answers an error straight to the socket and ends writing, so that the peer reads it before the close. */
void door_write_error(struct shard *shard, int fd, enum error_code error);
