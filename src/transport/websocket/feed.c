/* SPDX-License-Identifier: MIT */
/* The feed of channels over a WebSocket: one message a frame, as its bare data or as an object. What the
 * client sends is published to the first of them. */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/websocket_frame.h"
#include "command/auth.h"
#include "config/channel_options.h"
#include "core/publication.h"
#include "http/errors.h"
#include "http/refusal.h"
#include "render/render.h"
#include "shard/rates.h"
#include "transport/transports.h"
#include "websocket/websocket.h"

/*   shaking ──► asking ──► waiting ──► begun ──► closing
 *      ├───────────┴──────────^│                    ^
 *      └───────────────────────┴────────────────────┘
 */
enum feed_phase {
    FEED_SHAKING, /* hands: the 101 is not out */
    FEED_ASKING,  /* for a token, which the client is to say first */
    FEED_WAITING, /* for its channels, or the broker */
    FEED_BEGUN,   /* the opening is said, where there is one */
    FEED_CLOSING,
};

/* How messages look. */
struct feed_form {
    enum message_form form;
    struct rendering *(*render)(const struct message *message, struct text channel,
                                const struct epoch *epoch);
    bool is_json;
};

static const struct feed_form feed_raw = {FORM_WEBSOCKET_DATA, render_websocket_data, false};
static const struct feed_form feed_json = {FORM_WEBSOCKET_JSON, render_websocket_json, true};

#define FEED_SUBPROTOCOL_JSON "sluice.v1+json"
#define FEED_SUBPROTOCOL_RAW "sluice.v1+raw"
/* The largest message that says a token. */
#define FEED_TOKEN_BYTES 16384u

/* A subscription that has to wait. */
struct feed_wish {
    struct start start;
    struct persona *persona; /* what the client has said of itself; one reference, or NULL */
    unsigned count;
    struct channel_name channels[];
};

static void feed_wish_free(struct feed_wish *wish)
{
    if (wish)
        persona_unref(wish->persona);
    free(wish);
}

/* What a delivery touches is side by side. */
struct websocket_feed {
    struct subscriber subscriber;
    struct websocket websocket;
    const struct feed_form *form; /* known from `opened` on */
    uint8_t phase;                /* enum feed_phase */
    bool has_spoken;              /* the client's first message is done with */
    enum error_code error;        /* why the channels could not be joined while hands were shaken */
    struct errands errands;       /* what the client publishes */
    struct bearer bearer;
    struct feed_wish
        *wish; /* what is to be joined once the client has said its token; NULL then, and for most */
};

static struct websocket_feed *feed_of_websocket(struct websocket *websocket)
{
    return container_of(websocket, struct websocket_feed, websocket);
}

static void feed_move(struct websocket_feed *feed, enum feed_phase to)
{
    static const unsigned legal[] = {
        [FEED_SHAKING] = 1u << FEED_ASKING | 1u << FEED_WAITING | 1u << FEED_CLOSING,
        [FEED_ASKING] = 1u << FEED_WAITING | 1u << FEED_CLOSING,
        [FEED_WAITING] = 1u << FEED_BEGUN | 1u << FEED_CLOSING,
        [FEED_BEGUN] = 1u << FEED_CLOSING,
        [FEED_CLOSING] = 0,
    };
    assert(legal[feed->phase] & 1u << to);
    feed->phase = (uint8_t)to;
    if (to == FEED_CLOSING) {
        bearer_end(&feed->bearer);
        subscriber_leave(&feed->subscriber);
        errands_forget(&feed->errands);
    }
}

static enum close_reason feed_reason(enum error_code error)
{
    if (error == ERROR_STOPPING)
        return CLOSE_RESTART;
    if (error_status(error) == MHD_HTTP_SERVICE_UNAVAILABLE)
        return CLOSE_TRY_LATER;
    if (error_status(error) == MHD_HTTP_UNAUTHORIZED)
        return CLOSE_UNAUTHORIZED;
    if (error == ERROR_FORBIDDEN_CHANNEL)
        return CLOSE_FORBIDDEN;
    return error_status(error) < MHD_HTTP_INTERNAL_SERVER_ERROR ? CLOSE_POLICY : CLOSE_INTERNAL;
}

static void feed_close(struct websocket_feed *feed, enum error_code error, const char *fault)
{
    char what[CLOSE_REASON_MAX + 1];
    snprintf(what, sizeof(what), "%s: %s", error_name(error), fault);
    websocket_close(&feed->websocket, feed_reason(error), what);
}

