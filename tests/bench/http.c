/* SPDX-License-Identifier: MIT */
/* Requests in the dialect of each server, and their answers. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "bench.h"

#define HTTP_PUBLISH_BYTES 512
#define HTTP_READ_BYTES 65536

static const struct http_dialect {
    const char *publish;
    const char *subscribe;
    const char *look;
    const char *held;      /* before the number of held polls, in the answer to `look` */
    const char *connected; /* before that of WebSockets */
    const char *published; /* before the number of messages accepted */
} http_dialects[] = {
    [BENCH_SLUICE] = {"/channels/", "/channels/", "/api/stats",
                      "\"subscribers_poll\":", "\"subscribers_websocket\":", "\"published_total\":"},
    [BENCH_NCHAN] = {"/pub/", "/sub/", "/status",
                     "\nsubscribers: ", "\nsubscribers: ", "total published messages: "},
};

static const struct http_dialect *http_dialect(const struct bench_options *options)
{
    return &http_dialects[options->server == BENCH_NCHAN ? BENCH_NCHAN : BENCH_SLUICE];
}

size_t bench_take_answer(struct bench_reader *reader, const char *bytes, size_t len, bool *is_whole)
{
    size_t used = 0;
    if (!reader->is_in_body) {
        size_t room = sizeof(reader->head) - 1 - reader->head_len;
        size_t part = len < room ? len : room;
        memcpy(reader->head + reader->head_len, bytes, part);
        reader->head[reader->head_len + part] = '\0';
        char *end = strstr(reader->head, "\r\n\r\n");
        if (!end && part == room)
            bench_fail("an answer with a head that is too large: %.300s", reader->head);
        *is_whole = false;
        if (!end) {
            reader->head_len += part;
            return part;
        }
        end[4] = '\0';
        used = (size_t)(end + 4 - reader->head) - reader->head_len;
        const char *length = strcasestr(reader->head, "\r\nContent-Length:");
        bool has_body = strncmp(reader->head, "HTTP/1.1 204", 12) != 0;
        if (strncmp(reader->head, "HTTP/1.1 2", 10) != 0 || (has_body && !length))
            bench_fail("refused: %.300s", reader->head);
        reader->body_left = has_body ? strtoul(length + 17, NULL, 10) : 0;
        reader->is_in_body = true;
    }
    size_t part = len - used < reader->body_left ? len - used : reader->body_left;
    reader->body_left -= part;
    *is_whole = reader->body_left == 0;
    if (*is_whole) {
        reader->is_in_body = false;
        reader->head_len = 0;
    }
    return used + part;
}

unsigned bench_count_answers(struct bench_reader *reader, const char *bytes, size_t len)
{
    unsigned count = 0;
    while (len > 0) {
        bool is_whole = false;
        size_t used = bench_take_answer(reader, bytes, len, &is_whole);
        count += is_whole;
        bytes += used;
        len -= used;
    }
    return count;
}

/* Waits for one answer; `text` receives it, or the last part of one that is too large. */
static void http_await_answer(int fd, char *text, size_t room)
{
    struct bench_reader reader = {0};
    size_t have = 0;
    for (;;) {
        if (have == room - 1)
            have = 0;
        ssize_t got = recv(fd, text + have, room - 1 - have, 0);
        if (got <= 0)
            bench_fail("the server closed the publishing connection");
        have += (size_t)got;
        text[have] = '\0';
        if (bench_count_answers(&reader, text + have - got, (size_t)got) > 0)
            return;
    }
}

static uint64_t http_look(const struct bench_options *options, int fd, const char *before)
{
    static char text[HTTP_READ_BYTES];
    char request[128];
    int len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                       http_dialect(options)->look);
    bench_send_all(fd, request, (size_t)len);
    http_await_answer(fd, text, sizeof(text));
    const char *number = strstr(text, before);
    if (!number)
        bench_fail("no number %s in: %.300s", before, text);
    return strtoull(number + strlen(before), NULL, 10);
}

uint64_t bench_look_held(const struct bench_options *options, int fd)
{
    const struct http_dialect *dialect = http_dialect(options);
    return http_look(options, fd, options->transport == BENCH_POLL ? dialect->held : dialect->connected);
}

uint64_t bench_look_published(const struct bench_options *options, int fd)
{
    return http_look(options, fd, http_dialect(options)->published);
}

/* The head of a request as browsers send it, padded by a cookie. Returns its length. */
static size_t http_write_head(const struct bench_options *options, char *head, size_t room,
                              const char *method, const char *target, const char *fields)
{
    static char padding[16384];
    int len =
        snprintf(head, room,
                 "%s %s HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: "
                 "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n"
                 "Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.9\r\n%sCookie: s=",
                 method, target, fields);
    int fill = (int)options->head_bytes - len - 4;
    if (!padding[0])
        memset(padding, 'c', sizeof(padding) - 1);
    len += snprintf(head + len, room - (size_t)len, "%.*s\r\n\r\n", fill > 1 ? fill : 1, padding);
    return (size_t)len;
}

static const char http_upgrade[] = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
                                   "13\r\nSec-WebSocket-Key: " BENCH_WEBSOCKET_KEY "\r\n";

