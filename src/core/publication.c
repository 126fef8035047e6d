/* SPDX-License-Identifier: MIT */
#include "core/publication.h"

#include <stdlib.h>
#include <string.h>

static struct publication *publication_of(struct list *link)
{
    return container_of(link, struct publication, errand.link);
}

static void publication_free(struct publication *publication)
{
    free(publication->item.channel);
    message_unref(publication->item.message);
    free(publication->fault);
    free(publication);
}

static void publication_forget(struct errand *errand)
{
    struct publication *publication = container_of(errand, struct publication, errand);
    if (publication->is_done)
        publication_free(publication);
}

static void publications_answer(struct errands *errands)
{
    struct list *link;
    while ((link = list_first(&errands->publications)) && publication_of(link)->is_done) {
        struct publication *publication = publication_of(link);
        const char *what = publication->fault ? publication->fault : "";
        if (publication->error != ERROR_NONE && !publication->fault)
            what = error_text(publication->error);
        errand_end(&publication->errand);
        publication->ops->answer(publication, publication->error, what);
        publication_free(publication);
    }
    errands_settle(errands);
}

void publication_end(struct publication *publication, enum error_code error)
{
    publication->is_done = true;
    publication->error = error;
    if (publication->errand.errands)
        publications_answer(publication->errand.errands);
    else
        publication_free(publication);
}

static void publication_answered(struct broker_request *super)
{
    struct publish_request *request = container_of(super, struct publish_request, super);
    struct publication *publication = container_of(request, struct publication, request);
    enum error_code error = super->error != ERROR_NONE ? super->error : publication->item.error;
    if (error == ERROR_NONE && publication->ops->accepted && publication->errand.errands)
        publication->ops->accepted(publication);
    else
        publication_end(publication, error);
}

static enum error_code publication_admit(struct publication *publication, struct errands *errands,
                                         char *fault)
{
    struct asker by = {0};
    if (errands->ops->identify)
        errands->ops->identify(errands, &by);
    return publish_item_admit(&publication->item, errands->hub->guard, &by, fault);
}

static void publication_line_up(struct publication *publication, const struct publication_ops *ops,
                                struct errands *errands, size_t size)
{
    publication->ops = ops;
    publication->errand.forget = publication_forget;
    publication->request.count = 1;
    publication->request.items = &publication->item;
    errand_begin(&publication->errand, errands, &errands->publications, size);
}

static void publication_fail(struct publication *publication, enum error_code error, const char *fault)
{
    publication->fault = strdup(fault);
    publication_end(publication, error);
}

void publication_refuse(struct publication *publication, const struct publication_ops *ops,
                        struct errands *errands, enum error_code error, const char *fault)
{
    publication_line_up(publication, ops, errands, 0);
    publication_fail(publication, error, fault);
}

void publication_begin(struct publication *publication, const struct publication_ops *ops,
                       struct errands *errands, const struct publish_wish *wish, uint64_t size_limit_bytes)
{
    char fault[PUBLISH_FAULT_MAX];
    publication_line_up(publication, ops, errands, wish->parts.size);
    enum error_code error = publish_item_fill(&publication->item, wish, size_limit_bytes, fault);
    if (error == ERROR_NONE)
        error = publication_admit(publication, errands, fault);
    if (error != ERROR_NONE)
        publication_fail(publication, error, fault);
    else if (hub_submit(errands->hub, &publication->request.super, BROKER_PUBLISH, publication_answered))
        publication_answered(&publication->request.super);
}
