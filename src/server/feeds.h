/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_SERVER_FEEDS_H
#define SLUICE_SERVER_FEEDS_H

/* The raw TCP listeners: declared by the option `tcp`, bound here, accepted on by every shard. Main thread.
 */

#include <stdio.h>

#include "base/address.h"
#include "config/options.h"
#include "shard/shard.h"
#include "transport/tcp/tcp.h"

struct feed_listener {
    struct declaration declaration;
    struct address address; /* as bound; not for a Unix address */
    bool is_parsed;
    bool is_bound; /* a Unix socket that is there and to be removed */
};

struct feeds {
    size_t count;
    struct feed_listener *listeners;
};

#define FEEDS_FAULT_MAX (DECLARATION_FAULT_MAX + 512u)

/* Parses all declarations. Returns 0, -ENOMEM, or -EINVAL with `fault` a sentence that names the declaration.
 */
int feeds_parse(struct feeds *feeds, const struct string_list *declarations, char fault[FEEDS_FAULT_MAX]);

/* Binds the sockets and gives them to the shards. Returns 0, -EACCES for an address that `is_anonymous` would
 * have to allow, or another -errno; `fault` is a sentence. */
int feeds_listen(struct feeds *feeds, const struct shard_group *group, bool is_anonymous,
                 char fault[FEEDS_FAULT_MAX]);

/* The address of a listener as text. */
void feeds_format_address(const struct feed_listener *listener, char *to, size_t size);

/* Removes what is left of Unix addresses, and frees. The shards have stopped. */
void feeds_close(struct feeds *feeds);

#endif
