/* SPDX-License-Identifier: MIT */
#pragma once

/* A connection changes to the process that has taken this one's place (docs/SERVICE.md, "Upgrade"), between
 * two requests: so whoever keeps connections, as proxies do, notices nothing. The socket goes by letter to
 * the main thread, which passes it on, and what has been read of the next request with it. What is said with
 * TLS cannot go, because its session cannot.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/mailbox.h"
#include "base/text.h"
#include "shard/client.h"

struct passenger {
    struct letter letter;
    struct shard *shard; /* from which it comes, or to which it goes */
    int fd;
    const struct entrance *entrance; /* by which it came */
    bool is_kept;                    /* it has sent nothing since its last answer */
    unsigned char address[CLIENT_ADDRESS_BYTES];
    size_t early_len;
    char early[];
};

/* Passes on a client at the door, which is gone from here then; when memory is out it is closed. On its
 * shard's thread. */
void passage_begin(struct client *client);

/* Has a shard's door take a connection of another process. Takes its descriptor. Returns 0; or -ENOMEM, or
 * -EINVAL when it is none: then it is closed. Main thread. */
int passage_end(struct shard *shard, int fd, const struct entrance *entrance, bool is_kept,
                struct text address, struct text early);
