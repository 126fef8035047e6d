/* SPDX-License-Identifier: MIT */
#pragma once

/* What proxies say of a request that they forward: X-Forwarded-For or Forwarded (RFC 7239), as the option
 * `forwarded-header` says, never both: proxies add to the one and hand through what a client has put into the
 * other. Pure; hostile input; any thread.
 */

#include "base/address.h"
#include "base/text.h"
#include "config/options.h"

/* Whether Forwarded is the header that counts. */
static inline bool forwarded_is_standard(const struct options *options)
{
    return options->forwarded_header == 1; /* in the words of the option's row */
}

/* Whose the request with this head is that the trusted proxy at `address` has forwarded: the last address in
 * the list that is not a trusted proxy's, as each proxy adds whom it has the request from at its end. Where
 * the list says something that is no address, what stands before it is not believed. Changes `address`, or
 * leaves it when there is no list. */
void forwarded_find_asker(const struct options *options, const char *head, size_t len,
                          struct address *address);

/* The parameter of that name in the last element of a Forwarded field, without quotes; none when absent. */
struct text forwarded_parameter(struct text field, const char *name);
