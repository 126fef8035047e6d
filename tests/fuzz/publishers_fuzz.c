/* SPDX-License-Identifier: MIT */
#include "auth/publishers.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct publishers publishers;
    char fault[PUBLISHERS_FAULT_MAX];
    if (publishers_parse(&publishers, (struct text){(const char *)data, size}, fault))
        return 0;
    for (size_t i = 0; i < publishers.count; i++) {
        const struct publisher *publisher = &publishers.items[i];
        if (!publisher_name_is_valid(text_of(publisher->name)) ||
            publishers_find(&publishers, text_of(publisher->name)) != publisher ||
            publisher_verify(publisher, text_of("")))
            abort();
    }
    publishers_deinit(&publishers);
    return 0;
}
