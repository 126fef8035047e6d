/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>

#include "http/negotiation.h"
#include "transport/transports.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Something is always chosen by Accept; a head names one of the table or nothing. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    subscribe_set_transports(transports);
    if (!negotiation_find_accepted((const char *)data, size))
        abort();
    const struct transport *found = negotiation_find_in_head((const char *)data, size);
    for (size_t i = 0; found && transports[i] != found; i++)
        if (!transports[i])
            abort();
    return 0;
}
