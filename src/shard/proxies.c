/* SPDX-License-Identifier: MIT */
#include "shard/proxies.h"

#include <string.h>

#include "base/network.h"

static bool proxies_is_local(const struct address *peer)
{
    return peer->storage.ss_family == AF_UNIX || address_is_loopback(peer);
}

/* They were parsed when they were set; a few are compared faster than they would be looked up. */
static bool proxies_match(const char *item, const struct address *peer)
{
    struct network network;
    const char *why;
    return strcmp(item, OPTION_LOCAL) == 0
               ? proxies_is_local(peer)
               : network_parse(&network, item, &why) == 0 && network_contains(&network, peer);
}

bool proxies_include(const struct options *options, const struct address *peer)
{
    const struct string_list *list = &options->trusted_proxies;
    for (size_t i = 0; i < list->count; i++)
        if (proxies_match(list->items[i], peer))
            return true;
    return false;
}

bool proxies_are_elsewhere(const struct options *options)
{
    const struct string_list *list = &options->trusted_proxies;
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], OPTION_LOCAL) != 0)
            return true;
    return false;
}
