/* SPDX-License-Identifier: MIT */
#include "transport/sockjs/session.h"

#include <stdlib.h>

#include "render/render.h"
#include "transport/sockjs/receiver.h"
#include "transport/sockjs/send.h"

/* Answers that are kept beyond response-limit for those messages of one request that are still to be taken.
 */
#define SESSION_ANSWERS_MORE (1u << 20)
/* Of one channel in one answer, so that others have their turn. */
#define GATHER_STEP 16u
#define GATHER_STEPS 4u
/* A buffer for answers that is kept for the next ones. */
#define SESSION_ANSWERS_KEPT 4096u

static struct session *session_of(struct conversation *conversation)
{
    return container_of(conversation, struct session, application.conversation);
}

static void session_free(struct garbage *garbage)
{
    struct session *session = container_of(garbage, struct session, garbage);
    buf_deinit(&session->answers);
    (void)memory_share_set(&session->share, session->application.conversation.shard,
                           0); /* less always fits */
    free(session);
}

static void session_end(struct session *session)
{
    struct shard *shard = session->application.conversation.shard;
    struct session_table *table = session_table_of(shard);
    timer_stop(&shard->wheel, &session->life);
    timer_stop(&shard->wheel, &session->going_on);
    conversation_deinit(&session->application.conversation);
    HASH_DEL(table->sessions, session);
    connection_limits_remove(table->limits, &session->limit_key);
    shard_count(shard, METRIC_SOCKJS_SESSIONS, (uint64_t)-1);
    sendings_drop(session);
    shard_reap(shard, &session->garbage, session_free);
}

static void session_expire(struct timer *timer)
{
    session_end(container_of(timer, struct session, life));
}

static void session_go_on_later(struct session *session)
{
    struct shard *shard = session->application.conversation.shard;
    timer_arm(&shard->wheel, &session->going_on, shard->now_ms);
}

void session_relieve(struct session *session)
{
    if (!list_is_empty(&session->sendings))
        session_go_on_later(session);
}

/* Not in the call that has found it out, which may be within the conversation. */
static void session_go_on(struct timer *timer)
{
    struct session *session = container_of(timer, struct session, going_on);
    if (session->answers.has_failed)
        session_close(session, session->is_short ? CLOSE_CONNECTION_MEMORY : CLOSE_TRY_LATER);
    else
        sendings_go_on(session);
}

static void session_live_on(struct session *session)
{
    struct shard *shard = session->application.conversation.shard;
    timer_arm(&shard->wheel, &session->life,
              shard->now_ms + session->service->declaration.disconnect_delay_ms);
}

/* Telling. */

static void session_flush(struct session *session)
{
    if (session->receiver && session->answers.len > 0 && !session->is_corked)
        receiver_flush(session->receiver);
}

/* Without memory the session ends: a part of an answer is told to nobody, and no gap is silent. */
static void session_check_answers(struct session *session, size_t len_before)
{
    struct buf *answers = &session->answers;
    if (!memory_share_set(&session->share, session->application.conversation.shard, answers->capacity)) {
        buf_deinit(answers);
        answers->has_failed = true;
        session->is_short = true;
        len_before = 0;
    }
    if (!answers->has_failed)
        return;
    answers->len = len_before;
    session_go_on_later(session);
}

static void session_say(struct conversation *conversation, const char *text, size_t len)
{
    struct session *session = session_of(conversation);
    size_t len_before = session->answers.len;
    if (session->is_closed)
        return;
    if (session->answers.len > 0)
        buf_append_char(&session->answers, ',');
    render_sockjs_string(&session->answers, text, len);
    session_check_answers(session, len_before);
    session_flush(session);
}

/* Returns whether there may be more. */
static bool session_gather_step(struct session *session, struct command_subscription *subscription)
{
    struct shard *shard = session->application.conversation.shard;
    struct delivery deliveries[GATHER_STEP];
    size_t limit = session->service->declaration.response_limit_bytes;
    size_t count = subscriber_read(&subscription->subscriber, deliveries, GATHER_STEP);
    for (size_t i = 0; i < count; i++) {
        size_t len_before = session->answers.len;
        if (len_before >= limit)
            return true;
        subscriber_advance(&deliveries[i]);
        if (session->answers.len > 0)
            buf_append_char(&session->answers, ',');
        application_append_string(&session->application, &session->answers, &deliveries[i]);
        session_check_answers(session, len_before);
        shard_count(shard, METRIC_DELIVERIES, 1);
    }
    return count == GATHER_STEP;
}

void session_forget_answers(struct session *session)
{
    session->answers.len = 0;
    if (session->answers.capacity > SESSION_ANSWERS_KEPT && !session->answers.has_failed)
        buf_deinit(&session->answers);
    /* Less always fits. */
    (void)memory_share_set(&session->share, session->application.conversation.shard,
                           session->answers.capacity);
}

void session_gather(struct session *session)
{
    list_for_each (link, &session->application.conversation.subscriptions) {
        struct command_subscription *subscription = container_of(link, struct command_subscription, link);
        unsigned steps = 0;
        if (subscription->state != COMMAND_LIVE)
            continue;
        while (steps < GATHER_STEPS && session_gather_step(session, subscription))
            steps++;
        /* It is served again when there is a receiver. */
        if (steps == GATHER_STEPS ||
            session->answers.len >= session->service->declaration.response_limit_bytes)
            subscriber_block(&subscription->subscriber);
    }
}

/* What there is while nobody fetches stays where it is. */
static void session_deliver(struct command_subscription *subscription)
{
    const struct session *session = session_of(subscription->conversation);
    if (session->receiver)
        receiver_deliver(session->receiver, subscription);
    else
        subscriber_block(&subscription->subscriber);
}