/* Frames. */

static void feed_fill_reset(struct websocket_feed *feed, const struct delivery *delivery, struct buf *text)
{
    char cursor[CURSOR_TEXT_MAX];
    struct text channel = subscription_channel(delivery->subscription);
    size_t at = text->len;
    if (feed->form->is_json)
        render_json_reset(text, channel, delivery->reset, delivery->missed,
                          (struct text){cursor, subscriber_cursor(&feed->subscriber, cursor)});
    else
        render_reset_line(text, channel, delivery->reset, delivery->missed);
    websocket_begin_frame(text, at, WEBSOCKET_TEXT, 0);
}

/* With several channels the cursor is a joined one: only what follows it in the rendering is shared. */
static bool feed_has_joined_cursor(const struct websocket_feed *feed)
{
    return feed->form->is_json && subscriber_is_joined(&feed->subscriber);
}

static void feed_fill_joined(struct websocket_feed *feed, const struct rendering *rendering, struct buf *text)
{
    char cursor[CURSOR_TEXT_MAX];
    size_t at = text->len;
    render_json_cursor(text, (struct text){cursor, subscriber_cursor(&feed->subscriber, cursor)});
    websocket_begin_frame(text, at, WEBSOCKET_TEXT, rendering->payload_end - rendering->shared);
}

static int feed_fill(struct subscriber *subscriber, const struct delivery *delivery, struct buf *text,
                     struct outlet_frame *frame)
{
    struct websocket_feed *feed = container_of(subscriber, struct websocket_feed, subscriber);
    if (!delivery->message) {
        feed_fill_reset(feed, delivery, text);
        return 0;
    }
    const struct rendering *rendering =
        message_form(delivery->message, feed->form->form, subscription_channel(delivery->subscription),
                     subscription_epoch(delivery->subscription), feed->form->render);
    if (!rendering)
        return -ENOMEM;
    size_t from = rendering->payload;
    if (feed_has_joined_cursor(feed)) {
        feed_fill_joined(feed, rendering, text);
        from = rendering->shared;
    }
    frame->body = rendering->bytes + from;
    frame->body_len = rendering->payload_end - from;
    return 0;
}

/* Writing. */

/* The opening says whether the client gets everything since its cursor; so it waits for what the broker has
 * to be asked. Returns whether the feed may go on. Bare data has none. */
static bool feed_begin(struct websocket_feed *feed)
{
    char cursor[CURSOR_TEXT_MAX];
    enum recovery recovery = subscriber_recovery(&feed->subscriber);
    if (feed->form->is_json && subscriber_is_fetching(&feed->subscriber))
        return false;
    feed_move(feed, FEED_BEGUN);
    if (!feed->form->is_json)
        return true;
    struct buf *text = outlet_text(&feed->websocket.socket.outlet);
    size_t at = text->len;
    render_json_opening(text, (struct text){cursor, subscriber_cursor(&feed->subscriber, cursor)},
                        recovery == RECOVERY_WHOLE, subscriber_completeness(&feed->subscriber));
    websocket_begin_frame(text, at, WEBSOCKET_TEXT, 0);
    return true;
}

static void feed_flush(struct websocket_feed *feed)
{
    /* Frames of several channels in one write are no run of any of them. */
    const struct outlet_format format = {
        .fill = feed_fill,
        .run = subscriber_is_joined(&feed->subscriber) ? 0 : 1u + feed->form->form,
    };
    if (feed->phase == FEED_BEGUN || feed_begin(feed))
        outlet_deliver(&feed->websocket.socket.outlet, &feed->subscriber, &format, UINT64_MAX);
}

/* The subscriber's side. */

static void feed_wake(struct subscriber *subscriber, bool is_first)
{
    struct websocket_feed *feed = container_of(subscriber, struct websocket_feed, subscriber);
    if (is_first)
        errands_joined(&feed->errands);
    if (feed->phase == FEED_SHAKING)
        subscriber_block(subscriber);
    else
        feed_flush(feed);
    errands_settle_joined(&feed->errands);
}

static void feed_fail(struct subscriber *subscriber, enum error_code error)
{
    struct websocket_feed *feed = container_of(subscriber, struct websocket_feed, subscriber);
    if (feed->phase == FEED_SHAKING)
        feed->error = error;
    else
        feed_close(feed, error, error_text(error));
}

