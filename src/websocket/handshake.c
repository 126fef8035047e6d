/* SPDX-License-Identifier: MIT */
#include "websocket/handshake.h"

#include <stdint.h>
#include <string.h>

#include "base/base64.h"
#include "base/sha1.h"
#include "http/origin.h"
#include "http/upgrade.h"

#define HANDSHAKE_KEY_BYTES 16u
#define HANDSHAKE_KEY_LEN 24u
#define HANDSHAKE_VERSION "13"

static bool handshake_key_is_valid(const char *key)
{
    char bytes[HANDSHAKE_KEY_LEN];
    size_t len;
    return key && strlen(key) == HANDSHAKE_KEY_LEN &&
           base64_decode(bytes, &len, key, HANDSHAKE_KEY_LEN) == 0 && len == HANDSHAKE_KEY_BYTES;
}

bool handshake_check(struct exchange *exchange)
{
    const struct request_framing *framing = &exchange->client->framing;
    const char *version = exchange_field(exchange, FIELD_WEBSOCKET_VERSION);
    const char *fault = NULL;
    if (!exchange_asks_for(exchange, "websocket")) {
        exchange_fail(exchange, ERROR_UPGRADE_REQUIRED,
                      exchange_field(exchange, FIELD_WEBSOCKET_KEY)
                          ? "a Sec-WebSocket-Key without Upgrade: websocket has come: a proxy on the way has "
                            "dropped Upgrade and Connection, and has to be told to pass them on"
                          : "this path is for WebSockets: connect with Upgrade: websocket, which a proxy on "
                            "the way may have dropped");
        return false;
    }
    if (exchange->method != METHOD_GET || exchange->is_http10)
        fault = "a WebSocket begins with GET and HTTP/1.1";
    else if (!framing->asks_to_upgrade)
        fault = "Connection must say Upgrade too; a proxy on the way may have dropped it";
    else if (framing->body_len > 0 || framing->is_chunked)
        fault = "a request for a WebSocket has no body";
    else if (!handshake_key_is_valid(exchange_field(exchange, FIELD_WEBSOCKET_KEY)))
        fault = "Sec-WebSocket-Key must be 16 bytes in base64";
    if (fault) {
        exchange_fail(exchange, ERROR_BAD_REQUEST, "%s", fault);
        return false;
    }
    if (!version || strcmp(version, HANDSHAKE_VERSION) != 0) {
        exchange_fail(exchange, ERROR_UPGRADE_REQUIRED, "Sec-WebSocket-Version must be " HANDSHAKE_VERSION);
        return false;
    }
    return !origin_refuses_change(exchange);
}

void handshake_accept(char accept[HANDSHAKE_ACCEPT_SIZE], const char *key)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[HANDSHAKE_KEY_LEN + sizeof(guid) - 1];
    uint8_t digest[SHA1_SIZE];
    memcpy(text, key, HANDSHAKE_KEY_LEN);
    memcpy(text + HANDSHAKE_KEY_LEN, guid, sizeof(guid) - 1);
    sha1_digest(digest, text, sizeof(text));
    base64_encode(accept, (const char *)digest, sizeof(digest));
}

const char *handshake_choose(const char *list, const char *const *known)
{
    struct text rest = text_of(list);
    while (known && rest.len > 0) {
        struct text word = text_cut(&rest, ',');
        size_t index = text_index(word, known, SIZE_MAX);
        if (index < SIZE_MAX)
            return known[index];
    }
    return NULL;
}
