/* SPDX-License-Identifier: MIT */
#include "transport/sockjs/application.h"

void application_begin(struct application *application, struct shard *shard,
                       const struct sockjs_service *service, const struct application_ops *ops)
{
    application->ops = ops;
    application->service = service;
    application->shard = shard;
    if (service->declaration.app == APP_CLOSE)
        ops->close(application, CLOSE_GO_AWAY);
}

int application_take(struct application *application, struct text text)
{
    if (application->service->declaration.app == APP_ECHO)
        application->ops->say(application, text.bytes, text.len);
    return 0;
}

void application_end(struct application *application)
{
    (void)application;
}
