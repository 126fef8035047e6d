/* SPDX-License-Identifier: MIT */
#pragma once

/* What Redis refuses: what it means to whoever asked, and what the operator is told of it, once a minute and
 * not with every call. Of more at a time than are remembered, the one told first gives way.
 */

#include <stdint.h>

#include "tables/errors.h"

#define REFUSALS_MAX 16u
#define REFUSAL_TEXT_MAX 256u

struct refusal {
    char reason[REFUSAL_TEXT_MAX];
    uint64_t told_ms; /* 0 when never */
};

struct refusals {
    struct refusal told[REFUSALS_MAX];
};

/* What the text of an error reply means; tells the operator of what he has to mend. */
enum error_code refusal_note(struct refusals *refusals, uint64_t now_ms, const char *address,
                             const char *error);

void refusal_tell(struct refusals *refusals, uint64_t now_ms, const char *address, const char *reason,
                  const char *action);
