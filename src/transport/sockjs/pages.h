/* SPDX-License-Identifier: MIT */
#pragma once

/* The pages of a SockJS service, and which code handles what below its prefix. On the shard's thread. */

#include "transport/sockjs/service.h"

/* Makes the service's iframe page. Returns 0 or -ENOMEM. */
int pages_make_iframe(struct sockjs_service *service);

/* Handles whatever is asked of a service: of its routes, whose context it is. */
void pages_handle(struct exchange *exchange);
