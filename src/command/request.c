/* SPDX-License-Identifier: MIT */
#include "command/request.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "core/message.h"
#include "core/names.h"
#include "core/persona.h"

enum request_member {
    MEMBER_CHANNELS = PUBLISH_MEMBER_COUNT,
    MEMBER_SINCE,
    MEMBER_LAST,
    MEMBER_LIMIT,
    MEMBER_OP,
    MEMBER_REF,
    MEMBER_TOKEN,
    MEMBER_AS,
    MEMBER_INFO,
    MEMBER_AFTER,
    MEMBER_POLICY,
};

static const char *const request_members[] = {
    PUBLISH_MEMBERS, "channels", "since", "last",  "limit",  "op", "ref",
    "token",         "as",       "info",  "after", "policy", NULL};

#define REQUEST_MEMBER(member) (1u << (member))
#define REQUEST_COMMON (REQUEST_MEMBER(MEMBER_OP) | REQUEST_MEMBER(MEMBER_REF))
#define REQUEST_CHANNELS (REQUEST_MEMBER(PUBLISH_CHANNEL) | REQUEST_MEMBER(MEMBER_CHANNELS))
#define REQUEST_PERSONA (REQUEST_MEMBER(MEMBER_AS) | REQUEST_MEMBER(MEMBER_INFO))
#define REQUEST_START (REQUEST_MEMBER(MEMBER_SINCE) | REQUEST_MEMBER(MEMBER_LAST))

static const struct request_row {
    const char *word;
    uint32_t members;
    enum start_kind start; /* unless the request says where */
} request_rows[COMMAND_OP_COUNT] = {
    [COMMAND_SUBSCRIBE] = {"subscribe",
                           REQUEST_COMMON | REQUEST_CHANNELS | REQUEST_START | REQUEST_PERSONA |
                               REQUEST_MEMBER(MEMBER_POLICY),
                           START_NOW},
    [COMMAND_UNSUBSCRIBE] = {"unsubscribe", REQUEST_COMMON | REQUEST_CHANNELS, START_NOW},
    [COMMAND_PUBLISH] = {"publish", REQUEST_COMMON | PUBLISH_MEMBER_SET, START_NOW},
    [COMMAND_HISTORY] = {"history",
                         REQUEST_COMMON | REQUEST_START | REQUEST_MEMBER(PUBLISH_CHANNEL) |
                             REQUEST_MEMBER(MEMBER_LIMIT),
                         START_EARLIEST},
    [COMMAND_PING] = {"ping", REQUEST_COMMON, START_NOW},
    [COMMAND_AUTH] = {"auth", REQUEST_COMMON | REQUEST_MEMBER(MEMBER_TOKEN), START_NOW},
    [COMMAND_PRESENCE] = {"presence",
                          REQUEST_COMMON | REQUEST_PERSONA | REQUEST_MEMBER(PUBLISH_CHANNEL) |
                              REQUEST_MEMBER(MEMBER_LIMIT) | REQUEST_MEMBER(MEMBER_AFTER),
                          START_NOW},
};

__attribute__((format(printf, 3, 4))) static int
request_refuse(struct command_request *request, enum error_code error, const char *format, ...)
{
    va_list arguments;
    request->error = error;
    va_start(arguments, format);
    vsnprintf(request->fault, sizeof(request->fault), format, arguments);
    va_end(arguments);
    return -EINVAL;
}

static int request_refuse_for_memory(struct command_request *request)
{
    return request_refuse(request, ERROR_OUT_OF_MEMORY, "%s", error_text(ERROR_OUT_OF_MEMORY));
}

/* What json_object and publish_object return, with `fault` in the request. */
static int request_check(struct command_request *request, int err)
{
    if (err == -ENOMEM)
        return request_refuse_for_memory(request);
    if (err)
        request->error = ERROR_BAD_COMMAND;
    return err;
}

static const struct text *request_value(const struct command_request *request, unsigned member)
{
    return &request->object.members.values[member];
}

static bool request_is_integer(struct text value)
{
    size_t at = value.bytes[0] == '-' ? 1 : 0;
    while (at < value.len && value.bytes[at] >= '0' && value.bytes[at] <= '9')
        at++;
    return at == value.len;
}

static int request_read_ref(struct command_request *request)
{
    const struct text value = *request_value(request, MEMBER_REF);
    if (!value.bytes)
        return 0;
    bool is_string = value.bytes[0] == '"';
    if ((!is_string && !request_is_integer(value)) || value.len > COMMAND_REF_MAX + (is_string ? 2u : 0u))
        return request_refuse(request, ERROR_BAD_COMMAND,
                              "\"ref\" must be a string or an integer, of at most %u bytes", COMMAND_REF_MAX);
    request->ref.len = (uint8_t)value.len;
    memcpy(request->ref.bytes, value.bytes, value.len);
    return 0;
}

