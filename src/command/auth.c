/* SPDX-License-Identifier: MIT */
/* `auth`, and what a conversation may do. */

#include "command/auth.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "auth/token.h"
#include "command/answer.h"
#include "command/commands.h"
#include "command/presence.h"
#include "render/render.h"

#define AUTH_WORD "AUTH "
/* Bad ones, one after the other, that end a connection; the error says so. */
#define AUTH_BAD_TOKENS_MAX 3u

/* Bearing. */

static void conversation_grant_over(struct bearer *bearer, enum error_code why)
{
    struct conversation *conversation = container_of(bearer, struct conversation, bearer);
    conversation->ops->over(conversation, why);
}

void conversation_bear(struct conversation *conversation)
{
    bearer_begin(&conversation->bearer, &conversation->shard->bearers, conversation_grant_over);
    if (conversation->awaits_token)
        bearer_await(&conversation->bearer, conversation->shard->options->head_timeout_ms);
}

enum error_code conversation_check(const struct conversation *conversation, enum access_verb verb,
                                   struct text channel, char fault[AUTH_FAULT_MAX])
{
    return bearer_check(&conversation->bearer, conversation->shard, verb, channel, fault);
}

/* Feeds. */

enum error_code conversation_feed(struct conversation *conversation, const struct name_list *feed,
                                  char fault[AUTH_FAULT_MAX])
{
    const struct start start = {.kind = START_NOW};
    conversation->feed = feed;
    for (unsigned i = 0; i < feed->count; i++) {
        const struct command_wish wish = {.channel = channel_name_text(&feed->names[i]), .start = &start};
        if (command_subscription_find(conversation, wish.channel))
            continue;
        enum error_code error = conversation_check(conversation, ACCESS_SUBSCRIBE, wish.channel, fault);
        if (error == ERROR_NO_TOKEN) {
            conversation->awaits_token = true;
            continue;
        }
        if (error == ERROR_NONE) {
            error = command_subscribe(conversation, &wish, NULL);
            snprintf(fault, AUTH_FAULT_MAX, "%s", error == ERROR_NONE ? "" : error_text(error));
        }
        if (error != ERROR_NONE)
            return error;
    }
    return ERROR_NONE;
}

/* Another grant. */

static struct command_subscription *subscription_of(struct list *link)
{
    return container_of(link, struct command_subscription, link);
}

static void subscription_lose(struct command_subscription *subscription)
{
    struct conversation *conversation = subscription->conversation;
    struct text channel = subscription_channel(&subscription->subscriber.one);
    char name[CHANNEL_NAME_MAX];
    char fault[AUTH_FAULT_MAX];
    enum error_code error = conversation_check(conversation, ACCESS_SUBSCRIBE, channel, fault);
    memcpy(name, channel.bytes, channel.len);
    channel.bytes = name;
    if (!command_subscription_end(subscription, error))
        conversation_tell_lost(conversation, channel, error, fault);
}

/* The wait of one that is lost may take others with it: none is held on to. */
static void conversation_lose(struct conversation *conversation)
{
    char fault[AUTH_FAULT_MAX];
    bool goes_on = true;
    list_for_each (link, &conversation->subscriptions) {
        struct command_subscription *subscription = subscription_of(link);
        subscription->is_lost =
            conversation_check(conversation, ACCESS_SUBSCRIBE,
                               subscription_channel(&subscription->subscriber.one), fault) != ERROR_NONE;
    }
    while (goes_on) {
        goes_on = false;
        list_for_each (link, &conversation->subscriptions) {
            goes_on = subscription_of(link)->is_lost;
            if (!goes_on)
                continue;
            subscription_lose(subscription_of(link));
            break;
        }
    }
}

bool conversation_may_authenticate(const struct conversation *conversation)
{
    return !timer_is_armed(&conversation->authenticated);
}

void conversation_go_on(struct timer *authenticated)
{
    struct conversation *conversation = container_of(authenticated, struct conversation, authenticated);
    if (conversation->bad_tokens >= AUTH_BAD_TOKENS_MAX)
        conversation->ops->over(conversation, ERROR_TOO_MANY_TOKENS);
    else
        conversation->ops->ready(conversation);
}

