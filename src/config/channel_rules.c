/* SPDX-License-Identifier: MIT */
#include "config/channel_rules.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/pattern.h"

/* A place in the tree: what stands before it is the beginning of some pattern. Its literal segments are a run
 * of places in the order of their text, and the place for `*` follows them. Sections are numbered from 1; 0
 * is none. */
struct place {
    struct text segment; /* by which one comes here; borrowed from a pattern */
    uint32_t parent;
    uint32_t literals; /* the first */
    uint32_t literal_count;
    uint32_t one;   /* for `*`; 0 when there is none */
    uint32_t here;  /* the section whose pattern ends here */
    uint32_t rest;  /* the section whose pattern ends here with `**` */
    unsigned below; /* the options that sections from here on have */
    uint32_t begin; /* while it is built: the sections that lead through here */
    uint32_t end;
};

struct channel_rules {
    struct channel_rule *items; /* compiled: the more specific first */
    size_t count;
    size_t capacity;
    struct place *places; /* the first is the root; parents before their children */
    uint64_t message_size_most;
    bool have_tree;
    struct options *scratch; /* while it is filled: where values are parsed */
};

struct channel_rules *channel_rules_new(void)
{
    struct channel_rules *rules = calloc(1, sizeof(*rules));
    if (!rules)
        return NULL;
    rules->scratch = options_new();
    if (rules->scratch)
        return rules;
    free(rules);
    return NULL;
}

void channel_rules_free(struct channel_rules *rules)
{
    if (!rules)
        return;
    for (size_t i = 0; i < rules->count; i++)
        free(rules->items[i].pattern);
    options_unref(rules->scratch);
    free(rules->items);
    free(rules->places);
    free(rules);
}

/* Filling. */

int channel_rules_add(struct channel_rules *rules, struct text pattern, unsigned line)
{
    if (rules->count == rules->capacity) {
        size_t capacity = rules->capacity > 0 ? 2 * rules->capacity : 16;
        struct channel_rule *items = reallocarray(rules->items, capacity, sizeof(*items));
        if (!items)
            return -ENOMEM;
        rules->items = items;
        rules->capacity = capacity;
    }
    char *copy = strndup(pattern.bytes, pattern.len);
    if (!copy)
        return -ENOMEM;
    rules->items[rules->count++] = (struct channel_rule){.pattern = copy, .line = line};
    return 0;
}

struct channel_rule *channel_rules_last(struct channel_rules *rules)
{
    return rules->count > 0 ? &rules->items[rules->count - 1] : NULL;
}

int channel_rules_set(struct channel_rules *rules, enum channel_option option, const char *text,
                      unsigned line, char fault[OPTION_FAULT_MAX])
{
    struct channel_rule *rule = channel_rules_last(rules);
    int err = option_set(rules->scratch, channel_option_row(option), text, fault);
    if (err)
        return err;
    channel_options_copy(&rule->values, rules->scratch, option);
    if (option == CHANNEL_OPTION_message_size_bytes)
        rules->message_size_most = number_greater(rules->message_size_most, rule->values.message_size_bytes);
    if (option == CHANNEL_OPTION_tree)
        rules->have_tree = rules->have_tree || rule->values.tree;
    rule->given |= 1u << option;
    rule->lines[option] = line;
    return 0;
}

/* Compiling. */

static int rules_compare(const void *a, const void *b)
{
    const struct channel_rule *one = a;
    const struct channel_rule *other = b;
    int order = pattern_compare(text_of(one->pattern), text_of(other->pattern));
    return order ? order : (one->line > other->line) - (one->line < other->line);
}

static size_t rules_count_segments(const struct channel_rules *rules)
{
    size_t count = 0;
    for (size_t i = 0; i < rules->count; i++)
        for (struct text rest = text_of(rules->items[i].pattern); rest.bytes; count++)
            (void)pattern_cut_segment(&rest);
    return count;
}

/* Puts the sections of one place into places below it, `from` on; in their order the one that ends here comes
 * first, then come the literals, `*`, and `**`. `rests` has what is left of each pattern. Returns how many
 * places that made. */
