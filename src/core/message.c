/* SPDX-License-Identifier: MIT */
#include "core/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/container.h"

static const char *const message_type_words[] = {
    [MESSAGE_TEXT] = "text", [MESSAGE_JSON] = "json", [MESSAGE_BINARY] = "binary"};

static _Atomic uint64_t message_memory;

const char *message_type_word(enum message_type type)
{
    return message_type_words[type];
}

int message_type_parse(enum message_type *type, const char *text, size_t len)
{
    size_t found = text_index((struct text){text, len}, message_type_words, ARRAY_LENGTH(message_type_words));
    if (found == ARRAY_LENGTH(message_type_words))
        return -EINVAL;
    *type = (enum message_type)found;
    return 0;
}

enum message_type message_type_guess(const char *data, size_t len)
{
    return text_is_utf8(data, len, NULL) ? MESSAGE_TEXT : MESSAGE_BINARY;
}

void message_memory_add(uint64_t bytes)
{
    atomic_fetch_add_explicit(&message_memory, bytes, memory_order_relaxed);
}

void message_memory_remove(uint64_t bytes)
{
    atomic_fetch_sub_explicit(&message_memory, bytes, memory_order_relaxed);
}

uint64_t message_memory_bytes(void)
{
    return atomic_load_explicit(&message_memory, memory_order_relaxed);
}

static char *message_put(char *to, struct text from)
{
    if (from.len > 0)
        memcpy(to, from.bytes, from.len);
    return to + from.len;
}

bool message_attribute_is_valid(struct text text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.bytes[i] < 0x20 || text.bytes[i] == 0x7f)
            return false;
    return text.len <= MESSAGE_ATTRIBUTE_MAX && text_is_utf8(text.bytes, text.len, NULL);
}

struct message *message_new(const struct message_parts *parts)
{
    size_t bytes =
        sizeof(struct message) + parts->size + parts->event.len + parts->producer.len + parts->mime.len;
    struct message *message = malloc(bytes);
    if (!message)
        return NULL;
    *message = (struct message){
        .references = 1,
        .type = (uint8_t)parts->type,
        .event_len = (uint16_t)parts->event.len,
        .producer_len = (uint16_t)parts->producer.len,
        .mime_len = (uint16_t)parts->mime.len,
        .size = (uint32_t)parts->size,
        .ttl_ms = parts->ttl_ms,
        .footprint = bytes,
    };
    char *to = message_put(message->bytes, (struct text){parts->data, parts->size});
    to = message_put(to, parts->event);
    to = message_put(to, parts->producer);
    message_put(to, parts->mime);
    message_memory_add(bytes);
    return message;
}

struct message *message_ref(struct message *message)
{
    atomic_fetch_add_explicit(&message->references, 1, memory_order_relaxed);
    return message;
}

void message_unref(struct message *message)
{
    if (!message || atomic_fetch_sub_explicit(&message->references, 1, memory_order_acq_rel) != 1)
        return;
    uint64_t bytes = message->footprint;
    for (unsigned i = 0; i < FORM_COUNT; i++) {
        struct rendering *rendering = atomic_load_explicit(&message->forms[i], memory_order_relaxed);
        if (rendering)
            bytes += sizeof(*rendering) + rendering->size;
        free(rendering);
    }
    message_memory_remove(bytes);
    free(message);
}

const char *message_data(const struct message *message)
{
    return message->bytes;
}

const char *message_event(const struct message *message)
{
    return message->bytes + message->size;
}

const char *message_producer(const struct message *message)
{
    return message_event(message) + message->event_len;
}

void message_mime(const struct message *message, char to[MESSAGE_ATTRIBUTE_MAX + 1])
{
    static const char *const defaults[] = {
        [MESSAGE_TEXT] = "text/plain; charset=utf-8",
        [MESSAGE_JSON] = "application/json",
        [MESSAGE_BINARY] = "application/octet-stream",
    };
    const char *mime = message_producer(message) + message->producer_len;
    size_t len = message->mime_len;
    if (len == 0) {
        mime = defaults[message->type];
        len = strlen(mime);
    }
    memcpy(to, mime, len);
    to[len] = '\0';
}

const struct rendering *
message_form(struct message *message, enum message_form form, struct text channel, const struct epoch *epoch,
             struct rendering *(*render)(const struct message *message, struct text channel,
                                         const struct epoch *epoch))
{
    struct rendering *kept = atomic_load_explicit(&message->forms[form], memory_order_acquire);
    if (kept)
        return kept;
    struct rendering *made = render(message, channel, epoch);
    if (!made)
        return NULL;
    if (!atomic_compare_exchange_strong_explicit(&message->forms[form], &kept, made, memory_order_acq_rel,
                                                 memory_order_acquire)) {
        free(made);
        return kept;
    }
    message_memory_add(sizeof(*made) + made->size);
    return made;
}
