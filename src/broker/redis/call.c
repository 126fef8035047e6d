/* SPDX-License-Identifier: MIT */
#include "broker/redis/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/number.h"
#include "broker/redis/broker.h"
#include "broker/redis/cluster.h"
#include "broker/redis/library.h"
#include "broker/redis/server.h"

#define CALL_REDIRECTS_MAX 5u
/* While keys of one slot move one by one, Redis asks to be tried again. */
#define CALL_RETRY_MS 50u
#define CALL_RETRIES_MAX 100u
#define CALL_KEY_MAX (2u * CHANNEL_NAME_MAX + MESSAGE_ATTRIBUTE_MAX + 32u)
/* The words of a call besides its arguments: the command, the function, how many keys, and for a script the
 * handler; and those of a move in a Cluster. */
#define CALL_KEYS_MAX (3u + 2u * CHANNEL_TREES_MAX)
#define CALL_WORDS_MAX (CALL_ARGUMENTS_MAX + CALL_KEYS_MAX + 8u)

uint16_t call_slot(const char *channel, size_t len)
{
    const char *slash = memchr(channel, '/', len);
    uint16_t crc = 0;
    if (slash)
        len = (size_t)(slash - channel);
    for (size_t i = 0; i < len; i++) {
        crc ^= (uint16_t)((unsigned char)channel[i] << 8);
        for (unsigned bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    }
    return crc % REDIS_SLOTS;
}

struct redis_server *call_find_server(const struct redis_broker *broker, uint16_t slot)
{
    struct redis_server *server = broker->slots[slot];
    return server && server->state >= SERVER_UP ? server : NULL;
}

struct text call_number(char *to, uint64_t number)
{
    return (struct text){to, number_format_u64(to, number)};
}

/* Latency. */

static void call_measure(struct redis_broker *broker, const struct link_command *command)
{
    static const uint64_t bounds_us[] = {BROKER_LATENCY_BOUNDS_US};
    uint64_t us = (clock_monotonic_ns() - command->sent_ns) / 1000;
    unsigned bucket = 0;
    while (bucket < ARRAY_LENGTH(bounds_us) && us > bounds_us[bucket])
        bucket++;
    atomic_fetch_add_explicit(&broker->super.latency[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&broker->super.latency_sum_us, us, memory_order_relaxed);
    broker_count(&broker->super, METRIC_BROKER_COMMANDS, 1);
}

/* Answers. */

static bool call_begins(const struct redisReply *reply, const char *word)
{
    return reply->len >= strlen(word) && memcmp(reply->str, word, strlen(word)) == 0;
}

static void call_retry_over(struct timer *timer)
{
    call_submit(container_of(timer, struct call, timer));
}

static void call_send(struct call *call, struct redis_server *server)
{
    call->server = server;
    link_send(&server->commands, &call->command);
}

/* The arguments of a formatted command, in its own bytes. */
static int call_split(const struct link_command *command, const char **argv, size_t *lengths)
{
    char *at = command->bytes;
    int count = (int)strtol(at + 1, &at, 10);
    for (int i = 0; i < count; i++) {
        lengths[i] = strtoul(at + 3, &at, 10);
        argv[i] = at + 2;
        at += 2 + lengths[i];
    }
    return count;
}

/* From Redis 7 on, ASK means that none of the declared keys is left at home. Where they go to, several of
 * which some do not exist would be refused, so only the first is declared there. */
static int call_declare_one_key(struct call *call)
{
    const char *argv[CALL_WORDS_MAX];
    size_t lengths[CALL_WORDS_MAX];
    struct link_command command = {.done = call->command.done};
    unsigned more = call->key_count - 1u;
    int count = call_split(&call->command, argv, lengths) - (int)more;
    argv[2] = "1";
    memmove(argv + 4, argv + 4 + more, (size_t)(count - 4) * sizeof(*argv));
    memmove(lengths + 4, lengths + 4 + more, (size_t)(count - 4) * sizeof(*lengths));
    int err = command_format(&command, count, argv, lengths);
    if (err)
        return err;
    command_deinit(&call->command);
    call->command = command;
    list_init(&call->command.link);
    call->key_count = 1;
    return 0;
}

/* "MOVED 3999 127.0.0.1:6381", and ASK alike. Returns whether the call is on its way again. */
static bool call_redirect(struct call *call, const struct redisReply *reply)
{
    bool is_asking = call_begins(reply, "ASK ");
    const char *slot = memchr(reply->str, ' ', reply->len);
    const char *address = slot ? strchr(slot + 1, ' ') : NULL;
    if (!address || call->redirects++ >= CALL_REDIRECTS_MAX)
        return false;
    struct redis_server *server = cluster_find(call->broker, call->server, address + 1);
    if (!is_asking && server) {
        call->broker->slots[call->slot] = server;
        cluster_refresh_soon(call->broker);
    }
    if (!server || server->state < SERVER_UP) {
        timer_arm(&call->broker->wheel, &call->timer, call->broker->now_ms + CALL_RETRY_MS);
        return true;
    }
    const char *const asking[] = {"ASKING"};
    if (is_asking && server->version >= 70000 && call->key_count > 1 && call_declare_one_key(call))
        return false;
    if (is_asking && link_send_words(&server->commands, 1, asking, NULL))
        return false;
    call_send(call, server);
    return true;
}

/* The functions are gone (SCRIPT FLUSH, FUNCTION FLUSH): they are loaded again, and the call follows right
 * behind. */
static bool call_reload(struct call *call)
{
    struct redis_server *server = call->server;
    const char *const functions[] = {"FUNCTION", "LOAD", library_functions};
    const char *const script[] = {"SCRIPT", "LOAD", library_script};
    if (call->is_reloaded ||
        link_send_words(&server->commands, 3, server->has_functions ? functions : script, NULL))
        return false;
    call->is_reloaded = true;
    call_send(call, server);
    return true;
}

/* Returns whether the call is on its way again, or will be. */
static bool call_follow(struct call *call, const struct redisReply *reply)
{
    if (call->is_anywhere || reply->type != REDIS_REPLY_ERROR)
        return false;
    if (call_begins(reply, "MOVED ") || call_begins(reply, "ASK "))
        return call_redirect(call, reply);
    if (call_begins(reply, "NOSCRIPT") || strstr(reply->str, "Function not found"))
        return call_reload(call);
    bool is_moving = call_begins(reply, "TRYAGAIN") || strstr(reply->str, "non local key");
    if (!is_moving || call->retries++ >= CALL_RETRIES_MAX)
        return false;
    timer_arm(&call->broker->wheel, &call->timer, call->broker->now_ms + CALL_RETRY_MS);
    return true;
}

static void call_answered(struct link_command *command, struct link *link, const struct redisReply *reply)
{
    struct call *call = container_of(command, struct call, command);
    (void)link;
    if (reply) {
        call_measure(call->broker, command);
        if (call_follow(call, reply))
            return;
        server_check_reply(call->server, reply);
    }
    call->done(call, reply);
}

void call_submit(struct call *call)
{
    struct redis_server *server =
        call->is_anywhere ? call->server : call_find_server(call->broker, call->slot);
    if (server) {
        call_send(call, server);
        return;
    }
    call->server = NULL;
    call->done(call, NULL);
}

void call_deinit(struct call *call)
{
    timer_stop(&call->broker->wheel, &call->timer);
    command_deinit(&call->command);
}

/* Preparing. */

static void call_init(struct call *call, struct redis_broker *broker,
                      void (*done)(struct call *call, const struct redisReply *reply))
{
    *call = (struct call){.command.done = call_answered, .broker = broker, .done = done};
    timer_init(&call->timer, call_retry_over);
}

struct call_keys {
    unsigned count;
    struct text items[CALL_KEYS_MAX];
    char *end; /* of what is written in `text` */
    char text[CALL_KEYS_MAX * CALL_KEY_MAX];
};

static void call_add_key(struct call_keys *keys, char kind, struct text channel, struct text name)
{
    const char *slash = memchr(channel.bytes, '/', channel.len);
    int first = (int)(slash ? (size_t)(slash - channel.bytes) : channel.len);
    int len =
        sprintf(keys->end, "sluice:{%.*s}:%c:%.*s", first, channel.bytes, kind, (int)name.len, name.bytes);
    keys->items[keys->count++] = (struct text){keys->end, (size_t)len};
    keys->end += len;
}

/* In a Cluster every key that is touched is declared, so that Redis sees when some of them have moved
 * already. */
static void call_list_keys(struct call_keys *keys, bool is_cluster, struct text channel,
                           const struct call_touched *touched)
{
    const struct channel_trees *trees = touched ? touched->trees : NULL;
    keys->end = keys->text;
    keys->count = 0;
    if (!is_cluster) {
        keys->items[keys->count++] = channel;
        return;
    }
    call_add_key(keys, 'm', channel, channel);
    call_add_key(keys, 's', channel, channel);
    if (touched && touched->key.len > 0) {
        call_add_key(keys, 'k', channel, channel);
        struct text *key = &keys->items[keys->count - 1];
        *keys->end++ = '#';
        memcpy(keys->end, touched->key.bytes, touched->key.len);
        keys->end += touched->key.len;
        key->len = (size_t)(keys->end - key->bytes);
    }
    for (unsigned i = 0; trees && i < trees->count; i++) {
        call_add_key(keys, 'm', channel, (struct text){channel.bytes, trees->lens[i]});
        call_add_key(keys, 's', channel, (struct text){channel.bytes, trees->lens[i]});
    }
}

enum error_code call_prepare(struct call *call, struct redis_broker *broker, const char *function,
                             struct text channel, const struct call_touched *touched,
                             const struct text *arguments, unsigned count,
                             void (*done)(struct call *call, const struct redisReply *reply))
{
    const char *argv[CALL_WORDS_MAX];
    size_t lengths[CALL_WORDS_MAX];
    struct call_keys keys;
    char number[21];
    char name[32];
    int argc = 0;
    call_init(call, broker, done);
    call->slot = call_slot(channel.bytes, channel.len);
    const struct redis_server *server = call_find_server(broker, call->slot);
    if (!server)
        return ERROR_BROKER_DOWN;
    call_list_keys(&keys, broker->is_cluster, channel, touched);
    call->key_count = (uint8_t)keys.count;
    snprintf(name, sizeof(name), "sluice_%s", function);
    snprintf(number, sizeof(number), "%u", keys.count);
    argv[argc++] = server->has_functions ? "FCALL" : "EVALSHA";
    argv[argc++] = server->has_functions ? name : server->script;
    argv[argc++] = number;
    for (int i = 0; i < argc; i++)
        lengths[i] = strlen(argv[i]);
    for (unsigned i = 0; i < keys.count; i++, argc++) {
        argv[argc] = keys.items[i].bytes;
        lengths[argc] = keys.items[i].len;
    }
    if (!server->has_functions) {
        argv[argc] = function;
        lengths[argc++] = strlen(function);
    }
    for (unsigned i = 0; i < count; i++, argc++) {
        argv[argc] = arguments[i].bytes ? arguments[i].bytes : "";
        lengths[argc] = arguments[i].len;
    }
    return command_format(&call->command, argc, argv, lengths) ? ERROR_OUT_OF_MEMORY : ERROR_NONE;
}

int call_prepare_command(struct call *call, struct redis_server *server, int argc, const char *const *argv,
                         const size_t *lengths,
                         void (*done)(struct call *call, const struct redisReply *reply))
{
    call_init(call, server->broker, done);
    call->server = server;
    call->is_anywhere = true;
    return command_format(&call->command, argc, argv, lengths);
}

/* Errors. */

static const char *call_address(const struct call *call)
{
    return call->server ? call->server->address : "";
}

/* FCALL sluice_open 1 CHANNEL, EVALSHA SHA 1 CHANNEL open, SCAN. */
static void call_tell_odd_answer(const struct call *call)
{
    const char *argv[CALL_WORDS_MAX];
    size_t lengths[CALL_WORDS_MAX];
    char reason[LINK_FAULT_MAX];
    int argc = call_split(&call->command, argv, lengths);
    bool has_key = argc > 3 && call->key_count > 0;
    snprintf(reason, sizeof(reason), "an answer to %.*s%s%.*s has not the form that it should have",
             (int)lengths[has_key ? 1 : 0], argv[has_key ? 1 : 0], has_key ? " for " : "",
             (int)(has_key ? lengths[3] : 0), has_key ? argv[3] : "");
    refusal_tell(
        &call->broker->refusals, call->broker->now_ms, call_address(call), reason,
        "something else has written to Sluice's keys of that channel, or changed its functions: delete the "
        "keys, or FUNCTION DELETE sluice");
}

enum error_code call_error(const struct call *call, const struct redisReply *reply)
{
    if (!reply)
        return ERROR_BROKER_DOWN;
    if (reply->type != REDIS_REPLY_ERROR) {
        call_tell_odd_answer(call);
        return ERROR_BROKER_REFUSED;
    }
    return refusal_note(&call->broker->refusals, call->broker->now_ms, call_address(call), reply->str);
}