static uint32_t rules_spread(struct channel_rules *rules, uint32_t at, uint32_t from, struct text *rests)
{
    struct place *place = &rules->places[at];
    uint32_t next = from;
    for (uint32_t i = place->begin; i < place->end; i++) {
        if (!rests[i].bytes) {
            place->here = i + 1;
            continue;
        }
        struct text segment = pattern_cut_segment(&rests[i]);
        enum pattern_segment kind = pattern_segment_kind(segment);
        if (kind == PATTERN_REST) {
            place->rest = i + 1;
        } else if (next > from && text_equals(rules->places[next - 1].segment, segment)) {
            rules->places[next - 1].end = i + 1;
        } else {
            place->literal_count += kind == PATTERN_LITERAL;
            if (kind == PATTERN_ONE)
                place->one = next;
            rules->places[next++] =
                (struct place){.segment = segment, .parent = at, .begin = i, .end = i + 1};
        }
    }
    place->literals = from;
    return next - from;
}

/* Children stand behind their parents, so that walking back carries everything up to the root. */
static void rules_sum_up(struct channel_rules *rules, uint32_t count)
{
    for (uint32_t i = count; i-- > 0;) {
        struct place *place = &rules->places[i];
        place->below |= place->here ? rules->items[place->here - 1].given : 0;
        place->below |= place->rest ? rules->items[place->rest - 1].given : 0;
        if (i > 0)
            rules->places[place->parent].below |= place->below;
    }
}

static int rules_build(struct channel_rules *rules)
{
    size_t most = rules_count_segments(rules) + 1;
    if (most > UINT32_MAX)
        return -ENOMEM;
    rules->places = calloc(most, sizeof(*rules->places));
    struct text *rests = calloc(rules->count + 1, sizeof(*rests));
    int err = rules->places && rests ? 0 : -ENOMEM;
    for (size_t i = 0; !err && i < rules->count; i++)
        rests[i] = text_of(rules->items[i].pattern);
    if (!err) {
        uint32_t count = 1;
        rules->places[0].end = (uint32_t)rules->count;
        for (uint32_t at = 0; at < count; at++)
            count += rules_spread(rules, at, count, rests);
        rules_sum_up(rules, count);
    }
    free(rests);
    return err;
}

int channel_rules_compile(struct channel_rules *rules, const struct channel_rule **first,
                          const struct channel_rule **second)
{
    options_unref(rules->scratch);
    rules->scratch = NULL;
    if (rules->count > 0)
        qsort(rules->items, rules->count, sizeof(*rules->items), rules_compare);
    for (size_t i = 1; i < rules->count; i++) {
        if (strcmp(rules->items[i - 1].pattern, rules->items[i].pattern) == 0) {
            *first = &rules->items[i - 1];
            *second = &rules->items[i];
            return -EEXIST;
        }
    }
    return rules_build(rules);
}

/* Finding. */

struct search {
    const struct channel_rules *rules;
    const struct channel_rule **found;
    unsigned missing; /* options for which no section is found yet */
};

static void search_take(struct search *search, uint32_t number)
{
    if (number == 0)
        return;
    const struct channel_rule *rule = &search->rules->items[number - 1];
    for (unsigned taken = rule->given & search->missing; taken; taken &= taken - 1)
        search->found[__builtin_ctz(taken)] = rule;
    search->missing &= ~rule->given;
}

static const struct place *rules_find_literal(const struct channel_rules *rules, const struct place *place,
                                              struct text segment)
{
    const struct place *literals = &rules->places[place->literals];
    uint32_t begin = 0;
    uint32_t end = place->literal_count;
    while (begin < end) {
        uint32_t middle = begin + (end - begin) / 2;
        int order = text_compare(segment, literals[middle].segment);
        if (order == 0)
            return &literals[middle];
        if (order < 0)
            end = middle;
        else
            begin = middle + 1;
    }
    return NULL;
}

/* In the order of how specific they are, so that the first that has an option is the one; as deep as patterns
 * are, and no place twice. */
