/* SPDX-License-Identifier: MIT */
#pragma once

/* A SockJS service: what is declared, and what its pages say. Made by the main thread before any shard runs;
 * then any thread.
 */

#include "base/buf.h"
#include "http/router.h"
#include "transport/sockjs/declaration.h"

#define SERVICE_TAG_MAX 24u

struct sockjs_service {
    struct sockjs_declaration declaration;
    unsigned index;
    struct route top;   /* of the prefix itself */
    struct route below; /* of all paths below it */
    char *below_prefix;
    struct buf iframe; /* the page */
    char iframe_tag[SERVICE_TAG_MAX];
};

/* Whether its sessions read or write channels, so that not everybody's pages may have one. */
static inline bool sockjs_service_has_channels(const struct sockjs_service *service)
{
    const struct sockjs_declaration *declaration = &service->declaration;
    return declaration->feed.count > 0 || declaration->app == APP_COMMANDS || declaration->app == APP_PUBLISH;
}
