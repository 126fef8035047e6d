/* SPDX-License-Identifier: MIT */
#include "core/revocation.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/container.h"
#include "base/number.h"

static const char *const revocation_words[] = {
    [REVOCATION_TOKEN] = "token",
    [REVOCATION_SUBJECT] = "subject",
};

size_t revocation_format(char to[REVOCATION_FORM_MAX], const struct revocation *revocation)
{
    char head[REVOCATION_FORM_MAX - REVOCATION_TEXT_MAX];
    int len = snprintf(head, sizeof(head), "%" PRId64 " %s %" PRId64 " ", revocation->until_ms,
                       revocation_words[revocation->kind], revocation->before_ms);
    memcpy(to, head, (size_t)len);
    memcpy(to + len, revocation->text.bytes, revocation->text.len);
    return (size_t)len + revocation->text.len;
}

static bool revocation_parse_time(int64_t *time_ms, struct text text)
{
    uint64_t value;
    if (number_parse_u64(&value, text.bytes, text.len) || value > INT64_MAX)
        return false;
    *time_ms = (int64_t)value;
    return true;
}

/* What stands before the next space, which goes too. */
static struct text revocation_cut(struct text *rest)
{
    const char *space = rest->len > 0 ? memchr(rest->bytes, ' ', rest->len) : NULL;
    struct text word = {rest->bytes, space ? (size_t)(space - rest->bytes) : rest->len};
    *rest = text_behind(*rest, space ? word.len + 1 : word.len);
    return word;
}

int revocation_parse(struct revocation *revocation, struct text form)
{
    struct text until = revocation_cut(&form);
    size_t kind = text_index(revocation_cut(&form), revocation_words, ARRAY_LENGTH(revocation_words));
    struct text before = revocation_cut(&form);
    *revocation = (struct revocation){.text = form};
    if (kind == ARRAY_LENGTH(revocation_words) || form.len == 0 || form.len > REVOCATION_TEXT_MAX ||
        !revocation_parse_time(&revocation->until_ms, until) ||
        !revocation_parse_time(&revocation->before_ms, before))
        return -EINVAL;
    revocation->kind = (enum revocation_kind)kind;
    return 0;
}

/* Telling. */

struct revocation_letter {
    struct letter letter;
    struct revocation_listener *listener;
    struct revocation revocation;
    char text[REVOCATION_TEXT_MAX];
};

static void revocation_deliver(struct letter *letter)
{
    struct revocation_letter *told = container_of(letter, struct revocation_letter, letter);
    told->listener->revoked(told->listener, &told->revocation);
    free(told);
}

int revocation_listeners_add(struct revocation_listeners *listeners, struct mailbox *mailbox,
                             struct revocation_listener *listener)
{
    void *items = realloc(listeners->items, (listeners->count + 1) * sizeof(*listeners->items));
    if (!items)
        return -ENOMEM;
    listeners->items = items;
    listeners->items[listeners->count].mailbox = mailbox;
    listeners->items[listeners->count].listener = listener;
    listeners->items[listeners->count].is_complete = false;
    listeners->count++;
    return 0;
}

static struct revocation_letter *revocation_letter_new(struct revocation_listener *listener,
                                                       const struct revocation *revocation)
{
    struct revocation_letter *told = malloc(sizeof(*told));
    if (!told)
        return NULL;
    *told = (struct revocation_letter){
        .letter.deliver = revocation_deliver, .listener = listener, .revocation = *revocation};
    memcpy(told->text, revocation->text.bytes, revocation->text.len);
    told->revocation.text.bytes = told->text;
    return told;
}

int revocation_listeners_tell(const struct revocation_listeners *listeners,
                              const struct revocation *revocation)
{
    struct letter *letters = NULL;
    bool has_all = true;
    for (unsigned i = listeners->count; has_all && i > 0; i--) {
        struct revocation_letter *told = revocation_letter_new(listeners->items[i - 1].listener, revocation);
        has_all = told != NULL;
        if (told) {
            told->letter.next = letters;
            letters = &told->letter;
        }
    }
    for (unsigned i = 0; letters; i++) {
        struct letter *letter = letters;
        letters = letter->next;
        if (has_all)
            mailbox_post(listeners->items[i].mailbox, letter);
        else
            free(container_of(letter, struct revocation_letter, letter));
    }
    return has_all ? 0 : -ENOMEM;
}

static void revocation_deliver_complete(struct letter *letter)
{
    struct revocation_listener *listener = container_of(letter, struct revocation_listener, letter);
    listener->complete(listener);
}

void revocation_listeners_complete(struct revocation_listeners *listeners)
{
    for (unsigned i = 0; i < listeners->count; i++) {
        struct revocation_listener *listener = listeners->items[i].listener;
        if (listeners->items[i].is_complete)
            continue;
        listeners->items[i].is_complete = true;
        listener->letter.deliver = revocation_deliver_complete;
        mailbox_post(listeners->items[i].mailbox, &listener->letter);
    }
}

void revocation_listeners_deinit(struct revocation_listeners *listeners)
{
    free(listeners->items);
    *listeners = (struct revocation_listeners){0};
}