static void search_walk(struct search *search, const struct place *place, struct text rest)
{
    if (!(place->below & search->missing))
        return;
    if (!rest.bytes) {
        search_take(search, place->here);
        return;
    }
    bool is_hidden = place == &search->rules->places[0] && pattern_hides(rest);
    struct text segment = pattern_cut_segment(&rest);
    const struct place *literal = rules_find_literal(search->rules, place, segment);
    if (literal)
        search_walk(search, literal, rest);
    if (is_hidden)
        return;
    if (place->one)
        search_walk(search, &search->rules->places[place->one], rest);
    search_take(search, place->rest);
}

void channel_rules_find(const struct channel_rules *rules, struct text name,
                        const struct channel_rule *found[CHANNEL_OPTION_COUNT])
{
    struct search search = {rules, found, (1u << CHANNEL_OPTION_COUNT) - 1};
    memset(found, 0, CHANNEL_OPTION_COUNT * sizeof(*found));
    search_walk(&search, &rules->places[0], name);
}

struct climb {
    const struct channel_rules *rules;
    enum channel_option option;
    unsigned count;                    /* of prefixes */
    const struct channel_rule **found; /* prefix N has N + 1 segments */
};

static void climb_take(const struct climb *climb, uint32_t number, unsigned from, unsigned to)
{
    const struct channel_rule *rule = number > 0 ? &climb->rules->items[number - 1] : NULL;
    if (!rule || !(rule->given & 1u << climb->option))
        return;
    for (unsigned i = from; i < to; i++)
        if (!climb->found[i])
            climb->found[i] = rule;
}

/* As search_walk for each of the prefixes, which share the way; `depth` segments are behind. */
static void climb_walk(const struct climb *climb, const struct place *place, struct text rest, unsigned depth)
{
    if (!(place->below & 1u << climb->option))
        return;
    if (depth > 0)
        climb_take(climb, place->here, depth - 1, depth);
    if (depth == climb->count)
        return;
    bool is_hidden = depth == 0 && pattern_hides(rest);
    struct text segment = pattern_cut_segment(&rest);
    const struct place *literal = rules_find_literal(climb->rules, place, segment);
    if (literal)
        climb_walk(climb, literal, rest, depth + 1);
    if (is_hidden)
        return;
    if (place->one)
        climb_walk(climb, &climb->rules->places[place->one], rest, depth + 1);
    climb_take(climb, place->rest, depth, climb->count);
}

unsigned channel_rules_find_above(const struct channel_rules *rules, struct text name,
                                  enum channel_option option,
                                  const struct channel_rule *found[CHANNEL_PREFIXES_MAX])
{
    struct climb climb = {rules, option, 0, found};
    for (size_t i = 0; i < name.len && climb.count < CHANNEL_PREFIXES_MAX; i++)
        if (name.bytes[i] == '/')
            found[climb.count++] = NULL;
    climb_walk(&climb, &rules->places[0], name, 0);
    return climb.count;
}

/* Looking. */

bool channel_rules_have(const struct channel_rules *rules, enum channel_option option)
{
    return (rules->places[0].below & 1u << option) != 0;
}

bool channel_rules_have_tree(const struct channel_rules *rules)
{
    return rules->have_tree;
}

uint64_t channel_rules_message_size_most(const struct channel_rules *rules)
{
    return rules->message_size_most;
}

size_t channel_rules_count(const struct channel_rules *rules)
{
    return rules ? rules->count : 0;
}

const struct channel_rule *channel_rules_at(const struct channel_rules *rules, size_t index)
{
    return &rules->items[index];
}

static bool rules_are_same(const struct channel_rule *a, const struct channel_rule *b)
{
    bool are_same = a->given == b->given && strcmp(a->pattern, b->pattern) == 0;
    for (unsigned i = 0; are_same && i < CHANNEL_OPTION_COUNT; i++) {
        char *mine = channel_option_format(&a->values, i);
        char *other = channel_option_format(&b->values, i);
        are_same = mine && other && strcmp(mine, other) == 0;
        free(mine);
        free(other);
    }
    return are_same;
}

bool channel_rules_equal(const struct channel_rules *a, const struct channel_rules *b)
{
    size_t count = channel_rules_count(a);
    bool are_equal = count == channel_rules_count(b);
    for (size_t i = 0; are_equal && i < count; i++)
        are_equal = rules_are_same(&a->items[i], &b->items[i]);
    return are_equal;
}
