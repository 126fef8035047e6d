/* SPDX-License-Identifier: MIT */
#include "render/common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"

size_t render_chunk_head(char *to, size_t len)
{
    char text[RENDER_CHUNK_HEAD_MAX + 1];
    size_t text_len = (size_t)snprintf(text, sizeof(text), "%zx\r\n", len);
    memcpy(to, text, text_len);
    return text_len;
}

void render_base64(struct buf *to, const char *bytes, size_t len)
{
    size_t room = base64_size(len);
    if (buf_reserve(to, room + 1))
        return;
    base64_encode(to->bytes + to->len, bytes, len);
    to->len += room;
}

struct rendering *render_finish(struct buf *payload, size_t shared)
{
    struct rendering *rendering = NULL;
    char head[RENDER_CHUNK_HEAD_MAX];
    size_t head_len = render_chunk_head(head, payload->len);
    if (!payload->has_failed)
        rendering = malloc(sizeof(*rendering) + head_len + payload->len + 2);
    if (rendering) {
        rendering->payload = (uint32_t)head_len;
        rendering->shared = (uint32_t)(head_len + shared);
        rendering->payload_end = (uint32_t)(head_len + payload->len);
        rendering->size = rendering->payload_end + 2;
        memcpy(rendering->bytes, head, head_len);
        memcpy(rendering->bytes + head_len, payload->bytes, payload->len);
        memcpy(rendering->bytes + rendering->payload_end, "\r\n", 2);
    }
    buf_deinit(payload);
    return rendering;
}

struct rendering *render_finish_plain(struct buf *payload, size_t shared)
{
    struct rendering *rendering = NULL;
    if (!payload->has_failed)
        rendering = malloc(sizeof(*rendering) + payload->len);
    if (rendering) {
        rendering->payload = 0;
        rendering->shared = (uint32_t)shared;
        rendering->payload_end = (uint32_t)payload->len;
        rendering->size = rendering->payload_end;
        memcpy(rendering->bytes, payload->bytes, payload->len);
    }
    buf_deinit(payload);
    return rendering;
}

void render_id(struct buf *to, const struct epoch *epoch, uint64_t offset)
{
    buf_append(to, epoch->text, EPOCH_LEN);
    buf_append_char(to, '-');
    buf_append_u64(to, offset);
}
