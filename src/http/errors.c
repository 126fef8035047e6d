/* SPDX-License-Identifier: MIT */
#include "http/errors.h"

#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

#include "render/render.h"

void errors_render_body(struct buf *to, enum error_code error, const char *message)
{
    buf_append_text(to, "{\"error\":\"");
    buf_append_text(to, error_name(error));
    buf_append_text(to, "\",\"message\":");
    render_json_string(to, message, strlen(message));
    buf_append_text(to, "}\n");
}

size_t errors_render_response(enum error_code error, char *to, size_t size)
{
    struct buf body = {0};
    unsigned status = error_status(error);
    errors_render_body(&body, error, error_text(error));
    int len =
        snprintf(to, size,
                 "HTTP/1.1 %u %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s"
                 "Cache-Control: no-store\r\nConnection: close\r\n\r\n%.*s",
                 status, MHD_get_reason_phrase_for(status), body.len,
                 status == MHD_HTTP_SERVICE_UNAVAILABLE ? "Retry-After: " ERRORS_RETRY_AFTER "\r\n" : "",
                 (int)body.len, body.bytes ? body.bytes : "");
    buf_deinit(&body);
    return (size_t)len < size ? (size_t)len : size - 1;
}
