/* SPDX-License-Identifier: MIT */
#pragma once

/* The sections [channel "PATTERN"] of a configuration file: filled on the main thread, compiled once into a
 * tree of segments, and then immutable as the snapshot of options that owns them.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/pattern.h"
#include "base/text.h"
#include "config/channel_options.h"

/* A section. */
struct channel_rule {
    char *pattern;
    unsigned line;
    unsigned given; /* bit N: it has channel option N */
    unsigned lines[CHANNEL_OPTION_COUNT];
    struct channel_options values; /* of those given */
};

struct channel_rules;

/* No section yet; NULL when memory is out. */
struct channel_rules *channel_rules_new(void);
void channel_rules_free(struct channel_rules *rules);

/* Begins a section; the pattern is one. Returns 0 or -ENOMEM. */
int channel_rules_add(struct channel_rules *rules, struct text pattern, unsigned line);

/* The section begun last; NULL when there is none. Until the next one begins, or they are compiled. */
struct channel_rule *channel_rules_last(struct channel_rules *rules);

/* Sets an option of the section begun last. Returns as option_set. */
int channel_rules_set(struct channel_rules *rules, enum channel_option option, const char *text,
                      unsigned line, char fault[OPTION_FAULT_MAX]);

/* Returns 0, -ENOMEM, or -EEXIST when a pattern is there twice: *first and *second are its sections. */
int channel_rules_compile(struct channel_rules *rules, const struct channel_rule **first,
                          const struct channel_rule **second);

/* Puts for each option the most specific section that covers the name and has the option, NULL when none has.
 * Visits each place of the tree at most once, whatever the name. */
void channel_rules_find(const struct channel_rules *rules, struct text name,
                        const struct channel_rule *found[CHANNEL_OPTION_COUNT]);

/* The same for one option and every proper prefix of the name that ends before a slash, the shortest first.
 * Returns how many prefixes there are. */
#define CHANNEL_PREFIXES_MAX (PATTERN_MAX / 2)
unsigned channel_rules_find_above(const struct channel_rules *rules, struct text name,
                                  enum channel_option option,
                                  const struct channel_rule *found[CHANNEL_PREFIXES_MAX]);

/* Whether a section has the option; and whether one says that channels are trees. */
bool channel_rules_have(const struct channel_rules *rules, enum channel_option option);
bool channel_rules_have_tree(const struct channel_rules *rules);

/* The greatest message-size of a section, 0 when none has it. */
uint64_t channel_rules_message_size_most(const struct channel_rules *rules);

/* All compiled sections, the more specific before the less. NULL rules have none. */
size_t channel_rules_count(const struct channel_rules *rules);
const struct channel_rule *channel_rules_at(const struct channel_rules *rules, size_t index);

/* Whether both say the same, wherever it stands. Compiled; each may be NULL. */
bool channel_rules_equal(const struct channel_rules *a, const struct channel_rules *b);
