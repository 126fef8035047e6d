/* SPDX-License-Identifier: MIT */
#include "auth/access.h"

#include "auth/fault.h"
#include "config/channel_options.h"
#include "core/names.h"

static enum error_code access_check_subscribe(const struct grant *grant, bool has_keys, unsigned subscribers,
                                              struct text channel, char *fault)
{
    if (subscribers == SUBSCRIBERS_AUTO)
        subscribers = has_keys ? SUBSCRIBERS_TOKEN : SUBSCRIBERS_ANYONE;
    if (subscribers == SUBSCRIBERS_ANYONE)
        return ERROR_NONE;
    if (subscribers == SUBSCRIBERS_NOBODY)
        return auth_refuse(fault, ERROR_FORBIDDEN_CHANNEL, "nobody may subscribe to %.*s", (int)channel.len,
                           channel.bytes);
    if (!grant)
        return auth_refuse(fault, ERROR_NO_TOKEN, "subscribing to %.*s needs a token", (int)channel.len,
                           channel.bytes);
    if (grant->is_key)
        return auth_refuse(fault, ERROR_FORBIDDEN_CHANNEL,
                           "subscribing to %.*s needs a token; a publisher key is for publishing",
                           (int)channel.len, channel.bytes);
    return grant_patterns_cover(&grant->subscribe, channel)
               ? ERROR_NONE
               : auth_refuse(fault, ERROR_FORBIDDEN_CHANNEL, "the token does not grant to subscribe to %.*s",
                             (int)channel.len, channel.bytes);
}

static enum error_code access_check_publish(const struct grant *grant, bool has_keys, unsigned publishers,
                                            struct text channel, char *fault)
{
    if (publishers & PUBLISHERS_AUTO)
        publishers = has_keys ? PUBLISHERS_KEY | PUBLISHERS_TOKEN : PUBLISHERS_ANYONE;
    if (publishers & PUBLISHERS_ANYONE)
        return ERROR_NONE;
    if (!(publishers & (PUBLISHERS_KEY | PUBLISHERS_TOKEN)))
        return auth_refuse(fault, ERROR_FORBIDDEN_CHANNEL, "nobody may publish to %.*s", (int)channel.len,
                           channel.bytes);
    const char *wanted = !(publishers & PUBLISHERS_TOKEN) ? "a publisher key"
                         : publishers & PUBLISHERS_KEY    ? "a publisher key or a token"
                                                          : "a token";
    if (!grant)
        return auth_refuse(fault, ERROR_NO_TOKEN, "publishing to %.*s needs %s", (int)channel.len,
                           channel.bytes, wanted);
    if (!(publishers & (grant->is_key ? PUBLISHERS_KEY : PUBLISHERS_TOKEN)))
        return auth_refuse(fault, ERROR_FORBIDDEN_CHANNEL, "publishing to %.*s needs %s", (int)channel.len,
                           channel.bytes, wanted);
    return grant->is_key || grant_patterns_cover(&grant->publish, channel)
               ? ERROR_NONE
               : auth_refuse(fault, ERROR_FORBIDDEN_CHANNEL, "the token does not grant to publish to %.*s",
                             (int)channel.len, channel.bytes);
}

static enum error_code access_check_admin(const struct grant *grant, bool has_keys, char *fault)
{
    if (!has_keys || (grant && grant->is_admin))
        return ERROR_NONE;
    return grant ? auth_refuse(fault, ERROR_FORBIDDEN_ADMIN, "this needs a token whose \"admin\" is true")
                 : auth_refuse(fault, ERROR_NO_TOKEN, "this needs a token of an administrator");
}

/* What is below is looked at channel by channel; but who has said no token is told so, where a channel there
 * that has no rule of its own wants one. */
static enum error_code access_check_wild(const struct grant *grant, const struct auth_keys *keys,
                                         const struct options *options, struct text wild,
                                         char fault[AUTH_FAULT_MAX])
{
    char name[CHANNEL_NAME_MAX];
    const size_t len = wild.len - strlen(CHANNEL_BELOW) + 2;
    memcpy(name, wild.bytes, len - 1);
    name[len - 1] = '-';
    enum error_code error =
        access_check(grant, keys, options, ACCESS_SUBSCRIBE, (struct text){name, len}, fault);
    return error == ERROR_NO_TOKEN ? error : ERROR_NONE;
}

enum error_code access_check(const struct grant *grant, const struct auth_keys *keys,
                             const struct options *options, enum access_verb verb, struct text channel,
                             char fault[AUTH_FAULT_MAX])
{
    struct channel_options rules;
    bool has_keys = auth_keys_are_there(keys);
    if (verb == ACCESS_ADMIN)
        return access_check_admin(grant, has_keys, fault);
    if (verb == ACCESS_SUBSCRIBE && channel_name_of_presence(channel).bytes)
        channel = channel_name_of_presence(channel);
    if (verb == ACCESS_SUBSCRIBE && channel_name_is_wild(channel))
        return access_check_wild(grant, keys, options, channel, fault);
    channel_options_resolve(&rules, options, channel);
    return verb == ACCESS_SUBSCRIBE ? access_check_subscribe(grant, has_keys, rules.subscribe, channel, fault)
                                    : access_check_publish(grant, has_keys, rules.publish, channel, fault);
}
