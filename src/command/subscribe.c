/* SPDX-License-Identifier: MIT */
/* `subscribe` and `unsubscribe`. */

#include <stdio.h>
#include <stdlib.h>

#include "command/answer.h"
#include "command/auth.h"
#include "command/commands.h"
#include "command/presence.h"
#include "render/render.h"
#include "shard/rates.h"

/* A subscribe on its way: all of its channels or none. */
struct command_subscribing {
    struct errand errand;
    struct command_ref ref;
    struct command_wait wait;
    enum error_code error;
};

static struct command_subscribing *subscribing_of(struct command_wait *wait)
{
    return container_of(wait, struct command_subscribing, wait);
}

static void subscribing_forget(struct errand *errand)
{
    free(container_of(errand, struct command_subscribing, errand));
}

static void subscribing_end(struct command_subscribing *subscribing)
{
    struct errands *errands = subscribing->errand.errands;
    errand_end(&subscribing->errand);
    free(subscribing);
    errands_settle(errands);
}

static void subscribing_drop_all(struct command_subscribing *subscribing)
{
    list_for_each_safe (link, &subscribing->wait.conversation->subscriptions) {
        struct command_subscription *subscription = container_of(link, struct command_subscription, link);
        if (subscription->wait == &subscribing->wait)
            command_unsubscribe(subscription);
    }
}

static void subscribing_fail(struct command_wait *wait, enum error_code error)
{
    struct command_subscribing *subscribing = subscribing_of(wait);
    subscribing->error = error;
    subscribing_drop_all(subscribing);
}

static void names_append(struct buf *json, unsigned *count, struct text name)
{
    buf_append_char(json, *count > 0 ? ',' : '[');
    render_json_string(json, name.bytes, name.len);
    ++*count;
}

/* `room`: how many entries of the joined cursor are left for what the subscriber has found. */
static void subscribing_note_completeness(enum completeness *all, const struct subscriber *subscriber,
                                          unsigned room)
{
    enum completeness one = subscriber_completeness(subscriber);
    if (one == COMPLETENESS_WHOLE && subscriber_spread_count(subscriber) > room)
        one = COMPLETENESS_PART;
    if (one > *all)
        *all = one;
}

/* How many entries of the joined cursor are left for channels that are found: each that is named has its own,
 * wherever it stands in the command. */
static unsigned subscribing_room(const struct command_subscribing *subscribing)
{
    unsigned room = CURSOR_CHANNELS_MAX;
    list_for_each (link, &subscribing->wait.conversation->subscriptions) {
        const struct command_subscription *subscription =
            container_of(link, struct command_subscription, link);
        if (subscription->wait == &subscribing->wait &&
            subscriber_completeness(&subscription->subscriber) == COMPLETENESS_PLAIN)
            room--;
    }
    return room;
}

/* The channels in the order of the command, and their joined cursor. Returns how many there are. */
static unsigned subscribed_append(struct buf *json, const struct command_subscribing *subscribing,
                                  enum completeness *completeness)
{
    char cursor[CURSOR_TEXT_MAX];
    size_t len = 0;
    unsigned count = 0;
    unsigned room = subscribing_room(subscribing);
    buf_append_text(json, ",\"channels\":");
    list_for_each (link, &subscribing->wait.conversation->subscriptions) {
        const struct command_subscription *subscription =
            container_of(link, struct command_subscription, link);
        if (subscription->wait != &subscribing->wait)
            continue;
        if (len > 0)
            cursor[len++] = '.';
        const struct subscriber *subscriber = &subscription->subscriber;
        subscribing_note_completeness(completeness, subscriber, room);
        const bool is_plain = subscriber_completeness(subscriber) == COMPLETENESS_PLAIN;
        len += is_plain ? subscriber_cursor(subscriber, cursor + len)
                        : subscriber_cursor_within(subscriber, cursor + len, &room);
        names_append(json, &count, subscription_channel(&subscription->subscriber.one));
    }
    buf_append_text(json, "],\"cursor\":\"");
    buf_append(json, cursor, len);
    buf_append_text(json, "\",");
    return count;
}

static void subscribing_done(struct command_wait *wait)
{
    struct command_subscribing *subscribing = subscribing_of(wait);
    struct buf json = {0};
    command_answer_begin(&json, "subscribed", &subscribing->ref);
    enum completeness completeness = COMPLETENESS_PLAIN;
    unsigned count = subscribed_append(&json, subscribing, &completeness);
    bool is_recovered = wait->recovery == RECOVERY_WHOLE;
    render_recovery(&json, is_recovered, completeness);
    buf_append_char(&json, '}');
    if (subscribing->error == ERROR_NONE && count == 0)
        subscribing->error = ERROR_UNSUBSCRIBED;
    if (subscribing->error == ERROR_NONE)
        command_answer_say(wait->conversation, &subscribing->ref, &json);
    else
        command_answer_error(wait->conversation, &subscribing->ref, subscribing->error,
                             error_text(subscribing->error));
    buf_deinit(&json);
    command_wait_release(wait);
    subscribing_end(subscribing);
}

static const struct command_wait_ops subscribing_ops = {.fail = subscribing_fail, .done = subscribing_done};

