/* SPDX-License-Identifier: MIT */
#include "tbl/transports.h"

const char *transport_word(enum transport_kind kind)
{
    static const char *const words[TRANSPORT_COUNT] = {
#define TRANSPORT_WORD(name, word) [TRANSPORT_##name] = (word),
        TRANSPORT_TABLE(TRANSPORT_WORD)
#undef TRANSPORT_WORD
    };
    return words[kind];
}
