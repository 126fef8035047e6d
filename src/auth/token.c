/* SPDX-License-Identifier: MIT */
#include "auth/token.h"

#include <stdio.h>

enum error_code token_verify(struct grant **grant, const struct auth_keys *keys,
                             const struct options *options, const struct revoked *revoked, struct text token,
                             int64_t now_ms, char fault[AUTH_FAULT_MAX])
{
    (void)keys;
    (void)options;
    (void)revoked;
    (void)token;
    (void)now_ms;
    *grant = NULL;
    snprintf(fault, AUTH_FAULT_MAX, "no key is configured that could have signed the token");
    return ERROR_BAD_TOKEN;
}
