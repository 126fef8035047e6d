/* SPDX-License-Identifier: MIT */
#include "transport/sockjs/application.h"

#include <errno.h>

#include "render/render.h"

static struct application *of_conversation(struct conversation *conversation)
{
    return container_of(conversation, struct application, conversation);
}

/* Of what it publishes a client that speaks no commands is told only what has failed. */
static void application_say(struct conversation *conversation, const char *json, size_t len)
{
    struct application *application = of_conversation(conversation);
    bool is_error = text_begins((struct text){json, len}, "{\"op\":\"error\"");
    if (application->service->declaration.app == APP_COMMANDS || is_error)
        application->ops->say(application, json, len);
}

static void application_deliver(struct command_subscription *subscription)
{
    struct application *application = of_conversation(subscription->conversation);
    application->ops->deliver(application, subscription);
}

static void application_ready(struct conversation *conversation)
{
    struct application *application = of_conversation(conversation);
    application->ops->ready(application);
}

static void application_idle(struct conversation *conversation)
{
    struct application *application = of_conversation(conversation);
    if (application->ops->idle)
        application->ops->idle(application);
}

static const struct conversation_ops application_conversation_ops = {
    .say = application_say,
    .deliver = application_deliver,
    .ready = application_ready,
    .idle = application_idle,
};

static void application_feed(struct application *application)
{
    const struct name_list *feed = &application->service->declaration.feed;
    for (unsigned i = 0; i < feed->count; i++) {
        enum error_code error =
            conversation_feed(&application->conversation, channel_name_text(&feed->names[i]));
        if (error != ERROR_NONE)
            conversation_say_error(&application->conversation, error, error_text(error));
    }
}

void application_begin(struct application *application, struct shard *shard,
                       const struct sockjs_service *service, const struct application_ops *ops)
{
    application->ops = ops;
    application->service = service;
    application->shard = shard;
    conversation_init(&application->conversation, shard, &application_conversation_ops, TRANSPORT_SOCKJS);
    application_feed(application);
    if (service->declaration.app == APP_CLOSE)
        ops->close(application, CLOSE_GO_AWAY);
}

static void append_publish(struct buf *to, const struct channel_name *name, struct text message, bool is_text)
{
    buf_append_text(to, "{\"op\":\"publish\",\"channel\":");
    render_json_string(to, name->text, name->len);
    if (is_text) {
        buf_append_text(to, ",\"data\":");
        render_json_string(to, message.bytes, message.len);
        buf_append_char(to, '}');
    } else {
        buf_append_text(to, ",\"type\":\"binary\",\"data\":\"");
        render_base64(to, message.bytes, message.len);
        buf_append_text(to, "\"}");
    }
}

static int application_publish(struct application *application, struct text message, bool is_text)
{
    struct buf command = {0};
    int err = 0;
    append_publish(&command, &application->service->declaration.publish_to, message, is_text);
    if (command.has_failed)
        conversation_say_error(&application->conversation, ERROR_OUT_OF_MEMORY,
                               error_text(ERROR_OUT_OF_MEMORY));
    else
        err = conversation_take(&application->conversation, command.bytes, command.len);
    buf_deinit(&command);
    return err;
}

int application_take(struct application *application, struct text message, bool is_text)
{
    if (message.len > application_text_max(application)) {
        conversation_say_error(&application->conversation, ERROR_TOO_LARGE, error_text(ERROR_TOO_LARGE));
        return 0;
    }
    switch (application->service->declaration.app) {
    case APP_COMMANDS:
        return conversation_take(&application->conversation, message.bytes, message.len);
    case APP_PUBLISH:
        return application_publish(application, message, is_text);
    case APP_ECHO:
        application->ops->say(application, message.bytes, message.len);
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
    return application->service->declaration.app == APP_COMMANDS
               ? conversation_text_max(&application->conversation)
               : application->shard->options->message_size_bytes;
}

void application_unblock(struct application *application)
{
    conversation_unblock(&application->conversation);
}

void application_end(struct application *application)
{
    conversation_deinit(&application->conversation);
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
