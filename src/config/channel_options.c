/* SPDX-License-Identifier: MIT */
#include "config/channel_options.h"

#include <errno.h>
#include <string.h>

#include "base/number.h"
#include "base/pattern.h"
#include "config/channel_rules.h"

#define CHANNEL_OPTIONS_EACH(MACRO) CHANNEL_OPTION_TABLE(MACRO, MACRO, MACRO, MACRO, MACRO, MACRO)

const struct option_row *channel_option_row(enum channel_option option)
{
    return &option_rows[option_count - CHANNEL_OPTION_COUNT + option];
}

enum channel_option channel_option_of(const struct option_row *row)
{
    return (enum channel_option)(row - channel_option_row(0));
}

void channel_options_copy(struct channel_options *to, const struct options *from, enum channel_option option)
{
    switch (option) {
#define CHANNEL_OPTION_COPY(name, field, ...)                                                                \
    case CHANNEL_OPTION_##field:                                                                             \
        to->field = from->field;                                                                             \
        break;
        CHANNEL_OPTIONS_EACH(CHANNEL_OPTION_COPY)
#undef CHANNEL_OPTION_COPY
    case CHANNEL_OPTION_COUNT:
        break;
    }
}

char *channel_option_format(const struct channel_options *values, enum channel_option option)
{
#define CHANNEL_OPTION_BACK(name, field, ...) .field = values->field,
    const struct options options = {CHANNEL_OPTIONS_EACH(CHANNEL_OPTION_BACK)};
#undef CHANNEL_OPTION_BACK
    return option_format(&options, channel_option_row(option));
}

void channel_options_resolve(struct channel_options *to, const struct options *options, struct text name)
{
    const struct channel_rule *found[CHANNEL_OPTION_COUNT] = {0};
#define CHANNEL_OPTION_FOR_ALL(name, field, ...) to->field = options->field;
    CHANNEL_OPTIONS_EACH(CHANNEL_OPTION_FOR_ALL)
#undef CHANNEL_OPTION_FOR_ALL
    if (options->rules)
        channel_rules_find(options->rules, name, found);
#define CHANNEL_OPTION_CHOOSE(name, field, ...)                                                              \
    if (found[CHANNEL_OPTION_##field])                                                                       \
        to->field = found[CHANNEL_OPTION_##field]->values.field;
    CHANNEL_OPTIONS_EACH(CHANNEL_OPTION_CHOOSE)
#undef CHANNEL_OPTION_CHOOSE
    /* The names of all channels are told there: only who is named there hears them. */
    if (pattern_hides(name) && !found[CHANNEL_OPTION_subscribe])
        to->subscribe = SUBSCRIBERS_AUTO;
}

/* What Sluice publishes itself is no content of anybody's. */
static bool channel_is_reserved(struct text name)
{
    return name.bytes[0] == '$' || text_contains(name, "/$");
}

bool channel_has_presence(const struct options *options, struct text name)
{
    struct channel_options found;
    channel_options_resolve(&found, options, name);
    return found.presence && !channel_is_reserved(name);
}

bool channel_options_follow_any(const struct options *options)
{
    bool follows = options->presence || options->events;
    for (size_t i = 0; !follows && i < channel_rules_count(options->rules); i++) {
        const struct channel_options *values = &channel_rules_at(options->rules, i)->values;
        follows = values->presence || values->events;
    }
    return follows;
}

bool channel_options_tell_any(const struct options *options)
{
    bool tells = options->events;
    for (size_t i = 0; !tells && i < channel_rules_count(options->rules); i++)
        tells = channel_rules_at(options->rules, i)->values.events;
    return tells;
}

uint64_t channel_message_size(const struct options *options, struct text name)
{
    struct channel_options found;
    if (!options->rules || channel_rules_message_size_most(options->rules) == 0)
        return options->message_size_bytes;
    channel_options_resolve(&found, options, name);
    return found.message_size_bytes;
}

uint64_t channel_message_size_most(const struct options *options)
{
    return number_greater(options->message_size_bytes,
                          options->rules ? channel_rules_message_size_most(options->rules) : 0);
}

bool channel_options_limit_publishing(const struct options *options)
{
    return options->publish_rate_per_channel > 0 ||
           (options->rules && channel_rules_have(options->rules, CHANNEL_OPTION_publish_rate_per_channel));
}

int channel_trees_find(struct channel_trees *trees, const struct options *options, struct text name)
{
    const struct channel_rule *found[CHANNEL_PREFIXES_MAX];
    trees->count = 0;
    if ((!options->tree && !(options->rules && channel_rules_have_tree(options->rules))) ||
        channel_is_reserved(name))
        return 0;
    unsigned count =
        options->rules ? channel_rules_find_above(options->rules, name, CHANNEL_OPTION_tree, found) : 0;
    unsigned prefix = 0;
    for (size_t len = 1; len < name.len; len++) {
        if (name.bytes[len] != '/')
            continue;
        const struct channel_rule *rule = prefix < count ? found[prefix++] : NULL;
        if (!(rule ? rule->values.tree : options->tree))
            continue;
        if (trees->count == CHANNEL_TREES_MAX)
            return -E2BIG;
        trees->lens[trees->count++] = (uint8_t)len;
    }
    return 0;
}
