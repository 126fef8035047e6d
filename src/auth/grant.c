/* SPDX-License-Identifier: MIT */
#include "auth/grant.h"

#include <stdlib.h>

struct grant *grant_ref(struct grant *grant)
{
    atomic_fetch_add_explicit(&grant->references, 1, memory_order_relaxed);
    return grant;
}

void grant_unref(struct grant *grant)
{
    if (!grant || atomic_fetch_sub_explicit(&grant->references, 1, memory_order_acq_rel) != 1)
        return;
    free(grant->subject);
    free(grant->id);
    free(grant);
}
