/* SPDX-License-Identifier: MIT */
/* `presence`: who is in a channel, and what the client wants to be known of itself there. */

#include "command/presence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "config/channel_options.h"
#include "command/answer.h"
#include "command/auth.h"
#include "command/commands.h"
#include "core/presence.h"
#include "render/render.h"

/* Names and infos that a connection may give: one in so long, and some at once. */
#define INTRODUCE_EVERY_MS 500u
#define INTRODUCE_AT_ONCE 10u

/* Introducing. */

static bool introduces_anything_new(const struct conversation *conversation, struct text as, struct text info)
{
    const struct persona *said = conversation->said;
    const struct text name = said ? persona_name(said) : (struct text){0};
    const struct text before = said ? persona_info(said) : (struct text){0};
    return (as.bytes && !text_equals(as, name)) || (info.bytes && !text_equals(info, before));
}

/* The first one is free, and what says nothing new. */
enum error_code conversation_introduce(struct conversation *conversation, struct text as, struct text info)
{
    const uint64_t now_ms = conversation->shard->now_ms;
    if (!introduces_anything_new(conversation, as, info))
        return ERROR_NONE;
    if (conversation->introduced_ms > now_ms + (uint64_t)INTRODUCE_EVERY_MS * (INTRODUCE_AT_ONCE - 1))
        return ERROR_PRESENCE_RATE;
    const struct persona *said = conversation->said;
    struct persona *persona = persona_new(as.bytes || !said ? as : persona_name(said),
                                          info.bytes || !said ? info : persona_info(said));
    if (!persona)
        return ERROR_OUT_OF_MEMORY;
    persona_unref(conversation->said);
    conversation->said = persona;
    conversation->introduced_ms = number_greater(conversation->introduced_ms, now_ms) + INTRODUCE_EVERY_MS;
    return ERROR_NONE;
}

bool presence_refuses(struct conversation *conversation, const struct command_request *request)
{
    enum error_code error = conversation_introduce(conversation, request->as, request->info);
    if (error != ERROR_NONE)
        command_answer_error_for(conversation, &request->ref, error, error_text(error),
                                 error == ERROR_PRESENCE_RATE);
    return error != ERROR_NONE;
}

/* Has a subscription the name and info that are known now. */
static enum error_code presence_renew(struct command_subscription *subscription)
{
    struct conversation *conversation = subscription->conversation;
    struct subscriber *subscriber = &subscription->subscriber;
    if (subscription->is_history || !subscriber->subscriptions ||
        !hub_follows(&conversation->shard->hub, subscription_channel(&subscriber->one)))
        return ERROR_NONE;
    struct persona *persona = bearer_introduce(&conversation->bearer, conversation->said);
    if (!persona && conversation->said)
        return ERROR_OUT_OF_MEMORY;
    subscriber_introduce(subscriber, persona);
    persona_unref(persona);
    return ERROR_NONE;
}

/* Where memory is out the name before goes on. */
void presence_follow_grant(struct conversation *conversation)
{
    list_for_each (link, &conversation->subscriptions)
        (void)presence_renew(container_of(link, struct command_subscription, link));
}

/* Listing. */

struct presence_listing {
    struct roster_request request; /* first: freed with it */
    struct errand errand;          /* its errands are NULL when nobody is to be answered */
    struct command_ref ref;
};

static void listing_forget(struct errand *errand)
{
    (void)errand; /* the broker has it, and gives it back */
}

static void listing_say(struct conversation *conversation, struct presence_listing *listing)
{
    struct buf json = {0};
    const struct roster_request *request = &listing->request;
    command_answer_begin(&json, "presence", &listing->ref);
    buf_append_text(&json, ",\"channel\":");
    render_json_string(&json, request->channel, strlen(request->channel));
    buf_append_char(&json, ',');
    presence_append_list(&json, request);
    buf_append_char(&json, '}');
    command_answer_say(conversation, &listing->ref, &json);
}

static void listing_end(struct broker_request *super)
{
    struct presence_listing *listing = container_of(super, struct presence_listing, request.super);
    struct errands *errands = listing->errand.errands;
    if (errands) {
        struct conversation *conversation = container_of(errands, struct conversation, errands);
        if (super->error == ERROR_NONE)
            listing_say(conversation, listing);
        else
            command_answer_error(conversation, &listing->ref, super->error, error_text(super->error));
        errand_end(&listing->errand);
    }
    buf_deinit(&listing->request.members);
    free(listing);
    if (errands)
        errands_settle(errands);
}

static void presence_list(struct conversation *conversation, const struct command_request *request,
                          struct text channel)
{
    struct presence_listing *listing = calloc(1, sizeof(*listing));
    if (!listing) {
        command_answer_error(conversation, &request->ref, ERROR_OUT_OF_MEMORY,
                             error_text(ERROR_OUT_OF_MEMORY));
        return;
    }
    memcpy(listing->request.channel, channel.bytes, channel.len);
    if (request->after.len > 0)
        memcpy(listing->request.after, request->after.bytes, request->after.len);
    listing->request.limit = request->limit == UINT64_MAX          ? PRESENCE_LIMIT_PRESET
                             : request->limit > PRESENCE_LIMIT_MAX ? PRESENCE_LIMIT_MAX
                                                                   : request->limit;
    listing->ref = request->ref;
    listing->errand.forget = listing_forget;
    errand_begin(&listing->errand, &conversation->errands, &conversation->errands.others, 0);
    if (hub_submit(&conversation->shard->hub, &listing->request.super, BROKER_ROSTER, listing_end))
        listing_end(&listing->request.super);
}

/* What the client says of itself counts here now, and in what it subscribes to from now on. */
void command_run_presence(struct conversation *conversation, struct command_request *request)
{
    char fault[AUTH_FAULT_MAX];
    struct command_channels channels = {0};
    struct text channel = {0};
    (void)command_channels_next(&channels, request, &channel);
    enum error_code error = channel.bytes ? conversation_check(conversation, ACCESS_SUBSCRIBE, channel, fault)
                                          : ERROR_OUT_OF_MEMORY;
    if (!channel.bytes)
        strcpy(fault, error_text(error));
    if (error == ERROR_NONE && !channel_has_presence(conversation->shard->options, channel)) {
        error = ERROR_NO_PRESENCE;
        snprintf(fault, sizeof(fault), "%.*s has no presence: its option presence is no", (int)channel.len,
                 channel.bytes);
    }
    struct command_subscription *own =
        error == ERROR_NONE ? command_subscription_find(conversation, channel) : NULL;
    if (error != ERROR_NONE) {
        command_answer_error(conversation, &request->ref, error, fault);
    } else if (!presence_refuses(conversation, request)) {
        if (own && (request->as.bytes || request->info.bytes))
            (void)presence_renew(own);
        presence_list(conversation, request, channel);
    }
    command_channels_deinit(&channels);
}
