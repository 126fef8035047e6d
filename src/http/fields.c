/* SPDX-License-Identifier: MIT */
#include "http/fields.h"

#include <strings.h>

static const struct {
    const char *name;
    size_t len;
} fields[FIELD_COUNT] = {
#define FIELD_ROW(name, text) {text, sizeof(text) - 1},
    FIELD_TABLE(FIELD_ROW)
#undef FIELD_ROW
};

/* All begin with a letter; looking at that first spares most comparisons. */
enum exchange_field field_find(const char *name, size_t len)
{
    const int first = len > 0 ? name[0] & ~0x20 : 0;
    unsigned field = 0;
    while (field < FIELD_COUNT && (fields[field].len != len || fields[field].name[0] != first ||
                                   strncasecmp(fields[field].name, name, len) != 0))
        field++;
    return (enum exchange_field)field;
}
