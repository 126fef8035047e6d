/* SPDX-License-Identifier: MIT */
#include "transport/tcp/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/container.h"
#include "config/channel_options.h"
#include "transport/tcp/connection.h"

static const char commands_help[] =
    "SUBSCRIBE [channel] [since] [policy=all|newest], UNSUBSCRIBE [channel], PUBLISH channel data, SIGNAL "
    "channel data, "
    "HISTORY [channel] [since|last=N], AS name [json], AUTH token, PING [text], ECHO text, FORMAT raw|json, "
    "HELP, "
    "QUIT";

/* The next word from `at` on; where it ends is the new `at`. */
static struct text command_next_word(const char *bytes, size_t len, size_t *at)
{
    while (*at < len && bytes[*at] == ' ')
        ++*at;
    size_t begin = *at;
    while (*at < len && bytes[*at] != ' ')
        ++*at;
    return *at > begin ? (struct text){bytes + begin, *at - begin} : (struct text){0};
}

static struct text command_after_space(const char *bytes, size_t len, size_t at)
{
    return at < len ? (struct text){bytes + at + 1, len - at - 1} : (struct text){0};
}

/* The channel that a command means. */
static struct text commands_channel(const struct connection *connection, const struct command *command)
{
    const struct channel_name *preset = &connection->declaration->preset;
    return command->first.bytes ? command->first : (struct text){preset->text, preset->len};
}

static bool commands_read_start(struct connection *connection, const struct command *command,
                                struct start *start)
{
    if (command->third.bytes) {
        connection_answer_error(
            connection, ERROR_BAD_COMMAND,
            "after the channel comes a cursor and no more, but policy=newest to SUBSCRIBE");
        return false;
    }
    if (!command->second.bytes || start_parse(start, command->second.bytes, command->second.len) == 0)
        return true;
    connection_answer_error(connection, ERROR_BAD_CURSOR,
                            "a cursor is EPOCH-OFFSET, earliest, now or last=N");
    return false;
}

/* Takes `policy=WORD` out of the words behind the channel. */
static bool commands_take_policy(struct connection *connection, struct command *command,
                                 enum subscriber_policy *policy)
{
    static const char mark[] = "policy=";
    struct text *word = text_begins(command->second, mark) ? &command->second : &command->third;
    if (!text_begins(*word, mark))
        return true;
    if (subscriber_policy_parse(policy, text_behind(*word, strlen(mark)))) {
        connection_answer_error(connection, ERROR_BAD_OPTION, "policy must be " POLICY_WORDS);
        return false;
    }
    if (word == &command->second)
        command->second = command->third;
    command->third = command->fourth;
    return true;
}

/* A subscription that is answered when it is in place. */
static void commands_begin(struct connection *connection, const struct command_wish *wish)
{
    char fault[PUBLISH_FAULT_MAX];
    enum error_code error = command_admit(&connection->conversation, wish->channel, fault);
    if (error != ERROR_NONE) {
        connection_answer_error(connection, error, fault);
        return;
    }
    struct connection_wait *wait = connection_wait_begin(connection);
    if (!wait)
        return;
    error = command_subscribe(&connection->conversation, wish, &wait->super);
    if (error != ERROR_NONE)
        connection_append_error(connection, &wait->text, error, error_text(error));
    else if (wait->text.len == 0)
        frame_append(&wait->text, (enum framing)connection->framing, "CONFIRMED", strlen("CONFIRMED"));
    connection_wait_end(connection);
}

static void commands_subscribe(struct connection *connection, const struct command *command)
{
    struct start start = {.kind = START_NOW};
    const struct text channel = commands_channel(connection, command);
    char fault[COMMAND_FAULT_MAX];
    struct command words = *command;
    enum subscriber_policy policy = POLICY_OF_CHANNEL;
    if (!connection_check_wish(connection, connection_text(connection), channel) ||
        !connection_admits(connection, connection_text(connection), channel) ||
        !commands_take_policy(connection, &words, &policy) ||
        !commands_read_start(connection, &words, &start))
        return;
    const struct command_wish wish = {.channel = channel, .start = &start, .policy = policy};
    if (command_subscription_find(&connection->conversation, channel))
        connection_answer_text(connection, "ALREADY SUBSCRIBED");
    else if (!command_has_room(&connection->conversation, 1, fault))
        connection_answer_error(connection, ERROR_TOO_MANY_CHANNELS, fault);
    else
        commands_begin(connection, &wish);
}

static void commands_unsubscribe(struct connection *connection, const struct command *command)
{
    const struct text channel = commands_channel(connection, command);
    if (command->second.bytes) {
        connection_answer_error(connection, ERROR_BAD_COMMAND, "UNSUBSCRIBE takes one channel");
        return;
    }
    if (!connection_check_wish(connection, connection_text(connection), channel))
        return;
    struct command_subscription *subscription = command_subscription_find(&connection->conversation, channel);
    if (subscription)
        command_unsubscribe(subscription);
    connection_answer_text(connection, subscription ? "CONFIRMED" : "ALREADY UNSUBSCRIBED");
}

static void commands_history(struct connection *connection, const struct command *command)
{
    struct start start = {.kind = START_EARLIEST};
    const struct text channel = commands_channel(connection, command);
    if (!connection_check_channel(connection, connection_text(connection), channel) ||
        !connection_admits(connection, connection_text(connection), channel) ||
        !commands_read_start(connection, command, &start))
        return;
    const struct command_wish wish = {.channel = channel, .start = &start, .is_history = true};
    commands_begin(connection, &wish);
}

static void commands_publish(struct connection *connection, const struct command *command)
{
    if (!command->data.bytes) {
        connection_answer_error(connection, ERROR_BAD_COMMAND, "PUBLISH takes a channel and data");
        return;
    }
    tcp_publish(connection, command->first, command->data, PUBLISH_CONFIRMED);
}

