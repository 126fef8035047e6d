/* SPDX-License-Identifier: MIT */
/* Lines as commands of a conversation on a memory broker. An empty line has the broker answer, or makes it
 * slow; so the end comes in the middle of anything. What is said is JSON, whatever came. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "command/carrier.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_check(const struct buf *lines)
{
    char fault[JSON_FAULT_MAX];
    struct text value;
    if (lines->len == 0)
        return;
    const char *end = lines->bytes + lines->len;
    for (const char *at = lines->bytes; at < end;) {
        const char *next = memchr(at, '\n', (size_t)(end - at));
        if (!next || json_scan(&value, at, (size_t)(next - at), fault) || !text_begins(value, "{\"op\":\""))
            abort();
        at = next + 1;
    }
}

static void fuzz_take(struct carrier *carrier, const char *line, size_t len)
{
    if (len == 0 && slow_count > 0)
        slow_answer_all();
    else if (len == 0)
        is_slow = !is_slow;
    else if (conversation_take(&carrier->conversation, line, len) == 0 &&
             carrier->conversation.errands.is_refusing)
        abort();
    shard_turn();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *at = (const char *)data;
    const char *end = at + size;
    struct carrier carrier;
    shard_begin(NULL);
    carrier_begin(&carrier);
    while (at < end) {
        const char *next = memchr(at, '\n', (size_t)(end - at));
        size_t len = next ? (size_t)(next - at) : (size_t)(end - at);
        fuzz_take(&carrier, at, len);
        at += len + 1;
    }
    fuzz_check(&carrier.lines);
    carrier_end(&carrier);
    if (shard_end(NULL))
        abort();
    return 0;
}
