/* SPDX-License-Identifier: MIT */
#pragma once

/* The command protocol over a WebSocket, one JSON object a frame: GET /ws. */

#include "http/router.h"

/* To be added to the router. */
extern const struct route websocket_commands_route;
