/* SPDX-License-Identifier: MIT */
#include "http/negotiation.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "http/head.h"

#define QUALITY_WHOLE 1000u

static const struct transport *const *negotiation_transports;

void subscribe_set_transports(const struct transport *const *transports)
{
    negotiation_transports = transports;
}

static bool word_equals(const char *word, const char *text, size_t len)
{
    return strlen(word) == len && strncasecmp(word, text, len) == 0;
}

const struct transport *negotiation_find_named(const char *word, size_t len)
{
    for (size_t i = 0; negotiation_transports[i]; i++) {
        const struct transport *transport = negotiation_transports[i];
        for (size_t j = 0; j < ARRAY_LENGTH(transport->words) && transport->words[j]; j++)
            if (strlen(transport->words[j]) == len && memcmp(transport->words[j], word, len) == 0)
                return transport;
    }
    return NULL;
}

void negotiation_append_words(struct buf *to)
{
    for (size_t i = 0; negotiation_transports[i]; i++) {
        if (i > 0)
            buf_append_text(to, negotiation_transports[i + 1] ? ", " : " or ");
        buf_append_text(to, negotiation_transports[i]->words[0]);
    }
}

struct media_range {
    const char *type;
    size_t len;
    unsigned quality; /* in thousandths */
};

static void trim(const char **text, size_t *len)
{
    while (*len > 0 && (**text == ' ' || **text == '\t')) {
        ++*text;
        --*len;
    }
    while (*len > 0 && ((*text)[*len - 1] == ' ' || (*text)[*len - 1] == '\t'))
        --*len;
}

/* What stands before the next `mark` is cut off from the rest. */
static size_t cut(const char **rest, size_t *rest_len, char mark, const char **part)
{
    const char *end = memchr(*rest, mark, *rest_len);
    size_t len = end ? (size_t)(end - *rest) : *rest_len;
    *part = *rest;
    *rest += end ? len + 1 : len;
    *rest_len -= end ? len + 1 : len;
    trim(part, &len);
    return len;
}

/* RFC 9110, section 12.4.2: 0 to 1 with up to three digits; what is not of that form counts as absent. */
static unsigned quality_parse(const char *text, size_t len)
{
    if (len == 0 || (text[0] != '0' && text[0] != '1') || (len > 1 && text[1] != '.') || len > 5)
        return QUALITY_WHOLE;
    unsigned quality = text[0] == '1' ? QUALITY_WHOLE : 0;
    for (unsigned i = 2, weight = 100; i < len; i++, weight /= 10) {
        if (text[i] < '0' || text[i] > '9')
            return QUALITY_WHOLE;
        quality += (unsigned)(text[i] - '0') * weight;
    }
    return quality > QUALITY_WHOLE ? QUALITY_WHOLE : quality;
}

static void media_range_parse(struct media_range *range, const char *text, size_t len)
{
    const char *parameter;
    size_t parameter_len;
    range->quality = QUALITY_WHOLE;
    range->len = cut(&text, &len, ';', &range->type);
    while (len > 0) {
        parameter_len = cut(&text, &len, ';', &parameter);
        if (parameter_len > 2 && strncasecmp(parameter, "q=", 2) == 0)
            range->quality = quality_parse(parameter + 2, parameter_len - 2);
    }
}

static const struct transport *negotiation_find_type(const struct media_range *range)
{
    for (size_t i = 0; negotiation_transports[i]; i++) {
        const struct transport *transport = negotiation_transports[i];
        for (size_t j = 0; j < ARRAY_LENGTH(transport->types) && transport->types[j]; j++)
            if (word_equals(transport->types[j], range->type, range->len))
                return transport;
    }
    return NULL;
}

const struct transport *negotiation_find_accepted(const char *accept, size_t len)
{
    const struct transport *best = negotiation_transports[0];
    unsigned best_quality = 0;
    bool best_is_named = false;
    while (len > 0) {
        struct media_range range;
        const char *text;
        size_t text_len = cut(&accept, &len, ',', &text);
        media_range_parse(&range, text, text_len);
        const struct transport *named = negotiation_find_type(&range);
        bool is_wildcard = range.len >= 2 && memcmp(range.type + range.len - 2, "/*", 2) == 0;
        bool is_better = range.quality > best_quality ||
                         (range.quality == best_quality && range.quality > 0 && named && !best_is_named);
        if ((!named && !is_wildcard) || !is_better)
            continue;
        best = named ? named : negotiation_transports[0];
        best_quality = range.quality;
        best_is_named = named != NULL;
    }
    return best;
}

/* The value of the argument `transport` in a request target. */
static const char *negotiation_find_argument(const char *head, size_t len, size_t *value_len)
{
    static const char name[] = "transport=";
    const char *target_end = memchr(head, ' ', len);
    const char *rest = memchr(head, '?', target_end ? (size_t)(target_end - head) : len);
    size_t rest_len = rest ? (size_t)((target_end ? target_end : head + len) - ++rest) : 0;
    while (rest_len > 0) {
        const char *argument;
        size_t argument_len = cut(&rest, &rest_len, '&', &argument);
        if (argument_len < sizeof(name) - 1 || memcmp(argument, name, sizeof(name) - 1) != 0)
            continue;
        *value_len = argument_len - (sizeof(name) - 1);
        return argument + sizeof(name) - 1;
    }
    return NULL;
}

const struct transport *negotiation_find_in_head(const char *head, size_t len)
{
    static const char method[] = "GET ";
    size_t value_len;
    if (len < sizeof(method) - 1 || memcmp(head, method, sizeof(method) - 1) != 0)
        return NULL;
    const char *word =
        negotiation_find_argument(head + sizeof(method) - 1, len - (sizeof(method) - 1), &value_len);
    if (word)
        return negotiation_find_named(word, value_len);
    const char *accept = head_find_field(head, len, "Accept", &value_len);
    return accept ? negotiation_find_accepted(accept, value_len) : negotiation_transports[0];
}
