/* SPDX-License-Identifier: MIT */
#include "tables/closes.h"

static const struct close_row {
    uint16_t code;
    const char *word;
    const char *text;
} close_rows[CLOSE_COUNT] = {
#define CLOSE_ROW(to, name, code, word, text) [CLOSE_##name] = {code, word, text},
    CLOSE_TABLE(CLOSE_ROW, )
#undef CLOSE_ROW
};

uint16_t close_code(enum close_reason reason)
{
    return close_rows[reason].code;
}

const char *close_word(enum close_reason reason)
{
    return close_rows[reason].word;
}

const char *close_text(enum close_reason reason)
{
    return close_rows[reason].text;
}
