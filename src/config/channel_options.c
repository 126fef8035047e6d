/* SPDX-License-Identifier: MIT */
#include "config/channel_options.h"

void channel_options_resolve(struct channel_options *to, const struct options *options, struct text name)
{
    (void)name; /* no section yet */
#define CHANNEL_OPTION_COPY(name, field, ...) .field = options->field,
    *to = (struct channel_options){CHANNEL_OPTION_TABLE(CHANNEL_OPTION_COPY, CHANNEL_OPTION_COPY,
                                                        CHANNEL_OPTION_COPY, CHANNEL_OPTION_COPY,
                                                        CHANNEL_OPTION_COPY)};
#undef CHANNEL_OPTION_COPY
}