static int request_read_op(struct command_request *request)
{
    static const char most[] = "subscribe, unsubscribe, publish, history, presence, auth or ping";
    struct text word;
    if (request_check(request,
                      json_object_string(&request->object.members, MEMBER_OP, &word, request->fault)))
        return -EINVAL;
    if (!word.bytes)
        return request_refuse(request, ERROR_BAD_COMMAND, "\"op\" is missing; it is %s", most);
    for (unsigned i = 0; i < COMMAND_OP_COUNT; i++) {
        request->op = (enum command_op)i;
        if (text_is(word, request_rows[i].word))
            return 0;
    }
    return request_refuse(request, ERROR_BAD_COMMAND, "there is no such \"op\"; it is %s", most);
}

bool command_channels_next(struct command_channels *channels, const struct command_request *request,
                           struct text *name)
{
    const struct text all = request->channels;
    bool is_array = all.bytes && all.bytes[0] == '[';
    bool is_first = !channels->has_begun;
    struct text value = all;
    channels->has_begun = true;
    if (is_first && is_array)
        json_walk_begin(&channels->walk, all);
    if (!all.bytes || (is_array ? !json_walk_next(&channels->walk) : !is_first))
        return false;
    if (is_array)
        value = channels->walk.value;
    *name = value.bytes[0] == '"' ? json_string_text(value, &channels->decoded) : (struct text){"", 0};
    return true;
}

void command_channels_deinit(struct command_channels *channels)
{
    json_value_free(channels->decoded);
}

static int request_check_channels(struct command_request *request)
{
    const unsigned most = request->op == COMMAND_SUBSCRIBE ? CURSOR_CHANNELS_MAX : COMMAND_CHANNELS_MAX;
    bool may_be_wild = request->op == COMMAND_SUBSCRIBE || request->op == COMMAND_UNSUBSCRIBE;
    unsigned wild = 0;
    struct command_channels channels = {0};
    struct text name;
    while (request->error == ERROR_NONE && command_channels_next(&channels, request, &name)) {
        const char *fault = !name.bytes   ? NULL
                            : may_be_wild ? channel_wish_fault(name)
                                          : channel_name_fault(name.bytes, name.len);
        wild += name.bytes && channel_name_is_wild(name);
        if (++request->channel_count > most)
            request_refuse(request, ERROR_TOO_MANY_CHANNELS, "one %s names at most %u channels",
                           request_rows[request->op].word, most);
        else if (request->op == COMMAND_SUBSCRIBE && wild > CURSOR_PATTERNS_MAX)
            request_refuse(request, ERROR_TOO_MANY_CHANNELS,
                           "one subscribe names at most %u channels with " CHANNEL_BELOW " at their end",
                           CURSOR_PATTERNS_MAX);
        else if (!name.bytes)
            request_refuse_for_memory(request);
        else if (request->channels.bytes[0] == '[' && channels.walk.value.bytes[0] != '"')
            request_refuse(request, ERROR_BAD_COMMAND, "\"channels\" must be an array of strings");
        else if (fault)
            request_refuse(request, ERROR_BAD_CHANNEL, "a channel name %s", fault);
    }
    command_channels_deinit(&channels);
    return request->error == ERROR_NONE ? 0 : -EINVAL;
}

/* "channel" for one, "channels" for some; without either an unsubscribe means all. */
static int request_read_channels(struct command_request *request)
{
    const struct text one = *request_value(request, PUBLISH_CHANNEL);
    const struct text some = *request_value(request, MEMBER_CHANNELS);
    if (one.bytes && some.bytes)
        return request_refuse(request, ERROR_BAD_COMMAND, "\"channel\" or \"channels\", not both");
    if (one.bytes && one.bytes[0] != '"')
        return request_refuse(request, ERROR_BAD_COMMAND, "\"channel\" must be a string");
    if (some.bytes && some.bytes[0] != '[')
        return request_refuse(request, ERROR_BAD_COMMAND, "\"channels\" must be an array of strings");
    request->channels = one.bytes ? one : some;
    if (request_check_channels(request))
        return -EINVAL;
    if (request->channel_count == 0 && (some.bytes || request->op != COMMAND_UNSUBSCRIBE))
        return request_refuse(request, ERROR_BAD_COMMAND, "no channel is named");
    return 0;
}

static int request_read_number(struct command_request *request, enum request_member member, uint64_t least,
                               uint64_t *number)
{
    const struct text *value = request_value(request, member);
    if (!value->bytes || (number_parse_u64(number, value->bytes, value->len) == 0 && *number >= least))
        return 0;
    return request_refuse(request, ERROR_BAD_OPTION, "\"%s\" must be a whole number from %u on",
                          request_members[member], (unsigned)least);
}

