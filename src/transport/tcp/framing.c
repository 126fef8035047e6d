/* SPDX-License-Identifier: MIT */
#include "transport/tcp/framing.h"

#include <string.h>
#include <strings.h>

#include "base/container.h"

#define LEN32_BYTES 4u
/* No command is longer, so a first word that is longer is none. */
#define FIRST_WORD_MAX 16u

const char *const framing_words[FRAMING_COUNT] = {[FRAMING_AUTO] = "auto",
                                                  [FRAMING_CRLF] = "crlf",
                                                  [FRAMING_NUL] = "nul",
                                                  [FRAMING_LEN32] = "len32",
                                                  [FRAMING_RESP] = "resp"};

static bool framing_word_is(const char *bytes, size_t len, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(words[i]) == len && strncasecmp(words[i], bytes, len) == 0)
            return true;
    return false;
}

/* Commands that both vocabularies have are ours, but for PING, which Redis clients send to see who is there.
 */
enum framing framing_detect(const char *bytes, size_t len)
{
    static const char *const inline_words[] = {
        "PING",         "HELLO",  "INFO",   "COMMAND", "CLIENT", "XRANGE",  "XREAD", "RESET",  "PSUBSCRIBE",
        "PUNSUBSCRIBE", "SELECT", "PUBSUB", "MULTI",   "EXEC",   "DISCARD", "WATCH", "UNWATCH"};
    if (len == 0)
        return FRAMING_AUTO;
    if (bytes[0] == '*')
        return FRAMING_RESP;
    size_t word_len = 0;
    while (word_len < len && word_len <= FIRST_WORD_MAX && !strchr(" \r\n", bytes[word_len]))
        word_len++;
    if (word_len == len && len <= FIRST_WORD_MAX)
        return FRAMING_AUTO;
    bool is_resp = framing_word_is(bytes, word_len, inline_words, ARRAY_LENGTH(inline_words));
    return is_resp ? FRAMING_RESP : FRAMING_CRLF;
}

/* A longer request line is none that anybody sends by mistake; and what comes a byte at a time is looked at
 * again with each. */
#define HTTP_LINE_MAX 8192u

/* METHOD SP target SP HTTP/x.y (RFC 9112, section 3); also the preface of HTTP/2. */
static bool framing_is_http(const char *bytes, size_t len)
{
    static const char *const methods[] = {"GET",     "HEAD",  "POST",  "PUT",     "DELETE",
                                          "OPTIONS", "PATCH", "TRACE", "CONNECT", "PRI"};
    static const char version[] = " HTTP/";
    const char *end = memchr(bytes, '\n', len < HTTP_LINE_MAX ? len : HTTP_LINE_MAX);
    const char *space = end ? memchr(bytes, ' ', (size_t)(end - bytes)) : NULL;
    if (!space || !framing_word_is(bytes, (size_t)(space - bytes), methods, ARRAY_LENGTH(methods)))
        return false;
    if (end > bytes && end[-1] == '\r')
        end--;
    const size_t tail_len = strlen(version) + strlen("1.1");
    return (size_t)(end - space) > tail_len && memcmp(end - tail_len, version, strlen(version)) == 0;
}

/* The record of a ClientHello (RFC 8446, sections 4 and 5.1). */
static bool framing_is_tls(const char *bytes, size_t len)
{
    enum { HANDSHAKE = 22, MAJOR = 3, MINOR_MAX = 4, CLIENT_HELLO = 1, HELLO_AT = 5 };
    return len > HELLO_AT && bytes[0] == HANDSHAKE && bytes[1] == MAJOR &&
           (unsigned char)bytes[2] <= MINOR_MAX && bytes[HELLO_AT] == CLIENT_HELLO;
}

enum framing_stranger framing_find_stranger(const char *bytes, size_t len)
{
    if (framing_is_tls(bytes, len))
        return STRANGER_TLS;
    return framing_is_http(bytes, len) ? STRANGER_HTTP : STRANGER_NONE;
}

static enum frame_result frame_read_len32(const char *bytes, size_t len, uint64_t limit, struct frame *frame)
{
    const unsigned char *prefix = (const unsigned char *)bytes;
    if (len < LEN32_BYTES)
        return FRAME_PARTIAL;
    size_t size = (size_t)prefix[0] << 24 | (size_t)prefix[1] << 16 | (size_t)prefix[2] << 8 | prefix[3];
    if (size > limit)
        return FRAME_BROKEN;
    if (len - LEN32_BYTES < size)
        return FRAME_PARTIAL;
    *frame = (struct frame){bytes + LEN32_BYTES, size, LEN32_BYTES + size};
    return FRAME_WHOLE;
}

/* Without an end in sight: too large as soon as it cannot be otherwise. */
static enum frame_result frame_wait(struct frame_reader *reader, const char *bytes, size_t len,
                                    uint64_t limit, bool may_end_in_cr, struct frame *frame)
{
    bool has_cr = may_end_in_cr && len > 0 && bytes[len - 1] == '\r';
    if (reader->is_skipping) {
        *frame = (struct frame){.size = len};
        return len > 0 ? FRAME_SKIPPED : FRAME_PARTIAL;
    }
    if (len - has_cr > limit) {
        reader->is_skipping = true;
        reader->scanned = 0;
        *frame = (struct frame){.size = len};
        return FRAME_TOO_LARGE;
    }
    reader->scanned = (uint32_t)len;
    return FRAME_PARTIAL;
}

static enum frame_result frame_read_delimited(struct frame_reader *reader, enum framing framing,
                                              const char *bytes, size_t len, uint64_t limit,
                                              struct frame *frame)
{
    const bool is_crlf = framing == FRAMING_CRLF;
    size_t from = reader->scanned <= len ? reader->scanned : 0;
    const char *end = len > from ? memchr(bytes + from, is_crlf ? '\n' : '\0', len - from) : NULL;
    if (!end)
        return frame_wait(reader, bytes, len, limit, is_crlf, frame);
    size_t frame_len = (size_t)(end - bytes);
    bool was_skipping = reader->is_skipping;
    *frame = (struct frame){bytes, frame_len, frame_len + 1};
    if (is_crlf && frame_len > 0 && bytes[frame_len - 1] == '\r')
        frame->len--;
    *reader = (struct frame_reader){0};
    if (was_skipping)
        return FRAME_SKIPPED;
    return frame->len > limit ? FRAME_TOO_LARGE : FRAME_WHOLE;
}

enum frame_result frame_read(struct frame_reader *reader, enum framing framing, const char *bytes, size_t len,
                             uint64_t limit, struct frame *frame)
{
    if (framing == FRAMING_LEN32)
        return frame_read_len32(bytes, len, limit, frame);
    return frame_read_delimited(reader, framing, bytes, len, limit, frame);
}

void frame_append(struct buf *to, enum framing framing, const char *text, size_t len)
{
    if (framing == FRAMING_LEN32) {
        const char prefix[LEN32_BYTES] = {(char)(len >> 24), (char)(len >> 16), (char)(len >> 8), (char)len};
        buf_append(to, prefix, sizeof(prefix));
    }
    buf_append(to, text, len);
    if (framing == FRAMING_NUL)
        buf_append_char(to, '\0');
    else if (framing != FRAMING_LEN32)
        buf_append_text(to, "\r\n");
}
