/* SPDX-License-Identifier: MIT */
#include "check_network/websocket_way.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/json_object.h"
#include "base/random.h"
#include "base/text.h"
#include "websocket/handshake.h"

#define HANDSHAKE_MAX 16384u
#define HANDSHAKE_PATIENCE_MS 10000u
#define KEY_BYTES 16u
/* Of "HTTP/1.1 ". */
#define HEAD_VERSION_LEN 9u
/* What is read in one turn, so that one who never ends does not keep us from everything else. */
#define TURN_BYTES (256u << 10)
/* Of one message. */
#define WEBSOCKET_MESSAGE_MAX (1u << 20)
/* While more than this is not sent, nothing is read: pings ask for answers. */
#define WEBSOCKET_UNSENT_MOST (64u << 10)

/* The head of the answer, as far as it is there. */
struct answer {
    char bytes[HANDSHAKE_MAX];
    size_t len;
    size_t head_len; /* 0 until it is whole */
};

static curl_socket_t websocket_socket(const struct websocket_way *websocket)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (websocket->request.easy)
        curl_easy_getinfo(websocket->request.easy, CURLINFO_ACTIVESOCKET, &fd);
    return fd;
}

/* Waits until the socket can do that. Returns whether it can before the deadline. */
static bool websocket_await(const struct websocket_way *websocket, short events, uint64_t deadline_ms)
{
    uint64_t now_ms = clock_monotonic_ms();
    struct pollfd wait = {.fd = websocket_socket(websocket), .events = events};
    return now_ms < deadline_ms && poll(&wait, 1, (int)(deadline_ms - now_ms)) == 1;
}

static bool websocket_send_all(struct websocket_way *websocket, const char *bytes, size_t len,
                               uint64_t deadline_ms)
{
    while (len > 0) {
        size_t sent = 0;
        CURLcode code = curl_easy_send(websocket->request.easy, bytes, len, &sent);
        if (code != CURLE_OK && (code != CURLE_AGAIN || !websocket_await(websocket, POLLOUT, deadline_ms)))
            return false;
        bytes += sent;
        len -= sent;
    }
    return true;
}

static bool websocket_read_head(struct websocket_way *websocket, struct answer *answer, uint64_t deadline_ms)
{
    while (answer->len < sizeof(answer->bytes)) {
        size_t got = 0;
        CURLcode code = curl_easy_recv(websocket->request.easy, answer->bytes + answer->len,
                                       sizeof(answer->bytes) - answer->len, &got);
        if (code == CURLE_AGAIN && websocket_await(websocket, POLLIN, deadline_ms))
            continue;
        if (code != CURLE_OK || got == 0)
            return false;
        answer->len += got;
        const char *end = memmem(answer->bytes, answer->len, "\r\n\r\n", 4);
        if (end) {
            answer->head_len = (size_t)(end - answer->bytes) + 4;
            return true;
        }
    }
    return false;
}

static bool websocket_is_accepted(const struct answer *answer, const char *key)
{
    struct text head = {answer->bytes, answer->head_len};
    char accept[HANDSHAKE_ACCEPT_SIZE];
    handshake_accept(accept, key);
    return text_begins(head, "HTTP/1.1 101 ") && text_contains(head, accept);
}

/* Who answered, and what he says behind the head as far as it is there. */
static void websocket_read_answer(struct websocket_way *websocket, const struct answer *answer)
{
    struct text head = {answer->bytes, answer->head_len};
    text_cut(&head, '\n');
    while (head.len > 0) {
        struct text line = text_cut(&head, '\n');
        if (line.len > 0 && line.bytes[line.len - 1] == '\r')
            line.len--;
        struct text name = text_cut(&line, ':');
        request_take_field(&websocket->request, name, text_trim(line));
    }
    request_take_refusal(&websocket->request,
                         (struct text){answer->bytes + answer->head_len, answer->len - answer->head_len});
}

/* The first line of an answer that is none of ours, or what is known otherwise. */
static void websocket_refuse(struct websocket_way *websocket, const struct answer *answer)
{
    struct text all = {answer->bytes, answer->len};
    struct text line = text_cut(&all, '\n');
    const char *code = websocket->request.code;
    const char *via = websocket->request.via;
    uint64_t now_ns = clock_monotonic_ns();
    websocket_read_answer(websocket, answer);
    if (line.len > 0 && line.bytes[line.len - 1] == '\r')
        line.len--;
    if (answer->head_len && text_begins(line, "HTTP/1.1 101 "))
        way_end(&websocket->way, now_ns, "101, but not as an answer to our key");
    else if (text_begins(line, "HTTP/") && line.len > HEAD_VERSION_LEN)
        way_end(&websocket->way, now_ns, "answered %.*s%s%s%s%s%.100s", (int)(line.len - HEAD_VERSION_LEN),
                line.bytes + HEAD_VERSION_LEN, code[0] ? " (" : "", code, code[0] ? ")" : "",
                via[0] ? " by " : "", via);
    else if (answer->len)
        way_end(&websocket->way, now_ns, "an answer that is not HTTP");
    else
        way_end(&websocket->way, now_ns, "no answer to the handshake");
}

