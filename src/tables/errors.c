/* SPDX-License-Identifier: MIT */
#include "tables/errors.h"

static const struct error_row {
    unsigned status;
    const char *name;
    const char *text;
} error_rows[ERROR_COUNT] = {
#define ERROR_ROW(name, status, code, text) [ERROR_##name] = {status, code, text},
    ERROR_TABLE(ERROR_ROW)
#undef ERROR_ROW
};

unsigned error_status(enum error_code code)
{
    return error_rows[code].status;
}

const char *error_name(enum error_code code)
{
    return error_rows[code].name;
}

const char *error_text(enum error_code code)
{
    return error_rows[code].text;
}

uint32_t error_retry_after_s(enum error_code code, uint32_t known_s)
{
    return known_s == 0 && error_rows[code].status >= 500 ? ERROR_RETRY_AFTER_S : known_s;
}
