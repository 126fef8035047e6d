/* SPDX-License-Identifier: MIT */
#pragma once

/* Socket addresses in text. Any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDRESS_TEXT_MAX 64u

struct address {
    struct sockaddr_storage storage;
    socklen_t len;
};

/* Whether the text has that form; nothing is looked up. Returns as address_parse. */
int address_check(const char *text, const char **why);

/* Parses host:port, [v6]:port or :port (every address). The host may be a name, which is looked up. Returns
 * 0, or -EINVAL with *why set to what is wrong. */
int address_parse(struct address *address, const char *text, const char **why);

/* The same with all addresses that the name has, in the order in which they are to be tried: writes the first
 * `*count` at most, and how many there are to `*count`. */
int address_look_up(struct address *addresses, size_t *count, const char *text, const char **why);

/* The same as address_parse without looking anything up, which may take long: -ENOENT for a name. */
int address_parse_number(struct address *address, const char *text, const char **why);

/* "127.0.0.1:8080", "[::1]:8080", or "unix" for any Unix socket; IPv4 mapped into IPv6 is shown as IPv4. */
void address_format(const struct address *address, char text[ADDRESS_TEXT_MAX]);

bool address_is_loopback(const struct address *address);

/* What counts as one client: the IPv4 address or the IPv6 /64. Returns the number of bytes written to `key`,
 * at most 8. */
size_t address_client_key(const struct address *address, unsigned char key[8]);
