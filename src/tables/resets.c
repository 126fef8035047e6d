/* SPDX-License-Identifier: MIT */
#include "tables/resets.h"

static const char *const reset_words[RESET_COUNT] = {[RESET_NONE] = "none",
#define RESET_WORD(name, word, number) [RESET_##name] = (word),
                                                     RESET_TABLE(RESET_WORD)
#undef RESET_WORD
};

const char *reset_reason_word(enum reset_reason reason)
{
    return reset_words[reason];
}

enum reset_reason reset_reason_find(struct text word)
{
    return (enum reset_reason)(text_index(word, reset_words, RESET_COUNT) % RESET_COUNT);
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
