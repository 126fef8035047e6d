/* SPDX-License-Identifier: MIT */
#pragma once

/* Wire forms of a message: pure functions, bytes in, bytes out; any thread. docs/PROTOCOL.md describes the
 * forms. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "core/epoch.h"
#include "core/message.h"
#include "core/subscriber.h"
#include "tables/resets.h"

/* Appends a JSON string, quotes included. The bytes are UTF-8. */
void render_json_string(struct buf *to, const char *bytes, size_t len);

/* Appends "name": */
void render_json_key(struct buf *to, const char *name);

/* The same as SockJS wants it: with everything escaped that browsers would change. */
void render_sockjs_string(struct buf *to, const char *bytes, size_t len);

/* A message as such a string: the object that the command protocol has for it; the data alone, base64 of it
 * when it is not text. All of it is shared. */
struct rendering *render_sockjs_command(const struct message *message, struct text channel,
                                        const struct epoch *epoch);
struct rendering *render_sockjs_data(const struct message *message, struct text channel,
                                     const struct epoch *epoch);

/* Appends base64 (RFC 4648, padded). */
void render_base64(struct buf *to, const char *bytes, size_t len);

/* A line of the NDJSON stream: the payload begins with `{"cursor":"ID",`; what is shared begins with
 * `"channel"` and ends with the line. Return malloc'd renderings for message_form; NULL when memory is out.
 */
struct rendering *render_json(const struct message *message, struct text channel, const struct epoch *epoch);

/* Appends the members of the JSON form of a message, without the braces around them. */
void render_json_members(struct buf *to, const struct message *message, struct text channel,
                         const struct epoch *epoch);

/* What else a feed of JSON objects says: the begin of an object whose first member is a cursor, and the whole
 * objects of its opening and of a reset. */
void render_json_cursor(struct buf *to, struct text cursor);
void render_json_opening(struct buf *to, struct text cursor, bool is_recovered,
                         enum completeness completeness);

/* The members that say what an opening knows of what comes: `"recovered"`, and `"complete"` where somebody
 * asks.
 */
void render_recovery(struct buf *to, bool is_recovered, enum completeness completeness);
void render_json_reset(struct buf *to, struct text channel, enum reset_reason reason, uint64_t missed,
                       struct text cursor);

/* WebSocket frames, whole: the data alone, in a text or a binary frame; the JSON form of a message with its
 * cursor, the shared part beginning with `"channel"`; and with `"op":"message"` before it, as the command
 * protocol has it, the shared part being the object. */
struct rendering *render_websocket_data(const struct message *message, struct text channel,
                                        const struct epoch *epoch);
struct rendering *render_websocket_json(const struct message *message, struct text channel,
                                        const struct epoch *epoch);
struct rendering *render_websocket_command(const struct message *message, struct text channel,
                                           const struct epoch *epoch);

/* An event of a text/event-stream: the payload begins with `id: ID`; what is shared begins with the line
 * after it. */
struct rendering *render_sse(const struct message *message, struct text channel, const struct epoch *epoch);

/* The same with the JSON form of the message as its data, from which a page can tell channels apart. */
struct rendering *render_sse_json(const struct message *message, struct text channel,
                                  const struct epoch *epoch);

/* Frames of the raw TCP feed (docs/TCP.md): the data and CRLF, or and NUL, or behind its length in four
 * bytes. Data that has the delimiter in it becomes a JSON string, of base64 if it is not text. */
struct rendering *render_crlf(const struct message *message, struct text channel, const struct epoch *epoch);
struct rendering *render_nul(const struct message *message, struct text channel, const struct epoch *epoch);
struct rendering *render_len32(const struct message *message, struct text channel, const struct epoch *epoch);

/* A `message` of the Redis protocol as RESP2 has it; RESP3 has `>` for its first byte. What is shared begins
 * with the channel. */
struct rendering *render_resp(const struct message *message, struct text channel, const struct epoch *epoch);

/* A bulk string of the Redis protocol. */
void render_resp_bulk(struct buf *to, const char *bytes, size_t len);

/* `RESET channel reason number`: how a feed of bare data tells of a reset (docs/TCP.md). */
void render_reset_line(struct buf *to, struct text channel, enum reset_reason reason, uint64_t missed);

/* The object that tells of a reset, and its members without the braces around them. `cursor` is the joined
 * one from which the feed goes on. */
void render_reset_members(struct buf *to, struct text channel, enum reset_reason reason, uint64_t missed,
                          struct text cursor);
void render_reset(struct buf *to, struct text channel, enum reset_reason reason, uint64_t missed,
                  struct text cursor);

/* A script element of a forever iframe that calls `p`, whose page defines it, with the JSON form of a message
 * and its cursor as JavaScript (render/script.h): the payload begins with `<script>p({"cursor":"ID",`; what
 * is shared begins with `"channel"` and ends with `}` and RENDER_HTMLFILE_END. */
#define RENDER_HTMLFILE_END ")</script>\n"
struct rendering *render_htmlfile(const struct message *message, struct text channel,
                                  const struct epoch *epoch);

/* The begin of such an element, with a cursor of its own; and a whole one, for JSON of ours. */
void render_htmlfile_begin(struct buf *to, struct text cursor);
void render_htmlfile_call(struct buf *to, const char *json, size_t len);

/* A part of a multipart stream up to the next boundary, behind which the fields of the next part follow: the
 * payload begins with the field Sluice-Cursor; what is shared begins with the field after it. Data that has
 * the boundary in it becomes base64. */
#define RENDER_MULTIPART_BOUNDARY "sluice-part-7d2f94e1b60c"
struct rendering *render_multipart(const struct message *message, struct text channel,
                                   const struct epoch *epoch);

/* The same for a picture in a page: what is binary comes twice. Chromium shows a part once the fields of the
 * one behind it are there. */
struct rendering *render_multipart_picture(const struct message *message, struct text channel,
                                           const struct epoch *epoch);

/* The field that says from where to go on. */
void render_multipart_cursor(struct buf *to, struct text cursor);

/* Hands over the header fields that say what a message is, one after another; a value is terminated, and kept
 * for the call only. */
typedef void render_field_taker(void *cls, const char *name, const char *value);
void render_fields(const struct message *message, struct text channel, const struct epoch *epoch,
                   render_field_taker *take, void *cls);

/* An item of the structured list (RFC 8941) Sluice-Reset: no name of a channel has anything in it that a
 * quoted string would escape. */
void render_reset_item(struct buf *to, struct text channel, enum reset_reason reason, uint64_t missed);

/* Appends the "data:" lines of an event, one for each line of the text (CR, LF and CRLF each end one). */
void render_sse_data(struct buf *to, const char *text, size_t len);

/* The size line of an HTTP/1.1 chunk, "LEN\r\n" in hexadecimal; at most RENDER_CHUNK_HEAD_MAX bytes. Returns
 * its length. */
#define RENDER_CHUNK_HEAD_MAX 18u
size_t render_chunk_head(char *to, size_t len);
