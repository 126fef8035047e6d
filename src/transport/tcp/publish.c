/* SPDX-License-Identifier: MIT */
/* Publishing on behalf of a connection. */

#include <stdlib.h>
#include <string.h>

#include "core/publish.h"
#include "transport/tcp/connection.h"

/* Goes to the broker and back, and outlives its connection. */
struct tcp_publish {
    struct publish_request request;
    struct publish_item item;
    struct survey survey;
    struct list link;
    struct shard *shard;
    struct connection *connection; /* NULL when it has gone */
    enum tcp_publish_answer answer;
    enum error_code error;
    char *fault; /* of the error, where it has a sentence of its own */
    bool is_done;
    uint64_t bytes;
    uint64_t receivers;
};

static void tcp_publish_free(struct tcp_publish *publish)
{
    free(publish->item.channel);
    message_unref(publish->item.message);
    free(publish->fault);
    free(publish);
}

bool tcp_publishes_are_full(const struct connection *connection)
{
    return connection->publish_count >= PUBLISHES_MAX || connection->publish_bytes >= PUBLISH_BYTES_MAX;
}

void tcp_publishes_forget(struct connection *connection)
{
    list_for_each_safe (link, &connection->publishes) {
        struct tcp_publish *publish = container_of(link, struct tcp_publish, link);
        list_remove(link);
        publish->connection = NULL;
        if (publish->is_done)
            tcp_publish_free(publish);
    }
    connection->publish_count = 0;
}

static void tcp_publish_answer(const struct tcp_publish *publish)
{
    struct connection *connection = publish->connection;
    if (publish->error != ERROR_NONE) {
        connection_answer_error(connection, publish->error,
                                publish->fault ? publish->fault : error_text(publish->error));
    } else if (publish->answer == PUBLISH_CONFIRMED) {
        connection_answer_text(connection, "CONFIRMED");
    } else if (publish->answer == PUBLISH_COUNT) {
        struct buf *out = connection_text(connection);
        buf_append_char(out, ':');
        buf_append_u64(out, publish->receivers);
        buf_append_text(out, "\r\n");
    }
}

/* Brokers need not answer publishes to different channels in order; we do. */
static void tcp_publishes_answer(struct connection *connection)
{
    struct list *link;
    while ((link = list_first(&connection->publishes))) {
        struct tcp_publish *publish = container_of(link, struct tcp_publish, link);
        if (!publish->is_done)
            break;
        tcp_publish_answer(publish);
        list_remove(link);
        connection->publish_count--;
        connection->publish_bytes -= publish->bytes;
        tcp_publish_free(publish);
    }
    /* Whatever waits does so for all of them, or for room. */
    if (connection->publish_count == 0 || (connection->publish_count < PUBLISHES_MAX / 2 &&
                                           connection->publish_bytes < PUBLISH_BYTES_MAX / 2)) {
        if (!connection->wait)
            stream_socket_resume(&connection->socket);
        connection_try_leave(connection);
    }
}

static void tcp_publish_end(struct tcp_publish *publish, enum error_code error)
{
    publish->is_done = true;
    publish->error = error;
    if (publish->connection)
        tcp_publishes_answer(publish->connection);
    else
        tcp_publish_free(publish);
}

static void tcp_publish_visit(struct survey *survey, struct shard *shard)
{
    struct tcp_publish *publish = container_of(survey, struct tcp_publish, survey);
    uint64_t counts[TRANSPORT_COUNT] = {0};
    hub_count_subscriptions(&shard->hub, publish->item.channel, publish->item.channel_len, counts);
    for (unsigned i = 0; i < TRANSPORT_COUNT; i++)
        publish->receivers += counts[i];
}

static void tcp_publish_surveyed(struct survey *survey)
{
    tcp_publish_end(container_of(survey, struct tcp_publish, survey), ERROR_NONE);
}

static void tcp_publish_answered(struct broker_request *super)
{
    struct publish_request *request = container_of(super, struct publish_request, super);
    struct tcp_publish *publish = container_of(request, struct tcp_publish, request);
    struct shard *shard = publish->shard;
    enum error_code error = super->error != ERROR_NONE ? super->error : publish->item.error;
    if (error != ERROR_NONE || publish->answer != PUBLISH_COUNT || !publish->connection) {
        tcp_publish_end(publish, error);
    } else if (shard->group->count == 1) {
        tcp_publish_visit(&publish->survey, shard);
        tcp_publish_end(publish, ERROR_NONE);
    } else {
        shard_ask_all(shard, &publish->survey, tcp_publish_visit, tcp_publish_surveyed);
    }
}

void tcp_publish(struct connection *connection, struct text channel, struct text data,
                 enum tcp_publish_answer answer)
{
    struct shard *shard = connection_shard(connection);
    char fault[PUBLISH_FAULT_MAX];
    /* What is not UTF-8 is kept and delivered as the bytes that it is. */
    const struct publish_wish wish = {
        .parts = {.type = message_type_guess(data.bytes, data.len), .data = data.bytes, .size = data.len},
        .channel = channel,
        .is_checked = true,
    };
    struct tcp_publish *publish = calloc(1, sizeof(*publish));
    if (!publish) {
        connection_answer_error(connection, ERROR_OUT_OF_MEMORY, error_text(ERROR_OUT_OF_MEMORY));
        return;
    }
    publish->shard = shard;
    publish->connection = connection;
    publish->answer = answer;
    publish->bytes = data.len;
    publish->request.count = 1;
    publish->request.items = &publish->item;
    list_init(&publish->link);
    list_append(&connection->publishes, &publish->link);
    connection->publish_count++;
    connection->publish_bytes += data.len;
    enum error_code error =
        publish_item_fill(&publish->item, &wish, shard->options->message_size_bytes, fault);
    if (error != ERROR_NONE) {
        publish->fault = strdup(fault);
        tcp_publish_end(publish, error);
    } else if (hub_submit(&shard->hub, &publish->request.super, BROKER_PUBLISH, tcp_publish_answered)) {
        tcp_publish_answered(&publish->request.super);
    }
}
