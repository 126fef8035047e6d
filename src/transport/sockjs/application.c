/* SPDX-License-Identifier: MIT */
#include "transport/sockjs/application.h"

#include <errno.h>
#include <stdlib.h>

#include "config/channel_options.h"
#include "core/publication.h"
#include "render/render.h"

#define STATUS_UNAUTHORIZED 401u

/* What is there for those with a token waits for it. */
static enum error_code application_join(struct application *application)
{
    const struct sockjs_declaration *declaration = &application->service->declaration;
    struct conversation *conversation = &application->conversation;
    char fault[AUTH_FAULT_MAX];
    enum error_code error = conversation_feed(conversation, &declaration->feed, fault);
    if (error != ERROR_NONE && error != ERROR_FORBIDDEN_CHANNEL) {
        conversation_say_error(conversation, error, fault);
        error = ERROR_NONE;
    }
    if (error == ERROR_NONE && declaration->app == APP_PUBLISH)
        error = conversation_check(conversation, ACCESS_PUBLISH, channel_name_text(&declaration->publish_to),
                                   fault);
    if (error != ERROR_NO_TOKEN)
        return error;
    conversation->awaits_token = true;
    return ERROR_NONE;
}

enum error_code application_begin(struct application *application, struct shard *shard,
                                  const struct sockjs_service *service, const struct conversation_ops *ops,
                                  const struct bearer *who)
{
    application->service = service;
    conversation_init(&application->conversation, shard, ops, TRANSPORT_SOCKJS);
    bearer_share(&application->conversation.bearer, who);
    return application_join(application);
}

enum close_reason application_close_reason(enum error_code error)
{
    return error_status(error) == STATUS_UNAUTHORIZED ? CLOSE_UNAUTHORIZED : CLOSE_FORBIDDEN;
}

/* The first message, where no command says a token. */
static void application_take_token(struct application *application, struct text message)
{
    struct conversation *conversation = &application->conversation;
    char fault[AUTH_FAULT_MAX];
    bool is_awaited = conversation->awaits_token;
    enum error_code error = auth_take_message(&conversation->bearer, conversation->shard, message, fault);
    conversation->awaits_token = false;
    if (error == ERROR_NONE && is_awaited)
        error = application_join(application);
    else if (error == ERROR_NONE)
        conversation_follow_grant(conversation, NULL);
    if (error != ERROR_NONE)
        conversation->ops->over(conversation, error);
}

static bool application_is_token(const struct application *application, struct text message)
{
    const struct conversation *conversation = &application->conversation;
    enum sockjs_app app = application->service->declaration.app;
    if (conversation->awaits_token)
        return app != APP_COMMANDS;
    return app == APP_PUBLISH && !application->has_spoken &&
           auth_message_is_token(conversation->shard, message);
}

/* Of what it publishes the client is told only what has failed. */
static void application_publish_answer(struct publication *publication, enum error_code error,
                                       const char *what)
{
    struct conversation *conversation =
        container_of(publication->errand.errands, struct conversation, errands);
    if (error != ERROR_NONE)
        conversation_say_error(conversation, error, what);
}

static const struct publication_ops application_publication_ops = {.answer = application_publish_answer};

static int application_publish(struct application *application, struct text message, bool is_text)
{
    struct conversation *conversation = &application->conversation;
    const struct publish_wish wish = {
        .parts = {.type = is_text ? MESSAGE_TEXT : MESSAGE_BINARY,
                  .data = message.bytes,
                  .size = message.len},
        .channel = channel_name_text(&application->service->declaration.publish_to),
        .is_checked = true,
    };
    char fault[AUTH_FAULT_MAX];
    if (!errands_may_publish(&conversation->errands))
        return -EAGAIN;
    enum error_code error = conversation_check(conversation, ACCESS_PUBLISH, wish.channel, fault);
    if (error != ERROR_NONE) {
        conversation_say_error(conversation, error, fault);
        return 0;
    }
    struct publication *publication = calloc(1, sizeof(*publication));
    if (publication)
        publication_begin(publication, &application_publication_ops, &conversation->errands, &wish,
                          channel_message_size(conversation->shard->options, wish.channel));
    else
        conversation_say_error(conversation, ERROR_OUT_OF_MEMORY, error_text(ERROR_OUT_OF_MEMORY));
    return 0;
}

int application_take(struct application *application, struct text message, bool is_text)
{
    if (message.len > application_text_max(application)) {
        conversation_say_error(&application->conversation, ERROR_TOO_LARGE, error_text(ERROR_TOO_LARGE));
        return 0;
    }
    if (application->conversation.errands.is_over)
        return 0;
    bool is_token = application_is_token(application, message);
    application->has_spoken = true;
    if (is_token) {
        application_take_token(application, message);
        return 0;
    }
    switch (application->service->declaration.app) {
    case APP_COMMANDS:
        return conversation_take(&application->conversation, message.bytes, message.len);
    case APP_PUBLISH:
        return application_publish(application, message, is_text);
    case APP_ECHO:
        application->conversation.ops->say(&application->conversation, message.bytes, message.len);
        break;
    case APP_CLOSE:
        break;
    }
    return 0;
}

bool application_takes_binary(const struct application *application)
{
    return application->service->declaration.app != APP_COMMANDS;
}

uint64_t application_text_max(const struct application *application)
{
    const struct options *options = application->conversation.shard->options;
    switch (application->service->declaration.app) {
    case APP_COMMANDS:
        return conversation_text_max(&application->conversation);
    case APP_PUBLISH:
        return channel_message_size(options,
                                    channel_name_text(&application->service->declaration.publish_to));
    case APP_ECHO:
    case APP_CLOSE:
        break;
    }
    return channel_message_size_most(options);
}

/* What channels tell. */

bool application_tells_objects(const struct application *application)
{
    return application->service->declaration.app == APP_COMMANDS;
}

const struct rendering *application_render(const struct application *application,
                                           const struct delivery *delivery)
{
    bool is_object = application_tells_objects(application);
    return message_form(delivery->message, is_object ? FORM_SOCKJS_COMMAND : FORM_SOCKJS_DATA,
                        subscription_channel(delivery->subscription),
                        subscription_epoch(delivery->subscription),
                        is_object ? render_sockjs_command : render_sockjs_data);
}

void application_append_reset(const struct application *application, struct buf *to,
                              const struct delivery *delivery)
{
    if (application_tells_objects(application))
        conversation_append_reset(to, delivery);
    else
        render_reset_line(to, subscription_channel(delivery->subscription), delivery->reset,
                          delivery->missed);
}

void application_append_string(const struct application *application, struct buf *to,
                               const struct delivery *delivery)
{
    struct buf reset = {0};
    if (delivery->message) {
        const struct rendering *rendering = application_render(application, delivery);
        to->has_failed = to->has_failed || !rendering;
        if (rendering)
            buf_append(to, rendering->bytes, rendering->size);
        return;
    }
    application_append_reset(application, &reset, delivery);
    to->has_failed = to->has_failed || reset.has_failed;
    if (!reset.has_failed)
        render_sockjs_string(to, reset.bytes, reset.len);
    buf_deinit(&reset);
}
