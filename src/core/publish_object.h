/* SPDX-License-Identifier: MIT */
#pragma once

/* A message to publish as a JSON object, in a batch or as a command: {"channel","data","event","ttl",
 * "producer","idempotency_key","type","key","store"}. Hostile input; any thread. */

#include "base/buf.h"
#include "base/json_object.h"
#include "core/publish.h"

enum publish_member {
    PUBLISH_CHANNEL,
    PUBLISH_DATA,
    PUBLISH_EVENT,
    PUBLISH_TTL,
    PUBLISH_PRODUCER,
    PUBLISH_KEY,
    PUBLISH_TYPE,
    PUBLISH_MESSAGE_KEY,
    PUBLISH_STORE,
    PUBLISH_MEMBER_COUNT
};

/* Their names, with which those of an object begin that is more than that. */
#define PUBLISH_MEMBERS                                                                                      \
    "channel", "data", "event", "ttl", "producer", "idempotency_key", "type", "key", "store"
#define PUBLISH_MEMBER_SET ((1u << PUBLISH_MEMBER_COUNT) - 1u)

struct publish_object {
    struct json_object members;
    char *bytes; /* data out of base64 */
};

/* Makes a wish of the members, which have been read and checked; it borrows from the object and from its
 * text, and what of it could be read stands there also after an error. Returns 0, -ENOMEM, or -EINVAL with
 * `fault` a sentence. */
int publish_object_wish(struct publish_object *object, struct publish_wish *wish,
                        char fault[PUBLISH_FAULT_MAX]);
void publish_object_deinit(struct publish_object *object);

/* Appends the members of an accepted item, `"channel"`, `"id"`, `"time"`, `"type"`, of a transient one
 * `"stored"` and of a repeated key `"duplicate"`, and the brace that closes them. */
void publish_append_members(struct buf *to, const struct publish_item *item);
