/* SPDX-License-Identifier: MIT */
#include "base/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/number.h"

#define NETWORK_BITS 128u
#define NETWORK_MAPPED_BITS 96u

static const unsigned char network_mapped[12] = {[10] = 0xff, [11] = 0xff};

static void network_map(unsigned char to[16], const void *v4)
{
    memcpy(to, network_mapped, sizeof(network_mapped));
    memcpy(to + sizeof(network_mapped), v4, 4);
}

static bool network_begins(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned rest = bits % 8;
    return memcmp(a, b, bits / 8) == 0 && (rest == 0 || (a[bits / 8] ^ b[bits / 8]) >> (8 - rest) == 0);
}

/* A network has no host in it: whoever writes 10.1.2.3/8 means one or the other. */
static bool network_is_pure(const struct network *network)
{
    static const unsigned char zeros[16] = {0};
    unsigned char host[16];
    memcpy(host, network->bytes, sizeof(host));
    for (unsigned i = 0; i < network->bits; i++)
        host[i / 8] &= (unsigned char)~(0x80u >> i % 8);
    return memcmp(host, zeros, sizeof(host)) == 0;
}

int network_parse(struct network *network, const char *text, const char **why)
{
    char host[INET6_ADDRSTRLEN];
    size_t len = strcspn(text, "/");
    uint64_t bits = 0;
    struct in_addr v4;
    *why = "must be an address or a network, as 10.0.0.0/8 or fd00::/8";
    if (len >= sizeof(host))
        return -EINVAL;
    memcpy(host, text, len);
    host[len] = '\0';
    bool is_v4 = inet_pton(AF_INET, host, &v4) == 1;
    unsigned first = is_v4 ? NETWORK_MAPPED_BITS : 0;
    if (is_v4)
        network_map(network->bytes, &v4);
    else if (inet_pton(AF_INET6, host, network->bytes) != 1)
        return -EINVAL;
    if (text[len] &&
        (number_parse_u64(&bits, text + len + 1, strlen(text + len + 1)) || bits > NETWORK_BITS - first))
        return -EINVAL;
    network->bits = text[len] ? first + (unsigned)bits : NETWORK_BITS;
    *why = "has bits set behind its prefix; write the network's first address";
    return network_is_pure(network) ? 0 : -EINVAL;
}

bool network_contains(const struct network *network, const struct address *address)
{
    unsigned char bytes[16];
    if (address->storage.ss_family == AF_INET)
        network_map(bytes, &((const struct sockaddr_in *)&address->storage)->sin_addr);
    else if (address->storage.ss_family == AF_INET6)
        memcpy(bytes, &((const struct sockaddr_in6 *)&address->storage)->sin6_addr, sizeof(bytes));
    else
        return false;
    return network_begins(network->bytes, bytes, network->bits);
}

/* What stands before the port, without brackets. */
static int network_split_port(struct text *text, in_port_t *port)
{
    const char *colon = memrchr(text->bytes, ':', text->len);
    bool has_brackets = text->len > 0 && text->bytes[0] == '[';
    const char *end = has_brackets ? memchr(text->bytes, ']', text->len) : NULL;
    bool is_v6 = colon && memchr(text->bytes, ':', (size_t)(colon - text->bytes));
    uint64_t number = 0;
    if (has_brackets && !end)
        return -EINVAL;
    const char *host_end = has_brackets ? end + 1 : colon && !is_v6 ? colon : text->bytes + text->len;
    struct text rest = text_behind(*text, (size_t)(host_end - text->bytes));
    if (rest.len > 0 &&
        (rest.bytes[0] != ':' || number_parse_u64(&number, rest.bytes + 1, rest.len - 1) || number > 65535))
        return -EINVAL;
    *port = htons((uint16_t)number);
    *text = has_brackets ? (struct text){text->bytes + 1, (size_t)(end - text->bytes) - 1}
                         : (struct text){text->bytes, (size_t)(host_end - text->bytes)};
    return 0;
}

int network_read_address(struct address *address, struct text text)
{
    char host[INET6_ADDRSTRLEN];
    in_port_t port = 0;
    bool has_brackets = text.len > 0 && text.bytes[0] == '[';
    *address = (struct address){0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address->storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address->storage;
    if (text.len == 0 || network_split_port(&text, &port) || text.len >= sizeof(host) ||
        memchr(text.bytes, '\0', text.len))
        return -EINVAL;
    memcpy(host, text.bytes, text.len);
    host[text.len] = '\0';
    if (!has_brackets && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = port;
        address->len = sizeof(*v4);
        return 0;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
        return -EINVAL;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = port;
    address->len = sizeof(*v6);
    return 0;
}
