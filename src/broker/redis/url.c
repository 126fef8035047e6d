/* SPDX-License-Identifier: MIT */
#include "broker/redis/url.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/container.h"
#include "base/number.h"
#include "base/percent.h"

#define URL_DATABASES 65536u

static int url_fail(char *fault, const char *what)
{
    snprintf(fault, URL_FAULT_MAX, "%s", what);
    return -EINVAL;
}

static int url_decode(char **to, const char *text, size_t len, char *fault)
{
    size_t decoded_len;
    *to = malloc(len + 1);
    if (!*to)
        return -ENOMEM;
    if (percent_decode(*to, &decoded_len, text, len))
        return url_fail(fault, "user and password must be percent-encoded: a broken %-escape");
    return 0;
}

static int url_parse_db(struct url *url, const char *text, char *fault)
{
    uint64_t db;
    if (number_parse_u64(&db, text, strlen(text)) || db >= URL_DATABASES)
        return url_fail(fault, "the database must be a number, as redis://host:6379/0");
    url->db = (unsigned)db;
    return 0;
}

static int url_parse_login(struct url *url, const char *text, size_t len, char *fault)
{
    const char *colon = memchr(text, ':', len);
    if (!colon)
        return url_fail(fault, "before the @ goes user:password, or :password");
    size_t user_len = (size_t)(colon - text);
    int err = url_decode(&url->password, colon + 1, len - user_len - 1, fault);
    if (!err && user_len > 0)
        err = url_decode(&url->user, text, user_len, fault);
    return err;
}

/* Adds the port if it is missing. */
static int url_add_address(struct url *url, const char *text, size_t len, unsigned port, char *fault)
{
    const char *colon = memrchr(text, ':', len);
    const char *bracket = memrchr(text, ']', len);
    bool has_port = colon && (!bracket || colon > bracket);
    if (url->count == URL_ADDRESSES_MAX)
        return url_fail(fault, "there are more than 64 addresses");
    if (len == 0 || colon == text)
        return url_fail(fault, "a host is missing; an address is host:port or [v6]:port");
    char *address = NULL;
    int written = has_port ? asprintf(&address, "%.*s", (int)len, text)
                           : asprintf(&address, "%.*s:%u", (int)len, text, port);
    if (written < 0)
        return -ENOMEM;
    url->addresses[url->count++] = address;
    const char *why = NULL;
    if (address_check(address, &why) == 0)
        return 0;
    snprintf(fault, URL_FAULT_MAX, "%.200s: %s", address, why);
    return -EINVAL;
}

static int url_parse_addresses(struct url *url, const char *text, size_t len, unsigned port, char *fault)
{
    const char *prefix = url->is_tls ? "rediss://" : "redis://";
    int err = 0;
    while (!err) {
        const char *comma = memchr(text, ',', len);
        size_t part = comma ? (size_t)(comma - text) : len;
        /* redis://a:1,redis://b:2 means the same as redis://a:1,b:2. */
        size_t skip = part > strlen(prefix) && memcmp(text, prefix, strlen(prefix)) == 0 ? strlen(prefix) : 0;
        /* Each may repeat the database; that of the last one counts. */
        const char *slash = comma ? memchr(text + skip, '/', part - skip) : NULL;
        size_t address_len = slash ? (size_t)(slash - text) - skip : part - skip;
        err = url_add_address(url, text + skip, address_len, port, fault);
        if (!comma)
            break;
        text = comma + 1;
        len -= part + 1;
    }
    return err;
}

/* [user:password@]addresses. */
static int url_parse_authority(struct url *url, const char *text, size_t len, unsigned port, char *fault)
{
    const char *at = memrchr(text, '@', len);
    int err = at ? url_parse_login(url, text, (size_t)(at - text), fault) : 0;
    const char *addresses = at ? at + 1 : text;
    return err ? err : url_parse_addresses(url, addresses, len - (size_t)(addresses - text), port, fault);
}

/* The addresses end at the last slash that does not belong to a repeated redis://. */
static size_t url_authority_len(const char *text)
{
    const char *from = strrchr(text, ',');
    const char *login = strrchr(text, '@');
    if (login && (!from || login > from))
        from = login;
    from = from ? from + 1 : text;
    if (strncmp(from, "redis://", 8) == 0)
        from += 8;
    else if (strncmp(from, "rediss://", 9) == 0)
        from += 9;
    return (size_t)(from - text) + strcspn(from, "/");
}

static int url_parse_server(struct url *url, const char *text, char *fault)
{
    size_t len = url_authority_len(text);
    int err = url_parse_authority(url, text, len, 6379, fault);
    if (!err && text[len] == '/' && text[len + 1])
        err = url_parse_db(url, text + len + 1, fault);
    url->kind = url->count > 1 ? URL_CLUSTER : URL_SERVER;
    if (!err && url->kind == URL_CLUSTER && url->db > 0)
        err = url_fail(fault, "a Redis Cluster has no database but 0");
    return err;
}

