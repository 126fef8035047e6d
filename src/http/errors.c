/* SPDX-License-Identifier: MIT */
#include "http/errors.h"

#include <string.h>

#include "render/render.h"

bool errors_passes(enum error_code error)
{
    return error_status(error) == 503 || error_status(error) == 429;
}

void errors_render_object(struct buf *to, enum error_code error, const char *message)
{
    buf_append_text(to, "{\"error\":\"");
    buf_append_text(to, error_name(error));
    buf_append_text(to, "\",\"message\":");
    render_json_string(to, message, strlen(message));
    buf_append_char(to, '}');
}

void errors_render_body(struct buf *to, enum error_code error, const char *message)
{
    errors_render_object(to, error, message);
    buf_append_char(to, '\n');
}
