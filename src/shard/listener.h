/* SPDX-License-Identifier: MIT */
#pragma once

/* Accepting: the sockets that a shard listens on, whatever is spoken on them. Each connection is counted and
 * held against the limits here, and who has to be refused is told and let go here. A few spare descriptors
 * are kept to refuse with when there are none left. On the shard's thread, but for what the main thread does
 * before it runs.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/address.h"
#include "base/list.h"
#include "base/timer.h"
#include "shard/entrance.h"
#include "shard/limits.h"
#include "shard/vestibule.h"
#include "shard/watch.h"
#include "tables/errors.h"

/* So many may be told at a time that there is no descriptor left. */
#define LISTENER_SPARES 8u

struct shard;
struct listener;
struct tls_identity;

/* What a refused peer is told is not longer. */
#define LISTENER_ERROR_BYTES 1024u

struct arrival {
    int fd;
    struct address address;
    struct limit_key key;            /* under which it is counted */
    enum error_code error;           /* ERROR_NONE, or why it has to be refused */
    const struct entrance *entrance; /* by which it came */
    bool is_proxy;                   /* what it says of where its requests come from counts */
    bool is_kept;                    /* its requests so far have been answered, and it has sent no other */
};

struct listener_ops {
    /* Takes a connection, its descriptor and that it is counted. Returns ERROR_NONE, or what it is to be told
     * before it is closed: then nothing has been taken. */
    enum error_code (*take)(struct listener *listener, const struct arrival *arrival);
    /* Writes what a refused peer is told. Returns its length. */
    size_t (*render_error)(struct listener *listener, enum error_code error, char *to, size_t size);
    /* With no descriptor left: closes one who waits to be refused. Returns whether there was one. NULL where
     * those who come then wait until there are some, and nobody is told. */
    bool (*make_room)(struct listener *listener);
};

struct listener {
    struct watch watch;
    struct list link;
    struct shard *shard;
    const struct listener_ops *ops;
    const struct entrance *entrance; /* outlives the shard */
    void *context;                   /* of its owner; as long */
    struct tls_identity *identity;   /* whose TLS is spoken there; NULL: none is. A reference */
};

struct listener_table {
    struct shard *shard;
    struct list listeners;
    struct vestibule vestibule;
    struct timer pause; /* after which a full process tries to accept again */
    int spares[LISTENER_SPARES];
    size_t spare_count;
};

/* Returns 0 or -EMFILE. */
int listener_table_init(struct listener_table *table, struct shard *shard);
void listener_table_deinit(struct listener_table *table);

/* Accepts on a bound socket, which the table then owns; `identity` is taken a reference of, or NULL. Main
 * thread. Returns 0 or -ENOMEM. */
int listener_add(struct listener_table *table, int fd, const struct listener_ops *ops,
                 const struct entrance *entrance, void *context, struct tls_identity *identity);

/* Who comes by this entrance from now on meets another identity. */
void listener_table_renew(struct listener_table *table, const struct entrance *entrance,
                          struct tls_identity *identity);

/* Hands a connection to who takes them, or refuses it. */
void listener_hand_over(struct listener *listener, const struct arrival *arrival);

/* Has the listener take a connection that has been counted, under no address yet: counts it under its own
 * unless a proxy speaks there for others. */
void listener_admit(struct listener *listener, struct arrival *arrival);

/* Listens, and accepts once the loop runs. Main thread, before that. Returns 0 or -errno. */
int listener_table_open(struct listener_table *table);

/* Stops accepting. */
void listener_table_shut(struct listener_table *table);
