/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <unistd.h>

#include "base/pattern.h"
#include "bench.h"
#include "config/channel_rules.h"

#define RULES_COUNT 1000u
#define RULES_NAMES 4096u
#define RULES_ROUNDS 200u

static char names[RULES_NAMES][PATTERN_MAX + 1];
static volatile uint64_t sink; /* so that no call is left out */

static void rules_add(struct channel_rules *rules, unsigned number)
{
    static const char *const forms[] = {"news/%u/**", "user/%u", "room/*/%u", "shop/%u/*/orders",
                                        "*/inbox/%u"};
    char pattern[64];
    char fault[OPTION_FAULT_MAX];
    snprintf(pattern, sizeof(pattern), forms[number % 5], number);
    enum channel_option option = number % 2 ? CHANNEL_OPTION_history_size : CHANNEL_OPTION_message_size_bytes;
    if (channel_rules_add(rules, text_of(pattern), number + 1) ||
        channel_rules_set(rules, option, "7", number + 1, fault))
        bench_fail("no memory for the patterns");
}

/* Each is covered by a pattern, by several, or nearly so. */
static void rules_name(char *name, unsigned number)
{
    static const char *const forms[] = {"news/%u/a/b",      "user/%u",    "room/inbox/%u",
                                        "shop/%u/x/orders", "x/inbox/%u", "other/%u"};
    snprintf(name, PATTERN_MAX + 1, forms[number % 6], number % RULES_COUNT);
}

static void rules_name_deep(char *name, unsigned number)
{
    for (unsigned i = 0; i < PATTERN_MAX; i++)
        name[i] = i % 2 ? '/' : (char)('a' + number % 26);
    name[PATTERN_MAX] = '\0';
}

static double rules_measure(const struct options *options)
{
    struct channel_options found;
    uint64_t begin_ns = bench_cpu_ns((int)getpid());
    for (unsigned i = 0; i < RULES_ROUNDS * RULES_NAMES; i++) {
        channel_options_resolve(&found, options, text_of(names[i * 7u % RULES_NAMES]));
        sink += found.history_size;
    }
    return (double)(bench_cpu_ns((int)getpid()) - begin_ns) / 1e3 / (RULES_ROUNDS * RULES_NAMES);
}

int rules_main(const struct bench_options *unused)
{
    struct options *options = options_new();
    struct channel_rules *rules = channel_rules_new();
    const struct channel_rule *twice;
    (void)unused;
    if (!options || !rules)
        bench_fail("no memory for the patterns");
    for (unsigned i = 0; i < RULES_NAMES; i++)
        rules_name(names[i], i);
    double none_us = rules_measure(options);
    for (unsigned i = 0; i < RULES_COUNT; i++)
        rules_add(rules, i);
    if (channel_rules_compile(rules, &twice, &twice))
        bench_fail("the patterns cannot be compiled");
    options->rules = rules;
    double rules_us = rules_measure(options);
    for (unsigned i = 0; i < RULES_NAMES; i++)
        rules_name_deep(names[i], i);
    double deep_us = rules_measure(options);
    printf("{\"none_us\": %.4f, \"rules_us\": %.4f, \"deep_us\": %.4f}\n", none_us, rules_us, deep_us);
    options_unref(options);
    return 0;
}
