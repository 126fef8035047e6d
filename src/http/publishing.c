/* SPDX-License-Identifier: MIT */
#include "http/publishing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "core/cursor.h"
#include "render/render.h"

#define TTL_SECONDS_MAX 31536000u

enum error_code publishing_fill(const struct exchange *exchange, struct publish_item *item,
                                const struct draft *draft, char fault[PUBLISHING_FAULT_MAX])
{
    return draft_fill(item, draft, exchange->shard->options->message_size_bytes, fault);
}

struct publishing *publishing_new(struct exchange *exchange, size_t count)
{
    struct publishing *publishing = calloc(1, sizeof(*publishing));
    if (!publishing)
        return NULL;
    publishing->exchange = exchange;
    publishing->request.count = count;
    publishing->request.items = count == 1 ? &publishing->one : calloc(count, sizeof(struct publish_item));
    if (publishing->request.items)
        return publishing;
    free(publishing);
    return NULL;
}

void publishing_free(struct publishing *publishing)
{
    struct publish_request *request = &publishing->request;
    for (size_t i = 0; i < request->count; i++) {
        free(request->items[i].channel);
        message_unref(request->items[i].message);
    }
    if (request->items != &publishing->one)
        free(request->items);
    free(publishing);
}

static void publishing_answered(struct broker_request *super)
{
    struct publish_request *request = container_of(super, struct publish_request, super);
    struct publishing *publishing = container_of(request, struct publishing, request);
    publishing->done(publishing);
}

void publishing_submit(struct publishing *publishing, void (*done)(struct publishing *publishing))
{
    publishing->done = done;
    exchange_suspend(publishing->exchange);
    broker_submit(&publishing->exchange->shard->hub, &publishing->request.super, BROKER_PUBLISH,
                  publishing_answered);
}

void publishing_render(struct buf *to, const struct publish_item *item)
{
    char id[POSITION_TEXT_MAX];
    buf_append_text(to, "{\"channel\":");
    render_json_string(to, item->channel, item->channel_len);
    buf_append_text(to, ",\"id\":\"");
    buf_append(to, id, position_format(id, &item->epoch, item->offset));
    buf_append_text(to, "\",\"time\":");
    buf_append_u64(to, (uint64_t)item->time_ms);
    if (item->is_duplicate)
        buf_append_text(to, ",\"duplicate\":true");
    buf_append_char(to, '}');
}

int publishing_parse_ttl(uint64_t *ttl_ms, const char *text, size_t len)
{
    uint64_t seconds;
    if (number_parse_u64(&seconds, text, len) || seconds == 0)
        return -EINVAL;
    *ttl_ms = (seconds > TTL_SECONDS_MAX ? TTL_SECONDS_MAX : seconds) * 1000;
    return 0;
}
