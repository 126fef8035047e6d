/* SPDX-License-Identifier: MIT */
#pragma once

/* What holds for one channel: of each option of CHANNEL_OPTION_TABLE the value of the most specific section
 * [channel "PATTERN"] of the configuration file that has one, else the option's own.
 *
 * A value type. To be found at attach, subscribe and first publish, never at delivery. Any thread.
 */

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

struct channel_options {
#define CHANNEL_OPTION_WORD(name, field, ...) unsigned field;
#define CHANNEL_OPTION_NUMBER(name, field, ...) uint64_t field;
    CHANNEL_OPTION_TABLE(CHANNEL_OPTION_WORD, CHANNEL_OPTION_WORD, CHANNEL_OPTION_NUMBER,
                         CHANNEL_OPTION_NUMBER, CHANNEL_OPTION_NUMBER)
#undef CHANNEL_OPTION_WORD
#undef CHANNEL_OPTION_NUMBER
};

/* Finds what holds for the channel of that name. */
void channel_options_resolve(struct channel_options *to, const struct options *options, struct text name);
