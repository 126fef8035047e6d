/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_TRANSPORT_TRANSPORTS_H
#define SLUICE_TRANSPORT_TRANSPORTS_H

/* The transports over HTTP, one line each; the wiring lists them. */

#include "http/transport.h"

extern const struct transport longpoll_raw_transport;
extern const struct transport longpoll_json_transport;
extern const struct transport sse_transport;
extern const struct transport ndjson_transport;

#endif
