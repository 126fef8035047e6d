/* SPDX-License-Identifier: MIT */
#pragma once

/* Things on racks, as many on each as there are; a rack has a name, and is there as long as anything is on
 * it. A thing embeds a struct racked. Not thread-safe; table_key_init has been called.
 */

#include "base/list.h"
#include "base/table.h"
#include "base/text.h"

struct rack {
    UT_hash_handle hh;
    struct list things; /* struct racked.link */
    char name[];
};

struct racks {
    struct rack *table; /* by name (uthash); NULL when there is none */
};

struct racked {
    struct list link;
    struct rack *rack; /* NULL when it is on none */
};

/* Puts a thing that is on none onto the rack of that name. Returns 0; or -ENOMEM, and it is on none. */
int racks_put(struct racks *racks, struct racked *thing, struct text name);

/* Takes it off; also one that is on none. */
void racks_take(struct racks *racks, struct racked *thing);

/* The rack of that name; NULL when there is nothing on it. */
struct rack *racks_find(const struct racks *racks, struct text name);

/* The next rack whose name is a beginning of `path`, up to a slash and with it, but not all of it; the
 * shortest first. `at` is 0 at first, then as it was left. NULL when there are no more. */
struct rack *racks_find_above(const struct racks *racks, struct text path, size_t *at);
