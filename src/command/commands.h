/* SPDX-License-Identifier: MIT */
#pragma once

/* What the commands do, one function each: they answer, or leave a task that will. For command/ only;
 * everything runs on the shard's thread. */

#include "command/conversation.h"
#include "command/request.h"

void command_run_subscribe(struct conversation *conversation, struct command_request *request);
void command_run_unsubscribe(struct conversation *conversation, struct command_request *request);
void command_run_publish(struct conversation *conversation, struct command_request *request);
void command_run_auth(struct conversation *conversation, struct command_request *request);
void command_run_presence(struct conversation *conversation, struct command_request *request);
void command_run_history(struct conversation *conversation, struct command_request *request);
