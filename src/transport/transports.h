/* SPDX-License-Identifier: MIT */
#pragma once

/* The transports over HTTP, from their table. */

#include "http/transport.h"
#include "tables/transports.h"

#define TRANSPORTS_DECLARE(name) extern const struct transport name;
TRANSPORT_TABLE(TRANSPORT_NONE, TRANSPORTS_DECLARE, )
#undef TRANSPORTS_DECLARE

/* All of them, the default first; ends with NULL. */
extern const struct transport *const transports[];