/* Returns why not all could be asked for, with `fault` a sentence. */
static enum error_code subscribing_join(struct command_subscribing *subscribing,
                                        const struct command_request *request, char fault[PUBLISH_FAULT_MAX])
{
    struct conversation *conversation = subscribing->wait.conversation;
    struct command_channels channels = {0};
    struct command_wish wish = {.start = &request->start, .policy = request->policy};
    enum error_code error = ERROR_NONE;
    while (error == ERROR_NONE && subscribing->error == ERROR_NONE &&
           command_channels_next(&channels, request, &wish.channel)) {
        bool is_double = wish.channel.bytes && command_subscription_find(conversation, wish.channel);
        error = !wish.channel.bytes ? ERROR_OUT_OF_MEMORY
                : is_double         ? ERROR_ALREADY_SUBSCRIBED
                                    : command_subscribe(conversation, &wish, &subscribing->wait);
        snprintf(fault, PUBLISH_FAULT_MAX, "%s", error == ERROR_NONE ? "" : error_text(error));
        if (is_double)
            snprintf(fault, PUBLISH_FAULT_MAX, "%.*s is subscribed to already, or named twice",
                     (int)wish.channel.len, wish.channel.bytes);
    }
    command_channels_deinit(&channels);
    return error;
}

/* All channels or none. Returns whether it is answered. */
static bool subscribe_refuses(struct conversation *conversation, const struct command_request *request)
{
    struct command_channels channels = {0};
    struct text channel;
    char fault[AUTH_FAULT_MAX];
    enum error_code error = ERROR_NONE;
    while (error == ERROR_NONE && command_channels_next(&channels, request, &channel))
        if (channel.bytes) /* that memory is out is found out later */
            error = conversation_check(conversation, ACCESS_SUBSCRIBE, channel, fault);
    command_channels_deinit(&channels);
    if (error != ERROR_NONE)
        command_answer_error(conversation, &request->ref, error, fault);
    return error != ERROR_NONE;
}

/* All channels or none. Returns whether it is answered. */
static bool subscribe_is_too_often(struct conversation *conversation, const struct command_request *request)
{
    struct command_channels channels = {0};
    struct text channel;
    char fault[PUBLISH_FAULT_MAX];
    uint32_t retry_after_s = 0;
    enum error_code error = ERROR_NONE;
    const struct asker by = conversation_asker(conversation);
    while (error == ERROR_NONE && command_channels_next(&channels, request, &channel))
        if (channel.bytes)
            error = rates_ask_subscription(conversation->shard, &by, channel, request->channel_count,
                                           &retry_after_s, fault);
    command_channels_deinit(&channels);
    if (error != ERROR_NONE) {
        command_answer_error_for(conversation, &request->ref, error, fault, retry_after_s);
        return true;
    }
    channels = (struct command_channels){0};
    while (command_channels_next(&channels, request, &channel))
        if (channel.bytes)
            rates_take_subscription(conversation->shard, &by, channel);
    command_channels_deinit(&channels);
    return false;
}

void command_run_subscribe(struct conversation *conversation, struct command_request *request)
{
    struct command_subscribing *subscribing;
    char fault[COMMAND_FAULT_MAX];
    if (!command_has_room(conversation, request->channel_count, fault)) {
        command_answer_error(conversation, &request->ref, ERROR_TOO_MANY_CHANNELS, fault);
        return;
    }
    if (subscribe_refuses(conversation, request) || presence_refuses(conversation, request) ||
        subscribe_is_too_often(conversation, request))
        return;
    subscribing = calloc(1, sizeof(*subscribing));
    if (!subscribing) {
        command_answer_error(conversation, &request->ref, ERROR_OUT_OF_MEMORY,
                             error_text(ERROR_OUT_OF_MEMORY));
        return;
    }
    subscribing->ref = request->ref;
    subscribing->errand.forget = subscribing_forget;
    errand_begin(&subscribing->errand, &conversation->errands, &conversation->errands.others, 0);
    command_wait_begin(&subscribing->wait, conversation, &subscribing_ops);
    enum error_code error = subscribing_join(subscribing, request, request->fault);
    if (error == ERROR_NONE) {
        command_wait_end(&subscribing->wait);
        return;
    }
    subscribing_drop_all(subscribing);
    command_answer_error(conversation, &request->ref, error, request->fault);
    subscribing_end(subscribing);
}

/* Whoever still waits for it waits for one less, and is answered before it is gone. */
static void unsubscribe_drop(struct command_subscription *subscription)
{
    struct command_wait *wait = subscription->wait;
    if (wait)
        wait->awaited++;
    command_unsubscribe(subscription);
    if (wait)
        command_wait_end(wait);
}

static void unsubscribe_all(struct conversation *conversation, struct buf *json, unsigned *count)
{
    list_for_each_safe (link, &conversation->subscriptions) {
        struct command_subscription *subscription = container_of(link, struct command_subscription, link);
        if (subscription->is_history)
            continue;
        names_append(json, count, subscription_channel(&subscription->subscriber.one));
        unsubscribe_drop(subscription);
    }
}

void command_run_unsubscribe(struct conversation *conversation, struct command_request *request)
{
    struct buf json = {0};
    struct command_channels channels = {0};
    struct text name;
    unsigned count = 0;
    command_answer_begin(&json, "unsubscribed", &request->ref);
    buf_append_text(&json, ",\"channels\":");
    if (!request->channels.bytes)
        unsubscribe_all(conversation, &json, &count);
    while (command_channels_next(&channels, request, &name)) {
        struct command_subscription *subscription =
            name.bytes ? command_subscription_find(conversation, name) : NULL;
        if (name.bytes)
            names_append(&json, &count, name);
        json.has_failed = json.has_failed || !name.bytes;
        if (subscription)
            unsubscribe_drop(subscription);
    }
    command_channels_deinit(&channels);
    buf_append_text(&json, count > 0 ? "]}" : "[]}");
    command_answer_say(conversation, &request->ref, &json);
}
