/* SPDX-License-Identifier: MIT */
#include "auth/algorithm.h"

const struct algorithm_facts algorithms[ALGORITHM_COUNT] = {
#define ALGORITHM_ROW(name, kind, hash, curve, signature)                                                    \
    [ALGORITHM_##name] = {#name, kind, hash, curve, signature},
    ALGORITHM_TABLE(ALGORITHM_ROW)
#undef ALGORITHM_ROW
};

const char algorithm_names[] =
    "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and ES512";

enum algorithm algorithm_find(struct text name)
{
    enum algorithm found = 0;
    while (found < ALGORITHM_COUNT && !text_is(name, algorithms[found].name))
        found++;
    return found;
}
