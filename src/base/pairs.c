/* SPDX-License-Identifier: MIT */
#include "base/pairs.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAIRS_LIST_MAX 256u

int pairs_fail(struct pairs *pairs, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(pairs->fault, PAIRS_FAULT_MAX, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

int pairs_read_boolean(struct pairs *pairs, bool *to, const char *name, const char *value)
{
    *to = strcmp(value, "yes") == 0;
    return *to || strcmp(value, "no") == 0 ? 0
                                           : pairs_fail(pairs, "%s is yes or no, not '%.100s'", name, value);
}

static int pairs_fail_unknown(struct pairs *pairs, const struct pairs_form *form, const char *pair)
{
    char list[PAIRS_LIST_MAX] = "";
    size_t len = 0;
    for (size_t i = 0; i < form->key_count && len < sizeof(list); i++)
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s=",
                                i == 0                     ? ""
                                : i + 1 == form->key_count ? " and "
                                                           : ", ",
                                form->keys[i].name);
    return pairs_fail(pairs, "after the %s come %s, not '%.100s'", form->noun, list, pair);
}

static int pairs_read_pair(struct pairs *pairs, const struct pairs_form *form, const char *pair)
{
    size_t len = strcspn(pair, "=");
    for (size_t i = 0; pair[len] && i < form->key_count; i++) {
        const char *name = form->keys[i].name;
        if (strlen(name) != len || memcmp(name, pair, len) != 0)
            continue;
        if (pairs->seen & 1u << i)
            return pairs_fail(pairs, "%.100s is given twice", name);
        pairs->seen |= 1u << i;
        return form->keys[i].set(pairs, pair + len + 1);
    }
    return pairs_fail_unknown(pairs, form, pair);
}

static int pairs_run(struct pairs *pairs, const struct pairs_form *form, char *text)
{
    static const char blanks[] = " \t";
    char *rest = NULL;
    const char *word = strtok_r(text, blanks, &rest);
    int err = word ? form->set_first(pairs, word) : pairs_fail(pairs, "%s", form->missing);
    while (!err && (word = strtok_r(NULL, blanks, &rest)))
        err = pairs_read_pair(pairs, form, word);
    return err ? err : form->check(pairs);
}

int pairs_parse(void *context, const char *text, const struct pairs_form *form, char fault[PAIRS_FAULT_MAX])
{
    struct pairs pairs = {context, fault, 0};
    char *copy = strdup(text);
    int err = copy ? pairs_run(&pairs, form, copy) : -ENOMEM;
    free(copy);
    if (err == -ENOMEM)
        snprintf(fault, PAIRS_FAULT_MAX, "there is no memory for it");
    return err;
}
