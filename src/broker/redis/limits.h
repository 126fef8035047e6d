/* SPDX-License-Identifier: MIT */
#pragma once

/* What the options say of a channel, for Redis and for what a node keeps here. */

#include "base/text.h"
#include "core/ring.h"

struct options;

#define LIMITS_TEXT_MAX 114u

/* Writes what sluice.lua wants with its calls: how many messages are kept and, in milliseconds, how long; how
 * long an empty channel is remembered, and a key; how many bytes of messages are kept; whether what happens
 * to the channel is told. */
struct text limits_format(char to[LIMITS_TEXT_MAX], const struct options *options, struct text channel);

/* Whether the channel is a tree. */
bool limits_are_of_tree(const struct options *options, struct text channel);

/* How long the log of that channel is there after it was last used. */
uint64_t limits_life_ms(const struct options *options, struct text channel);

struct retention limits_retention(const struct options *options, struct text channel);
