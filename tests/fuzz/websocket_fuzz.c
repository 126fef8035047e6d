/* SPDX-License-Identifier: MIT */
/* What a WebSocket client sends: the first byte says how large the pieces are in which the rest comes.
 * However it is cut, the same messages come of it. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "websocket/input.h"

static const struct input_limits fuzz_limits = {.message_bytes = 300, .fragments = 6};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct tally {
    uint64_t events;
    uint64_t bytes;
    uint64_t sum;
    uint64_t end;
};

static void fuzz_count(struct tally *tally, const struct input_event *event)
{
    if (event->kind == INPUT_MESSAGE && event->is_text &&
        !text_is_utf8(event->bytes.bytes, event->bytes.len, NULL))
        abort();
    if (event->bytes.len > fuzz_limits.message_bytes)
        abort();
    tally->events++;
    tally->bytes += event->bytes.len;
    for (size_t i = 0; i < event->bytes.len; i++)
        tally->sum = tally->sum * 31 + (unsigned char)event->bytes.bytes[i];
    tally->sum = tally->sum * 31 + event->kind + event->code;
}

static struct tally fuzz_run(const char *bytes, size_t len, size_t piece)
{
    struct input input = {0};
    struct input_event event = {.kind = INPUT_NOTHING};
    struct tally tally = {0};
    for (size_t at = 0; at < len && event.kind != INPUT_FAILED; at += piece) {
        struct text rest = {bytes + at, len - at < piece ? len - at : piece};
        for (input_read(&input, &rest, &fuzz_limits, &event);
             event.kind != INPUT_NOTHING && event.kind != INPUT_FAILED;
             input_read(&input, &rest, &fuzz_limits, &event))
            fuzz_count(&tally, &event);
        if (event.kind == INPUT_NOTHING && rest.len > 0)
            abort();
    }
    tally.end = event.kind == INPUT_FAILED ? 1u + event.reason : 0;
    input_deinit(&input);
    return tally;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const char *bytes = (const char *)data + 1;
    struct tally whole = fuzz_run(bytes, size - 1, size);
    struct tally cut = fuzz_run(bytes, size - 1, data[0] % 16 + 1u);
    if (memcmp(&whole, &cut, sizeof(whole)) != 0)
        abort();
    return 0;
}
