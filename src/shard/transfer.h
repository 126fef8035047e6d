/* SPDX-License-Identifier: MIT */
#pragma once

/* A connection changes to another shard, between two requests: what the next one is about lives there and
 * nowhere else, and a connection's request is handled where its connection is. The socket goes by letter, and
 * what has been read of the request with it; the connection stays counted against the limits.
 */

struct arrival;
struct client;
struct early;
struct shard;

/* Sends the client, which is at the door with a whole head, to the door of another shard. On its shard's
 * thread. Returns 0 when it is gone from here, or -ENOMEM and then it is as it was. */
int transfer_begin(struct client *client, struct shard *home);

/* Has the shard's door take a connection that is counted, and what has been read of it; both are gone from
 * the caller. On the shard's thread. */
void transfer_end(struct shard *shard, const struct arrival *arrival, struct early *early);
