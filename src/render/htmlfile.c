/* SPDX-License-Identifier: MIT */
/* Script elements of a forever iframe. */

#include <string.h>

#include "render/common.h"
#include "render/script.h"

void render_htmlfile_begin(struct buf *to, struct text cursor)
{
    buf_append_text(to, "<script>p(");
    render_json_cursor(to, cursor);
}

void render_htmlfile_call(struct buf *to, const char *json, size_t len)
{
    buf_append_text(to, "<script>p(");
    script_append(to, json, len);
    buf_append_text(to, RENDER_HTMLFILE_END);
}

/* JSON that was published is taken more carefully than what we have made. */
static void htmlfile_append_members(struct buf *to, const struct message *message, const struct buf *members)
{
    size_t published = message->type == MESSAGE_JSON ? message->size : 0;
    size_t own = members->len - published;
    script_append(to, members->bytes, own);
    if (published > 0)
        script_append_value(to, members->bytes + own, published);
}

struct rendering *render_htmlfile(const struct message *message, struct text channel,
                                  const struct epoch *epoch)
{
    struct buf payload = {0};
    struct buf members = {0};
    buf_append_text(&payload, "<script>p({\"cursor\":\"");
    render_id(&payload, epoch, message->offset);
    buf_append_text(&payload, "\",");
    size_t shared = payload.len;
    render_json_members(&members, message, channel, epoch);
    if (members.has_failed)
        payload.has_failed = true;
    else
        htmlfile_append_members(&payload, message, &members);
    buf_deinit(&members);
    buf_append_text(&payload, "}" RENDER_HTMLFILE_END);
    return render_finish(&payload, shared);
}
