/* SPDX-License-Identifier: MIT */
#include "core/errands.h"

void errands_init(struct errands *errands, struct hub *hub, const struct errands_ops *ops)
{
    *errands = (struct errands){.ops = ops, .hub = hub};
    list_init(&errands->publications);
    list_init(&errands->others);
}

bool errands_have_room(struct errands *errands)
{
    if (errands->count >= ERRANDS_COUNT_MAX || errands->bytes >= ERRANDS_BYTES_MAX)
        errands->is_refusing = true;
    return !errands->is_refusing;
}

bool errands_may_publish(struct errands *errands)
{
    struct broker *broker = errands->hub->broker;
    if (errands->joining > 0 && broker->ops->is_ready(broker)) {
        errands->is_waiting = true;
        return false;
    }
    return errands_have_room(errands);
}

void errands_join(struct errands *errands)
{
    errands->joining++;
}

void errands_joined(struct errands *errands)
{
    errands->joining--;
}

bool errands_are_idle(const struct errands *errands)
{
    return errands->count == 0;
}

void errand_begin(struct errand *errand, struct errands *errands, struct list *list, uint64_t bytes)
{
    errand->errands = errands;
    errand->bytes = bytes;
    list_init(&errand->link);
    list_append(list, &errand->link);
    errands->count++;
    errands->bytes += bytes;
}

void errand_end(struct errand *errand)
{
    list_remove(&errand->link);
    errand->errands->count--;
    errand->errands->bytes -= errand->bytes;
}

void errands_forget(struct errands *errands)
{
    struct list all;
    list_init(&all);
    errands->is_over = true;
    errands->is_refusing = false;
    errands->is_waiting = false;
    list_splice(&all, &errands->publications);
    list_splice(&all, &errands->others);
    list_drain (link, &all) {
        struct errand *errand = container_of(link, struct errand, link);
        errand->errands = NULL;
        errand->forget(errand);
    }
    errands->count = 0;
    errands->bytes = 0;
}

/* Whether what had to wait may go on. */
static bool errands_are_ready(struct errands *errands)
{
    bool has_room = errands->is_refusing && errands->count < ERRANDS_COUNT_MAX / 2 &&
                    errands->bytes < ERRANDS_BYTES_MAX / 2;
    bool has_joined = errands->is_waiting && errands->joining == 0;
    errands->is_refusing = errands->is_refusing && !has_room;
    errands->is_waiting = errands->is_waiting && !has_joined;
    return has_room || has_joined;
}

void errands_settle(struct errands *errands)
{
    bool is_idle = errands_are_idle(errands);
    if (errands->is_held)
        return;
    if (errands_are_ready(errands))
        errands->ops->ready(errands);
    if (is_idle && errands->ops->idle && !errands->is_over)
        errands->ops->idle(errands);
}

void errands_settle_joined(struct errands *errands)
{
    if (errands->is_waiting)
        errands_settle(errands);
}
