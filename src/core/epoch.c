/* SPDX-License-Identifier: MIT */
#include "core/epoch.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdint.h>
#include <string.h>

#include "base/random.h"

static const char epoch_alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

/* Fixed for ever: cursors that clients keep, on every node, depend on it. */
static const unsigned char epoch_name_key[crypto_shorthash_KEYBYTES] = "sluice-epoch-v1";

static void epoch_write(char *to, uint64_t bits, unsigned count)
{
    for (unsigned i = 0; i < count; i++, bits >>= 5)
        to[i] = epoch_alphabet[bits & 31u];
}

struct epoch epoch_of_name(const char *name, size_t name_len)
{
    struct epoch epoch;
    uint64_t hash;
    crypto_shorthash((unsigned char *)&hash, (const unsigned char *)name, name_len, epoch_name_key);
    memset(epoch.text, '0', sizeof(epoch.text));
    epoch_write(epoch.text, le64toh(hash), EPOCH_NAME_LEN);
    return epoch;
}

struct epoch epoch_new(const char *name, size_t name_len)
{
    struct epoch epoch = epoch_of_name(name, name_len);
    epoch_write(epoch.text + EPOCH_NAME_LEN, random_next(), EPOCH_LEN - EPOCH_NAME_LEN);
    return epoch;
}

/* Whether it is of the alphabet. */
static bool epoch_takes(char byte)
{
    bool is_left_out = byte == 'i' || byte == 'l' || byte == 'o' || byte == 'u';
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z' && !is_left_out);
}

int epoch_parse(struct epoch *epoch, const char *text)
{
    for (unsigned i = 0; i < EPOCH_LEN; i++)
        if (!epoch_takes(text[i]))
            return -EINVAL;
    memcpy(epoch->text, text, EPOCH_LEN);
    return 0;
}

bool epoch_is_of_name(const struct epoch *epoch)
{
    for (unsigned i = EPOCH_NAME_LEN; i < EPOCH_LEN; i++)
        if (epoch->text[i] != '0')
            return false;
    return true;
}

bool epoch_equals(const struct epoch *a, const struct epoch *b)
{
    return memcmp(a->text, b->text, EPOCH_LEN) == 0;
}

bool epoch_has_same_name(const struct epoch *a, const struct epoch *b)
{
    return memcmp(a->text, b->text, EPOCH_NAME_LEN) == 0;
}
