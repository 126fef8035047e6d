/* SPDX-License-Identifier: MIT */
#pragma once

/* What the messages of a SockJS client mean, whatever carries them: echo, close, publishing, commands; and
 * what it is told of channels. On the shard's thread.
 */

#include <stdbool.h>
#include <stddef.h>

#include "command/auth.h"
#include "tables/closes.h"
#include "transport/sockjs/service.h"

struct application {
    struct conversation conversation; /* tells what it is to be told, commands or not */
    const struct sockjs_service *service;
    bool has_spoken; /* its first message is done with */
};

/* Begins with the grant that `who` has; ends with conversation_deinit. Returns why it is over already,
 * because its client may not have what the service is there for. */
enum error_code application_begin(struct application *application, struct shard *shard,
                                  const struct sockjs_service *service, const struct conversation_ops *ops,
                                  const struct bearer *who);

/* Why a session closes when its client has no right to it. */
enum close_reason application_close_reason(enum error_code error);

/* Whether it is over as soon as it has begun. */
static inline bool application_goes_away(const struct application *application)
{
    return application->service->declaration.app == APP_CLOSE;
}

/* Takes a message, hostile; text is UTF-8, and what is not goes to an application that takes it. Returns 0,
 * or -EAGAIN when it is to be given again. */
int application_take(struct application *application, struct text message, bool is_text);

/* Whether it takes what is no text. */
bool application_takes_binary(const struct application *application);

/* The largest message that it takes, in bytes. */
uint64_t application_text_max(const struct application *application);

/* Whether the messages of channels are told as the objects of the command protocol; otherwise they are their
 * data. */
bool application_tells_objects(const struct application *application);

/* The JSON string of a message that is delivered; NULL when memory is out. */
const struct rendering *application_render(const struct application *application,
                                           const struct delivery *delivery);

/* Appends the text of a reset that is delivered. */
void application_append_reset(const struct application *application, struct buf *to,
                              const struct delivery *delivery);

/* Appends the JSON string of what is delivered. */
void application_append_string(const struct application *application, struct buf *to,
                               const struct delivery *delivery);

static inline struct application *application_of(const struct subscriber *subscriber)
{
    const struct command_subscription *subscription =
        container_of(subscriber, struct command_subscription, subscriber);
    return container_of(subscription->conversation, struct application, conversation);
}