size_t bench_write_subscribe(const struct bench_options *options, char *head, size_t room,
                             const char *channel, const char *cursor)
{
    static const char *const accepts[] = {
        [BENCH_SSE] = "text/event-stream", [BENCH_STREAM] = "application/x-ndjson", [BENCH_POLL] = "*/*"};
    bool is_nchan = options->server == BENCH_NCHAN;
    bool is_upgrade = options->transport == BENCH_WEBSOCKET || options->transport == BENCH_COMMANDS;
    bool has_query = !is_nchan && !is_upgrade;
    char target[256];
    char fields[512];
    snprintf(target, sizeof(target), "%s%s%s%s", http_dialect(options)->subscribe, channel,
             has_query ? "?wait=300" : "", has_query ? cursor : "");
    if (is_upgrade)
        return http_write_head(options, head, room, "GET",
                               options->transport == BENCH_COMMANDS ? "/ws" : target, http_upgrade);
    snprintf(fields, sizeof(fields), "Connection: keep-alive\r\nAccept: %s\r\n%s",
             accepts[options->transport], is_nchan ? cursor : "");
    return http_write_head(options, head, room, "GET", target, fields);
}

size_t bench_write_sockjs(const struct bench_options *options, char *head, size_t room, const char *session,
                          const char *said)
{
    char target[128];
    char fields[128];
    snprintf(target, sizeof(target), "/sockjs/000/%s/%s", session, said ? "xhr_send" : "xhr");
    snprintf(fields, sizeof(fields),
             "Connection: keep-alive\r\nAccept: */*\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n",
             said ? strlen(said) : 0);
    size_t len = http_write_head(options, head, room, "POST", target, fields);
    return len + (size_t)snprintf(head + len, room - len, "%s", said ? said : "");
}

/* The value of a header, quoted or bare. */
static int http_header(const char *head, const char *name, const char **value)
{
    const char *at = strcasestr(head, name);
    if (!at)
        bench_fail("an answer without a cursor: %.300s", head);
    at += strlen(name);
    at += *at == '"';
    *value = at;
    return (int)strcspn(at, "\"\r");
}

void bench_take_cursor(const struct bench_options *options, const char *head, char *cursor, size_t room)
{
    const char *tag;
    const char *time;
    int tag_len = http_header(head, "\r\nETag: ", &tag);
    if (options->server == BENCH_NCHAN) {
        int time_len = http_header(head, "\r\nLast-Modified: ", &time);
        snprintf(cursor, room, "If-Modified-Since: %.*s\r\nIf-None-Match: %.*s\r\n", time_len, time, tag_len,
                 tag);
    } else {
        snprintf(cursor, room, "&since=%.*s", tag_len, tag);
    }
}

static void http_make_message(char *message)
{
    memset(message, 'x', BENCH_MESSAGE_BYTES - 1);
    message[BENCH_MESSAGE_BYTES - 1] = BENCH_MARK;
    message[BENCH_MESSAGE_BYTES] = '\0';
}

/* `count` requests of one message each, one after the other. */
void bench_send_singles(const struct bench_options *options, int fd, const char *channel, unsigned count)
{
    char message[BENCH_MESSAGE_BYTES + 1];
    char *requests = malloc((size_t)count * HTTP_PUBLISH_BYTES);
    size_t len = 0;
    if (!requests)
        bench_fail("no memory");
    http_make_message(message);
    for (unsigned i = 0; i < count; i++)
        len += (size_t)snprintf(
            requests + len, HTTP_PUBLISH_BYTES,
            "POST %s%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: "
            "%d\r\n\r\n%s",
            http_dialect(options)->publish, channel, BENCH_MESSAGE_BYTES, message);
    bench_send_all(fd, requests, len);
    free(requests);
}

static size_t http_append_message(char *to, const struct bench_options *options, const char *channel,
                                  const char *message)
{
    static unsigned number;
    if (options->keys == 0)
        return (size_t)sprintf(to, "{\"channel\":\"%s\",\"data\":\"%s\"}\n", channel, message);
    return (size_t)sprintf(to, "{\"channel\":\"%s\",\"key\":\"k%u\",\"data\":\"%s\"}\n", channel,
                           number++ % options->keys, message);
}

void bench_publish(const struct bench_options *options, int fd, const char *channel, unsigned count)
{
    static char answer[HTTP_READ_BYTES];
    static char *body;
    char message[BENCH_MESSAGE_BYTES + 1];
    char head[256];
    size_t len = 0;
    if (count == 1) {
        bench_send_singles(options, fd, channel, 1);
        http_await_answer(fd, answer, sizeof(answer));
        return;
    }
    if (!body)
        body = malloc(2u << 20);
    if (!body)
        bench_fail("no memory");
    http_make_message(message);
    for (unsigned i = 0; i < count; i++)
        len += http_append_message(body + len, options, channel, message);
    int head_len =
        snprintf(head, sizeof(head),
                 "POST /channels HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\n"
                 "Content-Length: %zu\r\n\r\n",
                 len);
    bench_send_all(fd, head, (size_t)head_len);
    bench_send_all(fd, body, len);
    http_await_answer(fd, answer, sizeof(answer));
}
