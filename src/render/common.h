/* SPDX-License-Identifier: MIT */
#pragma once

/* What the renderers share. */

#include "render/render.h"

/* Makes a rendering of the payload, with `shared` the offset in it where the shared part begins, and empties
 * the buffer. NULL when memory is or was out. */
struct rendering *render_finish(struct buf *payload, size_t shared);

/* The same without an HTTP chunk around it: the payload alone. */
struct rendering *render_finish_plain(struct buf *payload, size_t shared);

void render_id(struct buf *to, const struct epoch *epoch, uint64_t offset);

/* Appends the JSON form of a message with "cursor" as its first member. Returns where the next member begins.
 */
size_t render_json_object(struct buf *to, const struct message *message, struct text channel,
                          const struct epoch *epoch);
