/* SPDX-License-Identifier: MIT */
/* Bodies of xhr_send, or with an odd first byte the forms of jsonp_send. Whatever is taken as a message is
 * text, and comes out of the string that tells it as it went in. */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "render/render.h"
#include "transport/sockjs/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_told(struct text message)
{
    struct buf told = {0};
    struct messages again;
    struct text back;
    render_sockjs_string(&told, message.bytes, message.len);
    if (told.has_failed || messages_begin(&again, (struct text){told.bytes, told.len}) ||
        messages_get(&again, &back) != 1 || !text_equals(back, message))
        abort();
    messages_deinit(&again);
    buf_deinit(&told);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct messages messages;
    struct text message;
    if (size == 0)
        return 0;
    const struct text body = {(const char *)data + 1, size - 1};
    int err = data[0] & 1 ? messages_begin_form(&messages, body) : messages_begin(&messages, body);
    if (err != 0 && err != -EINVAL && err != -ENODATA)
        abort();
    while (!err && messages_get(&messages, &message) == 1) {
        if (!text_is_utf8(message.bytes, message.len, NULL))
            abort();
        check_told(message);
        messages_next(&messages);
    }
    if (!err)
        messages_deinit(&messages);
    return 0;
}