static void commands_signal(struct connection *connection, const struct command *command)
{
    if (!command->data.bytes) {
        connection_answer_error(connection, ERROR_BAD_COMMAND, "SIGNAL takes a channel and data");
        return;
    }
    tcp_publish(connection, command->first, command->data, PUBLISH_SIGNAL);
}

static void commands_confirm_auth(const struct connection *connection, struct buf *to)
{
    frame_append(to, (enum framing)connection->framing, "CONFIRMED", strlen("CONFIRMED"));
}

static void commands_auth(struct connection *connection, const struct command *command)
{
    if (!command->first.bytes || command->second.bytes) {
        connection_answer_error(connection, ERROR_BAD_COMMAND, "AUTH takes a token");
        return;
    }
    (void)connection_authenticate(connection, command->first, commands_confirm_auth);
}

static void commands_as(struct connection *connection, const struct command *command)
{
    char fault[PERSONA_FAULT_MAX];
    struct text info = command->data;
    if (!command->first.bytes) {
        connection_answer_error(connection, ERROR_BAD_COMMAND,
                                "AS takes a name, and JSON if there is more to say");
        return;
    }
    enum error_code error = persona_check(command->first, &info, fault);
    if (error == ERROR_NONE) {
        error = conversation_introduce(&connection->conversation, command->first, info);
        snprintf(fault, sizeof(fault), "%s", error == ERROR_NONE ? "" : error_text(error));
    }
    if (error == ERROR_NONE)
        connection_answer_text(connection, "CONFIRMED");
    else
        connection_answer_error(connection, error, fault);
}

static void commands_ping(struct connection *connection, const struct command *command)
{
    if (command->rest.len > 0)
        connection_answer(connection, command->rest.bytes, command->rest.len);
    else
        connection_answer_text(connection, "PONG");
}

static void commands_format(struct connection *connection, const struct command *command)
{
    bool is_json = text_is_word(command->first, "json");
    if ((!is_json && !text_is_word(command->first, "raw")) || command->second.bytes) {
        connection_answer_error(connection, ERROR_BAD_COMMAND, "FORMAT is raw or json");
        return;
    }
    connection->format = is_json ? UPDATE_JSON : UPDATE_RAW;
    connection_answer_text(connection, "CONFIRMED");
}

static void commands_quit(struct connection *connection, const struct command *command)
{
    (void)command;
    connection_answer_text(connection, "CONFIRMED");
    connection_leave(connection);
}

static void commands_echo(struct connection *connection, const struct command *command)
{
    connection_answer(connection, command->rest.bytes, command->rest.len);
}

static void commands_tell_help(struct connection *connection, const struct command *command)
{
    (void)command;
    connection_answer_text(connection, commands_help);
}

static void commands_refuse(struct connection *connection, const struct command *command)
{
    (void)command;
    connection_answer_text(connection, "UNKNOWN COMMAND");
}

/* The answer to our own PING, if we send any. */
static void commands_pong(struct connection *connection, const struct command *command)
{
    if (connection->declaration->ping_ms == 0)
        commands_refuse(connection, command);
}

static const struct {
    const char *word;
    void (*run)(struct connection *connection, const struct command *command);
} command_words[] = {
    {"SUBSCRIBE", commands_subscribe}, {"UNSUBSCRIBE", commands_unsubscribe},
    {"PUBLISH", commands_publish},     {"SIGNAL", commands_signal},
    {"HISTORY", commands_history},     {"AS", commands_as},
    {"AUTH", commands_auth},           {"PING", commands_ping},
    {"PONG", commands_pong},           {"ECHO", commands_echo},
    {"FORMAT", commands_format},       {"HELP", commands_tell_help},
    {"QUIT", commands_quit},
};

void command_parse(struct command *command, const char *bytes, size_t len)
{
    size_t at = 0;
    *command = (struct command){.run = commands_refuse};
    while (at < len && bytes[at] != ' ')
        at++;
    for (size_t i = 0; i < ARRAY_LENGTH(command_words); i++)
        if (text_is_word((struct text){bytes, at}, command_words[i].word))
            command->run = command_words[i].run;
    command->rest = command_after_space(bytes, len, at);
    command->first = command_next_word(bytes, len, &at);
    command->data = command_after_space(bytes, len, at);
    command->second = command_next_word(bytes, len, &at);
    command->third = command_next_word(bytes, len, &at);
    command->fourth = command_next_word(bytes, len, &at);
}

bool commands_handle(struct connection *connection, const struct frame *frame)
{
    struct conversation *conversation = &connection->conversation;
    struct command command;
    if (connection->format == UPDATE_JSON && frame->len > 0 && frame->bytes[0] == '{')
        return conversation_take(conversation, frame->bytes, frame->len) == 0;
    command_parse(&command, frame->bytes, frame->len);
    bool is_publish = command.run == commands_publish || command.run == commands_signal;
    bool is_auth = command.run == commands_auth;
    const struct options *options = connection_shard(connection)->options;
    uint64_t most =
        is_publish ? channel_message_size(options, command.first) : channel_message_size_most(options);
    bool is_too_large = (is_publish ? command.data.len : frame->len) > most;
    /* Answers come in the order of their commands. */
    if (is_publish && !is_too_large ? !errands_may_publish(&conversation->errands)
                                    : !errands_are_idle(&conversation->errands))
        return false;
    if (is_auth && !conversation_may_authenticate(conversation))
        return false;
    if (is_too_large)
        connection_refuse_frame(connection, UPDATE_RAW, most);
    else
        command.run(connection, &command);
    return true;
}
