/* SPDX-License-Identifier: MIT */
#include "tbl/resets.h"

const char *reset_reason_word(enum reset_reason reason)
{
    static const char *const words[RESET_COUNT] = {[RESET_NONE] = "none",
#define RESET_WORD(name, word, number) [RESET_##name] = (word),
                                                   RESET_TABLE(RESET_WORD)
#undef RESET_WORD
    };
    return words[reason];
}

const char *reset_number_word(enum reset_reason reason)
{
    static const char *const words[RESET_COUNT] = {[RESET_NONE] = "none",
#define RESET_NUMBER(name, word, number) [RESET_##name] = (number),
                                                   RESET_TABLE(RESET_NUMBER)
#undef RESET_NUMBER
    };
    return words[reason];
}