static enum error_code feed_admits(struct subscriber *subscriber, struct text channel)
{
    const struct websocket_feed *feed = container_of(subscriber, struct websocket_feed, subscriber);
    return bearer_admits(&feed->bearer, websocket_shard(&feed->websocket), subscriber, channel);
}

static const struct subscriber_ops feed_subscriber_ops = {
    .wake = feed_wake, .fail = feed_fail, .admits = feed_admits};

/* Publishing. */

static void feed_publish_fail(struct websocket_feed *feed, enum error_code error, const char *what)
{
    if (!feed->form->is_json) {
        feed_close(feed, error, what);
        return;
    }
    struct buf *text = outlet_text(&feed->websocket.socket.outlet);
    size_t at = text->len;
    errors_render_object(text, error, what);
    websocket_begin_frame(text, at, WEBSOCKET_TEXT, 0);
}

static void feed_publish_answer(struct publication *publication, enum error_code error, const char *what)
{
    if (error != ERROR_NONE)
        feed_publish_fail(container_of(publication->errand.errands, struct websocket_feed, errands), error,
                          what);
}

static const struct publication_ops feed_publication_ops = {.answer = feed_publish_answer};

static void feed_publish_ready(struct errands *errands)
{
    websocket_resume(&container_of(errands, struct websocket_feed, errands)->websocket);
}

static void feed_identify(const struct errands *errands, struct asker *by)
{
    const struct websocket_feed *feed = container_of(errands, const struct websocket_feed, errands);
    *by = rates_asker(&feed->websocket.socket.key, feed->bearer.grant);
}

static const struct errands_ops feed_errands_ops = {.ready = feed_publish_ready, .identify = feed_identify};

/* The websocket's side. */

static void feed_over(struct bearer *bearer, enum error_code why)
{
    feed_close(container_of(bearer, struct websocket_feed, bearer), why, error_text(why));
}

static void feed_opened(struct websocket *websocket)
{
    struct websocket_feed *feed = feed_of_websocket(websocket);
    const char *subprotocol = websocket->subprotocol;
    if (!feed->form)
        feed->form = subprotocol && strcmp(subprotocol, FEED_SUBPROTOCOL_JSON) == 0 ? &feed_json : &feed_raw;
    feed_move(feed, feed->wish ? FEED_ASKING : FEED_WAITING);
    bearer_begin(&feed->bearer, &websocket_shard(websocket)->bearers, feed_over);
    if (websocket_is_closing(websocket))
        return;
    if (feed->wish)
        bearer_await(&feed->bearer, websocket_shard(websocket)->options->head_timeout_ms);
    else if (feed->error != ERROR_NONE)
        feed_close(feed, feed->error, error_text(feed->error));
    else
        subscriber_unblock(&feed->subscriber);
}

/* What is sent goes to the first of its channels; the token before that to nobody. */
static uint64_t feed_limit(const struct websocket *websocket)
{
    const struct options *options = websocket_shard(websocket)->options;
    const struct websocket_feed *feed = container_of(websocket, const struct websocket_feed, websocket);
    const struct subscription *first = &feed->subscriber.subscriptions[0];
    if (feed->phase == FEED_ASKING)
        return FEED_TOKEN_BYTES;
    return first->channel ? channel_message_size(options, subscription_channel(first))
                          : channel_message_size_most(options);
}

/* Joins what was wished for, as far as the token that has come allows. Returns why it cannot. */
static enum error_code feed_join(struct websocket_feed *feed, char fault[AUTH_FAULT_MAX])
{
    struct shard *shard = websocket_shard(&feed->websocket);
    const struct feed_wish *wish = feed->wish;
    struct text channels[CURSOR_CHANNELS_MAX];
    enum error_code error = ERROR_NONE;
    for (unsigned i = 0; error == ERROR_NONE && i < wish->count; i++) {
        channels[i] = channel_name_text(&wish->channels[i]);
        error = bearer_check(&feed->bearer, shard, ACCESS_SUBSCRIBE, channels[i], fault);
    }
    if (error != ERROR_NONE)
        return error;
    feed_move(feed, FEED_WAITING);
    errands_join(&feed->errands);
    feed->subscriber.persona = wish->persona ? bearer_introduce(&feed->bearer, wish->persona) : NULL;
    error = subscriber_join(&feed->subscriber, &shard->hub, &feed_subscriber_ops, TRANSPORT_WEBSOCKET,
                            channels, wish->count, &wish->start);
    snprintf(fault, AUTH_FAULT_MAX, "%s", error == ERROR_NONE ? "" : error_text(error));
    return error;
}

