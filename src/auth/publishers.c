/* SPDX-License-Identifier: MIT */
#include "auth/publishers.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/fault.h"
#include "base/base64.h"

#define HASH_FORM_BYTES (PUBLISHER_SALT_BYTES + PUBLISHER_HASH_BYTES)

bool publisher_name_is_valid(struct text name)
{
    for (size_t i = 0; i < name.len; i++) {
        char byte = name.bytes[i];
        if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
              byte == '-' || byte == '_'))
            return false;
    }
    return name.len > 0 && name.len <= PUBLISHER_NAME_MAX;
}

/* The secret has as much chance in it as the hash: nothing slower is needed against guessing. */
static void publisher_hash(unsigned char hash[PUBLISHER_HASH_BYTES],
                           const unsigned char salt[PUBLISHER_SALT_BYTES], struct text secret)
{
    crypto_generichash(hash, PUBLISHER_HASH_BYTES, (const unsigned char *)secret.bytes, secret.len, salt,
                       PUBLISHER_SALT_BYTES);
}

static bool publisher_parse(struct publisher *publisher, struct text line)
{
    char form[PUBLISHER_HASH_TEXT];
    size_t len;
    struct text rest = line;
    struct text name = text_cut(&rest, ':');
    rest = text_trim(rest);
    if (!publisher_name_is_valid(name) || rest.len != PUBLISHER_HASH_TEXT ||
        base64_url_decode(form, &len, rest.bytes, rest.len) || len != HASH_FORM_BYTES)
        return false;
    *publisher = (struct publisher){0};
    memcpy(publisher->name, name.bytes, name.len);
    memcpy(publisher->salt, form, PUBLISHER_SALT_BYTES);
    memcpy(publisher->hash, form + PUBLISHER_SALT_BYTES, PUBLISHER_HASH_BYTES);
    return true;
}

static int publisher_compare(const void *a, const void *b)
{
    return strcmp(((const struct publisher *)a)->name, ((const struct publisher *)b)->name);
}

static int publishers_fail_line(size_t line, char *fault)
{
    return auth_fail(fault, PUBLISHERS_FAULT_MAX,
                     "is not right: line %zu is not NAME:HASH as `sluice key NAME` prints it", line);
}

static int publishers_sort(struct publishers *publishers, char *fault)
{
    if (publishers->count > 0)
        qsort(publishers->items, publishers->count, sizeof(*publishers->items), publisher_compare);
    for (size_t i = 1; i < publishers->count; i++) {
        if (strcmp(publishers->items[i - 1].name, publishers->items[i].name) == 0)
            return auth_fail(fault, PUBLISHERS_FAULT_MAX, "has two keys of the name %s",
                             publishers->items[i].name);
    }
    return 0;
}

static size_t publishers_count_lines(struct text file)
{
    size_t count = 1;
    for (size_t i = 0; i < file.len; i++)
        count += file.bytes[i] == '\n';
    return count;
}

static int publishers_read(struct publishers *publishers, struct text file, char *fault)
{
    for (size_t number = 1; file.len > 0; number++) {
        struct text line = text_cut(&file, '\n');
        line.len -= text_ends(line, "\r");
        if (line.len == 0 || line.bytes[0] == '#')
            continue;
        if (publishers->count == PUBLISHERS_MAX)
            return auth_fail(fault, PUBLISHERS_FAULT_MAX, "has more than %u keys", PUBLISHERS_MAX);
        if (!publisher_parse(&publishers->items[publishers->count], line))
            return publishers_fail_line(number, fault);
        publishers->count++;
    }
    return publishers_sort(publishers, fault);
}

int publishers_parse(struct publishers *publishers, struct text file, char fault[PUBLISHERS_FAULT_MAX])
{
    size_t lines = publishers_count_lines(file);
    *publishers = (struct publishers){0};
    publishers->items = calloc(lines < PUBLISHERS_MAX ? lines : PUBLISHERS_MAX, sizeof(*publishers->items));
    if (!publishers->items) {
        snprintf(fault, PUBLISHERS_FAULT_MAX, "there is no memory for its keys");
        return -ENOMEM;
    }
    int err = publishers_read(publishers, file, fault);
    if (err)
        publishers_deinit(publishers);
    return err;
}

void publishers_deinit(struct publishers *publishers)
{
    free(publishers->items);
    *publishers = (struct publishers){0};
}

const struct publisher *publishers_find(const struct publishers *publishers, struct text name)
{
    struct publisher wanted = {0};
    if (!publisher_name_is_valid(name) || publishers->count == 0)
        return NULL;
    memcpy(wanted.name, name.bytes, name.len);
    return bsearch(&wanted, publishers->items, publishers->count, sizeof(wanted), publisher_compare);
}

bool publisher_verify(const struct publisher *publisher, struct text secret)
{
    unsigned char hash[PUBLISHER_HASH_BYTES];
    publisher_hash(hash, publisher->salt, secret);
    return sodium_memcmp(hash, publisher->hash, sizeof(hash)) == 0;
}

void publisher_make(struct text name, char key[PUBLISHER_KEY_MAX + 1], char line[PUBLISHER_LINE_MAX + 1])
{
    unsigned char random[PUBLISHER_SECRET_BYTES];
    unsigned char form[HASH_FORM_BYTES];
    char secret[PUBLISHER_SECRET_TEXT + 1];
    char hash[PUBLISHER_HASH_TEXT + 1];
    randombytes_buf(random, sizeof(random));
    randombytes_buf(form, PUBLISHER_SALT_BYTES);
    base64_url_encode(secret, (const char *)random, sizeof(random));
    publisher_hash(form + PUBLISHER_SALT_BYTES, form, (struct text){secret, PUBLISHER_SECRET_TEXT});
    base64_url_encode(hash, (const char *)form, sizeof(form));
    snprintf(key, PUBLISHER_KEY_MAX + 1, "%.*s.%s", (int)name.len, name.bytes, secret);
    snprintf(line, PUBLISHER_LINE_MAX + 1, "%.*s:%s", (int)name.len, name.bytes, hash);
    sodium_memzero(random, sizeof(random));
    sodium_memzero(secret, sizeof(secret));
}
