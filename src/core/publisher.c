/* SPDX-License-Identifier: MIT */
#include "core/publisher.h"

#include <stdlib.h>
#include <string.h>

/* Goes to the broker and back, and outlives its publisher. */
struct publication {
    struct publish_request request;
    struct publish_item item;
    struct list link;
    struct publisher *publisher; /* NULL when it has gone */
    enum error_code error;
    char *fault; /* of the error, where it has a sentence of its own */
    bool is_done;
    uint64_t bytes;
};

void publisher_init(struct publisher *publisher, struct hub *hub, const struct publisher_ops *ops)
{
    *publisher = (struct publisher){.ops = ops, .hub = hub};
    list_init(&publisher->publications);
}

bool publisher_has_room(struct publisher *publisher)
{
    if (publisher->count >= PUBLISHER_COUNT_MAX || publisher->bytes >= PUBLISHER_BYTES_MAX)
        publisher->is_refusing = true;
    return !publisher->is_refusing;
}

static void publication_free(struct publication *publication)
{
    free(publication->item.channel);
    message_unref(publication->item.message);
    free(publication->fault);
    free(publication);
}

static void publication_leave(struct publication *publication)
{
    struct publisher *publisher = publication->publisher;
    list_remove(&publication->link);
    publisher->count--;
    publisher->bytes -= publication->bytes;
    publication->publisher = NULL;
}

void publisher_forget(struct publisher *publisher)
{
    struct list *link;
    publisher->is_refusing = false;
    while ((link = list_first(&publisher->publications))) {
        struct publication *publication = container_of(link, struct publication, link);
        publication_leave(publication);
        if (publication->is_done)
            publication_free(publication);
    }
}

/* Brokers need not answer publishes to different channels in order; we do. */
static void publisher_answer(struct publisher *publisher)
{
    struct list *link;
    while ((link = list_first(&publisher->publications))) {
        struct publication *publication = container_of(link, struct publication, link);
        const char *fault = publication->error != ERROR_NONE ? error_text(publication->error) : NULL;
        if (!publication->is_done)
            break;
        const struct publisher_answer answer = {
            .error = publication->error,
            .fault = publication->fault ? publication->fault : fault,
            .item = &publication->item,
        };
        publication_leave(publication);
        publisher->ops->answered(publisher, &answer);
        publication_free(publication);
    }
    if (publisher->is_refusing && publisher->count < PUBLISHER_COUNT_MAX / 2 &&
        publisher->bytes < PUBLISHER_BYTES_MAX / 2) {
        publisher->is_refusing = false;
        if (publisher->ops->ready)
            publisher->ops->ready(publisher);
    }
}

static void publication_end(struct publication *publication, enum error_code error)
{
    publication->is_done = true;
    publication->error = error;
    if (publication->publisher)
        publisher_answer(publication->publisher);
    else
        publication_free(publication);
}

static void publication_answered(struct broker_request *super)
{
    struct publish_request *request = container_of(super, struct publish_request, super);
    struct publication *publication = container_of(request, struct publication, request);
    publication_end(publication, super->error != ERROR_NONE ? super->error : publication->item.error);
}

void publisher_submit(struct publisher *publisher, const struct publish_wish *wish, uint64_t size_limit_bytes)
{
    char fault[PUBLISH_FAULT_MAX];
    struct publication *publication = calloc(1, sizeof(*publication));
    if (!publication) {
        const struct publisher_answer answer = {ERROR_OUT_OF_MEMORY, error_text(ERROR_OUT_OF_MEMORY), NULL};
        publisher->ops->answered(publisher, &answer);
        return;
    }
    publication->publisher = publisher;
    publication->bytes = wish->parts.size;
    publication->request.count = 1;
    publication->request.items = &publication->item;
    list_init(&publication->link);
    list_append(&publisher->publications, &publication->link);
    publisher->count++;
    publisher->bytes += publication->bytes;
    enum error_code error = publish_item_fill(&publication->item, wish, size_limit_bytes, fault);
    if (error != ERROR_NONE) {
        publication->fault = strdup(fault);
        publication_end(publication, error);
    } else if (hub_submit(publisher->hub, &publication->request.super, BROKER_PUBLISH,
                          publication_answered)) {
        publication_answered(&publication->request.super);
    }
}
