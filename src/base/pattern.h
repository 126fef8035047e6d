/* SPDX-License-Identifier: MIT */
#pragma once

/* Patterns of channel names. A segment (what stands between slashes) that is `*` stands for any one segment;
 * `**`, the last one, for one or more. All others are literal, so that a name is the pattern of itself alone.
 *
 * Text in its own form, nothing to build or free. Pure; any thread.
 */

#include "base/text.h"

#define PATTERN_MAX 255u /* bytes, of a name as well */

/* Names with a segment that begins with this are reserved (core/names.h). `*` and `**` as the first segment
 * do not stand for one that begins so: what covers everything does not cover them. */
#define PATTERN_RESERVED '$'

enum pattern_segment { PATTERN_LITERAL, PATTERN_ONE, PATTERN_REST }; /* the most specific first */

enum pattern_segment pattern_segment_kind(struct text segment);

/* What is wrong with it, as the end of a sentence that begins with "a channel pattern"; NULL when it is one.
 * Hostile. A `*` beside other characters is refused: whoever writes user* means what it would not match. */
const char *pattern_fault(struct text pattern);

/* The same for a name that may have `*` anywhere but as a segment; the sentence fits "a channel name". */
const char *pattern_name_fault(struct text name);

/* Whether a pattern covers the name; both as their functions above take them. Linear, allocates nothing. */
bool pattern_matches(struct text pattern, struct text name);

/* Whether the name's first segment is reserved. */
static inline bool pattern_hides(struct text name)
{
    return name.len > 0 && name.bytes[0] == PATTERN_RESERVED;
}

/* Orders patterns: below 0 when `a` is the more specific one, where segments are compared from the left and a
 * literal comes before `*` before `**`; 0 when they are the same. Those that no name has in common stand in
 * some order. */
int pattern_compare(struct text a, struct text b);

/* Cuts the first segment off; *rest is not there (bytes NULL) behind the last one. */
struct text pattern_cut_segment(struct text *rest);
