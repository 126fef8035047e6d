/* SPDX-License-Identifier: MIT */
#pragma once

/* A message: immutable once a broker has accepted it, reference-counted with atomics, shared by all shards.
 *
 * Its maker owns it alone until it is submitted; the broker then sets `offset`, `time_ms` and `expires_ms`,
 * and from there on everybody only reads. Its wire forms are made at most once each and live as long as the
 * message does.
 *
 * A message stands in one log. In the log of a tree above its channel an entry stands for it: a message with
 * an offset, a life and forms of its own, and the bytes of the first.
 *
 * A transient message stands in no log: its offset is that of its log's top when it was accepted, and it is
 * told behind the message of that offset.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "core/epoch.h"

enum message_type { MESSAGE_TEXT, MESSAGE_JSON, MESSAGE_BINARY };

/* The type as a word on every wire, and all of them as people list them. */
#define MESSAGE_TYPE_WORDS "text, json or binary"
const char *message_type_word(enum message_type type);

/* Returns 0, or -EINVAL when the text is none of the words. */
int message_type_parse(enum message_type *type, const char *text, size_t len);

/* What data is whose publisher does not say: text when it is UTF-8, else binary. */
enum message_type message_type_guess(const char *data, size_t len);

/* The wire forms of a message that are kept with it. */
enum message_form {
    FORM_SSE,
    FORM_SSE_JSON,
    FORM_JSON,
    FORM_CRLF,
    FORM_NUL,
    FORM_LEN32,
    FORM_RESP,
    FORM_HTMLFILE,
    FORM_MULTIPART,
    FORM_MULTIPART_PICTURE,
    FORM_WEBSOCKET_DATA,
    FORM_WEBSOCKET_JSON,
    FORM_WEBSOCKET_COMMAND,
    FORM_SOCKJS_COMMAND,
    FORM_SOCKJS_DATA,
    FORM_COUNT
};

/* A wire form, ready to be sent: `bytes[0..size)` is an HTTP/1.1 chunk around the payload
 * `bytes[payload..payload_end)`, or where no HTTP is spoken the payload alone. The payload begins with what
 * only a subscription to this one channel can use (its cursor) and goes on at `shared` with what every
 * subscription shares. */
struct rendering {
    uint32_t size;
    uint32_t payload;
    uint32_t payload_end;
    uint32_t shared;
    char bytes[];
};

struct message {
    _Atomic uint32_t references;
    uint8_t type; /* enum message_type */
    bool is_transient;
    uint8_t key_len;
    uint8_t channel_len; /* of the channel that it was published to, in the log of a tree; else 0 */
    uint16_t event_len;
    uint16_t producer_len;
    uint16_t mime_len;
    uint32_t size; /* of the data */
    uint64_t offset;
    int64_t time_ms;
    uint64_t ttl_ms;     /* asked for by the publisher; 0 is as long as the channel keeps it */
    uint64_t expires_ms; /* on clock_monotonic_ms */
    uint64_t footprint;  /* bytes of memory at creation; what retention counts: an entry's with the bytes of
                            the message that it stands for, which it keeps */
    uint64_t key_hash;   /* of the key that a newer message replaces this one by; see message_key */
    struct message *origin; /* of an entry: the message that it stands for, one reference; else NULL */
    _Atomic(struct rendering *) forms[FORM_COUNT];
    char bytes[]; /* data, event, producer, mime, key, channel; of an entry the channel; not terminated */
};

/* What a message is made of; all borrowed. */
struct message_parts {
    enum message_type type;
    const char *data;
    size_t size;
    struct text event;
    struct text producer;
    struct text mime; /* content type as published; empty is the default of the type */
    struct text key;
    struct text channel; /* that it was published to, of one in the log of a tree; else empty */
    uint64_t ttl_ms;
    bool is_transient;
};

#define MESSAGE_ATTRIBUTE_MAX 255u
#define MESSAGE_SIZE_MAX (64u << 20)

/* Whether it may be an event, a producer, a key: such go into header fields and event lines, so they are at
 * most MESSAGE_ATTRIBUTE_MAX bytes of UTF-8 without control characters. Hostile input. */
bool message_attribute_is_valid(struct text text);

/* A message with one reference; NULL when memory is out. The attributes have at most MESSAGE_ATTRIBUTE_MAX
 * bytes each, the data at most MESSAGE_SIZE_MAX: the caller has checked. table_key_init has been called. */
struct message *message_new(const struct message_parts *parts);

/* An entry for a message that was published to `channel`, to stand in the log of a tree above that: with one
 * reference, and one to `origin`, which is no entry and has its time. NULL when memory is out. */
struct message *message_new_entry(struct message *origin, struct text channel);

struct message *message_ref(struct message *message);
void message_unref(struct message *message);

const char *message_data(const struct message *message);
const char *message_event(const struct message *message);
const char *message_producer(const struct message *message);

/* What its publisher has named as that which a newer message replaces, for who is told the newest only
 * (`policy`); empty: its event counts as that, so all without either replace each other. */
struct text message_key(const struct message *message);

/* The channel that it was published to, where it stands in the log of a tree above that; else empty. */
struct text message_channel(const struct message *message);

/* The content type to answer with, terminated with NUL, at most MESSAGE_ATTRIBUTE_MAX bytes, written to `to`.
 */
void message_mime(const struct message *message, char to[MESSAGE_ATTRIBUTE_MAX + 1]);

/* The wire form, made by `render` if nobody has made it before; NULL when memory is out. Lives as long as the
 * message. `epoch` is that of the log that the message was accepted into: its id never changes. `render`
 * returns a malloc'd rendering. Any thread. */
const struct rendering *
message_form(struct message *message, enum message_form form, struct text channel, const struct epoch *epoch,
             struct rendering *(*render)(const struct message *message, struct text channel,
                                         const struct epoch *epoch));

/* Bytes held by all messages of this process with their forms, and for answers that are made of them. Any
 * thread. */
uint64_t message_memory_bytes(void);

/* Counts what is held for an answer until it has been sent. Any thread. */
void message_memory_add(uint64_t bytes);
void message_memory_remove(uint64_t bytes);
