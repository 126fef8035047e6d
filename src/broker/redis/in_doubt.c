/* SPDX-License-Identifier: MIT */
#include "broker/redis/in_doubt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "broker/redis/publish.h"
#include "broker/redis/server.h"
#include "config/options.h"

/* Marks in one question. */
#define IN_DOUBT_MOST 400u
/* Entries of before the first of them, by Redis' clock, end the search; clocks may differ by so much. */
#define IN_DOUBT_SLACK_MS 60000
/* After so many times the timeout whoever has published gets to know that nothing is known. */
#define IN_DOUBT_PATIENCE 2u

struct finding {
    struct call call;
    struct in_doubt *in_doubt; /* NULL when its server is gone for good */
    size_t count;
    struct publish *publishes[IN_DOUBT_MOST];
};

static struct publish *publish_of(struct list *link)
{
    return container_of(link, struct publish, link);
}

/* Finding. */

static void in_doubt_find_next(struct in_doubt *in_doubt);

/* What has become of publish `index`, as the answer says. */
static void finding_conclude(struct finding *finding, size_t index, const struct redisReply *reply,
                             bool is_complete)
{
    struct publish *publish = finding->publishes[index];
    struct published published;
    int err = answer_parse_found_at(&published, reply, index, publish_channel(publish));
    if (err == 0)
        publish_accept(publish, &published, NULL);
    else if (err != -ENOENT)
        publish_finish(publish, call_error(&finding->call, reply));
    else if (is_complete)
        call_submit(&publish->call);
    else
        publish_finish(publish, ERROR_BROKER_DOWN);
}

/* The answer may come from another server, to which the slot has moved. */
static void finding_answered(struct call *call, const struct redisReply *reply)
{
    struct finding *finding = container_of(call, struct finding, call);
    struct in_doubt *in_doubt = finding->in_doubt;
    bool is_complete = false;
    bool is_answer = reply && answer_parse_found(&is_complete, reply, finding->count) == 0;
    if (in_doubt)
        in_doubt->finding = NULL;
    if (!reply && in_doubt)
        /* Lost again: back to the front, in order. */
        for (size_t i = finding->count; i > 0; i--)
            list_prepend(&in_doubt->publishes, &finding->publishes[i - 1]->link);
    for (size_t i = 0; (reply || !in_doubt) && i < finding->count; i++) {
        if (is_answer)
            finding_conclude(finding, i, reply, is_complete);
        else
            publish_finish(finding->publishes[i], call_error(call, reply));
    }
    call_deinit(call);
    free(finding);
    if (reply && in_doubt)
        in_doubt_find_next(in_doubt);
}

/* Moves those of the first one's channel out of the list, but not past one with a key: that is sent again in
 * its turn. */
static void finding_gather(struct finding *finding, struct in_doubt *in_doubt)
{
    list_for_each_safe (link, &in_doubt->publishes) {
        struct publish *publish = publish_of(link);
        bool is_same = finding->count == 0 ||
                       text_equals(publish_channel(finding->publishes[0]), publish_channel(publish));
        if (is_same && (publish->item->key_len > 0 || finding->count == IN_DOUBT_MOST))
            return;
        if (!is_same)
            continue;
        list_remove(link);
        finding->publishes[finding->count++] = publish;
    }
}

static enum error_code finding_prepare(struct finding *finding, struct redis_broker *broker)
{
    struct text arguments[IN_DOUBT_MOST + 1];
    const struct publish *first = finding->publishes[0];
    int64_t since_ms = clock_wall_ms() - (int64_t)(broker->now_ms - first->submitted_ms) - IN_DOUBT_SLACK_MS;
    char since[21];
    arguments[0] = call_number(since, since_ms > 0 ? (uint64_t)since_ms : 0);
    for (size_t i = 0; i < finding->count; i++)
        arguments[i + 1] = text_of(finding->publishes[i]->mark);
    return call_prepare(&finding->call, broker, "find", publish_channel(first), NULL, arguments,
                        (unsigned)finding->count + 1, finding_answered);
}

