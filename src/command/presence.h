/* SPDX-License-Identifier: MIT */
#pragma once

/* Who a conversation's client is in the channels that it subscribes to. On the shard's thread. */

#include "command/conversation.h"
#include "command/request.h"

/* Takes what a command says of its client. Returns whether that is refused, and answered. */
bool presence_refuses(struct conversation *conversation, const struct command_request *request);

/* The client has another token: it is who that says from now on. */
void presence_follow_grant(struct conversation *conversation);
