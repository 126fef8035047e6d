/* SPDX-License-Identifier: MIT */
#pragma once

/* Names of servers, looked up in threads of their own: the system's resolver blocks, for half a minute where
 * no name server answers, and cannot be called off.
 *
 * All functions are for the broker's thread. A lookup is owned by those who wait for it and by its thread,
 * which may outlive them: nothing waits for it, not even the end of the process.
 */

#include "base/address.h"
#include "base/list.h"

struct lookup;

/* Begins to look up host:port, or joins the lookup of the same that is under way in `lookups`: there is one
 * thread for a name, however often it is asked for. Returns a reference; NULL without memory or a thread. */
struct lookup *lookup_begin(struct list *lookups, const char *address);

/* A descriptor, the caller's own, that becomes readable when the lookup has ended. Returns it or -errno. */
int lookup_watch(const struct lookup *lookup);

/* Returns 0 when it has succeeded, -EAGAIN while it is under way, or -EINVAL with what is wrong, for people.
 */
int lookup_check(const struct lookup *lookup, const char **why);

/* Of one that has succeeded: the address to be tried after `index` others; NULL when there is none. */
const struct address *lookup_find(const struct lookup *lookup, size_t index);

void lookup_unref(struct lookup *lookup);

/* At the end: forgets those that are under way. */
void lookup_forget_all(struct list *lookups);
