/* SPDX-License-Identifier: MIT */
#include "auth/revoked.h"

#include <errno.h>
#include <stdlib.h>

struct revoked {
    size_t count;
};

struct revoked *revoked_new(void)
{
    return calloc(1, sizeof(struct revoked));
}

void revoked_free(struct revoked *revoked)
{
    free(revoked);
}

int revoked_add(struct revoked *revoked, const struct revocation *revocation, int64_t now_ms)
{
    revoked->count += revocation->until_ms > now_ms;
    return 0;
}

bool revoked_has(const struct revoked *revoked, const struct grant *grant)
{
    (void)revoked;
    (void)grant;
    return false;
}

bool revocation_means(const struct revocation *revocation, const struct grant *grant)
{
    if (revocation->kind == REVOCATION_TOKEN)
        return text_is(revocation->text, grant->id);
    return text_is(revocation->text, grant->subject) && grant->issued_ms <= revocation->before_ms;
}