/* Whether what is joined is allowed by a token that nobody has waited for; who it names is there from now on.
 */
static enum error_code feed_check(struct websocket_feed *feed, char fault[AUTH_FAULT_MAX])
{
    const struct subscriber *subscriber = &feed->subscriber;
    enum error_code error = ERROR_NONE;
    for (unsigned i = 0; error == ERROR_NONE && i < subscriber->count; i++)
        error = bearer_check(&feed->bearer, websocket_shard(&feed->websocket), ACCESS_SUBSCRIBE,
                             subscription_channel(&subscriber->subscriptions[i]), fault);
    struct persona *said = feed->subscriber.persona;
    struct persona *persona = error == ERROR_NONE && said ? bearer_introduce(&feed->bearer, said) : NULL;
    if (persona)
        subscriber_introduce(&feed->subscriber, persona);
    persona_unref(persona);
    if (error == ERROR_NONE)
        subscriber_search_again(&feed->subscriber);
    return error;
}

static void feed_take_token(struct websocket_feed *feed, struct text message)
{
    char fault[AUTH_FAULT_MAX];
    enum error_code error =
        auth_take_message(&feed->bearer, websocket_shard(&feed->websocket), message, fault);
    if (error == ERROR_NONE)
        error = feed->phase == FEED_ASKING ? feed_join(feed, fault) : feed_check(feed, fault);
    feed_wish_free(feed->wish);
    feed->wish = NULL;
    if (error != ERROR_NONE)
        feed_close(feed, error, fault);
}

/* Returns whether the client may publish; otherwise it is told. */
static bool feed_admits_publish(struct websocket_feed *feed, struct text channel)
{
    char fault[AUTH_FAULT_MAX];
    const char *wild = "what is sent is published to the first channel of the feed, which has to be one";
    enum error_code error =
        bearer_check(&feed->bearer, websocket_shard(&feed->websocket), ACCESS_PUBLISH, channel, fault);
    if (error == ERROR_NONE && channel_name_is_wild(channel)) {
        feed_publish_fail(feed, ERROR_BAD_CHANNEL, wild);
        return false;
    }
    if (error != ERROR_NONE)
        feed_publish_fail(feed, error, fault);
    return error == ERROR_NONE;
}

static bool feed_message(struct websocket *websocket, bool is_text, const char *bytes, size_t len)
{
    struct websocket_feed *feed = feed_of_websocket(websocket);
    const struct text message = {bytes, len};
    bool is_first = !feed->has_spoken;
    feed->has_spoken = true;
    if (feed->phase == FEED_ASKING ||
        (is_first && auth_message_is_token(websocket_shard(websocket), message))) {
        feed_take_token(feed, message);
        return true;
    }
    if (!errands_may_publish(&feed->errands))
        return false;
    const struct publish_wish wish = {
        .parts = {.type = is_text ? MESSAGE_TEXT : MESSAGE_BINARY, .data = bytes, .size = len},
        .channel = subscription_channel(&feed->subscriber.subscriptions[0]),
        .is_checked = true,
    };
    if (!feed_admits_publish(feed, wish.channel))
        return true;
    struct publication *publication = calloc(1, sizeof(*publication));
    if (publication)
        publication_begin(publication, &feed_publication_ops, &feed->errands, &wish, feed_limit(websocket));
    else
        feed_publish_fail(feed, ERROR_OUT_OF_MEMORY, error_text(ERROR_OUT_OF_MEMORY));
    return true;
}

static void feed_relieved(struct websocket *websocket)
{
    struct websocket_feed *feed = feed_of_websocket(websocket);
    if (feed->phase != FEED_ASKING)
        subscriber_unblock(&feed->subscriber);
}

/* Whoever is told bare data has no cursor to come back with: he is told what there is. */
static void feed_drain(struct websocket *websocket)
{
    struct websocket_feed *feed = feed_of_websocket(websocket);
    if (feed->phase == FEED_BEGUN)
        feed_flush(feed);
    websocket_close(websocket, CLOSE_RESTART, NULL);
}

static void feed_closing(struct websocket *websocket)
{
    feed_move(feed_of_websocket(websocket), FEED_CLOSING);
}

