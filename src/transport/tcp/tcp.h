/* SPDX-License-Identifier: MIT */
#pragma once

/* The raw TCP feed: what the server's wiring needs of it. */

#include "shard/listener.h"
#include "transport/tcp/declaration.h"

/* Speaks on the connections of a listener whose context is a struct declaration. */
extern const struct listener_ops connection_listener_ops;

/* How often the connections of a declaration's listener have to be ticked. */
uint64_t connection_tick_ms(const struct declaration *declaration, const struct options *options);
