/* SPDX-License-Identifier: MIT */
/* Who a connection is: the token that is its first frame, or the password of a Redis client. */

#include "transport/tcp/resp_call.h"

void connection_begin(struct connection *connection)
{
    const struct declaration *declaration = connection->declaration;
    struct conversation *conversation = &connection->conversation;
    char fault[AUTH_FAULT_MAX];
    enum error_code error = conversation_feed(conversation, &declaration->feed, fault);
    if (error == ERROR_NONE && declaration->input == INPUT_PUBLISH)
        error = conversation_check(conversation, ACCESS_PUBLISH, channel_name_text(&declaration->publish_to),
                                   fault);
    if (error == ERROR_NO_TOKEN)
        conversation->awaits_token = true;
    else if (error != ERROR_NONE)
        connection_end(connection, error, fault);
}

bool connection_take_token(struct connection *connection, const struct frame *frame)
{
    struct conversation *conversation = &connection->conversation;
    const struct shard *shard = connection_shard(connection);
    const struct text message = {frame->bytes, frame->len};
    const enum tcp_input input = connection->declaration->input;
    bool is_awaited = input != INPUT_COMMAND && conversation->awaits_token;
    bool is_first = !connection->has_spoken;
    char fault[AUTH_FAULT_MAX];
    connection->has_spoken = true;
    if (!is_awaited && !(is_first && input == INPUT_PUBLISH && auth_message_is_token(shard, message)))
        return false;
    enum error_code error = auth_take_message(&conversation->bearer, shard, message, fault);
    if (error != ERROR_NONE) {
        connection_end(connection, error, fault);
        return true;
    }
    connection_answer_text(connection, "CONFIRMED");
    conversation->awaits_token = false;
    if (is_awaited)
        connection_begin(connection);
    else
        conversation_follow_grant(conversation, NULL);
    return true;
}

bool resp_refuses_nobody(const struct resp_call *call)
{
    struct connection *connection = call->connection;
    bool is_nobody =
        auth_keys_are_there(connection_shard(connection)->keys) && !connection->conversation.bearer.grant;
    if (is_nobody)
        connection_answer_error(connection, ERROR_NO_TOKEN, "this needs a token");
    return is_nobody;
}

bool connection_authenticate(struct connection *connection, struct text token,
                             void (*confirm)(const struct connection *connection, struct buf *to))
{
    struct conversation *conversation = &connection->conversation;
    char fault[AUTH_FAULT_MAX];
    struct connection_wait *wait = NULL;
    if (conversation_has_to_search(conversation) && !(wait = connection_wait_begin(connection)))
        return false;
    enum error_code error = conversation_authenticate(conversation, token, fault);
    if (error != ERROR_NONE) {
        connection_answer_error(connection, error, fault);
    } else {
        confirm(connection, wait ? &wait->text : connection_text(connection));
        conversation_follow_grant(conversation, wait ? &wait->super : NULL);
    }
    if (wait)
        connection_wait_end(connection);
    return error == ERROR_NONE;
}
