/* SPDX-License-Identifier: MIT */
#pragma once

/* One connection to a Redis or a Sentinel: commands go out in the order in which they are sent, replies come
 * back in the same order, all without blocking.
 *
 * hiredis formats and parses; its asynchronous half is not used (0.14 aborts on some UNSUBSCRIBE sequences).
 * Everything runs on the broker's thread. Nothing is freed inside a callback by the link but what it names.
 */

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/mailbox.h"
#include "base/timer.h"

#define LINK_FAULT_MAX 256u

struct link;

/* What is common to all links of a thread. */
struct link_set {
    int epoll_fd;
    struct timer_wheel *wheel;
    struct mailbox *mailbox; /* of the links' thread */
    uint64_t now_ms;
    uint64_t timeout_ms;   /* a link that is owed an answer and says nothing for so long is broken */
    struct list to_flush;  /* links with something to send */
    struct list to_read;   /* links that were read until their turn was over */
    struct list to_report; /* links that broke and whose owner has not been told */
    struct list lookups;   /* names that are looked up */
    struct trust
        *trust; /* of the links that are opened from now on, which speak TLS; NULL for none. Borrowed */
};

/* A command on its way. Whoever sends it owns it and gets it back in `done`. */
struct link_command {
    struct list link;
    char *bytes; /* malloc'd by command_format */
    size_t len;
    uint64_t sent_ns;
    /* `reply` is NULL when the link broke before the answer came; it is freed after the call. May send, must
     * not close the link. */
    void (*done)(struct link_command *command, struct link *link, const struct redisReply *reply);
};

struct link_ops {
    /* The socket is connected. May send. */
    void (*connected)(struct link *link);
    /* The link broke: it is closed, and `done` of all that was on its way has been called. May open it again.
     */
    void (*broken)(struct link *link, const char *fault);
    /* A reply that no command waits for: what Redis pushes. NULL when every reply is waited for. */
    void (*pushed)(struct link *link, const struct redisReply *reply);
};

/*   closed --> looking up --> connecting --> (securing, with TLS) --> connected
 *                              ^      '-- refused, and the name has another address
 * and from any to closed. A link that has broken is closed, too, while its owner is to be told. */
enum link_state { LINK_CLOSED, LINK_LOOKING_UP, LINK_CONNECTING, LINK_SECURING, LINK_CONNECTED };

struct link {
    const struct link_ops *ops;
    struct link_set *set;
    enum link_state state;
    int fd;                /* -1 when closed; tells when the lookup has ended; the socket */
    struct lookup *lookup; /* of its name, until it is connected; NULL when it needs none */
    size_t tried;          /* of the name's addresses */
    struct secure *secure; /* NULL without TLS */
    bool is_refused;       /* it broke because of TLS: somebody has to mend that */
    struct redisReader *reader;
    struct list unsent;   /* commands, the first may be sent in part */
    size_t unsent_offset; /* of the first */
    struct list waiting;  /* commands sent, for their replies */
    uint64_t unsent_bytes;
    uint64_t received_ms;    /* when something last came */
    uint64_t reply_bytes;    /* of the reply that is not whole yet */
    struct timer deadline;   /* armed while something is awaited */
    struct list flush_link;  /* in set.to_flush */
    struct list read_link;   /* in set.to_read */
    struct list report_link; /* in set.to_report */
    char fault[LINK_FAULT_MAX];
};

void link_init(struct link *link, struct link_set *set, const struct link_ops *ops);

/* Begins to connect to host:port or to the path of a socket. A failure, also one found here, is told by
 * `broken` later. The link is closed. */
void link_open(struct link *link, const char *address, bool is_unix);

/* Closes; `done` of what is on its way is called with NULL, `broken` is not. */
void link_close(struct link *link);

/* The set has another timeout: it counts for what is waited for already. */
void link_renew_timeout(struct link *link);

/* Breaks the link for a reason that the owner has found; `broken` follows at the end of the turn. */
void link_break(struct link *link, const char *fault);

bool link_is_open(const struct link *link);

/* Takes the command until its `done`. On a closed link, at once. */
void link_send(struct link *link, struct link_command *command);

/* Formats argv into the command. Returns 0 or -ENOMEM. */
int command_format(struct link_command *command, int argc, const char *const *argv, const size_t *lengths);
void command_deinit(struct link_command *command);

/* Sends words. `answered`, unless it is NULL, gets the reply, if one comes before the link breaks; it may do
 * what a command's `done` may. Returns 0 or -ENOMEM. */
int link_send_words(struct link *link, int argc, const char *const *argv,
                    void (*answered)(struct link *link, const struct redisReply *reply));

/* The set: what epoll says of a link, and the end of a turn. */
void link_handle_events(struct link *link, uint32_t events);
void link_set_init(struct link_set *set, int epoll_fd, struct timer_wheel *wheel, struct mailbox *mailbox);
void link_set_deinit(struct link_set *set);

/* Reads on where a turn ended, sends what is to be sent, tells owners of broken links. Returns whether there
 * is more to do at once. */
bool link_set_run(struct link_set *set);
