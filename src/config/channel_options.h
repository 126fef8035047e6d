/* SPDX-License-Identifier: MIT */
#pragma once

/* What holds for one channel: of each option of CHANNEL_OPTION_TABLE the value of the most specific section
 * [channel "PATTERN"] of the configuration file that has one, else the option's own.
 *
 * A value type. To be found at attach, subscribe and first publish, never at delivery. Any thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "config/options.h"

/* The words of `subscribe`. */
enum channel_subscribers {
    SUBSCRIBERS_AUTO, /* TOKEN when keys are configured, else ANYONE */
    SUBSCRIBERS_ANYONE,
    SUBSCRIBERS_TOKEN,
    SUBSCRIBERS_NOBODY,
};

/* The words of `publish`, a bit each. AUTO and NOBODY stand alone. */
enum channel_publishers {
    PUBLISHERS_AUTO = 1u << 0, /* KEY and TOKEN when keys are configured, else ANYONE */
    PUBLISHERS_KEY = 1u << 1,
    PUBLISHERS_TOKEN = 1u << 2,
    PUBLISHERS_ANYONE = 1u << 3,
    PUBLISHERS_NOBODY = 1u << 4,
};

/* The words of `policy`. */
enum channel_policy { CHANNEL_POLICY_ALL, CHANNEL_POLICY_NEWEST };

/* The options in the order of the table; their rows are the last ones of option_rows. */
enum channel_option {
#define CHANNEL_OPTION_INDEX(name, field, ...) CHANNEL_OPTION_##field,
    CHANNEL_OPTION_TABLE(CHANNEL_OPTION_INDEX, CHANNEL_OPTION_INDEX, CHANNEL_OPTION_INDEX,
                         CHANNEL_OPTION_INDEX, CHANNEL_OPTION_INDEX, CHANNEL_OPTION_INDEX)
#undef CHANNEL_OPTION_INDEX
        CHANNEL_OPTION_COUNT
};

struct channel_options {
#define CHANNEL_OPTION_FLAG(name, field, ...) bool field;
#define CHANNEL_OPTION_WORD(name, field, ...) unsigned field;
#define CHANNEL_OPTION_NUMBER(name, field, ...) uint64_t field;
    CHANNEL_OPTION_TABLE(CHANNEL_OPTION_FLAG, CHANNEL_OPTION_WORD, CHANNEL_OPTION_WORD, CHANNEL_OPTION_NUMBER,
                         CHANNEL_OPTION_NUMBER, CHANNEL_OPTION_NUMBER)
#undef CHANNEL_OPTION_FLAG
#undef CHANNEL_OPTION_WORD
#undef CHANNEL_OPTION_NUMBER
};

/* Finds what holds for the channel of that name. Its cost depends on the name's segments and on how many
 * patterns cover their beginnings, not on how many patterns there are. */
void channel_options_resolve(struct channel_options *to, const struct options *options, struct text name);

/* The largest message for the channel of that name; and for any one, which bounds what is read before it is
 * known where it goes. */
uint64_t channel_message_size(const struct options *options, struct text name);
uint64_t channel_message_size_most(const struct options *options);

/* The trees above a channel: the proper prefixes of its name, cut before a slash, whose option `tree` is yes,
 * by their lengths, the shortest first. */
#define CHANNEL_TREES_MAX 8u
struct channel_trees {
    uint8_t count;
    uint8_t lens[CHANNEL_TREES_MAX];
};

/* Finds them for a valid name: for a message that is published there, which goes into their logs too. A
 * reserved name, one with a segment that begins with `$`, has none. Returns 0, or -E2BIG when there are more.
 * A look at a flag where no channel is a tree. */
int channel_trees_find(struct channel_trees *trees, const struct options *options, struct text name);

/* Whether who is in the channel of that name is known. */
bool channel_has_presence(const struct options *options, struct text name);

/* Whether any channel may have presence or events. */
bool channel_options_follow_any(const struct options *options);

/* Whether any channel may have a publish-rate-per-channel. */
bool channel_options_limit_publishing(const struct options *options);

/* Whether any channel may have events. */
bool channel_options_tell_any(const struct options *options);

/* Takes the option over from the options of all channels. */
void channel_options_copy(struct channel_options *to, const struct options *from, enum channel_option option);

/* The row of the table, and back; the row is one that a section may have. */
const struct option_row *channel_option_row(enum channel_option option);
enum channel_option channel_option_of(const struct option_row *row);

/* The value as it stands in the file. Returns malloc'd text or NULL. */
char *channel_option_format(const struct channel_options *values, enum channel_option option);
