/* SPDX-License-Identifier: MIT */
#include "render/script.h"

#include "render/render.h"

/* U+2028 and U+2029 in UTF-8, but for the last byte. */
#define SCRIPT_SEPARATOR "\xe2\x80"

bool script_callback_is_valid(struct text name)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.";
    if (name.len == 0 || name.len > SCRIPT_CALLBACK_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!memchr(alphabet, name.bytes[i], sizeof(alphabet) - 1))
            return false;
    return true;
}

/* What stands for the first bytes of `text`, and how many they are; NULL when they stand for themselves. */
static const char *script_find_escape(struct text text, size_t *len)
{
    *len = 2;
    if (text_begins(text, "</"))
        return "<\\/";
    if (text_begins(text, "<!"))
        return "\\u003c!";
    *len = 3;
    if (text_begins(text, SCRIPT_SEPARATOR "\xa8"))
        return "\\u2028";
    return text_begins(text, SCRIPT_SEPARATOR "\xa9") ? "\\u2029" : NULL;
}

void script_append(struct buf *to, const char *json, size_t len)
{
    size_t plain = 0;
    for (size_t i = 0; i < len; i++) {
        size_t escaped;
        if (json[i] != '<' && json[i] != SCRIPT_SEPARATOR[0])
            continue;
        const char *escape = script_find_escape((struct text){json + i, len - i}, &escaped);
        if (!escape)
            continue;
        buf_append(to, json + plain, i - plain);
        buf_append_text(to, escape);
        plain = i + escaped;
        i = plain - 1;
    }
    buf_append(to, json + plain, len - plain);
}

/* An ASCII character of a name can also be written as \u00XX. */
static bool script_may_name_proto(struct text json)
{
    return text_contains(json, "__proto__") || text_contains(json, "\\u00");
}

void script_append_value(struct buf *to, const char *json, size_t len)
{
    if (!script_may_name_proto((struct text){json, len})) {
        script_append(to, json, len);
        return;
    }
    struct buf string = {0};
    render_json_string(&string, json, len);
    buf_append_text(to, "JSON.parse(");
    script_append(to, string.bytes, string.len);
    buf_append_char(to, ')');
    to->has_failed = to->has_failed || string.has_failed;
    buf_deinit(&string);
}
