/* SPDX-License-Identifier: MIT */
/* `auth`, and what a conversation may do. */

#include "command/auth.h"

#include <stdio.h>
#include <stdlib.h>
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

/* Of a subscription that is gone already: the client reads its error behind the answer to the token. */
struct command_lost {
    struct list link;
    enum error_code error;
    char fault[AUTH_FAULT_MAX];
    size_t len;
    char channel[];
};

/* Where memory is out it is told before the answer. */
static void conversation_lost(struct conversation *conversation, struct text channel, enum error_code error,
                              const char *fault)
{
    struct command_lost *lost = conversation->is_searching ? malloc(sizeof(*lost) + channel.len) : NULL;
    if (!lost) {
        conversation_tell_lost(conversation, channel, error, fault);
        return;
    }
    *lost = (struct command_lost){.error = error, .len = channel.len};
    snprintf(lost->fault, sizeof(lost->fault), "%s", fault);
    memcpy(lost->channel, channel.bytes, channel.len);
    list_init(&lost->link);
    list_append(&conversation->lost, &lost->link);
}

void conversation_forget_lost(struct conversation *conversation)
{
    list_drain (link, &conversation->lost)
        free(container_of(link, struct command_lost, link));
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
        conversation_lost(conversation, channel, error, fault);
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
    return !timer_is_armed(&conversation->authenticated) && !conversation->is_searching;
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

bool conversation_has_to_search(const struct conversation *conversation)
{
    list_for_each (link, &conversation->subscriptions)
        if (command_subscription_is_wild(subscription_of(link)))
            return true;
    return false;
}

void conversation_searched(struct conversation *conversation)
{
    struct shard *shard = conversation->shard;
    if (!conversation->is_searching)
        return;
    conversation->is_searching = false;
    timer_arm(&shard->wheel, &conversation->authenticated, shard->now_ms);
    list_drain (link, &conversation->lost) {
        struct command_lost *lost = container_of(link, struct command_lost, link);
        conversation_tell_lost(conversation, (struct text){lost->channel, lost->len}, lost->error,
                               lost->fault);
        free(lost);
    }
}

void conversation_follow_grant(struct conversation *conversation, struct command_wait *wait)
{
    char fault[AUTH_FAULT_MAX];
    conversation->is_searching = wait != NULL;
    conversation_lose(conversation);
    conversation_search(conversation, wait);
    presence_follow_grant(conversation);
    enum error_code error =
        conversation->feed ? conversation_feed(conversation, conversation->feed, fault) : ERROR_NONE;
    if (error != ERROR_NONE)
        conversation_lost(conversation, (struct text){"", 0}, error, fault);
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

/* The command. */

/* An `auth` whose token is taken, until all is found that it allows besides. */
struct command_authenticating {
    struct errand errand;
    struct command_ref ref;
    struct command_wait wait;
    struct buf json; /* the answer */
};

static void authenticating_forget(struct errand *errand)
{
    struct command_authenticating *authenticating =
        container_of(errand, struct command_authenticating, errand);
    buf_deinit(&authenticating->json);
    free(authenticating);
}

static void authenticating_done(struct command_wait *wait)
{
    struct command_authenticating *authenticating = container_of(wait, struct command_authenticating, wait);
    struct errands *errands = authenticating->errand.errands;
    command_answer_say(wait->conversation, &authenticating->ref, &authenticating->json);
    conversation_searched(wait->conversation);
    errand_end(&authenticating->errand);
    free(authenticating);
    errands_settle(errands);
}

/* It awaits no subscription that could fail, only searches. */
static const struct command_wait_ops authenticating_ops = {.done = authenticating_done};

static void auth_append_answer(struct buf *json, const struct command_ref *ref, const struct grant *grant)
{
    command_answer_begin(json, "authenticated", ref);
    buf_append_text(json, ",\"sub\":");
    render_json_string(json, grant->subject, strlen(grant->subject));
    buf_append_text(json, ",\"expires\":");
    if (grant->expires_ms == INT64_MAX)
        buf_append_text(json, "null");
    else
        buf_append_u64(json, (uint64_t)(grant->expires_ms - TOKEN_LEEWAY_MS));
    buf_append_char(json, '}');
}

/* What has been asked for before was allowed by the grant that there was. */
void command_run_auth(struct conversation *conversation, struct command_request *request)
{
    char fault[AUTH_FAULT_MAX];
    struct buf json = {0};
    bool has_to_search = conversation_has_to_search(conversation);
    struct command_authenticating *authenticating = has_to_search ? calloc(1, sizeof(*authenticating)) : NULL;
    enum error_code error = ERROR_OUT_OF_MEMORY;
    snprintf(fault, sizeof(fault), "%s", error_text(error));
    if (authenticating || !has_to_search)
        error = conversation_authenticate(conversation, request->token, fault);
    if (error != ERROR_NONE) {
        free(authenticating);
        command_answer_error(conversation, &request->ref, error, fault);
        return;
    }
    auth_append_answer(&json, &request->ref, conversation->bearer.grant);
    if (!authenticating) {
        command_answer_say(conversation, &request->ref, &json);
        conversation_follow_grant(conversation, NULL);
        return;
    }
    authenticating->ref = request->ref;
    authenticating->json = json;
    authenticating->errand.forget = authenticating_forget;
    errand_begin(&authenticating->errand, &conversation->errands, &conversation->errands.others, 0);
    command_wait_begin(&authenticating->wait, conversation, &authenticating_ops);
    conversation_follow_grant(conversation, &authenticating->wait);
    command_wait_end(&authenticating->wait);
}
