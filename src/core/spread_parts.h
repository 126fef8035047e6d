/* SPDX-License-Identifier: MIT */
#pragma once

/* What the parts of a spread have of each other: its life (core/spread.c), the search for what is below a
 * wild name (core/stem.c), and what it has to tell (core/spread_read.c). For these only.
 */

#include "core/spread.h"

/* core/spread.c */

/* Whether it is one of the subscriber's own names; every other subscription is in a branch. */
bool spread_is_named(const struct spread *spread, const struct subscription *subscription);
struct branch *branch_of(struct subscription *subscription);

/* Whether the channel is followed already, by a branch or by its name. */
bool spread_has(const struct spread *spread, struct text name);

/* Follows one channel more. Returns why it cannot. */
enum error_code spread_add(struct spread *spread, struct text name, bool is_new);

/* One of the things that were awaited has come. May wake the subscriber, which may leave: the last thing that
 * its caller does. */
void spread_settle(struct spread *spread);

/* The subscriber cannot be joined, or has to leave: the last thing that its caller does. */
void spread_fail(struct spread *spread, enum error_code error);

/* A stem has something to tell; the broker's letter is no place to tell it. */
void spread_tell(struct spread *spread, struct stem *stem, enum reset_reason reason);

/* Some channel below cannot be followed, or not any more. */
void spread_leave_out(struct spread *spread, struct stem *stem, enum reset_reason reason);

/* core/stem.c */

/* Begins to look for the channels of a stem, in the place of the search that there may be. Returns 0 or
 * -ENOMEM. */
int stem_search(struct spread *spread, struct stem *stem);

/* What the cursor says of a stem. */
void stem_read_cursor(struct spread *spread, struct stem *stem);

/* Whether the search would find a channel of that name. */
bool stem_covers(const struct stem *stem, struct text name);

/* Nothing is found any more. */
void stem_drop(struct stem *stem);

/* core/spread_read.c */

/* The branch has something to tell: a reset before what others have. */
void branch_note(struct spread *spread, struct branch *branch);