static int request_read_start(struct command_request *request)
{
    struct start *start = &request->start;
    struct text since;
    bool has_last = request_value(request, MEMBER_LAST)->bytes != NULL;
    start->kind = has_last ? START_LAST : request_rows[request->op].start;
    if (request_read_number(request, MEMBER_LAST, 0, &start->last) ||
        request_check(request,
                      json_object_string(&request->object.members, MEMBER_SINCE, &since, request->fault)))
        return -EINVAL;
    if (since.len == 0)
        return 0;
    if (has_last)
        return request_refuse(request, ERROR_BAD_OPTION, "\"since\" or \"last\", not both");
    int err = start_parse(start, since.bytes, since.len);
    if (!err)
        return 0;
    return request_refuse(request, ERROR_BAD_CURSOR,
                          err == -E2BIG ? "the cursor names more than 64 channels"
                                        : "the cursor must be as it was given (EPOCH-OFFSET, joined by '.'), "
                                          "or earliest, now or last=N");
}

/* Who asks says so of himself. */
static int request_read_persona(struct command_request *request)
{
    char fault[PERSONA_FAULT_MAX];
    struct json_object *members = &request->object.members;
    if (request_check(request, json_object_string(members, MEMBER_AS, &request->as, request->fault)))
        return -EINVAL;
    request->info = *request_value(request, MEMBER_INFO);
    enum error_code error = persona_check(request->as, &request->info, fault);
    return error == ERROR_NONE ? 0 : request_refuse(request, error, "%s", fault);
}

static int request_read_after(struct command_request *request)
{
    struct json_object *members = &request->object.members;
    if (request_check(request, json_object_string(members, MEMBER_AFTER, &request->after, request->fault)))
        return -EINVAL;
    if (request->after.len <= PERSONA_NAME_MAX && message_attribute_is_valid(request->after))
        return 0;
    return request_refuse(request, ERROR_BAD_OPTION, "\"after\" must be a name that was listed");
}

static int request_read_policy(struct command_request *request)
{
    struct text policy;
    if (request_check(request,
                      json_object_string(&request->object.members, MEMBER_POLICY, &policy, request->fault)))
        return -EINVAL;
    if (!policy.bytes || subscriber_policy_parse(&request->policy, policy) == 0)
        return 0;
    return request_refuse(request, ERROR_BAD_OPTION, "\"policy\" must be " POLICY_WORDS);
}

static void request_read_token(struct command_request *request)
{
    struct json_object *members = &request->object.members;
    int err = json_object_string(members, MEMBER_TOKEN, &request->token, request->fault);
    if (!request_check(request, err) && !request->token.bytes)
        request_refuse(request, ERROR_BAD_COMMAND, "\"token\" is missing");
}

static void request_read(struct command_request *request)
{
    struct json_object *members = &request->object.members;
    const struct request_row *row = &request_rows[request->op];
    int err = request_check(request, json_object_check(members, row->members, row->word, request->fault));
    if (!err && request->op == COMMAND_PUBLISH)
        request_check(request, publish_object_wish(&request->object, &request->wish, request->fault));
    else if (!err && request->op == COMMAND_AUTH)
        request_read_token(request);
    else if (!err && row->members & REQUEST_CHANNELS && !request_read_channels(request) &&
             !request_read_start(request) && !request_read_persona(request) && !request_read_after(request) &&
             !request_read_policy(request))
        request_read_number(request, MEMBER_LIMIT, 1, &request->limit);
}

void command_request_parse(struct command_request *request, const char *text, size_t len)
{
    char fault[JSON_FAULT_MAX];
    struct text value;
    memset(request, 0, offsetof(struct command_request, start));
    request->start.count = 0;
    request->limit = UINT64_MAX;
    request->token = (struct text){0};
    request->as = (struct text){0};
    request->info = (struct text){0};
    request->after = (struct text){0};
    request->policy = POLICY_OF_CHANNEL;
    request->wish = (struct publish_wish){0};
    request->object = (struct publish_object){0};
    if (json_scan(&value, text, len, fault)) {
        request_refuse(request, ERROR_BAD_JSON, "the command is not JSON: %s", fault);
        return;
    }
    json_object_read(&request->object.members, value, request_members);
    if (!request->object.members.is_object)
        request_refuse(request, ERROR_BAD_COMMAND, "a command must be an object");
    else if (!request_read_ref(request) && !request_read_op(request))
        request_read(request);
}

void command_request_deinit(struct command_request *request)
{
    publish_object_deinit(&request->object);
}
