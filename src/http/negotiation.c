/* SPDX-License-Identifier: MIT */
#include "http/negotiation.h"

#include <stdbool.h>
#include <string.h>

#include "base/text.h"
#include "http/head.h"

#define QUALITY_WHOLE 1000u

static const struct transport *const *negotiation_transports;

void subscribe_set_transports(const struct transport *const *transports)
{
    negotiation_transports = transports;
}

const struct transport *negotiation_find_named(const char *word, size_t len)
{
    for (size_t i = 0; negotiation_transports[i]; i++) {
        const struct transport *transport = negotiation_transports[i];
        for (size_t j = 0; j < ARRAY_LENGTH(transport->words) && transport->words[j]; j++)
            if (text_is((struct text){word, len}, transport->words[j]))
                return transport;
    }
    return NULL;
}

const struct transport *negotiation_find_asked(const struct exchange *exchange)
{
    for (size_t i = 0; negotiation_transports[i]; i++)
        if (negotiation_transports[i]->is_asked && negotiation_transports[i]->is_asked(exchange))
            return negotiation_transports[i];
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
    struct text type;
    unsigned quality; /* in thousandths */
};

/* RFC 9110, section 12.4.2: 0 to 1 with up to three digits; what is not of that form counts as absent. */
static unsigned quality_parse(struct text text)
{
    const char *at = text.bytes;
    if (text.len == 0 || (at[0] != '0' && at[0] != '1') || (text.len > 1 && at[1] != '.') || text.len > 5)
        return QUALITY_WHOLE;
    unsigned quality = at[0] == '1' ? QUALITY_WHOLE : 0;
    for (unsigned i = 2, weight = 100; i < text.len; i++, weight /= 10) {
        if (at[i] < '0' || at[i] > '9')
            return QUALITY_WHOLE;
        quality += (unsigned)(at[i] - '0') * weight;
    }
    return quality > QUALITY_WHOLE ? QUALITY_WHOLE : quality;
}

static struct media_range media_range_parse(struct text text)
{
    struct media_range range = {.quality = QUALITY_WHOLE, .type = text_cut(&text, ';')};
    while (text.len > 0) {
        struct text parameter = text_cut(&text, ';');
        if (parameter.len > 2 && text_begins_word(parameter, "q="))
            range.quality = quality_parse(text_behind(parameter, 2));
    }
    return range;
}

static const struct transport *negotiation_find_type(struct text type)
{
    for (size_t i = 0; negotiation_transports[i]; i++) {
        const struct transport *transport = negotiation_transports[i];
        for (size_t j = 0; j < ARRAY_LENGTH(transport->types) && transport->types[j]; j++)
            if (text_is_word(type, transport->types[j]))
                return transport;
    }
    return NULL;
}

const struct transport *negotiation_find_accepted(const char *accept, size_t len)
{
    const struct transport *best = negotiation_transports[0];
    unsigned best_quality = 0;
    bool best_is_named = false;
    for (struct text rest = {accept, len}; rest.len > 0;) {
        struct media_range range = media_range_parse(text_cut(&rest, ','));
        const struct transport *named = negotiation_find_type(range.type);
        bool is_wildcard = text_ends(range.type, "/*");
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

/* The value of the argument `transport` in a request line. */
static struct text negotiation_find_argument(struct text line)
{
    static const char name[] = "transport=";
    struct text target = text_cut(&line, ' ');
    text_cut(&target, '?');
    while (target.len > 0) {
        struct text argument = text_cut(&target, '&');
        if (text_begins(argument, name))
            return text_behind(argument, strlen(name));
    }
    return (struct text){0};
}

const struct transport *negotiation_find_in_head(const char *head, size_t len)
{
    static const char method[] = "GET ";
    struct text line = {head, len};
    size_t value_len;
    if (!text_begins(line, method))
        return NULL;
    struct text word = negotiation_find_argument(text_behind(line, strlen(method)));
    if (word.bytes)
        return negotiation_find_named(word.bytes, word.len);
    const char *accept = head_find_field(head, len, "Accept", &value_len);
    return accept ? negotiation_find_accepted(accept, value_len) : negotiation_transports[0];
}
