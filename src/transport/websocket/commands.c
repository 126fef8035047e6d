/* SPDX-License-Identifier: MIT */
#include "transport/websocket/commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/websocket_frame.h"
#include "command/auth.h"
#include "http/identity.h"
#include "http/refusal.h"
#include "render/render.h"
#include "websocket/websocket.h"

struct websocket_commands {
    struct websocket websocket;
    struct conversation conversation;
    bool is_draining; /* the server stops: closed once everything on its way is answered */
};

static struct websocket_commands *commands_of_websocket(struct websocket *websocket)
{
    return container_of(websocket, struct websocket_commands, websocket);
}

static struct websocket_commands *commands_of_conversation(struct conversation *conversation)
{
    return container_of(conversation, struct websocket_commands, conversation);
}

/* The conversation's side. */

static void commands_say(struct conversation *conversation, const char *json, size_t len)
{
    websocket_send(&commands_of_conversation(conversation)->websocket, true, json, len);
}

static int commands_fill(struct subscriber *subscriber, const struct delivery *delivery, struct buf *text,
                         struct outlet_frame *frame)
{
    (void)subscriber; /* a message is the same bytes for everybody */
    if (!delivery->message) {
        size_t at = text->len;
        conversation_append_reset(text, delivery);
        websocket_begin_frame(text, at, WEBSOCKET_TEXT, 0);
        return 0;
    }
    const struct rendering *rendering =
        message_form(delivery->message, FORM_WEBSOCKET_COMMAND, subscription_channel(delivery->subscription),
                     subscription_epoch(delivery->subscription), render_websocket_command);
    if (!rendering)
        return -ENOMEM;
    frame->body = rendering->bytes;
    frame->body_len = rendering->size;
    return 0;
}

static void commands_deliver(struct command_subscription *subscription)
{
    static const struct outlet_format format = {.fill = commands_fill, .run = 1u + FORM_WEBSOCKET_COMMAND};
    struct websocket_commands *commands = commands_of_conversation(subscription->conversation);
    outlet_deliver(&commands->websocket.socket.outlet, &subscription->subscriber, &format,
                   subscription->until);
}

static void commands_ready(struct conversation *conversation)
{
    websocket_resume(&commands_of_conversation(conversation)->websocket);
}

static void commands_idle(struct conversation *conversation)
{
    struct websocket_commands *commands = commands_of_conversation(conversation);
    if (commands->is_draining)
        websocket_close(&commands->websocket, CLOSE_RESTART, NULL);
}

static void commands_over(struct conversation *conversation, enum error_code why)
{
    char what[CLOSE_REASON_MAX + 1];
    snprintf(what, sizeof(what), "%s: %s", error_name(why), error_text(why));
    websocket_close(&commands_of_conversation(conversation)->websocket, CLOSE_UNAUTHORIZED, what);
}

static const struct conversation_ops commands_conversation_ops = {
    .say = commands_say,
    .deliver = commands_deliver,
    .ready = commands_ready,
    .idle = commands_idle,
    .over = commands_over,
};

/* The websocket's side. */

/* The client speaks first. */
static void commands_opened(struct websocket *websocket)
{
    conversation_bear(&commands_of_websocket(websocket)->conversation);
}

/* What comes once the server stops is not looked at. */
static bool commands_message(struct websocket *websocket, bool is_text, const char *bytes, size_t len)
{
    struct websocket_commands *commands = commands_of_websocket(websocket);
    if (commands->is_draining)
        return true;
    if (is_text)
        return conversation_take(&commands->conversation, bytes, len) == 0;
    websocket_close(websocket, CLOSE_UNSUPPORTED, "a command is a text frame");
    return true;
}

static void commands_relieved(struct websocket *websocket)
{
    conversation_unblock(&commands_of_websocket(websocket)->conversation);
}

static void commands_drain(struct websocket *websocket)
{
    struct websocket_commands *commands = commands_of_websocket(websocket);
    commands->is_draining = true;
    if (errands_are_idle(&commands->conversation.errands))
        websocket_close(&commands->websocket, CLOSE_RESTART, NULL);
}

static void commands_closing(struct websocket *websocket)
{
    conversation_deinit(&commands_of_websocket(websocket)->conversation);
}

static void commands_release(struct websocket *websocket)
{
    free(commands_of_websocket(websocket));
}

static uint64_t commands_limit(const struct websocket *websocket)
{
    const struct websocket_commands *commands = container_of(websocket, struct websocket_commands, websocket);
    return conversation_text_max(&commands->conversation);
}

static const struct websocket_ops commands_websocket_ops = {
    .opened = commands_opened,
    .message = commands_message,
    .relieved = commands_relieved,
    .drain = commands_drain,
    .closing = commands_closing,
    .release = commands_release,
};

static const char *const commands_subprotocols[] = {"sluice.v1+json", NULL};

static const struct websocket_service commands_service = {
    .ops = &commands_websocket_ops,
    .subprotocols = commands_subprotocols,
    .message_limit = commands_limit,
};

static void commands_handle(struct exchange *exchange)
{
    if (identity_refuses_token(exchange))
        return;
    struct websocket_commands *commands = refusal_make_holder(exchange, sizeof(*commands), NULL);
    if (!commands)
        return;
    conversation_init(&commands->conversation, exchange->shard, &commands_conversation_ops,
                      TRANSPORT_WEBSOCKET);
    commands->conversation.ahead = &commands->websocket.socket.outlet;
    commands->conversation.key = &commands->websocket.socket.key;
    bearer_share(&commands->conversation.bearer, &exchange->bearer);
    websocket_begin(&commands->websocket, exchange, &commands_service);
}

const struct route websocket_commands_route = {
    .prefix = "/ws",
    .methods = METHOD_GET,
    .takes_changes = true,
    .handle = commands_handle,
    .elsewhere = "publish at /channels/NAME",
};
