/* SPDX-License-Identifier: MIT */
#pragma once

/* Channel names: 1 to 255 bytes of a small alphabet in segments separated by '/', none of which is '*' or
 * '**' as in the patterns of base/pattern.h; see docs/PROTOCOL.md. */

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

#define CHANNEL_NAME_MAX 255u

/* What presence is told on: NAME, a slash and this. */
#define CHANNEL_PRESENCE "$presence"
/* What happens to channels is told on: this, or this, a slash and NAME. */
#define CHANNEL_EVENTS "$channel"

/* Whether a name has a segment that begins with '$': Sluice itself publishes there, nobody else. */
bool channel_name_is_reserved(struct text name);

/* NAME of "NAME/$presence"; without bytes when the name is another one. Whose rights count there. */
struct text channel_name_of_presence(struct text name);

/* Writes NAME/$presence or $channel/NAME, not terminated. Returns its length, 0 when it is too long. */
size_t channel_name_make_presence(char to[CHANNEL_NAME_MAX], struct text name);
size_t channel_name_make_events(char to[CHANNEL_NAME_MAX], struct text name);

/* How a name ends that stands for all channels below another: NAME/ and two stars. */
#define CHANNEL_BELOW "/**"

/* Whether it ends so; no channel's name does. */
static inline bool channel_name_is_wild(struct text name)
{
    return text_ends(name, CHANNEL_BELOW);
}

/* As channel_name_fault, for a name that may also be NAME and CHANNEL_BELOW. */
const char *channel_wish_fault(struct text name);

/* Whether `name` is a channel name. Hostile input; any thread. */
bool channel_name_is_valid(const char *name, size_t len);

/* What is wrong with it, as the end of a sentence that begins with "a channel name"; NULL when it is valid.
 */
const char *channel_name_fault(const char *name, size_t len);
