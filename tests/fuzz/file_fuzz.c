/* SPDX-License-Identifier: MIT */
/* Configuration files: every pair that comes out is put into an option of each kind, every section into
 * rules, which are held against trying each pattern. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "base/pattern.h"
#include "config/channel_rules.h"
#include "config/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_set_in_section(struct options *options, const char *name, const char *value, unsigned line)
{
    char fault[OPTION_FAULT_MAX];
    const struct option_row *row = option_find(name, strlen(name));
    if (row && row->flags == OPTION_CHANNEL && channel_rules_last(options->rules))
        (void)channel_rules_set(options->rules, channel_option_of(row), value, line, fault);
}

static int take(void *context, const char *name, const char *value, unsigned line)
{
    static const char *const one_of_each_kind[] = {
        "broker", "allowed-origins", "anonymous", "log-level", "history-size", "message-size", "retry"};
    char fault[OPTION_FAULT_MAX];
    if (line == 0 || strlen(name) + strlen(value) >= FILE_LINE_MAX || strpbrk(name, "\n") ||
        strpbrk(value, "\n"))
        abort();
    (void)option_suggest(name);
    fuzz_set_in_section(context, name, value, line);
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

static int take_section(void *context, struct text kind, struct text argument, unsigned line)
{
    const struct options *options = context;
    if (line == 0 || kind.len + argument.len >= FILE_LINE_MAX)
        abort();
    if (argument.bytes && !pattern_fault(argument) && channel_rules_add(options->rules, argument, line))
        abort();
    return 0;
}

static void fuzz_find(const struct channel_rules *rules, const char *name)
{
    const struct channel_rule *found[CHANNEL_OPTION_COUNT];
    channel_rules_find(rules, text_of(name), found);
    for (unsigned option = 0; option < CHANNEL_OPTION_COUNT; option++) {
        const struct channel_rule *best = NULL;
        for (size_t i = 0; !best && i < channel_rules_count(rules); i++) {
            const struct channel_rule *rule = channel_rules_at(rules, i);
            if (rule->given >> option & 1 && pattern_matches(text_of(rule->pattern), text_of(name)))
                best = rule;
        }
        if (found[option] != best)
            abort();
    }
}

static void fuzz_look(struct channel_rules *rules)
{
    static const char *const names[] = {"a", "a/b", "a/b/c", "b", "news/x", "news/x/y", "a/a/a/a"};
    const struct channel_rule *first;
    const struct channel_rule *second;
    if (channel_rules_compile(rules, &first, &second))
        return;
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        fuzz_find(rules, names[i]);
    for (size_t i = 0; i < channel_rules_count(rules) && i < 8; i++)
        fuzz_find(rules, channel_rules_at(rules, i)->pattern); /* with its stars it is a name to the tree */
    if (!channel_rules_equal(rules, rules))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct file_fault fault;
    char *copy = size > 0 ? malloc(size) : NULL;
    FILE *file = NULL;
    struct options *options = options_new();
    if (!copy || !options || !(options->rules = channel_rules_new()))
        goto out;
    memcpy(copy, data, size);
    file = fmemopen(copy, size, "r");
    if (file && file_read(file, take, take_section, options, &fault) && !fault.text[0])
        abort();
    fuzz_look(options->rules);
out:
    if (file)
        fclose(file);
    options_unref(options);
    free(copy);
    return 0;
}
