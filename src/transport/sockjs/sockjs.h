/* SPDX-License-Identifier: MIT */
#pragma once

/* SockJS (protocol 0.3.3): what the server's wiring needs of it. Main thread, unless it says otherwise. */

#include "config/options.h"
#include "core/name_list.h"
#include "shard/shard.h"

#define SOCKJS_FAULT_MAX (PAIRS_FAULT_MAX + 512u)

/* Whether the declarations are right. Returns 0, or -ENOMEM or -EINVAL with `fault` a sentence. */
int sockjs_check(const struct string_list *declarations, char fault[SOCKJS_FAULT_MAX]);

/* Adds the services to the router; once, before any shard runs. Returns as sockjs_check. */
int sockjs_open(const struct string_list *declarations, struct shard_group *group,
                char fault[SOCKJS_FAULT_MAX]);

/* Frees; no shard runs any more. */
void sockjs_close(void);

/* The shard on which the session of this target lives; NULL when it is no session's. Any thread. */
struct shard *sockjs_home(const struct shard_group *group, struct text target);
