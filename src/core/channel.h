/* SPDX-License-Identifier: MIT */
#pragma once

/* A channel as one shard sees it: a window on the log, pages of older history while somebody needs them, and
 * its subscriptions. For the hub and the subscriber only; everything runs on the shard's thread.
 *
 *   attaching --answer--> attached --linger--> detaching --answer--> detached --last page--> freed
 *       `-------error------------------------------------------------------------------------^
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/table.h"
#include "base/timer.h"
#include "core/broker.h"
#include "core/conflation.h"
#include "core/epoch.h"
#include "core/hub.h"
#include "core/ring.h"
#include "core/subscriber.h"

/* The window holds at most this many messages, whatever the log keeps; older ones come from the broker in
 * pages. */
#define CHANNEL_WINDOW 1024u
/* Messages in one page of history. */
#define CHANNEL_PAGE 256u

enum channel_state { CHANNEL_ATTACHING, CHANNEL_ATTACHED, CHANNEL_DETACHING, CHANNEL_DETACHED };

/* Messages [from, to] of the log, read once for everybody who needs them. */
struct page {
    struct list link; /* in channel.pages */
    struct channel *channel;
    uint64_t from;
    uint64_t to;
    uint64_t least_top; /* where the log stood when it was asked for: an answer from below is of one that was
                           set back */
    bool is_read;       /* the answer is here */
    struct conflation newest;       /* the newest of each key in it, once somebody wants those only */
    struct list fetching;           /* subscriptions that wait for it */
    struct timer timer;             /* to forget it once it is read, or to ask again after a failure */
    struct history_request request; /* with the messages, once it is read */
};

struct channel {
    UT_hash_handle hh;
    struct hub *hub;
    enum channel_state state;
    bool is_asked; /* attaching: the broker has the request; otherwise it was away and is asked again */
    bool is_near;  /* the broker answers in the call */
    struct log_state log; /* as far as it is known here */
    struct ring window;
    struct ring passing; /* the newest transient messages, while somebody may be behind them */
    struct conflation
        newest;            /* of each key the newest message of the window, while somebody wants those only */
    uint64_t newest_count; /* subscriptions that do */
    uint32_t serial;       /* of the newest transient message: this shard counts them */
    struct list pages;
    uint64_t pages_unread;   /* asked for and not answered, also those no longer in the list */
    struct list pending;     /* subscriptions, until attached */
    struct list waiting;     /* those that have all there is */
    struct list ready;       /* those to be served; one that put off reading history is fetching there */
    struct list blocked;     /* those whose clients take nothing */
    struct list dirty_link;  /* in hub.dirty while `ready` is not empty */
    struct list linger_link; /* in hub.lingering */
    struct timer linger;     /* while attaching: to ask a broker again that was away */
    struct timer expiry;     /* when the oldest message of the window may go */
    uint64_t subscriptions[TRANSPORT_COUNT];
    uint64_t subscription_count;
    struct channel_terms terms;
    uint32_t terms_generation; /* of the hub's settings, when those were found */
    struct channel_memo memo;
    struct attach_request request; /* attach, then detach */
    uint8_t name_len;
    char name[]; /* terminated */
};

/* Finds the attached or attaching channel of that name, or makes it. Returns why there is none otherwise. */
enum error_code channel_get(struct hub *hub, const char *name, size_t len, struct channel **found);

/* A channel without a log, in no table: for what is subscribed to under a name that no channel has. NULL when
 * memory is out. */
struct channel *channel_new_without_log(struct hub *hub, struct text name);
void channel_free_without_log(struct channel *channel);

void channel_add_subscription(struct channel *channel, struct subscription *subscription);
void channel_remove_subscription(struct subscription *subscription);

/* The subscription is to be served in its turn. */
void channel_make_ready(struct subscription *subscription);

/* The subscription has everything, or its client takes nothing: it is not served until made ready. */
void channel_make_waiting(struct subscription *subscription);
void channel_make_blocked(struct subscription *subscription);

/* It no longer waits for a page: ready, unless its client takes nothing. */
void channel_resume_subscription(struct subscription *subscription);

/* It is told `reason` next, and goes on from the oldest message kept. */
void channel_reset_subscription(struct subscription *subscription, enum reset_reason reason);

/* What it was told behind what the forebear shares with the log is gone: it is told so, and goes on from
 * there. */
void channel_withdraw_subscription(struct subscription *subscription, const struct forebear *forebear);

/* Frees a detached channel once no page is on its way any more. */
void channel_free_when_done(struct channel *channel);

/* The reset that the subscription is to be told first. Returns false when there is none. */
bool channel_read_reset(struct subscription *subscription, struct delivery *delivery);

/* Fills `to` with what `subscription` is to be told next, behind its reset; may leave it waiting for
 * a page of history, or for another turn to read on in. */
size_t channel_read(struct subscription *subscription, struct delivery *to, size_t most);

/* Whether only the broker knows what becomes of that start in an attached channel. */
bool channel_must_ask(const struct channel *channel, const struct start *start);

/* Sets where a subscription of an attached channel starts, as its subscriber wants; after a renewal, anew. Of
 * one that has waited for the channel (`is_late`) `now` is when its request came. Calls
 * subscription_attached, at once or when the broker has told whether a cursor is ahead of the log. */
void channel_start_subscription(struct subscription *subscription, bool is_late);

/* It no longer waits for a page while starting; `top` is the offset of the newest message known. */
void channel_go_on_starting(struct subscription *subscription, uint64_t top);

/* Whether who is subscribed is made known, as the options say now. */
bool channel_is_followed(struct channel *channel);

/* Drops what the window need not keep, once nobody waits for his turn; and transient messages, when nobody is
 * behind them. */
void channel_trim(struct channel *channel);

/* What a broker's letter brings; takes the reference to its message. */
void channel_take_feed(struct channel *channel, const struct feed *feed);

/* At the end: lets go of a channel that no subscriber is left on. One that waits for a broker that is away
 * fails.
 */
void channel_close(struct channel *channel);

/* The subscriber's side, in core/subscriber.c: the channel is attached and the start is set, or cannot be
 * attached. */
void subscription_attached(struct subscription *subscription);
void subscription_failed(struct subscription *subscription, enum error_code error);

/* Where its subscriber wants it to start. */
const struct start *subscription_start(const struct subscription *subscription);

/* Writes its entry in a cursor; as position_format. */
size_t subscription_format_position(const struct subscription *subscription, char *to);
