/* SPDX-License-Identifier: MIT */
/* Publishing on behalf of a connection. */

#include <stdlib.h>
#include <string.h>

#include "core/draft.h"
#include "base/text.h"
#include "transport/tcp/connection.h"

/* Goes to the broker and back, and outlives its connection. */
struct publication {
    struct publish_request request;
    struct publish_item item;
    struct survey survey;
    struct list link;
    struct shard *shard;
    struct connection *connection; /* NULL when it has gone */
    enum publication_answer answer;
    enum error_code error;
    char *fault; /* of the error, where it has a sentence of its own */
    bool is_done;
    uint64_t bytes;
    uint64_t receivers;
};

static void publication_free(struct publication *publication)
{
    free(publication->item.channel);
    message_unref(publication->item.message);
    free(publication->fault);
    free(publication);
}

bool tcp_publications_are_full(const struct connection *connection)
{
    return connection->publication_count >= PUBLICATIONS_MAX ||
           connection->publication_bytes >= PUBLICATION_BYTES_MAX;
}

void tcp_publications_forget(struct connection *connection)
{
    list_for_each_safe (link, &connection->publications) {
        struct publication *publication = container_of(link, struct publication, link);
        list_remove(link);
        publication->connection = NULL;
        if (publication->is_done)
            publication_free(publication);
    }
    connection->publication_count = 0;
}

static void publication_answer(const struct publication *publication)
{
    struct connection *connection = publication->connection;
    if (publication->error != ERROR_NONE) {
        connection_answer_error(connection, publication->error,
                                publication->fault ? publication->fault : error_text(publication->error));
    } else if (publication->answer == PUBLICATION_CONFIRMED) {
        connection_answer_text(connection, "CONFIRMED");
    } else if (publication->answer == PUBLICATION_COUNT) {
        struct buf *out = connection_text(connection);
        buf_append_char(out, ':');
        buf_append_u64(out, publication->receivers);
        buf_append_text(out, "\r\n");
    }
}

/* Brokers need not answer publishes to different channels in order; we do. */
static void publications_answer(struct connection *connection)
{
    struct list *link;
    while ((link = list_first(&connection->publications))) {
        struct publication *publication = container_of(link, struct publication, link);
        if (!publication->is_done)
            break;
        publication_answer(publication);
        list_remove(link);
        connection->publication_count--;
        connection->publication_bytes -= publication->bytes;
        publication_free(publication);
    }
    /* Whatever waits does so for all of them, or for room. */
    if (connection->publication_count == 0 || (connection->publication_count < PUBLICATIONS_MAX / 2 &&
                                               connection->publication_bytes < PUBLICATION_BYTES_MAX / 2)) {
        if (!connection->wait)
            stream_socket_resume(&connection->socket);
        connection_try_leave(connection);
    }
}

static void publication_end(struct publication *publication, enum error_code error)
{
    publication->is_done = true;
    publication->error = error;
    if (publication->connection)
        publications_answer(publication->connection);
    else
        publication_free(publication);
}

static void publication_visit(struct survey *survey, struct shard *shard)
{
    struct publication *publication = container_of(survey, struct publication, survey);
    uint64_t counts[TRANSPORT_COUNT] = {0};
    hub_count_subscriptions(&shard->hub, publication->item.channel, publication->item.channel_len, counts);
    for (unsigned i = 0; i < TRANSPORT_COUNT; i++)
        publication->receivers += counts[i];
}

static void publication_surveyed(struct survey *survey)
{
    publication_end(container_of(survey, struct publication, survey), ERROR_NONE);
}

static void publication_answered(struct broker_request *super)
{
    struct publish_request *request = container_of(super, struct publish_request, super);
    struct publication *publication = container_of(request, struct publication, request);
    struct shard *shard = publication->shard;
    enum error_code error = super->error != ERROR_NONE ? super->error : publication->item.error;
    if (error != ERROR_NONE || publication->answer != PUBLICATION_COUNT || !publication->connection) {
        publication_end(publication, error);
    } else if (shard->group->count == 1) {
        publication_visit(&publication->survey, shard);
        publication_end(publication, ERROR_NONE);
    } else {
        shard_ask_all(shard, &publication->survey, publication_visit, publication_surveyed);
    }
}

/* Before the broker has seen it. */
static void publication_refuse(struct publication *publication, enum error_code error, const char *fault)
{
    publication->fault = strdup(fault);
    publication_end(publication, error);
}

void tcp_publish(struct connection *connection, const char *channel, size_t channel_len, const char *data,
                 size_t len, enum publication_answer answer)
{
    struct shard *shard = connection_shard(connection);
    char fault[DRAFT_FAULT_MAX];
    /* What is not UTF-8 is kept and delivered as the bytes that it is. */
    const struct draft draft = {
        .parts = {.type = message_type_guess(data, len), .data = data, .size = len},
        .channel = {channel, channel_len},
        .is_checked = true,
    };
    struct publication *publication = calloc(1, sizeof(*publication));
    if (!publication) {
        connection_answer_error(connection, ERROR_OUT_OF_MEMORY, error_text(ERROR_OUT_OF_MEMORY));
        return;
    }
    publication->shard = shard;
    publication->connection = connection;
    publication->answer = answer;
    publication->bytes = len;
    publication->request.count = 1;
    publication->request.items = &publication->item;
    list_init(&publication->link);
    list_append(&connection->publications, &publication->link);
    connection->publication_count++;
    connection->publication_bytes += len;
    enum error_code error = draft_fill(&publication->item, &draft, shard->options->message_size_bytes, fault);
    if (error != ERROR_NONE)
        publication_refuse(publication, error, fault);
    else if (hub_submit(&shard->hub, &publication->request.super, BROKER_PUBLISH, publication_answered))
        publication_answered(&publication->request.super);
}
