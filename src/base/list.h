/* SPDX-License-Identifier: MIT */
#pragma once

/* An intrusive doubly linked list with a head that is itself a link. Not thread-safe. An unlinked link points
 * at itself, so that list_remove may be called twice.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/container.h"

struct list {
    struct list *next;
    struct list *previous;
};

static inline void list_init(struct list *list)
{
    list->next = list;
    list->previous = list;
}

static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}

static inline void list_append(struct list *head, struct list *link)
{
    link->previous = head->previous;
    link->next = head;
    head->previous->next = link;
    head->previous = link;
}

static inline void list_prepend(struct list *head, struct list *link)
{
    list_append(head->next, link);
}

static inline void list_remove(struct list *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    list_init(link);
}

/* Moves everything in `from` to the end of `to`. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->previous = to->previous;
    to->previous->next = from->next;
    from->previous->next = to;
    to->previous = from->previous;
    list_init(from);
}

static inline struct list *list_first(const struct list *head)
{
    return list_is_empty(head) ? NULL : head->next;
}

/* Removes the first and returns it; NULL when there is none. */
static inline struct list *list_pop(struct list *head)
{
    struct list *link = list_first(head);
    if (link)
        list_remove(link);
    return link;
}

/* For each, removed before the body, until there is none. */
#define list_drain(link, head) for (struct list * link; (link = list_pop(head));)

#define list_for_each(link, head) for (struct list *link = (head)->next; link != (head); link = link->next)

/* Also allows `link` to be removed in the body. */
#define list_for_each_safe(link, head)                                                                       \
    for (struct list *link = (head)->next, *link##_next = link->next; link != (head);                        \
         link = link##_next, link##_next = link->next)
