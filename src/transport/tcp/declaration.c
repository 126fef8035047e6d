/* SPDX-License-Identifier: MIT */
#include "transport/tcp/declaration.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "base/number.h"
#include "base/text.h"

#define PRESET_CHANNEL "updates"
#define PING_MOST_MS 86400000u

static int declaration_set_framing(struct pairs *pairs, const char *value)
{
    size_t framing = text_index(text_of(value), framing_words, FRAMING_COUNT);
    if (framing == FRAMING_COUNT)
        return pairs_fail(pairs, "framing is auto, crlf, nul, len32 or resp, not '%.100s'", value);
    struct declaration *declaration = pairs->context;
    declaration->framing = (enum framing)framing;
    return 0;
}

static int declaration_set_input(struct pairs *pairs, const char *value)
{
    static const char *const words[INPUT_PUBLISH] = {
        [INPUT_COMMAND] = "command", [INPUT_ECHO] = "echo", [INPUT_IGNORE] = "ignore"};
    struct declaration *declaration = pairs->context;
    unsigned input;
    int err = channel_or_word_read(pairs, &input, &declaration->publish_to, words, INPUT_PUBLISH,
                                   "input is command, echo, publish:CHANNEL or ignore", value);
    declaration->input = (enum tcp_input)input;
    return err;
}

static int declaration_set_feed(struct pairs *pairs, const char *value)
{
    struct declaration *declaration = pairs->context;
    return name_list_read(pairs, &declaration->feed, "feed", value);
}

static int declaration_set_preset(struct pairs *pairs, const char *value)
{
    struct declaration *declaration = pairs->context;
    return channel_name_read(pairs, &declaration->preset, value, strlen(value));
}

static int declaration_set_ping(struct pairs *pairs, const char *value)
{
    struct declaration *declaration = pairs->context;
    uint64_t *ping_ms = &declaration->ping_ms;
    if (number_parse_duration_ms(ping_ms, value, strlen(value)) || *ping_ms > PING_MOST_MS)
        return pairs_fail(pairs, "ping is a number of seconds up to a day, not '%.100s'", value);
    return 0;
}

_Static_assert(offsetof(struct declaration, entrance) == 0, "an entrance's keys take what it is in for it");
static const struct pairs_key declaration_keys[] = {
    {"framing", declaration_set_framing}, {"feed", declaration_set_feed},
    {"input", declaration_set_input},     {"default-channel", declaration_set_preset},
    {"ping", declaration_set_ping},       ENTRANCE_KEYS};

static int declaration_check(struct pairs *pairs)
{
    struct declaration *declaration = pairs->context;
    int err = entrance_check(pairs);
    if (err)
        return err;
    if (declaration->framing == FRAMING_RESP && declaration->input != INPUT_COMMAND)
        return pairs_fail(pairs, "framing=resp has commands as its input, and no other");
    if (declaration->framing == FRAMING_RESP && declaration->ping_ms > 0)
        return pairs_fail(pairs, "ping is not for framing=resp: its clients send PING themselves");
    return 0;
}

int declaration_parse(struct declaration *declaration, const char *text, char fault[DECLARATION_FAULT_MAX])
{
    static const struct pairs_form form = {
        .noun = "address",
        .missing = ENTRANCE_MISSING,
        .set_first = entrance_set_address,
        .keys = declaration_keys,
        .key_count = ARRAY_LENGTH(declaration_keys),
        .check = declaration_check,
    };
    *declaration = (struct declaration){.preset = {strlen(PRESET_CHANNEL), PRESET_CHANNEL}};
    int err = pairs_parse(declaration, text, &form, fault);
    if (err)
        declaration_deinit(declaration);
    return err;
}

void declaration_deinit(struct declaration *declaration)
{
    entrance_deinit(&declaration->entrance);
    name_list_deinit(&declaration->feed);
    *declaration = (struct declaration){0};
}

/* What the server says first, and what is no command, is said in lines. */
enum framing declaration_first_framing(const struct declaration *declaration)
{
    bool is_lines =
        declaration->feed.count > 0 || declaration->input != INPUT_COMMAND || declaration->ping_ms > 0;
    return declaration->framing == FRAMING_AUTO && is_lines ? FRAMING_CRLF : declaration->framing;
}
