/* SPDX-License-Identifier: MIT */
/* Configuration files: every pair that comes out is put into an option of each kind. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/file.h"
#include "config/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int take(void *context, const char *name, const char *value, unsigned line)
{
    static const char *const one_of_each_kind[] = {
        "broker", "allowed-origins", "anonymous", "log-level", "history-size", "message-size", "retry"};
    char fault[OPTION_FAULT_MAX];
    if (line == 0 || strlen(name) + strlen(value) >= FILE_LINE_MAX || strpbrk(name, "\n") ||
        strpbrk(value, "\n"))
        abort();
    (void)option_suggest(name);
    for (size_t i = 0; i < sizeof(one_of_each_kind) / sizeof(one_of_each_kind[0]); i++) {
        const struct option_row *row = option_find(one_of_each_kind[i], strlen(one_of_each_kind[i]));
        if (!row)
            abort();
        if (option_set(context, row, value, fault))
            continue;
        /* What was taken is shown as something that is taken again. */
        char *text = row->kind == OPTION_STRINGS ? NULL : option_format(context, row);
        if (text && option_set(context, row, text, fault))
            abort();
        free(text);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct file_fault fault;
    char *copy = size > 0 ? malloc(size) : NULL;
    FILE *file = NULL;
    struct options *options = options_new();
    if (!copy || !options)
        goto out;
    memcpy(copy, data, size);
    file = fmemopen(copy, size, "r");
    if (file && file_read_pairs(file, take, options, &fault) && !fault.text[0])
        abort();
out:
    if (file)
        fclose(file);
    options_unref(options);
    free(copy);
    return 0;
}
