/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/table.h"
#include "broker/memory/memory.h"
#include "config/options.h"
#include "core/handover.h"

/* What is taken over can be told again, and is then the same. */
static void tell(struct broker *broker, struct buf *to)
{
    const struct broker_handover *handover = broker->ops->handover;
    handover->freeze(broker, true, 0);
    while (handover->give(broker, to, 4096 + to->len) == 1)
        ;
}

static int take(struct broker *broker, const char *bytes, size_t len)
{
    char fault[BROKER_FAULT_MAX];
    struct handover record;
    int err = 0;
    ssize_t used;
    while (!err && (used = handover_parse(&record, bytes, len)) > 0) {
        assert((size_t)used <= len);
        err = broker->ops->handover->take(broker, &record, fault);
        bytes += used;
        len -= (size_t)used;
    }
    broker->ops->handover->end_taking(broker, !err);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf told = {0};
    if (random_init())
        abort();
    table_key_init();
    struct options *options = options_new();
    struct broker *first = memory_broker_new(options);
    struct broker *second = memory_broker_new(options);
    if (!options || !first || !second)
        abort();
    if (take(first, (const char *)data, size) == 0) {
        tell(first, &told);
        int err = take(second, told.bytes, told.len);
        assert(!err);
    }
    buf_deinit(&told);
    first->ops->stop(first);
    second->ops->stop(second);
    options_unref(options);
    return 0;
}
