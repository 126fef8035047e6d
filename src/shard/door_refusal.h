/* SPDX-License-Identifier: MIT */
#pragma once

/* How who is refused at the door is told and let go: for shard/door.c, and nobody else. How he is told
 * depends on his head, as far as it has come. What is refused is counted here. On the shard's thread.
 */

#include <stddef.h>

#include "shard/client.h"
#include "tables/errors.h"

struct door;
struct shard;

/* Writes a whole response for an error, for a client whose head so far is `head`. Returns its length; 0 when
 * closing the connection says it better. */
size_t door_refusal_render(struct shard *shard, enum error_code error, const char *head, size_t head_len,
                           char *to, size_t size);

/* The client, of whose head `len` bytes are in door->head, is told why, and gone. */
void door_refusal_tell(struct client *client, enum error_code error, size_t len);

/* The same for a client that may not have been looked at. */
void door_refuse(struct client *client, enum error_code error);

/* An unwanted client is gone without a word: whoever has not sent its head in time may be an EventSource,
 * which gives up at a status that is not its own, and comes back when the connection ends. */
void door_refusal_drop(struct client *client);

/* Drops the one that has waited longest. Returns whether there was one. */
bool door_refusal_drop_longest(struct door *door);
