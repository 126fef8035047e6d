/* SPDX-License-Identifier: MIT */
#pragma once

/* What the messages of a SockJS client mean, whatever carries them: echo, close, publishing, commands. On the
 * shard's thread.
 */

#include <stdbool.h>
#include <stddef.h>

#include "shard/shard.h"
#include "tables/closes.h"
#include "transport/sockjs/service.h"

struct application;

struct application_ops {
    /* Tells the client a message, which is UTF-8; after everything told before. */
    void (*say)(struct application *application, const char *text, size_t len);
    /* It is over; not within application_take. */
    void (*close)(struct application *application, enum close_reason reason);
};

struct application {
    const struct application_ops *ops;
    const struct sockjs_service *service;
    struct shard *shard;
};

/* Begins; may close. */
void application_begin(struct application *application, struct shard *shard,
                       const struct sockjs_service *service, const struct application_ops *ops);

/* Takes a message, UTF-8 and hostile. Returns 0, or -EAGAIN when it is to be given again. */
int application_take(struct application *application, struct text text);

/* Ends; twice does no harm. */
void application_end(struct application *application);
