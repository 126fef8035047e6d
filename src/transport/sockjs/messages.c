/* SPDX-License-Identifier: MIT */
#include "transport/sockjs/messages.h"

#include <errno.h>

#include "base/percent.h"

static bool messages_are_strings(struct text array)
{
    struct json_walk walk;
    json_walk_begin(&walk, array);
    while (json_walk_next(&walk))
        if (!text_begins(walk.value, "\""))
            return false;
    return true;
}

int messages_begin(struct messages *messages, struct text text)
{
    char fault[JSON_FAULT_MAX];
    struct text value;
    *messages = (struct messages){0};
    if (text.len == 0)
        return -ENODATA;
    if (json_scan(&value, text.bytes, text.len, fault))
        return -EINVAL;
    bool is_array = text_begins(value, "[");
    if (!is_array && !text_begins(value, "\""))
        return -EINVAL;
    if (is_array && !messages_are_strings(value))
        return -EINVAL;
    json_walk_begin(&messages->walk, is_array ? value : (struct text){"[]", 2});
    if (!is_array)
        messages->one = value;
    return 0;
}

/* Decodes a value of a form (the URL standard, section 5.1). */
static int messages_decode(struct buf *to, struct text value)
{
    size_t len = 0;
    if (buf_reserve(to, 2 * value.len + 2))
        return -ENOMEM;
    char *plain = to->bytes + value.len + 1;
    for (size_t i = 0; i < value.len; i++)
        plain[i] = value.bytes[i] == '+' ? ' ' : value.bytes[i];
    if (percent_decode(to->bytes, &len, plain, value.len))
        return -EINVAL;
    to->len = len;
    return 0;
}

int messages_begin_form(struct messages *messages, struct text form)
{
    struct buf decoded = {0};
    struct text field = {0};
    while (form.len > 0 && !text_begins(field, "d="))
        field = text_cut(&form, '&');
    if (!text_begins(field, "d="))
        return -ENODATA;
    int err = messages_decode(&decoded, text_behind(field, 2));
    if (!err)
        err = messages_begin(messages, (struct text){decoded.bytes, decoded.len});
    if (err)
        buf_deinit(&decoded);
    else
        messages->form = decoded;
    return err;
}

int messages_get(struct messages *messages, struct text *message)
{
    if (!messages->current) {
        struct text value = messages->one;
        messages->one = (struct text){0};
        if (!value.bytes && !json_walk_next(&messages->walk))
            return 0;
        messages->current = json_value_parse(value.bytes ? value : messages->walk.value);
    }
    if (!messages->current)
        return -ENOMEM;
    *message = json_value_text(messages->current);
    return 1;
}

void messages_next(struct messages *messages)
{
    json_value_free(messages->current);
    messages->current = NULL;
}

void messages_skip(struct messages *messages, size_t count)
{
    if (count > 0 && messages->one.bytes)
        messages->one = (struct text){0};
    for (size_t i = 0; i < count && json_walk_next(&messages->walk); i++)
        ;
}

void messages_deinit(struct messages *messages)
{
    json_value_free(messages->current);
    buf_deinit(&messages->form);
}
