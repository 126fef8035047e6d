/* SPDX-License-Identifier: MIT */
#pragma once

/* The answers of a SockJS service as its protocol wants them. On the shard's thread. */

#include "http/exchange.h"
#include "transport/sockjs/path.h"
#include "transport/sockjs/service.h"

#define REPLY_TEXT "text/plain; charset=UTF-8"

/* Headers; a response that is NULL is left alone. */
void reply_add_not_cached(struct MHD_Response *response);
void reply_add_cached(struct MHD_Response *response);
/* What balancers keep a client's requests together by, where the service wants that. */
void reply_add_cookie(const struct exchange *exchange, const struct sockjs_service *service,
                      struct MHD_Response *response);

/* Answers, not to be cached. `type` may be NULL. */
void reply_text(struct exchange *exchange, unsigned status, const char *text, const char *type);

/* Answers OPTIONS, or 405, for a path that takes the method. */
void reply_options(struct exchange *exchange, enum http_method method);
void reply_method(struct exchange *exchange, enum http_method method);
