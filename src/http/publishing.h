/* SPDX-License-Identifier: MIT */
#ifndef SLUICE_HTTP_PUBLISHING_H
#define SLUICE_HTTP_PUBLISHING_H

/* What single and batch publishing share. On the shard's thread. */

#include "core/broker.h"
#include "core/publish.h"
#include "http/exchange.h"

#define PUBLISHING_FAULT_MAX PUBLISH_FAULT_MAX

/* Answers what is no publish at all: from a foreign origin, with a query parameter that is not of `names`
 * (which ends with NULL; a wrong one would be lost without a word), with a form in parts as its body, or
 * meant to receive. Returns whether it did. */
bool publishing_refuses(struct exchange *exchange, const char *const *names);

/* Whether a media type with parameters is `want`. */
bool publishing_mime_is(const char *mime, const char *want);

/* Checks a wish and makes the item of it. Returns ERROR_NONE, or the error with `fault` a sentence. */
enum error_code publishing_fill(const struct exchange *exchange, struct publish_item *item,
                                const struct publish_wish *wish, char fault[PUBLISHING_FAULT_MAX]);

/* A request for `count` items on behalf of an exchange; NULL when memory is out. */
struct publishing {
    struct publish_request request;
    struct exchange *exchange;
    void (*done)(struct publishing *publishing);
    struct publish_item one;
};
struct publishing *publishing_new(struct exchange *exchange, size_t count);

/* Hands it to the broker; `done` answers and frees, in this call, or later and the exchange is suspended
 * until then.
 */
void publishing_submit(struct publishing *publishing, void (*done)(struct publishing *publishing));
void publishing_free(struct publishing *publishing);

/* Appends {"channel","id","time","type"} of an accepted item. */
void publishing_render(struct buf *to, const struct publish_item *item);

/* Parses whole seconds from 1 on to milliseconds. Returns 0 or -EINVAL. */
int publishing_parse_ttl(uint64_t *ttl_ms, struct text text);

#endif
