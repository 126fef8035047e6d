/* SPDX-License-Identifier: MIT */
#include "transport/tcp/declaration.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "base/number.h"
#include "base/text.h"

#define PRESET_CHANNEL "updates"
#define PING_MOST_MS 86400000u
#define UNIX_PATH_MAX 107u /* sockaddr_un's, without the NUL */

struct parsing {
    struct declaration *declaration;
    char *fault;
    unsigned seen; /* bits by row */
};

__attribute__((format(printf, 2, 3))) static int parsing_fail(struct parsing *parsing, const char *format,
                                                              ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(parsing->fault, DECLARATION_FAULT_MAX, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

static int parsing_set_name(struct parsing *parsing, struct channel_name *to, const char *name, size_t len)
{
    const char *why = channel_name_fault(name, len);
    if (why)
        return parsing_fail(parsing, "a channel name %s", why);
    to->len = (uint8_t)len;
    memcpy(to->text, name, len);
    to->text[len] = '\0';
    return 0;
}

static int parsing_set_framing(struct parsing *parsing, const char *value)
{
    size_t framing = text_index(text_of(value), framing_words, FRAMING_COUNT);
    if (framing == FRAMING_COUNT)
        return parsing_fail(parsing, "framing is auto, crlf, nul, len32 or resp, not '%.100s'", value);
    parsing->declaration->framing = (enum framing)framing;
    return 0;
}

static int parsing_set_input(struct parsing *parsing, const char *value)
{
    static const char publish[] = "publish:";
    static const char *const words[INPUT_PUBLISH] = {
        [INPUT_COMMAND] = "command", [INPUT_ECHO] = "echo", [INPUT_IGNORE] = "ignore"};
    struct declaration *declaration = parsing->declaration;
    if (strncmp(value, publish, strlen(publish)) == 0) {
        const char *name = value + strlen(publish);
        declaration->input = INPUT_PUBLISH;
        return parsing_set_name(parsing, &declaration->publish_to, name, strlen(name));
    }
    size_t input = text_index(text_of(value), words, INPUT_PUBLISH);
    if (input == INPUT_PUBLISH)
        return parsing_fail(parsing, "input is command, echo, publish:CHANNEL or ignore, not '%.100s'",
                            value);
    declaration->input = (enum input)input;
    return 0;
}

static bool declaration_feeds(const struct declaration *declaration, const char *name, size_t len)
{
    for (unsigned i = 0; i < declaration->feed_count; i++)
        if (declaration->feed[i].len == len && memcmp(declaration->feed[i].text, name, len) == 0)
            return true;
    return false;
}

static int parsing_set_feed(struct parsing *parsing, const char *value)
{
    struct declaration *declaration = parsing->declaration;
    while (*value) {
        size_t len = strcspn(value, ",");
        if (declaration_feeds(declaration, value, len))
            return parsing_fail(parsing, "feed names a channel twice: %.200s", value);
        if (declaration->feed_count == DECLARATION_FEED_MAX)
            return parsing_fail(parsing, "feed names more than 64 channels");
        struct channel_name *feed = realloc(declaration->feed, (declaration->feed_count + 1) * sizeof(*feed));
        if (!feed)
            return -ENOMEM;
        declaration->feed = feed;
        int err = parsing_set_name(parsing, &feed[declaration->feed_count], value, len);
        if (err)
            return err;
        declaration->feed_count++;
        value += len;
        value += *value == ',';
    }
    return 0;
}

static int parsing_set_preset(struct parsing *parsing, const char *value)
{
    return parsing_set_name(parsing, &parsing->declaration->preset, value, strlen(value));
}

static int parsing_set_ping(struct parsing *parsing, const char *value)
{
    uint64_t *ping_ms = &parsing->declaration->ping_ms;
    if (number_parse_duration_ms(ping_ms, value, strlen(value)) || *ping_ms > PING_MOST_MS)
        return parsing_fail(parsing, "ping is a number of seconds up to a day, not '%.100s'", value);
    return 0;
}

static int parsing_set_mode(struct parsing *parsing, const char *value)
{
    char *end;
    unsigned long mode = strtoul(value, &end, 8);
    if (!value[0] || strspn(value, "01234567") != strlen(value) || mode > 0777)
        return parsing_fail(parsing, "mode is an octal number as 0660, not '%.100s'", value);
    parsing->declaration->mode = (mode_t)mode;
    return 0;
}

static int parsing_read_pair(struct parsing *parsing, char *pair)
{
    static const struct {
        const char *key;
        int (*set)(struct parsing *parsing, const char *value);
    } keys[] = {{"framing", parsing_set_framing}, {"feed", parsing_set_feed},
                {"input", parsing_set_input},     {"default-channel", parsing_set_preset},
                {"ping", parsing_set_ping},       {"mode", parsing_set_mode}};
    size_t len = strcspn(pair, "=");
    for (size_t i = 0; pair[len] && i < ARRAY_LENGTH(keys); i++) {
        if (strlen(keys[i].key) != len || memcmp(keys[i].key, pair, len) != 0)
            continue;
        if (parsing->seen & 1u << i)
            return parsing_fail(parsing, "%.100s is given twice", keys[i].key);
        parsing->seen |= 1u << i;
        return keys[i].set(parsing, pair + len + 1);
    }
    return parsing_fail(parsing,
                        "after the address come framing=, feed=, input=, default-channel=, ping= and mode=, "
                        "not '%.100s'",
                        pair);
}

static int parsing_check(struct parsing *parsing)
{
    static const char unix_scheme[] = "unix:";
    struct declaration *declaration = parsing->declaration;
    bool has_mode = parsing->seen & 1u << 5;
    if (strncmp(declaration->address, unix_scheme, strlen(unix_scheme)) == 0)
        declaration->path = declaration->address + strlen(unix_scheme);
    if (declaration->path && (declaration->path[0] != '/' || strlen(declaration->path) > UNIX_PATH_MAX))
        return parsing_fail(parsing, "a Unix address is unix:/path, of at most 107 bytes: %.200s",
                            declaration->address);
    if (has_mode && !declaration->path)
        return parsing_fail(parsing, "mode is for unix:/path only, not for %.200s", declaration->address);
    if (declaration->framing == FRAMING_RESP && declaration->input != INPUT_COMMAND)
        return parsing_fail(parsing, "framing=resp has commands as its input, and no other");
    if (declaration->framing == FRAMING_RESP && declaration->ping_ms > 0)
        return parsing_fail(parsing, "ping is not for framing=resp: its clients send PING themselves");
    return 0;
}

static int parsing_run(struct parsing *parsing, char *text)
{
    static const char blanks[] = " \t";
    char *rest = NULL;
    char *word = strtok_r(text, blanks, &rest);
    if (!word)
        return parsing_fail(parsing, "an address is missing: host:port, [v6]:port or unix:/path");
    parsing->declaration->address = strdup(word);
    if (!parsing->declaration->address)
        return -ENOMEM;
    while ((word = strtok_r(NULL, blanks, &rest))) {
        int err = parsing_read_pair(parsing, word);
        if (err)
            return err;
    }
    return parsing_check(parsing);
}

int declaration_parse(struct declaration *declaration, const char *text, char fault[DECLARATION_FAULT_MAX])
{
    struct parsing parsing = {declaration, fault, 0};
    *declaration = (struct declaration){.mode = DECLARATION_MODE_PRESET,
                                        .preset = {strlen(PRESET_CHANNEL), PRESET_CHANNEL}};
    char *copy = strdup(text);
    int err = copy ? parsing_run(&parsing, copy) : -ENOMEM;
    free(copy);
    if (err)
        declaration_deinit(declaration);
    if (err == -ENOMEM)
        snprintf(fault, DECLARATION_FAULT_MAX, "there is no memory for it");
    return err;
}

void declaration_deinit(struct declaration *declaration)
{
    free(declaration->address);
    free(declaration->feed);
    *declaration = (struct declaration){0};
}

/* What the server says first, and what is no command, is said in lines. */
enum framing declaration_first_framing(const struct declaration *declaration)
{
    bool is_lines =
        declaration->feed_count > 0 || declaration->input != INPUT_COMMAND || declaration->ping_ms > 0;
    return declaration->framing == FRAMING_AUTO && is_lines ? FRAMING_CRLF : declaration->framing;
}
