/* SPDX-License-Identifier: MIT */
#include "core/revocation.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct revocation revocation;
    struct revocation again;
    char form[REVOCATION_FORM_MAX];
    if (revocation_parse(&revocation, (struct text){(const char *)data, size}))
        return 0;
    size_t len = revocation_format(form, &revocation);
    if (revocation_parse(&again, (struct text){form, len}) || again.kind != revocation.kind ||
        !text_equals(again.text, revocation.text) || again.until_ms != revocation.until_ms ||
        again.before_ms != revocation.before_ms)
        abort();
    return 0;
}
