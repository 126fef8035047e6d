/* SPDX-License-Identifier: MIT */
/* Publishing on behalf of a connection. */

#include <stdlib.h>

#include "config/channel_options.h"
#include "core/publication.h"
#include "transport/tcp/connection.h"

struct tcp_publish {
    struct publication super;
    struct survey survey;
    enum tcp_publish_answer answer;
    uint64_t receivers;
};

static struct tcp_publish *tcp_publish_of(struct publication *super)
{
    return container_of(super, struct tcp_publish, super);
}

static struct connection *tcp_publish_connection(const struct tcp_publish *publish)
{
    return container_of(publish->super.errand.errands, struct connection, conversation.errands);
}

static void tcp_publish_answer(struct publication *super, enum error_code error, const char *what)
{
    const struct tcp_publish *publish = tcp_publish_of(super);
    struct connection *connection = tcp_publish_connection(publish);
    if (error != ERROR_NONE) {
        connection_answer_error(connection, error, what);
    } else if (publish->answer == PUBLISH_CONFIRMED || publish->answer == PUBLISH_SIGNAL) {
        connection_answer_text(connection, "CONFIRMED");
    } else if (publish->answer == PUBLISH_COUNT) {
        struct buf *out = connection_text(connection);
        buf_append_char(out, ':');
        buf_append_u64(out, publish->receivers);
        buf_append_text(out, "\r\n");
    }
}

static void tcp_publish_visit(struct survey *survey, struct shard *shard)
{
    struct tcp_publish *publish = container_of(survey, struct tcp_publish, survey);
    const struct publish_item *item = &publish->super.item;
    uint64_t counts[TRANSPORT_COUNT] = {0};
    hub_count_subscriptions(&shard->hub, item->channel, item->channel_len, counts);
    for (unsigned i = 0; i < TRANSPORT_COUNT; i++)
        publish->receivers += counts[i];
}

static void tcp_publish_surveyed(struct survey *survey)
{
    publication_end(&container_of(survey, struct tcp_publish, survey)->super, ERROR_NONE);
}

static void tcp_publish_accepted(struct publication *super)
{
    struct tcp_publish *publish = tcp_publish_of(super);
    struct shard *shard = connection_shard(tcp_publish_connection(publish));
    if (publish->answer == PUBLISH_COUNT && shard->group->count > 1) {
        shard_ask_all(shard, &publish->survey, tcp_publish_visit, tcp_publish_surveyed);
        return;
    }
    if (publish->answer == PUBLISH_COUNT)
        tcp_publish_visit(&publish->survey, shard);
    publication_end(super, ERROR_NONE);
}

static const struct publication_ops tcp_publish_ops = {.accepted = tcp_publish_accepted,
                                                       .answer = tcp_publish_answer};

void tcp_publish(struct connection *connection, struct text channel, struct text data,
                 enum tcp_publish_answer answer)
{
    /* What is not UTF-8 is kept and delivered as the bytes that it is. */
    const struct publish_wish wish = {
        .parts = {.type = message_type_guess(data.bytes, data.len),
                  .data = data.bytes,
                  .size = data.len,
                  .is_transient = answer == PUBLISH_SIGNAL},
        .channel = channel,
        .is_checked = true,
    };
    struct conversation *conversation = &connection->conversation;
    char fault[AUTH_FAULT_MAX];
    struct tcp_publish *publish = calloc(1, sizeof(*publish));
    if (!publish) {
        connection_answer_error(connection, ERROR_OUT_OF_MEMORY, error_text(ERROR_OUT_OF_MEMORY));
        return;
    }
    publish->answer = answer;
    enum error_code error = ERROR_NONE;
    if (channel_name_is_valid(channel.bytes, channel.len))
        error = conversation_check(conversation, ACCESS_PUBLISH, channel, fault);
    if (error != ERROR_NONE)
        publication_refuse(&publish->super, &tcp_publish_ops, &conversation->errands, error, fault);
    else
        publication_begin(&publish->super, &tcp_publish_ops, &conversation->errands, &wish,
                          channel_message_size(connection_shard(connection)->options, channel));
}