static void in_doubt_find_next(struct in_doubt *in_doubt)
{
    struct list *link;
    const struct redis_server *server = in_doubt->resident.server;
    while (server->state >= SERVER_UP && link_is_open(&server->commands) &&
           (link = list_first(&in_doubt->publishes))) {
        struct publish *first = publish_of(link);
        if (first->item->key_len > 0) {
            list_remove(link);
            call_submit(&first->call);
            continue;
        }
        struct finding *finding = calloc(1, sizeof(*finding));
        if (!finding) {
            publish_finish(first, ERROR_OUT_OF_MEMORY);
            continue;
        }
        finding_gather(finding, in_doubt);
        enum error_code error = finding_prepare(finding, in_doubt->resident.broker);
        if (error != ERROR_NONE) {
            for (size_t i = 0; i < finding->count; i++)
                publish_finish(finding->publishes[i], error);
            free(finding);
            continue;
        }
        finding->in_doubt = in_doubt;
        in_doubt->finding = finding;
        call_submit(&finding->call);
        return;
    }
}

/* Waiting. */

static void in_doubt_end(struct in_doubt *in_doubt, enum error_code error)
{
    list_drain (link, &in_doubt->publishes)
        publish_finish(publish_of(link), error);
    if (in_doubt->finding)
        in_doubt->finding->in_doubt = NULL;
    timer_stop(&in_doubt->resident.broker->wheel, &in_doubt->timer);
    resident_deinit(&in_doubt->resident);
}

static void in_doubt_expire(struct timer *timer)
{
    struct in_doubt *in_doubt = container_of(timer, struct in_doubt, timer);
    struct redis_broker *broker = in_doubt->resident.broker;
    uint64_t patience_ms = IN_DOUBT_PATIENCE * broker->options->redis_timeout_ms;
    list_for_each_safe (link, &in_doubt->publishes) {
        struct publish *publish = publish_of(link);
        if (publish->submitted_ms + patience_ms <= broker->now_ms)
            publish_finish(publish, ERROR_BROKER_DOWN);
        else if (!timer_is_armed(timer))
            timer_arm(&broker->wheel, timer, publish->submitted_ms + patience_ms);
    }
}

static struct in_doubt *in_doubt_of(struct resident *resident)
{
    return container_of(resident, struct in_doubt, resident);
}

static void in_doubt_server_up(struct resident *resident, struct redis_server *server)
{
    (void)server;
    struct in_doubt *in_doubt = in_doubt_of(resident);
    timer_stop(&resident->broker->wheel, &in_doubt->timer);
    if (!in_doubt->finding)
        in_doubt_find_next(in_doubt);
}

static void in_doubt_server_lost(struct resident *resident)
{
    struct in_doubt *in_doubt = in_doubt_of(resident);
    if (resident->server->state == SERVER_GONE)
        in_doubt_end(in_doubt, ERROR_BROKER_DOWN);
    else
        in_doubt_expire(&in_doubt->timer);
}

static void in_doubt_ended(struct resident *resident)
{
    in_doubt_end(in_doubt_of(resident), ERROR_STOPPING);
}

static const struct resident_ops in_doubt_resident_ops = {
    .up = in_doubt_server_up,
    .lost = in_doubt_server_lost,
    .ended = in_doubt_ended,
};

void in_doubt_init(struct redis_server *server)
{
    struct in_doubt *in_doubt = &server->in_doubt;
    resident_init(&in_doubt->resident, &in_doubt_resident_ops, server->broker);
    resident_move(&in_doubt->resident, server);
    list_init(&in_doubt->publishes);
    timer_init(&in_doubt->timer, in_doubt_expire);
}

bool in_doubt_keep(struct publish *publish)
{
    const struct redis_broker *broker = publish->call.broker;
    struct redis_server *server = publish->call.server;
    if (!server || broker->is_stopping || broker->is_cut || publish->item->is_transient)
        return false;
    list_append(&server->in_doubt.publishes, &publish->link);
    return true;
}
