/* SPDX-License-Identifier: MIT */
#pragma once

/* Memory that is out while `memory_is_out`, or once, at the allocation that `memory_fails_at` counts down to,
 * for everybody but the C library. The program is linked with --wrap for each of these. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

static _Atomic bool memory_is_out;
static _Atomic long memory_fails_at; /* 1 is the next one, 0 none */

static bool memory_fails(void)
{
    return memory_is_out || (memory_fails_at > 0 && --memory_fails_at == 0);
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
    return memory_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return memory_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return memory_fails() ? NULL : __real_realloc(old, size);
}
