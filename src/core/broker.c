/* SPDX-License-Identifier: MIT */
#include "core/broker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/channel.h"
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
    channel_take_feed(feed->channel, feed);
    free(feed);
}

int attachments_add(struct attachments *attachments, const struct attach_request *request)
{
    struct attachment *items = realloc(attachments->items, (attachments->count + 1) * sizeof(*items));
    if (!items)
        return -ENOMEM;
    items[attachments->count++] = (struct attachment){request->super.reply_to, request->channel};
    attachments->items = items;
    return 0;
}

void attachments_remove(struct attachments *attachments, const struct attach_request *request)
{
    for (unsigned i = 0; i < attachments->count; i++) {
        const struct attachment *attachment = &attachments->items[i];
        if (attachment->mailbox != request->super.reply_to || attachment->channel != request->channel)
            continue;
        attachments->items[i] = attachments->items[--attachments->count];
        return;
    }
}

/* Messages are many: their letters have no room for a log's state. */
static size_t broker_feed_size(const struct feed *what)
{
    return what->message ? offsetof(struct feed, log) : sizeof(*what);
}

int broker_reserve_feeds(struct letter **letters, const struct attachments *to, const struct feed *what)
{
    *letters = NULL;
    for (unsigned i = 0; i < to->count; i++) {
        struct feed *feed = malloc(broker_feed_size(what));
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

void broker_post_feeds(struct letter *letters, const struct attachments *to, const struct feed *what)
{
    for (unsigned i = 0; i < to->count; i++) {
        struct feed *feed = container_of(letters, struct feed, letter);
        letters = letters->next;
        memcpy(feed, what, broker_feed_size(what));
        if (feed->message)
            message_ref(feed->message);
        feed->channel = to->items[i].channel;
        feed->letter.deliver = broker_deliver_feed;
        mailbox_post(to->items[i].mailbox, &feed->letter);
    }
}

int broker_feed(const struct attachments *to, const struct feed *what)
{
    struct letter *letters;
    int err = broker_reserve_feeds(&letters, to, what);
    if (!err)
        broker_post_feeds(letters, to, what);
    return err;
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
    const struct text prefix = {watcher->request.prefix, watcher->request.prefix_len};
    if (channel_name_is_reserved((struct text){name, len}) && !channel_name_is_reserved(prefix))
        return 0;
    struct name_letter *found = malloc(sizeof(*found) + len);
    if (!found)
        return -ENOMEM;
    *found = (struct name_letter){
        .letter.deliver = broker_deliver_name, .watcher = watcher, .is_new = is_new, .len = len};
    memcpy(found->name, name, len);
    mailbox_post(mailbox, &found->letter);
    return 0;
}