static void feed_release(struct websocket *websocket)
{
    feed_wish_free(feed_of_websocket(websocket)->wish);
    free(feed_of_websocket(websocket));
}

static const struct websocket_ops feed_websocket_ops = {
    .opened = feed_opened,
    .message = feed_message,
    .relieved = feed_relieved,
    .drain = feed_drain,
    .closing = feed_closing,
    .release = feed_release,
};

/* Without `format` the subprotocol decides; with it only its own one is agreed on. */
static const struct feed_choice {
    const char *word;
    const struct feed_form *form;
    const char *subprotocols[3];
} feed_choices[] = {
    {NULL, NULL, {FEED_SUBPROTOCOL_RAW, FEED_SUBPROTOCOL_JSON}},
    {"raw", &feed_raw, {FEED_SUBPROTOCOL_RAW}},
    {"json", &feed_json, {FEED_SUBPROTOCOL_JSON}},
};

static const struct websocket_service feed_services[] = {
    {.ops = &feed_websocket_ops, .subprotocols = feed_choices[0].subprotocols, .message_limit = feed_limit},
    {.ops = &feed_websocket_ops, .subprotocols = feed_choices[1].subprotocols, .message_limit = feed_limit},
    {.ops = &feed_websocket_ops, .subprotocols = feed_choices[2].subprotocols, .message_limit = feed_limit},
};

static size_t feed_choose(const struct exchange *exchange)
{
    struct text word = exchange_query(exchange, "format");
    size_t choice = word.bytes ? 1 : 0;
    while (word.bytes && choice < ARRAY_LENGTH(feed_choices) && !text_is(word, feed_choices[choice].word))
        choice++;
    return choice;
}

/* NULL when memory is out. */
static struct feed_wish *feed_wish_new(const struct subscription_wish *wish)
{
    struct feed_wish *copy = malloc(sizeof(*copy) + wish->count * sizeof(copy->channels[0]));
    if (!copy)
        return NULL;
    copy->start = wish->start;
    copy->persona = persona_ref(wish->persona);
    copy->count = wish->count;
    for (unsigned i = 0; i < wish->count; i++) {
        copy->channels[i].len = (uint8_t)wish->channels[i].len;
        memcpy(copy->channels[i].text, wish->channels[i].bytes, wish->channels[i].len);
    }
    return copy;
}

/* Joins already while hands are shaken, unless it has to be asked who the client is. */
static enum error_code feed_prepare(struct websocket_feed *feed, struct exchange *exchange,
                                    const struct subscription_wish *wish)
{
    bearer_share(&feed->bearer, &exchange->bearer);
    if (wish->awaits_token) {
        feed->wish = feed_wish_new(wish);
        return feed->wish ? ERROR_NONE : ERROR_OUT_OF_MEMORY;
    }
    errands_join(&feed->errands);
    feed->subscriber.persona = persona_ref(wish->persona);
    return subscriber_join(&feed->subscriber, &exchange->shard->hub, &feed_subscriber_ops,
                           TRANSPORT_WEBSOCKET, wish->channels, wish->count, &wish->start);
}

static void feed_accept(struct exchange *exchange, const struct subscription_wish *wish)
{
    size_t choice = feed_choose(exchange);
    if (choice == ARRAY_LENGTH(feed_choices)) {
        exchange_fail(exchange, ERROR_BAD_OPTION, "format must be raw or json");
        return;
    }
    struct websocket_feed *feed = refusal_make_holder(exchange, sizeof(*feed), &websocket_feed_transport);
    if (!feed)
        return;
    feed->subscriber.ahead = &feed->websocket.socket.outlet;
    feed->subscriber.policy = (uint8_t)wish->policy;
    feed->form = feed_choices[choice].form;
    errands_init(&feed->errands, &exchange->shard->hub, &feed_errands_ops);
    enum error_code error = feed_prepare(feed, exchange, wish);
    if (error == ERROR_NONE) {
        websocket_begin(&feed->websocket, exchange, &feed_services[choice]);
    } else {
        refusal_answer(exchange, error, &websocket_feed_transport);
        bearer_end(&feed->bearer);
        free(feed);
    }
}

const struct transport websocket_feed_transport = {
    .words = {"websocket"},
    .asks_for_token = true,
    .is_asked = websocket_is_asked,
    .begin = feed_accept,
};
