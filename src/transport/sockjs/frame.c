/* SPDX-License-Identifier: MIT */
#include "transport/sockjs/frame.h"

#include "render/render.h"
#include "render/script.h"
#include "shard/comeback.h"

/* Browsers hold back what is less than this. */
#define PRELUDE_BYTES 2048u

static void append_times(struct buf *to, char byte, size_t count)
{
    if (buf_reserve(to, count))
        return;
    memset(to->bytes + to->len, byte, count);
    to->len += count;
}

static void append_page(struct buf *to, const char *callback)
{
    size_t at = to->len;
    buf_append_text(to, "<!doctype html>\n"
                        "<html><head>\n"
                        "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n"
                        "  <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n"
                        "</head><body><h2>Don't panic!</h2>\n"
                        "  <script>\n"
                        "    document.domain = document.domain;\n"
                        "    var c = parent.");
    buf_append_text(to, callback);
    buf_append_text(to, ";\n"
                        "    c.start();\n"
                        "    function p(d) {c.message(d);};\n"
                        "    window.onload = function() {c.stop();};\n"
                        "  </script>\n");
    append_times(to, ' ', PRELUDE_BYTES - (to->len - at));
    buf_append_text(to, "\r\n\r\n");
}

void sockjs_frame_append_prelude(struct buf *to, enum carrier carrier, const char *callback)
{
    if (carrier == CARRIER_XHR_STREAMING) {
        append_times(to, 'h', PRELUDE_BYTES);
        buf_append_char(to, '\n');
    } else if (carrier == CARRIER_EVENTSOURCE) {
        buf_append_text(to, "\r\n");
    } else if (carrier == CARRIER_HTMLFILE) {
        append_page(to, callback);
    }
}

static void append_script_string(struct buf *to, struct text text)
{
    struct buf string = {0};
    render_json_string(&string, text.bytes, text.len);
    script_append(to, string.bytes, string.len);
    to->has_failed = to->has_failed || string.has_failed;
    buf_deinit(&string);
}

void sockjs_frame_append(struct buf *to, enum carrier carrier, const char *callback, struct text frame)
{
    const struct carrier_row *row = &carriers[carrier];
    if (row->head) {
        buf_append_text(to, row->head);
        buf_append(to, frame.bytes, frame.len);
        buf_append_text(to, row->tail);
        return;
    }
    bool is_page = carrier == CARRIER_HTMLFILE;
    buf_append_text(to, is_page ? "<script>\np" : "/**/");
    if (!is_page)
        buf_append_text(to, callback);
    buf_append_char(to, '(');
    append_script_string(to, frame);
    buf_append_text(to, is_page ? ");\n</script>\r\n" : ");\r\n");
}

void sockjs_frame_append_close(struct buf *to, enum close_reason reason, const struct shard *shard)
{
    char comeback[COMEBACK_TEXT_MAX];
    const char *text = close_text(reason);
    if (reason == CLOSE_RESTART) {
        comeback_say(shard, comeback);
        text = comeback;
    }
    buf_append_text(to, "c[");
    buf_append_u64(to, close_code(reason));
    buf_append_char(to, ',');
    render_json_string(to, text, strlen(text));
    buf_append_char(to, ']');
}
