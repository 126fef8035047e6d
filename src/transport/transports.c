/* SPDX-License-Identifier: MIT */
#include "transport/transports.h"

const struct transport *const transports[] = {
#define TRANSPORTS_ENTRY(name) &name,
    TRANSPORT_TABLE(TRANSPORT_NONE, TRANSPORTS_ENTRY, )
#undef TRANSPORTS_ENTRY
        NULL,
};
