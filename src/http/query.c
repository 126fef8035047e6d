/* SPDX-License-Identifier: MIT */
#include "http/query.h"

#include "core/message.h"

#define NAME_SHOWN_MAX 64u

struct query_reading {
    const struct query_rules *rules;
    struct text unknown;
};

static bool query_is_taken(const struct query_rules *rules, struct text name)
{
    if (name.len == 0 || text_index(name, rules->names, SIZE_MAX) < SIZE_MAX)
        return true;
    return rules->harmless &&
           (name.bytes[0] == '_' || text_index(name, rules->harmless, SIZE_MAX) < SIZE_MAX);
}

/* Returns MHD_NO to stop at the first unknown one. */
static enum MHD_Result query_visit(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                   const char *value, size_t value_len)
{
    struct query_reading *reading = cls;
    (void)kind;
    (void)value;
    (void)value_len; /* which ones there are is all that is asked */
    struct text found = {name, name_len};
    if (query_is_taken(reading->rules, found))
        return MHD_YES;
    reading->unknown = found;
    return MHD_NO;
}

bool query_refuses(struct exchange *exchange, const struct query_rules *rules)
{
    struct query_reading reading = {.rules = rules};
    struct buf list = {0};
    if (!exchange->has_query)
        return false;
    MHD_get_connection_values_n(exchange->connection, MHD_GET_ARGUMENT_KIND, query_visit, &reading);
    struct text unknown = reading.unknown;
    if (!unknown.bytes)
        return false;
    if (unknown.len > NAME_SHOWN_MAX || !message_attribute_is_valid(unknown))
        unknown = text_of("...");
    for (size_t i = 0; rules->names[i]; i++) {
        buf_append_text(&list, i > 0 ? ", " : "");
        buf_append_text(&list, rules->names[i]);
    }
    exchange_fail(exchange, ERROR_BAD_OPTION, "%s has no query parameter '%.*s'; here it takes %.*s",
                  rules->doing, (int)unknown.len, unknown.bytes, list.len > 0 ? (int)list.len : 4,
                  list.len > 0 ? list.bytes : "none");
    buf_deinit(&list);
    return true;
}
