/* SPDX-License-Identifier: MIT */
#include "base/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"

#define HOST_MAX 256u

static int address_split(const char *text, char *host, size_t host_size, uint64_t *port, const char **why)
{
    const char *begin = text;
    const char *colon = strrchr(text, ':');
    const char *end = colon;
    if (text[0] == '[') {
        begin = text + 1;
        end = strchr(text, ']');
        if (!end || end[1] != ':' || colon != end + 1)
            end = NULL;
        else if (!memchr(begin, ':', (size_t)(end - begin))) {
            *why = "brackets are for IPv6 addresses, as [::1]:8080";
            return -EINVAL;
        }
    } else if (colon && memchr(text, ':', (size_t)(colon - text))) {
        *why = "an IPv6 address goes in brackets, as [::1]:8080";
        return -EINVAL;
    }
    if (!end || (size_t)(end - begin) >= host_size) {
        *why = "it must be host:port, [v6]:port or :port";
        return -EINVAL;
    }
    for (const char *at = begin; at < end; at++) {
        if (*at <= ' ' || *at >= 0x7f) {
            *why = "a host has no spaces and nothing but ASCII";
            return -EINVAL;
        }
    }
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    if (number_parse_u64(port, colon + 1, strlen(colon + 1)) || *port > 65535) {
        *why = "the port must be a number from 0 to 65535";
        return -EINVAL;
    }
    return 0;
}

static const char *address_lookup_fault(const char *host, int err)
{
    if (strchr(host, ':'))
        return "what stands in brackets is not an IPv6 address";
    if (err == EAI_NONAME || err == EAI_NODATA)
        return "there is no host of that name";
    if (err == EAI_AGAIN)
        return "the host's name cannot be looked up now, no name server answers";
    return gai_strerror(err);
}

int address_check(const char *text, const char **why)
{
    char host[HOST_MAX];
    uint64_t port;
    return address_split(text, host, sizeof(host), &port, why);
}

static int address_parse_host(struct address *addresses, size_t *count, const char *text, const char **why,
                              bool may_look_up)
{
    size_t most = *count;
    char host[HOST_MAX];
    char service[8];
    uint64_t port;
    struct addrinfo *found;
    if (address_split(text, host, sizeof(host), &port, why))
        return -EINVAL;
    /* What stood in brackets is never looked up. */
    const struct addrinfo hints = {.ai_family = host[0] && !strchr(host, ':') ? AF_UNSPEC : AF_INET6,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV |
                                               (strchr(host, ':') || !may_look_up ? AI_NUMERICHOST : 0)};
    snprintf(service, sizeof(service), "%u", (unsigned)port);
    int err = getaddrinfo(host[0] ? host : NULL, service, &hints, &found);
    if (err) {
        *why = address_lookup_fault(host, err);
        return may_look_up || strchr(host, ':') ? -EINVAL : -ENOENT;
    }
    *count = 0;
    for (const struct addrinfo *at = found; at && *count < most; at = at->ai_next) {
        memcpy(&addresses[*count].storage, at->ai_addr, at->ai_addrlen);
        addresses[(*count)++].len = at->ai_addrlen;
    }
    freeaddrinfo(found);
    return 0;
}

int address_look_up(struct address *addresses, size_t *count, const char *text, const char **why)
{
    return address_parse_host(addresses, count, text, why, true);
}

int address_parse(struct address *address, const char *text, const char **why)
{
    size_t count = 1;
    return address_parse_host(address, &count, text, why, true);
}

int address_parse_number(struct address *address, const char *text, const char **why)
{
    size_t count = 1;
    return address_parse_host(address, &count, text, why, false);
}

static const struct sockaddr_in6 *address_v6(const struct address *address)
{
    return (const struct sockaddr_in6 *)&address->storage;
}

static const struct sockaddr_in *address_v4(const struct address *address)
{
    return (const struct sockaddr_in *)&address->storage;
}

static bool address_is_mapped_v4(const struct address *address)
{
    return address->storage.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&address_v6(address)->sin6_addr);
}

void address_format(const struct address *address, char text[ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->storage.ss_family == AF_UNIX) {
        snprintf(text, ADDRESS_TEXT_MAX, "unix");
    } else if (address->storage.ss_family == AF_INET) {
        inet_ntop(AF_INET, &address_v4(address)->sin_addr, host, sizeof(host));
        snprintf(text, ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(address_v4(address)->sin_port));
    } else if (address_is_mapped_v4(address)) {
        inet_ntop(AF_INET, &address_v6(address)->sin6_addr.s6_addr[12], host, sizeof(host));
        snprintf(text, ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(address_v6(address)->sin6_port));
    } else {
        inet_ntop(AF_INET6, &address_v6(address)->sin6_addr, host, sizeof(host));
        snprintf(text, ADDRESS_TEXT_MAX, "[%s]:%u", host, ntohs(address_v6(address)->sin6_port));
    }
}

bool address_is_loopback(const struct address *address)
{
    if (address->storage.ss_family == AF_INET)
        return (ntohl(address_v4(address)->sin_addr.s_addr) >> 24) == 127;
    if (address_is_mapped_v4(address))
        return address_v6(address)->sin6_addr.s6_addr[12] == 127;
    return IN6_IS_ADDR_LOOPBACK(&address_v6(address)->sin6_addr);
}

size_t address_client_key(const struct address *address, unsigned char key[8])
{
    if (address->storage.ss_family == AF_INET) {
        memcpy(key, &address_v4(address)->sin_addr, 4);
        return 4;
    }
    bool is_mapped = address_is_mapped_v4(address);
    memcpy(key, &address_v6(address)->sin6_addr.s6_addr[is_mapped ? 12 : 0], is_mapped ? 4 : 8);
    return is_mapped ? 4 : 8;
}
