/* SPDX-License-Identifier: MIT */
/* Who is present in a channel. */

#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "config/channel_options.h"
#include "core/presence.h"
#include "http/identity.h"
#include "http/query.h"
#include "http/router.h"
#include "http/routes.h"

#define PRESENCE_PATH_END "/presence"

struct presence_look {
    struct roster_request request; /* freed with it */
    struct exchange *exchange;
};

static void presence_look_end(struct broker_request *super)
{
    struct presence_look *look = container_of(super, struct presence_look, request.super);
    struct roster_request *request = &look->request;
    struct buf json = {0};
    if (super->error != ERROR_NONE) {
        exchange_fail(look->exchange, super->error, "%s", error_text(super->error));
    } else {
        buf_append_text(&json, "{\"channel\":\"");
        buf_append_text(&json, request->channel); /* no name has what would have to be escaped */
        buf_append_text(&json, "\",");
        presence_append_list(&json, request);
        buf_append_text(&json, "}\n");
        exchange_answer_json(look->exchange, MHD_HTTP_OK, &json);
    }
    buf_deinit(&request->members);
    free(look);
}

/* Returns whether it is refused, and answered. */
static bool presence_refuses(struct exchange *exchange, struct text channel)
{
    char fault[AUTH_FAULT_MAX];
    const char *name_fault = channel_name_fault(channel.bytes, channel.len);
    if (name_fault) {
        exchange_fail(exchange, ERROR_BAD_CHANNEL, "a channel name %s", name_fault);
        return true;
    }
    bool is_admin =
        exchange->is_admin || (auth_keys_are_there(exchange->shard->keys) &&
                               identity_check(exchange, ACCESS_ADMIN, channel, fault) == ERROR_NONE);
    if (!is_admin && identity_refuses(exchange, ACCESS_SUBSCRIBE, channel))
        return true;
    if (channel_has_presence(exchange->shard->options, channel))
        return false;
    exchange_fail(exchange, ERROR_NO_PRESENCE, "%.*s has no presence: its option presence is no",
                  (int)channel.len, channel.bytes);
    return true;
}

static bool presence_read_options(struct exchange *exchange, struct roster_request *request)
{
    static const char *const names[] = {"limit", "after", "token", NULL};
    uint64_t limit = PRESENCE_LIMIT_PRESET;
    struct text value = exchange_query(exchange, "limit");
    struct text after = exchange_query(exchange, "after");
    if (query_refuses(exchange, &(const struct query_rules){"listing", names, NULL}))
        return false;
    if (value.bytes &&
        (number_parse_u64(&limit, value.bytes, value.len) || limit < 1 || limit > PRESENCE_LIMIT_MAX)) {
        exchange_fail(exchange, ERROR_BAD_OPTION, "limit must be a number from 1 to %u", PRESENCE_LIMIT_MAX);
        return false;
    }
    if (!message_attribute_is_valid(after)) {
        exchange_fail(exchange, ERROR_BAD_OPTION, "after must be a name that was listed");
        return false;
    }
    request->limit = limit;
    if (after.len > 0)
        memcpy(request->after, after.bytes, after.len);
    return true;
}

bool presence_is_asked(struct text path)
{
    return text_ends(path, PRESENCE_PATH_END);
}

void presence_handle(struct exchange *exchange)
{
    struct text channel = router_name(exchange);
    channel.len -= strlen(PRESENCE_PATH_END);
    if (presence_refuses(exchange, channel))
        return;
    struct presence_look *look = calloc(1, sizeof(*look));
    if (!look) {
        exchange_fail(exchange, ERROR_OUT_OF_MEMORY, "%s", error_text(ERROR_OUT_OF_MEMORY));
        return;
    }
    if (!presence_read_options(exchange, &look->request)) {
        free(look);
        return;
    }
    memcpy(look->request.channel, channel.bytes, channel.len);
    look->exchange = exchange;
    exchange_suspend(exchange);
    if (hub_submit(&exchange->shard->hub, &look->request.super, BROKER_ROSTER, presence_look_end))
        presence_look_end(&look->request.super);
}