/* Where there are no keys nothing is verified, and whoever always comes with a token may go on. */
static void conversation_note_token(struct conversation *conversation, enum error_code error)
{
    struct shard *shard = conversation->shard;
    if (error == ERROR_NONE)
        conversation->bad_tokens = 0;
    else if (error != ERROR_OUT_OF_MEMORY && auth_keys_are_there(shard->keys))
        conversation->bad_tokens++;
    timer_arm(&shard->wheel, &conversation->authenticated, shard->now_ms);
}

enum error_code conversation_authenticate(struct conversation *conversation, struct text token,
                                          char fault[AUTH_FAULT_MAX])
{
    enum error_code error = bearer_verify(&conversation->bearer, conversation->shard, token, fault);
    conversation_note_token(conversation, error);
    if (error == ERROR_NONE)
        conversation->awaits_token = false;
    return error;
}

/* What is below wild names comes and goes without a word. A search that fails takes its subscription with it:
 * none is held on to. */
static void conversation_search(struct conversation *conversation, struct command_wait *wait)
{
    unsigned count = conversation->subscription_count;
    for (; count > 0 && !list_is_empty(&conversation->subscriptions); count--) {
        struct list *link = list_pop(&conversation->subscriptions);
        list_append(&conversation->subscriptions, link);
        command_subscription_search(subscription_of(link), wait);
    }
}

void conversation_follow_grant(struct conversation *conversation, struct command_wait *wait)
{
    char fault[AUTH_FAULT_MAX];
    conversation_lose(conversation);
    conversation_search(conversation, wait);
    presence_follow_grant(conversation);
    enum error_code error =
        conversation->feed ? conversation_feed(conversation, conversation->feed, fault) : ERROR_NONE;
    if (error != ERROR_NONE)
        conversation_tell_lost(conversation, (struct text){"", 0}, error, fault);
}

/* Messages. */

bool auth_message_is_token(const struct shard *shard, struct text message)
{
    struct command_request request;
    if (!auth_keys_are_there(shard->keys))
        return false;
    if (text_begins_word(message, AUTH_WORD))
        return true;
    if (!text_begins(text_trim(message), "{"))
        return false;
    command_request_parse(&request, message.bytes, message.len);
    bool is_auth = request.error == ERROR_NONE && request.op == COMMAND_AUTH;
    command_request_deinit(&request);
    return is_auth;
}

enum error_code auth_take_message(struct bearer *bearer, const struct shard *shard, struct text message,
                                  char fault[AUTH_FAULT_MAX])
{
    struct command_request request;
    struct text token = {0};
    if (text_begins_word(message, AUTH_WORD)) {
        token = text_trim(text_behind(message, strlen(AUTH_WORD)));
        return bearer_verify(bearer, shard, token, fault);
    }
    command_request_parse(&request, message.bytes, message.len);
    enum error_code error = ERROR_NO_TOKEN;
    if (request.error == ERROR_NONE && request.op == COMMAND_AUTH)
        error = bearer_verify(bearer, shard, request.token, fault);
    else
        snprintf(fault, AUTH_FAULT_MAX, "the first message must be the token: AUTH token");
    command_request_deinit(&request);
    return error;
}

/* What has been asked for before was allowed by the grant that there was. */
void command_run_auth(struct conversation *conversation, struct command_request *request)
{
    char fault[AUTH_FAULT_MAX];
    struct buf json = {0};
    enum error_code error = conversation_authenticate(conversation, request->token, fault);
    if (error != ERROR_NONE) {
        command_answer_error(conversation, &request->ref, error, fault);
        return;
    }
    const struct grant *grant = conversation->bearer.grant;
    command_answer_begin(&json, "authenticated", &request->ref);
    buf_append_text(&json, ",\"sub\":");
    render_json_string(&json, grant->subject, strlen(grant->subject));
    buf_append_text(&json, ",\"expires\":");
    if (grant->expires_ms == INT64_MAX)
        buf_append_text(&json, "null");
    else
        buf_append_u64(&json, (uint64_t)(grant->expires_ms - TOKEN_LEEWAY_MS));
    buf_append_char(&json, '}');
    command_answer_say(conversation, &request->ref, &json);
    conversation_follow_grant(conversation, NULL);
}
