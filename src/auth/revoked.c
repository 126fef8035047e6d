/* SPDX-License-Identifier: MIT */
#include "auth/revoked.h"

#include <errno.h>
#include <stdlib.h>

#include "base/table.h"

/* How often those that are over are looked for. */
#define SWEEP_MS 60000
#define SWEEP_WHEN_FULL_MS 1000

struct revoked_entry {
    UT_hash_handle hh;
    int64_t before_ms;
    int64_t until_ms;
    size_t key_len;
    char key[]; /* the kind, then the text */
};

struct revoked {
    struct revoked_entry *entries;
    int64_t swept_ms;
};

/* What an entry is found by. */
struct revoked_key {
    char bytes[REVOCATION_TEXT_MAX + 1];
    size_t len;
};

static bool revoked_make_key(struct revoked_key *key, enum revocation_kind kind, struct text text)
{
    if (text.len == 0 || text.len > REVOCATION_TEXT_MAX)
        return false;
    key->bytes[0] = (char)kind;
    memcpy(key->bytes + 1, text.bytes, text.len);
    key->len = text.len + 1;
    return true;
}

struct revoked *revoked_new(void)
{
    return calloc(1, sizeof(struct revoked));
}

static void revoked_drop(struct revoked *revoked, struct revoked_entry *entry)
{
    HASH_DEL(revoked->entries, entry);
    free(entry);
}

void revoked_free(struct revoked *revoked)
{
    struct revoked_entry *entry;
    struct revoked_entry *next;
    if (!revoked)
        return;
    HASH_ITER (hh, revoked->entries, entry, next) {
        revoked_drop(revoked, entry);
    }
    free(revoked);
}

static void revoked_sweep(struct revoked *revoked, int64_t now_ms)
{
    struct revoked_entry *entry;
    struct revoked_entry *next;
    int every_ms = revoked_count(revoked) < REVOKED_MAX ? SWEEP_MS : SWEEP_WHEN_FULL_MS;
    if (now_ms >= revoked->swept_ms && now_ms - revoked->swept_ms < every_ms)
        return;
    revoked->swept_ms = now_ms;
    HASH_ITER (hh, revoked->entries, entry, next) {
        if (entry->until_ms <= now_ms)
            revoked_drop(revoked, entry);
    }
}

static struct revoked_entry *revoked_find(const struct revoked *revoked, const struct revoked_key *key)
{
    struct revoked_entry *entry;
    HASH_FIND(hh, revoked->entries, key->bytes, key->len, entry);
    return entry;
}

static struct revoked_entry *revoked_insert(struct revoked *revoked, const struct revoked_key *key)
{
    struct revoked_entry *entry = malloc(sizeof(*entry) + key->len);
    if (!entry)
        return NULL;
    *entry = (struct revoked_entry){.before_ms = INT64_MIN, .until_ms = INT64_MIN, .key_len = key->len};
    memcpy(entry->key, key->bytes, key->len);
    HASH_ADD_KEYPTR(hh, revoked->entries, entry->key, entry->key_len, entry);
    if (entry->hh.tbl)
        return entry;
    free(entry);
    return NULL;
}

bool revoked_has_room(struct revoked *revoked, enum revocation_kind kind, struct text text, int64_t now_ms)
{
    struct revoked_key key;
    revoked_sweep(revoked, now_ms);
    return revoked_count(revoked) < REVOKED_MAX ||
           (revoked_make_key(&key, kind, text) && revoked_find(revoked, &key));
}

int revoked_add(struct revoked *revoked, const struct revocation *revocation, int64_t now_ms)
{
    struct revoked_key key;
    revoked_sweep(revoked, now_ms);
    if (revocation->until_ms <= now_ms || !revoked_make_key(&key, revocation->kind, revocation->text))
        return 0;
    struct revoked_entry *entry = revoked_find(revoked, &key);
    if (!entry && revoked_count(revoked) >= REVOKED_MAX)
        return -ENOSPC;
    if (!entry)
        entry = revoked_insert(revoked, &key);
    if (!entry)
        return -ENOMEM;
    if (entry->before_ms < revocation->before_ms)
        entry->before_ms = revocation->before_ms;
    if (entry->until_ms < revocation->until_ms)
        entry->until_ms = revocation->until_ms;
    return 0;
}

size_t revoked_count(const struct revoked *revoked)
{
    return HASH_COUNT(revoked->entries);
}

bool revoked_has(const struct revoked *revoked, const struct grant *grant)
{
    struct revoked_key key;
    if (!revoked->entries || grant->is_key)
        return false;
    if (revoked_make_key(&key, REVOCATION_TOKEN, text_of(grant->id)) && revoked_find(revoked, &key))
        return true;
    if (!revoked_make_key(&key, REVOCATION_SUBJECT, text_of(grant->subject)))
        return false;
    const struct revoked_entry *entry = revoked_find(revoked, &key);
    return entry && grant->issued_ms <= entry->before_ms;
}

bool revocation_means(const struct revocation *revocation, const struct grant *grant)
{
    if (grant->is_key || revocation->text.len == 0)
        return false;
    if (revocation->kind == REVOCATION_TOKEN)
        return text_is(revocation->text, grant->id);
    return text_is(revocation->text, grant->subject) && grant->issued_ms <= revocation->before_ms;
}