/* Who the Sentinels themselves want to be asked by: they have users of their own. */
static int url_parse_sentinel_login(struct url *url, const char *query, char *fault)
{
    static const char user[] = "sentinel-user=";
    static const char password[] = "sentinel-password=";
    int err = 0;
    while (!err && *query) {
        size_t len = strcspn(query, "&");
        if (strncmp(query, user, strlen(user)) == 0 && !url->sentinel_user)
            err = url_decode(&url->sentinel_user, query + strlen(user), len - strlen(user), fault);
        else if (strncmp(query, password, strlen(password)) == 0 && !url->sentinel_password)
            err =
                url_decode(&url->sentinel_password, query + strlen(password), len - strlen(password), fault);
        else
            err = url_fail(
                fault, "after the database only ?sentinel-user=USER&sentinel-password=PASSWORD may follow");
        query += len;
        query += *query == '&';
    }
    if (!err && url->sentinel_user && !url->sentinel_password)
        err = url_fail(fault, "to the sentinel-user belongs a sentinel-password");
    return err;
}

static int url_parse_sentinel_path(struct url *url, const char *text, char *fault)
{
    size_t len = url_authority_len(text);
    const char *name = text + len + 1;
    url->kind = URL_SENTINEL;
    if (text[len] != '/' || !*name || *name == '/')
        return url_fail(fault, "the master's name is missing: redis-sentinel://host:26379/master-name/0");
    size_t name_len = strcspn(name, "/");
    url->master = strndup(name, name_len);
    if (!url->master)
        return -ENOMEM;
    int err = url_parse_authority(url, text, len, 26379, fault);
    if (!err && name[name_len] == '/' && name[name_len + 1])
        err = url_parse_db(url, name + name_len + 1, fault);
    return err;
}

static int url_parse_sentinel(struct url *url, const char *text, char *fault)
{
    const char *slash = strrchr(text, '/');
    const char *query = slash ? strchr(slash, '?') : NULL;
    char *path = strndup(text, query ? (size_t)(query - text) : strlen(text));
    int err = path ? url_parse_sentinel_path(url, path, fault) : -ENOMEM;
    free(path);
    return err || !query ? err : url_parse_sentinel_login(url, query + 1, fault);
}

static int url_parse_unix(struct url *url, const char *text, char *fault)
{
    size_t len = strcspn(text, "?");
    url->kind = URL_UNIX;
    if (text[0] != '/' || len < 2 || len > 107)
        return url_fail(fault,
                        "the path of a socket is absolute and at most 107 bytes: unix:///run/redis.sock");
    url->addresses[0] = strndup(text, len);
    if (!url->addresses[0])
        return -ENOMEM;
    url->count = 1;
    if (text[len] == '\0')
        return 0;
    if (strncmp(text + len, "?db=", 4) != 0)
        return url_fail(fault, "after the path of a socket only ?db=N may follow");
    return url_parse_db(url, text + len + 4, fault);
}

static const struct {
    const char *prefix;
    int (*parse)(struct url *url, const char *text, char *fault);
    bool is_tls;
} url_schemes[] = {
    {"redis://", url_parse_server, false},
    {"rediss://", url_parse_server, true},
    {"redis-sentinel://", url_parse_sentinel, false},
    {"rediss-sentinel://", url_parse_sentinel, true},
    {"unix://", url_parse_unix, false},
};

int url_parse(struct url *url, const char *text, char fault[URL_FAULT_MAX])
{
    int err = -EINVAL;
    *url = (struct url){0};
    snprintf(fault, URL_FAULT_MAX,
             "it must be memory:, redis://host:port/db, unix:///path or "
             "redis-sentinel://host:port/master-name/db; "
             "rediss:// and rediss-sentinel:// with TLS");
    for (size_t i = 0; i < ARRAY_LENGTH(url_schemes); i++) {
        if (strncmp(text, url_schemes[i].prefix, strlen(url_schemes[i].prefix)) != 0)
            continue;
        url->is_tls = url_schemes[i].is_tls;
        err = url_schemes[i].parse(url, text + strlen(url_schemes[i].prefix), fault);
    }
    if (err == -ENOMEM)
        snprintf(fault, URL_FAULT_MAX, "no memory");
    if (err)
        url_deinit(url);
    return err;
}

void url_deinit(struct url *url)
{
    for (size_t i = 0; i < url->count; i++)
        free(url->addresses[i]);
    free(url->user);
    free(url->password);
    free(url->sentinel_user);
    free(url->sentinel_password);
    free(url->master);
    *url = (struct url){0};
}
