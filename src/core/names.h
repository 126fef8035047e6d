/* SPDX-License-Identifier: MIT */
#pragma once

/* Channel names: 1 to 255 bytes of a small alphabet in segments separated by '/', none of which is '*' or
 * '**' as in the patterns of base/pattern.h; see docs/PROTOCOL.md. */

#include <stdbool.h>
#include <stddef.h>

#define CHANNEL_NAME_MAX 255u

/* Whether `name` is a channel name. Hostile input; any thread. */
bool channel_name_is_valid(const char *name, size_t len);

/* What is wrong with it, as the end of a sentence that begins with "a channel name"; NULL when it is valid.
 */
const char *channel_name_fault(const char *name, size_t len);
