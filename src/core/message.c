/* SPDX-License-Identifier: MIT */
#include "core/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "base/table.h"

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
    const struct text name = parts->key.len > 0 ? parts->key : parts->event;
    size_t bytes = sizeof(struct message) + parts->size + parts->event.len + parts->producer.len +
                   parts->mime.len + parts->key.len + parts->channel.len;
    struct message *message = malloc(bytes);
    if (!message)
        return NULL;
    *message = (struct message){
        .references = 1,
        .type = (uint8_t)parts->type,
        .is_transient = parts->is_transient,
        .key_len = (uint8_t)parts->key.len,
        .channel_len = (uint8_t)parts->channel.len,
        .event_len = (uint16_t)parts->event.len,
        .producer_len = (uint16_t)parts->producer.len,
        .mime_len = (uint16_t)parts->mime.len,
        .size = (uint32_t)parts->size,
        .ttl_ms = parts->ttl_ms,
        .footprint = bytes,
        .key_hash = table_hash(name.bytes, name.len),
    };
    char *to = message_put(message->bytes, (struct text){parts->data, parts->size});
    to = message_put(to, parts->event);
    to = message_put(to, parts->producer);
    to = message_put(to, parts->mime);
    to = message_put(to, parts->key);
    message_put(to, parts->channel);
    message_memory_add(bytes);
    return message;
}

static size_t message_entry_size(size_t channel_len)
{
    return sizeof(struct message) + channel_len;
}

struct message *message_new_entry(struct message *origin, struct text channel)
{
    struct message *entry = malloc(message_entry_size(channel.len));
    if (!entry)
        return NULL;
    *entry = (struct message){
        .references = 1,
        .type = origin->type,
        .is_transient = origin->is_transient,
        .key_len = origin->key_len,
        .channel_len = (uint8_t)channel.len,
        .event_len = origin->event_len,
        .producer_len = origin->producer_len,
        .mime_len = origin->mime_len,
        .size = origin->size,
        .time_ms = origin->time_ms,
        .ttl_ms = origin->ttl_ms,
        .footprint = message_entry_size(channel.len) + origin->footprint,
        .key_hash = origin->key_hash,
        .origin = message_ref(origin),
    };
    message_put(entry->bytes, channel);
    message_memory_add(message_entry_size(channel.len));
    return entry;
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
    uint64_t bytes = message->footprint - (message->origin ? message->origin->footprint : 0);
    for (unsigned i = 0; i < FORM_COUNT; i++) {
        struct rendering *rendering = atomic_load_explicit(&message->forms[i], memory_order_relaxed);
        if (!rendering)
            continue;
        bytes += sizeof(*rendering) + rendering->size;
        free(rendering);
    }
    message_memory_remove(bytes);
    message_unref(message->origin);
    free(message);
}

const char *message_data(const struct message *message)
{
    return message->origin ? message->origin->bytes : message->bytes;
}

const char *message_event(const struct message *message)
{
    return message_data(message) + message->size;
}

const char *message_producer(const struct message *message)
{
    return message_event(message) + message->event_len;
}

struct text message_key(const struct message *message)
{
    return (struct text){message_producer(message) + message->producer_len + message->mime_len,
                         message->key_len};
}

struct text message_channel(const struct message *message)
{
    const char *bytes = message->origin ? message->bytes : message_key(message).bytes + message->key_len;
    return (struct text){bytes, message->channel_len};
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
