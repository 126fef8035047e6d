/* SPDX-License-Identifier: MIT */
#pragma once

/* What publishing one message and a batch of them share. On the shard's thread. */

#include "core/broker.h"
#include "core/publish.h"
#include "http/exchange.h"

/* Answers what is no publish at all: from a foreign origin, with a query parameter that is not of `names`
 * (which ends with NULL; a wrong one would be lost without a word), with a form in parts as its body, or
 * meant to receive. Returns whether it did. */
bool http_publish_refuses(struct exchange *exchange, const char *const *names);

/* Whether a media type with parameters is `want`. */
bool http_publish_mime_is(const char *mime, const char *want);

/* Whether an item that is made may be published now. Returns as publish_item_admit. */
enum error_code http_publish_admit(const struct exchange *exchange, struct publish_item *item,
                                   char fault[PUBLISH_FAULT_MAX]);

/* A request on behalf of an exchange. */
struct http_publish {
    struct publish_request request;
    struct exchange *exchange;
    void (*done)(struct http_publish *publish);
};

/* Hands it to the broker; `done` answers and frees, in this call, or later and the exchange is suspended
 * until then. */
void http_publish_submit(struct http_publish *publish, void (*done)(struct http_publish *publish));

/* Appends {"channel","id","time","type"} of an accepted item. */
void http_publish_render(struct buf *to, const struct publish_item *item);
