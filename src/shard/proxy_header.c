/* SPDX-License-Identifier: MIT */
#include "shard/proxy_header.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/number.h"
#include "base/text.h"

/* Version 1: a line, at most so long with its end. */
#define LINE_MAX_BYTES 107u
#define LINE_PREFIX "PROXY "

/* Version 2. */
#define BLOCK_AT 16u
#define BLOCK_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define BLOCK_SIGNATURE_LEN (sizeof(BLOCK_SIGNATURE) - 1)
#define BLOCK_VERSION 2u
#define BLOCK_COMMAND_LOCAL 0u
#define BLOCK_COMMAND_PROXY 1u
#define BLOCK_TCP4 0x11u
#define BLOCK_TCP6 0x21u

static int line_read_port(struct text text, in_port_t *port)
{
    uint64_t number;
    bool has_leading_zero = text.len > 1 && text.bytes[0] == '0';
    if (text.len == 0 || has_leading_zero || number_parse_u64(&number, text.bytes, text.len) ||
        number > 65535)
        return -EINVAL;
    *port = htons((uint16_t)number);
    return 0;
}

static int line_read_host(int family, struct text text, void *to)
{
    char host[INET6_ADDRSTRLEN];
    if (text.len >= sizeof(host))
        return -EINVAL;
    memcpy(host, text.bytes, text.len);
    host[text.len] = '\0';
    return inet_pton(family, host, to) == 1 ? 0 : -EINVAL;
}

/* What stands before the next blank, which goes too; exactly one separates two words. */
static struct text line_cut(struct text *rest)
{
    const char *blank = rest->len > 0 ? memchr(rest->bytes, ' ', rest->len) : NULL;
    struct text word = {rest->bytes, blank ? (size_t)(blank - rest->bytes) : rest->len};
    *rest = text_behind(*rest, blank ? word.len + 1 : word.len);
    return word;
}

static int line_read_addresses(struct proxy_header *header, int family, struct text rest)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&header->address.storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&header->address.storage;
    bool is_v4 = family == AF_INET;
    struct in6_addr ignored;
    struct text words[4];
    for (unsigned i = 0; i < 4; i++)
        words[i] = line_cut(&rest);
    in_port_t port;
    in_port_t ignored_port;
    bool ends_in_blank = words[3].len > 0 && words[3].bytes + words[3].len < rest.bytes;
    if (rest.len > 0 || ends_in_blank ||
        line_read_host(family, words[0], is_v4 ? (void *)&v4->sin_addr : (void *)&v6->sin6_addr) ||
        line_read_host(family, words[1], &ignored) || line_read_port(words[2], &port) ||
        line_read_port(words[3], &ignored_port))
        return -EINVAL;
    header->has_address = true;
    header->address.storage.ss_family = (sa_family_t)family;
    header->address.len = is_v4 ? sizeof(*v4) : sizeof(*v6);
    *(is_v4 ? &v4->sin_port : &v6->sin6_port) = port;
    return 0;
}

static int line_parse(struct proxy_header *header, struct text bytes)
{
    size_t most = bytes.len < LINE_MAX_BYTES ? bytes.len : LINE_MAX_BYTES;
    const char *end = memmem(bytes.bytes, most, "\r\n", 2);
    if (!end)
        return bytes.len < LINE_MAX_BYTES ? -EAGAIN : -EINVAL;
    struct text rest = {bytes.bytes, (size_t)(end - bytes.bytes)};
    header->len = rest.len + 2;
    rest = text_behind(rest, strlen(LINE_PREFIX));
    if (text_is(rest, "UNKNOWN") || text_begins(rest, "UNKNOWN "))
        return 0;
    struct text family = line_cut(&rest);
    if (text_is(family, "TCP4"))
        return line_read_addresses(header, AF_INET, rest);
    return text_is(family, "TCP6") ? line_read_addresses(header, AF_INET6, rest) : -EINVAL;
}

static int block_read_v4(struct proxy_header *header, struct text block)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&header->address.storage;
    if (block.len < 2 * sizeof(v4->sin_addr) + 2 * sizeof(v4->sin_port))
        return -EINVAL;
    v4->sin_family = AF_INET;
    memcpy(&v4->sin_addr, block.bytes, sizeof(v4->sin_addr));
    memcpy(&v4->sin_port, block.bytes + 2 * sizeof(v4->sin_addr), sizeof(v4->sin_port));
    header->address.len = sizeof(*v4);
    header->has_address = true;
    return 0;
}

static int block_read_v6(struct proxy_header *header, struct text block)
{
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&header->address.storage;
    if (block.len < 2 * sizeof(v6->sin6_addr) + 2 * sizeof(v6->sin6_port))
        return -EINVAL;
    v6->sin6_family = AF_INET6;
    memcpy(&v6->sin6_addr, block.bytes, sizeof(v6->sin6_addr));
    memcpy(&v6->sin6_port, block.bytes + 2 * sizeof(v6->sin6_addr), sizeof(v6->sin6_port));
    header->address.len = sizeof(*v6);
    header->has_address = true;
    return 0;
}

/* Families and protocols are 0 to 3 and 0 to 2; of those that are not TCP the block is skipped. */
static int block_parse(struct proxy_header *header, struct text bytes)
{
    if (bytes.len < BLOCK_AT)
        return -EAGAIN;
    const unsigned char *fixed = (const unsigned char *)bytes.bytes + BLOCK_SIGNATURE_LEN;
    unsigned command = fixed[0] & 0x0fu;
    unsigned family = fixed[1];
    size_t block_len = (size_t)fixed[2] << 8 | fixed[3];
    if (fixed[0] >> 4 != BLOCK_VERSION || command > BLOCK_COMMAND_PROXY || family >> 4 > 3 ||
        (family & 0x0fu) > 2 || block_len > PROXY_HEADER_MAX - BLOCK_AT)
        return -EINVAL;
    if (bytes.len < BLOCK_AT + block_len)
        return -EAGAIN;
    header->len = BLOCK_AT + block_len;
    struct text block = {bytes.bytes + BLOCK_AT, block_len};
    if (command == BLOCK_COMMAND_LOCAL)
        return 0;
    if (family == BLOCK_TCP4)
        return block_read_v4(header, block);
    return family == BLOCK_TCP6 ? block_read_v6(header, block) : 0;
}

int proxy_header_parse(struct proxy_header *header, const char *bytes, size_t len)
{
    static const struct {
        struct text mark;
        int (*parse)(struct proxy_header *header, struct text bytes);
    } versions[] = {{{LINE_PREFIX, sizeof(LINE_PREFIX) - 1}, line_parse},
                    {{BLOCK_SIGNATURE, BLOCK_SIGNATURE_LEN}, block_parse}};
    *header = (struct proxy_header){0};
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        struct text mark = versions[i].mark;
        if (memcmp(bytes, mark.bytes, len < mark.len ? len : mark.len) != 0)
            continue;
        return len < mark.len ? -EAGAIN : versions[i].parse(header, (struct text){bytes, len});
    }
    return -EINVAL;
}
