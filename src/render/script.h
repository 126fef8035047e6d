/* SPDX-License-Identifier: MIT */
#pragma once

/* JSON as JavaScript: for what a page loads by a script tag (JSONP) and what stands in one (a forever
 * iframe), on channels and in SockJS. Bytes in, bytes out; any thread.
 */

#include <stdbool.h>

#include "base/buf.h"
#include "base/text.h"

#define SCRIPT_CALLBACK_MAX 32u
#define SCRIPT_CALLBACK_RULE "1 to 32 characters of A-Z a-z 0-9 _ and ."

/* Whether a page may name this function to be called: SCRIPT_CALLBACK_RULE. Hostile. */
bool script_callback_is_valid(struct text name);

/* Appends JSON, or any part of it that begins and ends between two characters, so that it means the same in
 * a script, within <script> and in engines of any age: `</` becomes `<\/`, `<!` (which could hide the end of
 * the element) `\u003c!`, U+2028 and U+2029 (which end a line in JavaScript) become escapes. All of these can
 * stand in strings only. Its values must be ours or strings, see script_append_value. */
void script_append(struct buf *to, const char *json, size_t len);

/* The same for a whole value that somebody else has made: where a member could be named __proto__, which is
 * no member in JavaScript and a syntax error when it is there twice, it becomes JSON.parse("…"). */
void script_append_value(struct buf *to, const char *json, size_t len);
