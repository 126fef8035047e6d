/* SPDX-License-Identifier: MIT */
#pragma once

/* Who a conversation is, and what it may: its bearer has the grant (docs/AUTH.md). Everything runs on the
 * shard's thread. */

#include "auth/access.h"
#include "command/conversation.h"
#include "core/name_list.h"

/* It is open: ops->over follows when its grant is over, or when it awaits a token that has not come within
 * head-timeout. */
void conversation_bear(struct conversation *conversation);

/* Whether it may do that with a channel, whose name is valid. Returns ERROR_NONE, or why not, with `fault` a
 * sentence. */
enum error_code conversation_check(const struct conversation *conversation, enum access_verb verb,
                                   struct text channel, char fault[AUTH_FAULT_MAX]);

/* Subscribes to channels without a command, from now on. It awaits a token for those that want one, and gets
 * them with it. Returns why not all of them, with `fault` a sentence. The list lives as long as it does. */
enum error_code conversation_feed(struct conversation *conversation, const struct name_list *feed,
                                  char fault[AUTH_FAULT_MAX]);

/* A signature is dear to verify, so a connection gets one token verified in a turn of the loop, and the next
 * one when it is answered. Whether there may be one now; when not, ops->ready follows in a later turn. */
bool conversation_may_authenticate(const struct conversation *conversation);

/* Takes a token, hostile, in the place of the one that there was; conversation_may_authenticate. Returns why
 * not, with `fault` a sentence; then nothing has changed, and after the third one ops->over follows. To be
 * followed by conversation_follow_grant. */
enum error_code conversation_authenticate(struct conversation *conversation, struct text token,
                                          char fault[AUTH_FAULT_MAX]);

/* The turn after a token was verified: of conversation.authenticated. */
void conversation_go_on(struct timer *authenticated);

/* Whether a new grant means a search for what is below wild names, for which its answer waits; where the
 * broker is away the search is over at once. */
bool conversation_has_to_search(const struct conversation *conversation);

/* Ends the subscriptions that the new grant does not allow, each with an error, and begins those of the feed
 * that it does; what is below wild names is looked for anew. The others do not notice. `wait` counts the
 * searches, and conversation_searched follows when they are over; it is NULL where the answer is said already
 * or there is none. */
void conversation_follow_grant(struct conversation *conversation, struct command_wait *wait);

/* All is found that a new token allows besides, and it is answered: the errors of what is lost are told now.
 * Does nothing where no search is on. */
void conversation_searched(struct conversation *conversation);

/* Nobody is told. */
void conversation_forget_lost(struct conversation *conversation);

/* Whether a first message is a token, which nobody else may get to see, although none is awaited. Never where
 * there are no keys: then it is a message like others. */
bool auth_message_is_token(const struct shard *shard, struct text message);

/* Takes a first message that has to be a token, `AUTH token` or the command `auth`, for a bearer. Returns why
 * it cannot, with `fault` a sentence. */
enum error_code auth_take_message(struct bearer *bearer, const struct shard *shard, struct text message,
                                  char fault[AUTH_FAULT_MAX]);
