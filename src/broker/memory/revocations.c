/* SPDX-License-Identifier: MIT */
#include "broker/memory/revocations.h"

#include <errno.h>
#include <stdlib.h>

#define REVOCATIONS_LEAST 64u

struct memory_revocation {
    int64_t until_ms;
    size_t len;
    char *form; /* malloc'd */
};

void memory_revocations_deinit(struct memory_revocations *revocations)
{
    for (size_t i = 0; i < revocations->count; i++)
        free(revocations->items[i].form);
    free(revocations->items);
    *revocations = (struct memory_revocations){0};
}

static void memory_revocations_forget(struct memory_revocations *revocations, int64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < revocations->count; i++) {
        if (revocations->items[i].until_ms > now_ms)
            revocations->items[kept++] = revocations->items[i];
        else
            free(revocations->items[i].form);
    }
    revocations->count = kept;
}

static int memory_revocations_make_room(struct memory_revocations *revocations, int64_t now_ms)
{
    if (revocations->count < revocations->capacity)
        return 0;
    memory_revocations_forget(revocations, now_ms);
    size_t capacity = 2 * revocations->count;
    if (capacity < REVOCATIONS_LEAST)
        capacity = REVOCATIONS_LEAST;
    void *items = realloc(revocations->items, capacity * sizeof(*revocations->items));
    if (!items)
        return -ENOMEM;
    revocations->items = items;
    revocations->capacity = capacity;
    return 0;
}

int memory_revocations_add(struct memory_revocations *revocations, const struct revocation *revocation,
                           int64_t now_ms)
{
    char form[REVOCATION_FORM_MAX];
    size_t len = revocation_format(form, revocation);
    int err = memory_revocations_make_room(revocations, now_ms);
    char *copy = err ? NULL : malloc(len);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, form, len);
    revocations->items[revocations->count++] = (struct memory_revocation){revocation->until_ms, len, copy};
    return 0;
}

void memory_revocations_drop_last(struct memory_revocations *revocations)
{
    free(revocations->items[--revocations->count].form);
}

struct text memory_revocations_form(const struct memory_revocations *revocations, size_t index)
{
    return (struct text){revocations->items[index].form, revocations->items[index].len};
}
