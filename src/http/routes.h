/* SPDX-License-Identifier: MIT */
#pragma once

/* The handlers of the routes, one file each. Each answers, holds or opens its exchange; on the shard's
 * thread. */

#include "base/text.h"
#include "http/exchange.h"

/* Whether a path below /api/channels/ that is looked at is that of who is present in a channel. */
bool presence_is_asked(struct text path);

void publish_handle(struct exchange *exchange);   /* POST, PUT /channels/NAME */
void batch_handle(struct exchange *exchange);     /* POST /channels */
void subscribe_handle(struct exchange *exchange); /* GET, HEAD /channels/NAME */
void channels_handle(struct exchange *exchange);  /* GET /api/channels */
void channel_handle(struct exchange *exchange);   /* GET, DELETE /api/channels/NAME */
void presence_handle(struct exchange *exchange);  /* GET /api/channels/NAME/presence */
void token_handle(struct exchange *exchange);     /* DELETE /api/tokens/ID */
void tokens_handle(struct exchange *exchange);    /* DELETE /api/tokens?sub=&before= */
void stats_handle(struct exchange *exchange);     /* GET /api/stats */
void metrics_handle(struct exchange *exchange);   /* GET /metrics */
void health_handle(struct exchange *exchange);    /* GET /healthz */
void ready_handle(struct exchange *exchange);     /* GET /readyz */
void files_handle(struct exchange *exchange);     /* GET /… */
