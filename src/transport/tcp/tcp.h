/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_TRANSPORT_TCP_TCP_H
#define SLUICE_TRANSPORT_TCP_TCP_H

/* The raw TCP feed: what the server's wiring needs of it. */

#include "shard/stream.h"
#include "transport/tcp/declaration.h"

/* Speaks on the connections of a listener whose context is a struct declaration. */
extern const struct stream_listener_ops connection_listener_ops;

/* How often the connections of a declaration's listener are looked at. */
uint64_t connection_tick_ms(const struct declaration *declaration);

#endif
