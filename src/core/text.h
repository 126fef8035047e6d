/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_CORE_TEXT_H
#define SLUICE_CORE_TEXT_H

/* What text in a message may be. Hostile input; any thread. */

#include <stdbool.h>
#include <stddef.h>

/* Whether it is UTF-8 (RFC 3629); *bad, unless NULL, is the index of the first byte that is not. */
bool text_is_utf8(const char *text, size_t len, size_t *bad);

/* Whether it may be an event, a producer, a key: such go into header fields and event lines, so they are at
 * most MESSAGE_ATTRIBUTE_MAX bytes of UTF-8 without control characters. */
bool text_is_attribute(const char *text, size_t len);

#endif