static void websocket_write_handshake(struct buf *to, const struct check_order *order, const char *key)
{
    const char *host = strstr(order->url, "://") + 3;
    size_t host_len = strcspn(host, "/?#");
    const char *path = host + host_len;
    buf_append_text(to, "GET ");
    buf_append_text(to, path);
    buf_append_text(to, "/ws HTTP/1.1\r\nHost: ");
    buf_append(to, host, host_len);
    /* As of a page of the server: a proxy that changes Host has it refused. */
    buf_append_text(to, "\r\nOrigin: ");
    buf_append(to, order->url, (size_t)(host - order->url) + host_len);
    buf_append_text(
        to,
        "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ");
    buf_append_text(to, key);
    if (order->token) {
        buf_append_text(to, "\r\nAuthorization: Bearer ");
        buf_append_text(to, order->token);
    }
    buf_append_text(to, "\r\n\r\n");
}

static bool websocket_is_backed_up(const struct wslay_event_context *frames)
{
    return wslay_event_get_queued_msg_length((struct wslay_event_context *)(uintptr_t)frames) >
           WEBSOCKET_UNSENT_MOST;
}

static ssize_t websocket_recv(struct wslay_event_context *frames, uint8_t *to, size_t len, int flags,
                              void *context)
{
    struct websocket_way *websocket = context;
    size_t got = 0;
    CURLcode code = CURLE_AGAIN;
    (void)flags; /* reserved by wslay */
    websocket->has_more = websocket->read_in_turn >= TURN_BYTES;
    if (!websocket->has_more && !websocket_is_backed_up(frames))
        code = curl_easy_recv(websocket->request.easy, to, len, &got);
    websocket->read_in_turn += got;
    if (code == CURLE_OK && got > 0)
        return (ssize_t)got;
    wslay_event_set_error(frames, code == CURLE_AGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static ssize_t websocket_send(struct wslay_event_context *frames, const uint8_t *bytes, size_t len, int flags,
                              void *context)
{
    struct websocket_way *websocket = context;
    size_t sent = 0;
    (void)flags; /* says that more follows: curl has no use for it */
    CURLcode code = curl_easy_send(websocket->request.easy, bytes, len, &sent);
    if (code == CURLE_OK)
        return (ssize_t)sent;
    wslay_event_set_error(frames, code == CURLE_AGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static int websocket_mask(struct wslay_event_context *frames, uint8_t *to, size_t len, void *context)
{
    (void)frames;
    (void)context; /* wslay's signature */
    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)random_next();
    return 0;
}

/* What the server says to a command that it refuses. */
static void websocket_take_error(struct websocket_way *websocket, struct text said)
{
    static const char *const names[] = {"code", "message", NULL};
    char unwritten[JSON_FAULT_MAX], fault[JSON_OBJECT_FAULT_MAX];
    struct json_object object = {0};
    struct text code = {0}, message = {0}, value;
    if (json_scan(&value, said.bytes, said.len, unwritten) == 0) {
        json_object_read(&object, value, names);
        if (json_object_string(&object, 0, &code, fault) == 0 && code.len > 0 &&
            json_object_string(&object, 1, &message, fault) == 0)
            snprintf(websocket->request.code, sizeof(websocket->request.code), "%.*s", (int)code.len,
                     code.bytes);
    }
    if (code.len > 0)
        way_end(&websocket->way, clock_monotonic_ns(), "%.*s: %.*s", (int)code.len, code.bytes,
                (int)message.len, message.bytes);
    else
        way_end(&websocket->way, clock_monotonic_ns(), "%.*s", (int)said.len, said.bytes);
    json_object_deinit(&object);
}

static void websocket_take(struct wslay_event_context *frames,
                           const struct wslay_event_on_msg_recv_arg *message, void *context)
{
    struct websocket_way *websocket = context;
    struct text text = {(const char *)message->msg, message->msg_length};
    uint64_t now_ns = clock_monotonic_ns();
    (void)frames; /* wslay's signature */
    if (message->opcode != WSLAY_TEXT_FRAME)
        return;
    if (text_contains(text, "\"op\":\"subscribed\"") && !websocket->way.opened_ns)
        websocket->way.opened_ns = now_ns;
    else if (text_contains(text, "\"op\":\"published\""))
        websocket->published++;
    else if (text_contains(text, "\"op\":\"error\""))
        websocket_take_error(websocket, text);
    else
        way_take(&websocket->way, text.bytes, text.len, now_ns);
}

static bool websocket_queue(struct websocket_way *websocket, const char *command)
{
    struct wslay_event_msg message = {WSLAY_TEXT_FRAME, (const uint8_t *)command, strlen(command)};
    return wslay_event_queue_msg(websocket->frames, &message) == 0;
}

static int websocket_open(struct websocket_way *websocket)
{
    static const struct wslay_event_callbacks callbacks = {.recv_callback = websocket_recv,
                                                           .send_callback = websocket_send,
                                                           .genmask_callback = websocket_mask,
                                                           .on_msg_recv_callback = websocket_take};
    char command[256];
    if (wslay_event_context_client_init(&websocket->frames, &callbacks, websocket))
        return -ENOMEM;
    wslay_event_config_set_max_recv_msg_length(websocket->frames, WEBSOCKET_MESSAGE_MAX);
    snprintf(command, sizeof(command), "{\"op\":\"subscribe\",\"channel\":\"%s\",\"since\":\"now\"}",
             websocket->request.order->channel);
    if (!websocket_queue(websocket, command))
        return -ENOMEM;
    websocket_way_turn(websocket);
    return 0;
}

static int websocket_shake_hands(struct websocket_way *websocket)
{
    struct answer *answer = calloc(1, sizeof(*answer));
    struct buf head = {0};
    char random[KEY_BYTES];
    char key[KEY_BYTES * 2];
    uint64_t deadline_ms = clock_monotonic_ms() + HANDSHAKE_PATIENCE_MS;
    int error = 0;
    for (size_t i = 0; i < KEY_BYTES; i++)
        random[i] = (char)random_next();
    base64_encode(key, random, KEY_BYTES);
    websocket_write_handshake(&head, websocket->request.order, key);
    if (!answer || head.has_failed) {
        error = -ENOMEM;
    } else if (!websocket_send_all(websocket, head.bytes, head.len, deadline_ms) ||
               !websocket_read_head(websocket, answer, deadline_ms) || !websocket_is_accepted(answer, key)) {
        websocket_refuse(websocket, answer);
    } else {
        /* A server says nothing before it was asked. */
        error = websocket_open(websocket);
    }
    buf_deinit(&head);
    free(answer);
    return error;
}

int websocket_way_begin(struct websocket_way *websocket, const struct check_order *order, const char *mark)
{
    *websocket = (struct websocket_way){0};
    way_init(&websocket->way, "websocket", mark);
    websocket->way.begun_ns = clock_monotonic_ns();
    if (request_init(&websocket->request, order, "/ws", NULL))
        return -ENOMEM;
    CURL *easy = websocket->request.easy;
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    CURLcode code = curl_easy_perform(easy);
    if (code == CURLE_OK)
        return websocket_shake_hands(websocket);
    char why[WAY_FAULT_MAX];
    request_explain_loss(&websocket->request, code, why);
    way_end(&websocket->way, clock_monotonic_ns(), "%s", why);
    return 0;
}

struct curl_waitfd websocket_way_wait(const struct websocket_way *websocket)
{
    struct curl_waitfd wait = {.fd = -1};
    if (websocket->frames && !websocket->way.ended_ns)
        wait.fd = websocket_socket(websocket);
    if (websocket->frames && !websocket_is_backed_up(websocket->frames))
        wait.events |= CURL_WAIT_POLLIN;
    if (websocket->frames && wslay_event_want_write(websocket->frames))
        wait.events |= CURL_WAIT_POLLOUT;
    return wait;
}

void websocket_way_turn(struct websocket_way *websocket)
{
    struct wslay_event_context *frames = websocket->frames;
    if (!frames || websocket->way.ended_ns)
        return;
    websocket->read_in_turn = 0;
    int received = wslay_event_recv(frames);
    int sent = wslay_event_send(frames);
    if (wslay_event_get_close_received(frames))
        way_end(&websocket->way, clock_monotonic_ns(), "closed with %u",
                wslay_event_get_status_code_received(frames));
    else if (!wslay_event_get_read_enabled(frames))
        way_end(&websocket->way, clock_monotonic_ns(), "frames came that are none of ours");
    else if (received || sent)
        way_end(&websocket->way, clock_monotonic_ns(), "the connection was cut");
}

bool websocket_way_publish(struct websocket_way *websocket, unsigned number)
{
    char mark[WAY_MARK_MAX];
    char command[512];
    if (!way_is_open(&websocket->way))
        return false;
    way_make_mark(mark, websocket->way.mark, number);
    snprintf(command, sizeof(command), "{\"op\":\"publish\",\"channel\":\"%s\",\"data\":\"%s\"}",
             websocket->request.order->channel, mark);
    bool is_queued = websocket_queue(websocket, command);
    websocket_way_turn(websocket);
    return is_queued;
}

void websocket_way_end(struct websocket_way *websocket)
{
    if (websocket->frames)
        wslay_event_context_free(websocket->frames);
    request_deinit(&websocket->request);
    way_deinit(&websocket->way);
}
