/* SPDX-License-Identifier: MIT */
#include "http/host.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "base/address.h"

#define HOST_MAX 256u

/* Without the port, the brackets and a dot at the end. */
static bool host_read(const char *authority, char host[HOST_MAX])
{
    bool is_v6 = authority[0] == '[';
    const char *begin = is_v6 ? authority + 1 : authority;
    size_t len = (size_t)(strchrnul(begin, is_v6 ? ']' : ':') - begin);
    if (len == 0 || len >= HOST_MAX)
        return false;
    len -= !is_v6 && len > 1 && begin[len - 1] == '.';
    memcpy(host, begin, len);
    host[len] = '\0';
    return true;
}

static bool host_read_address(const char *host, struct address *address)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address->storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address->storage;
    *address = (struct address){.storage.ss_family = AF_INET};
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1)
        return true;
    address->storage.ss_family = AF_INET6;
    return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
}

bool host_is_loopback(const char *authority)
{
    char host[HOST_MAX];
    struct address address;
    if (!host_read(authority, host))
        return false;
    return strcasecmp(host, "localhost") == 0 ||
           (host_read_address(host, &address) && address_is_loopback(&address));
}

bool host_is_address(const char *authority)
{
    char host[HOST_MAX];
    struct address address;
    return host_read(authority, host) &&
           (strcasecmp(host, "localhost") == 0 || host_read_address(host, &address));
}

/* Those whose pages may publish have names that lead to nobody else. */
static bool host_is_of_origin(const char *host, const struct string_list *origins)
{
    char allowed[HOST_MAX];
    for (size_t i = 0; i < origins->count; i++) {
        const char *end = strstr(origins->items[i], "://");
        if (end && host_read(end + 3, allowed) && strcasecmp(allowed, host) == 0)
            return true;
    }
    return false;
}

bool host_is_listed(const char *authority, const struct options *options)
{
    const struct string_list *list = &options->allowed_hosts;
    char host[HOST_MAX];
    char allowed[HOST_MAX];
    if (!host_read(authority, host))
        return false;
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], "*") == 0 ||
            (host_read(list->items[i], allowed) && strcasecmp(allowed, host) == 0))
            return true;
    return host_is_of_origin(host, &options->allowed_origins);
}

bool host_is_ours(const char *authority, const struct entrance *entrance, const struct options *options)
{
    if (!authority || !authority[0])
        return true;
    bool is_for_all =
        entrance->is_for_browsers_here ? host_is_loopback(authority) : options->allowed_hosts.count == 0;
    return is_for_all || host_is_listed(authority, options);
}
