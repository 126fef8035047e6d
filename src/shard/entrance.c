/* SPDX-License-Identifier: MIT */
#include "shard/entrance.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/container.h"

#define UNIX_PATH_MAX 107u /* sockaddr_un's, without the NUL */

int entrance_set_address(struct pairs *pairs, const char *word)
{
    static const char unix_scheme[] = "unix:";
    struct entrance *entrance = pairs->context;
    entrance->address = strdup(word);
    if (entrance->address && strncmp(word, unix_scheme, strlen(unix_scheme)) == 0)
        entrance->path = entrance->address + strlen(unix_scheme);
    return entrance->address ? 0 : -ENOMEM;
}

int entrance_set_proxy_protocol(struct pairs *pairs, const char *value)
{
    struct entrance *entrance = pairs->context;
    return pairs_read_boolean(pairs, &entrance->has_proxy_header, "proxy-protocol", value);
}

int entrance_set_mode(struct pairs *pairs, const char *value)
{
    char *end;
    unsigned long mode = strtoul(value, &end, 8);
    if (!value[0] || strspn(value, "01234567") != strlen(value) || mode > 0777)
        return pairs_fail(pairs, "mode is an octal number as 0660, not '%.100s'", value);
    struct entrance *entrance = pairs->context;
    entrance->mode = (mode_t)mode;
    entrance->has_mode = true;
    return 0;
}

static int entrance_set_file(struct pairs *pairs, char **file, const char *name, const char *value)
{
    if (!value[0])
        return pairs_fail(pairs, "%s is the path of a file in PEM", name);
    *file = strdup(value);
    return *file ? 0 : -ENOMEM;
}

int entrance_set_tls_cert(struct pairs *pairs, const char *value)
{
    struct entrance *entrance = pairs->context;
    return entrance_set_file(pairs, &entrance->tls.cert, "tls-cert", value);
}

int entrance_set_tls_key(struct pairs *pairs, const char *value)
{
    struct entrance *entrance = pairs->context;
    return entrance_set_file(pairs, &entrance->tls.key, "tls-key", value);
}

int entrance_set_tls_client_ca(struct pairs *pairs, const char *value)
{
    struct entrance *entrance = pairs->context;
    return entrance_set_file(pairs, &entrance->tls.client_ca, "tls-client-ca", value);
}

int entrance_set_tls_client(struct pairs *pairs, const char *value)
{
    struct entrance *entrance = pairs->context;
    bool is_required = strcmp(value, "required") == 0;
    if (!is_required && strcmp(value, "optional") != 0)
        return pairs_fail(pairs, "tls-client is optional or required, not '%.100s'", value);
    entrance->tls.clients = is_required ? TLS_CLIENTS_REQUIRED : TLS_CLIENTS_OPTIONAL;
    return 0;
}

static int entrance_check_tls(struct pairs *pairs)
{
    struct entrance *entrance = pairs->context;
    struct tls_files *tls = &entrance->tls;
    bool is_any = tls->cert || tls->key || tls->client_ca || tls->clients != TLS_CLIENTS_NONE;
    if (is_any && entrance->path)
        return pairs_fail(pairs, "TLS is not for unix:/path, which nobody can listen in on");
    if (is_any && (!tls->cert || !tls->key))
        return pairs_fail(pairs, "TLS wants both tls-cert and tls-key");
    if (tls->clients != TLS_CLIENTS_NONE && !tls->client_ca)
        return pairs_fail(pairs, "tls-client wants tls-client-ca, which says who signs its certificates");
    if (tls->client_ca && tls->clients == TLS_CLIENTS_NONE)
        tls->clients = TLS_CLIENTS_REQUIRED;
    return 0;
}

int entrance_check(struct pairs *pairs)
{
    struct entrance *entrance = pairs->context;
    const char *path = entrance->path;
    if (path && (path[0] != '/' || strlen(path) > UNIX_PATH_MAX))
        return pairs_fail(pairs, "a Unix address is unix:/path, of at most 107 bytes: %.200s",
                          entrance->address);
    if (entrance->has_mode && !path)
        return pairs_fail(pairs, "mode is for unix:/path only, not for %.200s", entrance->address);
    if (!entrance->has_mode)
        entrance->mode = ENTRANCE_MODE_PRESET;
    return entrance_check_tls(pairs);
}

int entrance_parse(struct entrance *entrance, const char *text, char fault[PAIRS_FAULT_MAX])
{
    static const struct pairs_key keys[] = {ENTRANCE_KEYS};
    static const struct pairs_form form = {
        .noun = "address",
        .missing = ENTRANCE_MISSING,
        .set_first = entrance_set_address,
        .keys = keys,
        .key_count = ARRAY_LENGTH(keys),
        .check = entrance_check,
    };
    *entrance = (struct entrance){0};
    int err = pairs_parse(entrance, text, &form, fault);
    if (err)
        entrance_deinit(entrance);
    return err;
}

void entrance_deinit(struct entrance *entrance)
{
    free(entrance->address);
    free(entrance->tls.cert);
    free(entrance->tls.key);
    free(entrance->tls.client_ca);
    *entrance = (struct entrance){0};
}

int entrance_look_up(const struct entrance *entrance, struct address *address, const char **why)
{
    struct sockaddr_un *name = (struct sockaddr_un *)&address->storage;
    if (!entrance->path)
        return address_parse(address, entrance->address, why);
    *address = (struct address){.len = sizeof(*name)};
    name->sun_family = AF_UNIX;
    strncpy(name->sun_path, entrance->path, sizeof(name->sun_path) - 1);
    return 0;
}