static void session_ready(struct conversation *conversation)
{
    sendings_go_on(session_of(conversation));
}

void session_close(struct session *session, enum close_reason reason)
{
    struct shard *shard = session->application.conversation.shard;
    if (session->is_closed)
        return;
    session->is_closed = true;
    session->reason = reason;
    shard_count(shard, METRIC_CLOSED_NORMAL + reason, 1);
    conversation_deinit(&session->application.conversation);
    sendings_drop(session);
    session_live_on(session);
    if (session->receiver)
        receiver_close(session->receiver);
}

static void session_over(struct conversation *conversation, enum error_code why)
{
    session_close(session_of(conversation), application_close_reason(why));
}

static const struct conversation_ops session_conversation_ops = {
    .say = session_say,
    .deliver = session_deliver,
    .ready = session_ready,
    .over = session_over,
};

static bool session_holds(const struct session *session, uint64_t bytes)
{
    return session->answers.len + (session->receiver ? receiver_owed(session->receiver) : 0) >= bytes;
}

bool session_is_full(const struct session *session)
{
    return session_holds(session, session->service->declaration.response_limit_bytes);
}

bool session_is_stuffed(const struct session *session)
{
    return (session->answers.len > 0 && memory_is_short(session->application.conversation.shard)) ||
           session_holds(session, session->service->declaration.response_limit_bytes + SESSION_ANSWERS_MORE);
}

void session_cork(struct session *session)
{
    session->is_corked = true;
}

void session_uncork(struct session *session)
{
    session->is_corked = false;
    session_flush(session);
}

/* Receivers. */

void session_attach(struct session *session, struct receiver *receiver)
{
    session->receiver = receiver;
    timer_stop(&session->application.conversation.shard->wheel, &session->life);
}

void session_detach(struct session *session, bool is_interrupted)
{
    session->receiver = NULL;
    if (is_interrupted)
        session_close(session, CLOSE_INTERRUPTED);
    session_relieve(session);
    session_live_on(session);
}

/* The table. */

static size_t session_write_key(char *key, const struct sockjs_service *service, struct text name)
{
    memcpy(key, &service->index, sizeof(service->index));
    memcpy(key + sizeof(service->index), name.bytes, name.len);
    return sizeof(service->index) + name.len;
}

struct session *session_find(struct shard *shard, const struct sockjs_service *service, struct text name)
{
    char key[sizeof(unsigned) + SESSION_ID_MAX];
    struct session_table *table = session_table_of(shard);
    struct session *session;
    size_t len = session_write_key(key, service, name);
    HASH_FIND(hh, table->sessions, key, len, session);
    return session;
}

/* Counts a session of the client; a refused one not. */
static enum error_code session_count(struct shard *shard, const struct limit_key *key)
{
    struct connection_limits *limits = session_table_of(shard)->limits;
    const struct options *options = shard->options;
    const struct limit_caps caps = {options->max_sessions, options->max_connections_per_ip,
                                    ERROR_TOO_MANY_SESSIONS};
    connection_limits_count(limits, key);
    enum error_code error = connection_limits_check(limits, key, &caps);
    if (error != ERROR_NONE) {
        connection_limits_remove(limits, key);
        shard_count(shard, METRIC_SESSIONS_REFUSED, 1);
    }
    return error;
}

/* Puts it into the table. NULL when memory is out. */
static struct session *session_new(struct shard *shard, const struct sockjs_service *service,
                                   struct text name)
{
    struct session_table *table = session_table_of(shard);
    struct session *session = calloc(1, sizeof(*session) + sizeof(service->index) + name.len);
    if (!session)
        return NULL;
    session->service = service;
    session->key_len = session_write_key(session->key, service, name);
    HASH_ADD_KEYPTR(hh, table->sessions, session->key, session->key_len, session);
    if (session->hh.tbl)
        return session;
    free(session);
    return NULL;
}

enum error_code session_begin(struct session **begun, struct shard *shard,
                              const struct sockjs_service *service, struct text name,
                              const struct exchange *exchange)
{
    const struct limit_key *key = &exchange->client->key;
    enum error_code error = session_count(shard, key);
    if (error != ERROR_NONE)
        return error;
    struct session *session = session_new(shard, service, name);
    if (!session) {
        connection_limits_remove(session_table_of(shard)->limits, key);
        return ERROR_OUT_OF_MEMORY;
    }
    session->limit_key = *key;
    shard_count(shard, METRIC_SOCKJS_SESSIONS, 1);
    list_init(&session->sendings);
    timer_init(&session->life, session_expire);
    timer_init(&session->going_on, session_go_on);
    error = application_begin(&session->application, shard, service, &session_conversation_ops,
                              &exchange->bearer);
    session_live_on(session);
    session->application.conversation.key = &session->limit_key;
    if (application_goes_away(&session->application))
        session_close(session, CLOSE_GO_AWAY);
    else if (error != ERROR_NONE)
        session_close(session, application_close_reason(error));
    else
        conversation_bear(&session->application.conversation);
    *begun = session;
    return ERROR_NONE;
}

/* The connections have gone by then, and their sessions would live on. */
static void session_table_evict(struct lodger *lodger)
{
    struct session_table *table = container_of(lodger, struct session_table, lodger);
    struct session *session;
    struct session *next;
    HASH_ITER (hh, table->sessions, session, next) {
        if (!session->receiver)
            session_end(session);
    }
}

void session_table_init(struct session_table *table, struct shard *shard, struct connection_limits *limits)
{
    table->limits = limits;
    table->lodger.evict = session_table_evict;
    list_append(&shard->lodgers, &table->lodger.link);
}
