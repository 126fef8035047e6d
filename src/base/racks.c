/* SPDX-License-Identifier: MIT */
#include "base/racks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct rack *rack_new(struct racks *racks, struct text name)
{
    struct rack *rack = calloc(1, sizeof(*rack) + name.len);
    if (!rack)
        return NULL;
    memcpy(rack->name, name.bytes, name.len);
    list_init(&rack->things);
    HASH_ADD_KEYPTR(hh, racks->table, rack->name, name.len, rack);
    if (rack->hh.tbl)
        return rack;
    free(rack);
    return NULL;
}

int racks_put(struct racks *racks, struct racked *thing, struct text name)
{
    struct rack *rack = racks_find(racks, name);
    list_init(&thing->link);
    thing->rack = rack ? rack : rack_new(racks, name);
    if (!thing->rack)
        return -ENOMEM;
    list_append(&thing->rack->things, &thing->link);
    return 0;
}

void racks_take(struct racks *racks, struct racked *thing)
{
    struct rack *rack = thing->rack;
    if (!rack)
        return;
    thing->rack = NULL;
    list_remove(&thing->link);
    if (!list_is_empty(&rack->things))
        return;
    HASH_DEL(racks->table, rack);
    free(rack);
}

struct rack *racks_find(const struct racks *racks, struct text name)
{
    struct rack *rack;
    HASH_FIND(hh, racks->table, name.bytes, name.len, rack);
    return rack;
}

struct rack *racks_find_above(const struct racks *racks, struct text path, size_t *at)
{
    struct rack *rack = NULL;
    const char *slash;
    while (!rack && racks->table && *at < path.len &&
           (slash = memchr(path.bytes + *at, '/', path.len - *at))) {
        *at = (size_t)(slash - path.bytes) + 1;
        if (*at < path.len)
            rack = racks_find(racks, (struct text){path.bytes, *at});
    }
    return rack;
}
