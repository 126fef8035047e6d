/* SPDX-License-Identifier: MIT */
#include "http/forwarded.h"

#include "base/network.h"
#include "http/head.h"
#include "shard/proxies.h"

/* Nobody has that many proxies of his own; what stands before them is the client's invention. */
#define FORWARDED_HOPS 32u

/* The last elements of a list that may stand in several fields. */
struct forwarded_hops {
    struct text items[FORWARDED_HOPS];
    size_t count; /* of all */
};

/* Cuts off what stands before the next mark that is not in a quoted string. A string without an end, which a
 * client may open so that it takes in what the next proxy adds, makes nothing of all. */
static struct text forwarded_cut(struct text *rest, char mark)
{
    bool is_quoted = false;
    size_t len = 0;
    while (len < rest->len && (is_quoted || rest->bytes[len] != mark)) {
        is_quoted ^= rest->bytes[len] == '"';
        len += is_quoted && rest->bytes[len] == '\\' && len + 1 < rest->len ? 2 : 1;
    }
    struct text item = text_trim((struct text){rest->bytes, is_quoted ? 0 : len});
    *rest = text_behind(*rest, len < rest->len ? len + 1 : len);
    return item;
}

/* Of a token, or of a quoted string with nothing escaped in it; none otherwise. */
static struct text forwarded_value(struct text text)
{
    const struct text none = {0};
    bool is_quoted = text.len >= 2 && text.bytes[0] == '"' && text_ends(text, "\"");
    if (is_quoted)
        text = (struct text){text.bytes + 1, text.len - 2};
    return text_contains(text, "\"") || text_contains(text, "\\") ? none : text;
}

static struct text forwarded_find(struct text element, const char *name)
{
    while (element.len > 0) {
        struct text value = forwarded_cut(&element, ';');
        if (text_is_word(text_cut(&value, '='), name))
            return forwarded_value(value);
    }
    return (struct text){0};
}

struct text forwarded_parameter(struct text field, const char *name)
{
    struct text element = {0};
    while (field.len > 0)
        element = forwarded_cut(&field, ',');
    return forwarded_find(element, name);
}

static void forwarded_gather(struct forwarded_hops *hops, bool is_standard, const char *head, size_t len)
{
    const char *name = is_standard ? "Forwarded" : "X-Forwarded-For";
    const char *end = head + len;
    struct text field;
    while ((field.bytes = head_find_field(head, (size_t)(end - head), name, &field.len))) {
        head = field.bytes + field.len;
        while (field.len > 0) {
            struct text item = is_standard ? forwarded_cut(&field, ',') : text_cut(&field, ',');
            hops->items[hops->count++ % FORWARDED_HOPS] = item;
        }
    }
}

void forwarded_find_asker(const struct options *options, const char *head, size_t len,
                          struct address *address)
{
    bool is_standard = forwarded_is_standard(options);
    struct forwarded_hops hops = {.count = 0};
    forwarded_gather(&hops, is_standard, head, len);
    for (size_t i = 0; i < hops.count && i < FORWARDED_HOPS; i++) {
        struct text item = hops.items[(hops.count - 1 - i) % FORWARDED_HOPS];
        struct address found;
        if (network_read_address(&found, is_standard ? forwarded_find(item, "for") : item))
            return;
        *address = found;
        if (!proxies_include(options, &found))
            return;
    }
}
