/* SPDX-License-Identifier: MIT */
#include "core/broker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/hub.h"
#include "core/watcher.h"

static void broker_deliver_answer(struct letter *letter)
{
    hub_answered(container_of(letter, struct broker_request, letter));
}

void broker_answer(struct broker_request *request, enum error_code error)
{
    request->error = error;
    request->letter.deliver = broker_deliver_answer;
    mailbox_post(request->reply_to, &request->letter);
}

static void broker_deliver_feed(struct letter *letter)
{
    struct feed *feed = container_of(letter, struct feed, letter);
    hub_take_feed(feed);
    free(feed);
}

int broker_reserve_feeds(struct letter **letters, unsigned count)
{
    *letters = NULL;
    for (; count > 0; count--) {
        struct feed *feed = malloc(sizeof(*feed));
        if (!feed) {
            broker_release_feeds(*letters);
            return -ENOMEM;
        }
        feed->letter.next = *letters;
        *letters = &feed->letter;
    }
    return 0;
}

void broker_release_feeds(struct letter *letters)
{
    while (letters) {
        struct feed *feed = container_of(letters, struct feed, letter);
        letters = feed->letter.next;
        free(feed);
    }
}

void broker_post_feed(struct letter **letters, struct mailbox *mailbox, const struct feed *what)
{
    struct feed *feed = container_of(*letters, struct feed, letter);
    *letters = feed->letter.next;
    *feed = *what;
    feed->letter.deliver = broker_deliver_feed;
    mailbox_post(mailbox, &feed->letter);
}

static int broker_feed(struct mailbox *mailbox, const struct feed *what)
{
    struct letter *letter;
    int err = broker_reserve_feeds(&letter, 1);
    if (!err)
        broker_post_feed(&letter, mailbox, what);
    return err;
}

int broker_feed_message(struct mailbox *mailbox, struct channel *channel, struct message *message)
{
    const struct feed feed = {.channel = channel, .message = message_ref(message)};
    int err = broker_feed(mailbox, &feed);
    if (err)
        message_unref(message);
    return err;
}

int broker_feed_reset(struct mailbox *mailbox, struct channel *channel, enum reset_reason reason,
                      const struct epoch *epoch, uint64_t top, uint64_t oldest)
{
    const struct feed feed = {
        .channel = channel, .reason = reason, .epoch = *epoch, .top = top, .oldest = oldest};
    return broker_feed(mailbox, &feed);
}

static void broker_deliver_renewal(struct letter *letter)
{
    struct renewal *renewal = container_of(letter, struct renewal, letter);
    hub_apply_renewal(renewal);
    free(renewal);
}

int broker_feed_renewal(struct mailbox *mailbox, struct channel *channel, const struct epoch *epoch,
                        const struct ancestry *ancestry, uint64_t top, uint64_t oldest)
{
    struct renewal *renewal = malloc(sizeof(*renewal));
    if (!renewal)
        return -ENOMEM;
    *renewal = (struct renewal){.letter.deliver = broker_deliver_renewal,
                                .channel = channel,
                                .epoch = *epoch,
                                .ancestry = *ancestry,
                                .top = top,
                                .oldest = oldest};
    mailbox_post(mailbox, &renewal->letter);
    return 0;
}

struct name_letter {
    struct letter letter;
    struct watcher *watcher;
    bool is_new;
    size_t len;
    char name[];
};

static void broker_deliver_name(struct letter *letter)
{
    struct name_letter *found = container_of(letter, struct name_letter, letter);
    if (!found->watcher->is_leaving)
        found->watcher->ops->found(found->watcher, found->name, found->len, found->is_new);
    free(found);
}

int broker_tell_name(struct mailbox *mailbox, struct watcher *watcher, const char *name, size_t len,
                     bool is_new)
{
    struct name_letter *found = malloc(sizeof(*found) + len);
    if (!found)
        return -ENOMEM;
    *found = (struct name_letter){
        .letter.deliver = broker_deliver_name, .watcher = watcher, .is_new = is_new, .len = len};
    memcpy(found->name, name, len);
    mailbox_post(mailbox, &found->letter);
    return 0;
}
