/* SPDX-License-Identifier: MIT */
#include "transport/sockjs/sockjs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/sockjs/pages.h"
#include "transport/sockjs/path.h"
#include "transport/sockjs/session.h"

#define METHODS_ALL (METHOD_GET | METHOD_HEAD | METHOD_POST | METHOD_PUT | METHOD_DELETE | METHOD_OPTIONS)

/* Set by sockjs_open before any shard runs; a table is its shard's. */
static struct {
    struct sockjs_service *services;
    size_t count;
    struct session_table *tables;
    struct connection_limits *limits; /* on sessions */
} sockjs;

static bool declarations_have(const struct sockjs_declaration *declarations, size_t count, const char *prefix)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(declarations[i].prefix, prefix) == 0)
            return true;
    return false;
}

static void declarations_free(struct sockjs_declaration *declarations, size_t count)
{
    for (size_t i = 0; declarations && i < count; i++)
        sockjs_declaration_deinit(&declarations[i]);
    free(declarations);
}

/* Parses all of them. Returns 0, or -errno with the fault written and nothing to free. */
static int declarations_parse(struct sockjs_declaration **to, const struct string_list *texts,
                              char fault[SOCKJS_FAULT_MAX])
{
    char why[PAIRS_FAULT_MAX];
    size_t count = 0;
    int err = 0;
    struct sockjs_declaration *declarations = calloc(texts->count + 1, sizeof(*declarations));
    snprintf(why, sizeof(why), "there is no memory for it");
    if (!declarations)
        err = -ENOMEM;
    while (!err && count < texts->count) {
        err = sockjs_declaration_parse(&declarations[count], texts->items[count], why);
        if (err)
            break;
        bool is_double = declarations_have(declarations, count, declarations[count].prefix);
        count++;
        if (is_double) {
            snprintf(why, sizeof(why), "another service has this prefix already");
            err = -EINVAL;
        }
    }
    *to = declarations;
    if (!err)
        return 0;
    snprintf(fault, SOCKJS_FAULT_MAX, "sockjs = '%.300s': %s",
             texts->count > 0 ? texts->items[err == -EINVAL && count == texts->count ? count - 1 : count]
                              : "",
             why);
    declarations_free(declarations, count);
    return err;
}

int sockjs_check(const struct string_list *texts, char fault[SOCKJS_FAULT_MAX])
{
    struct sockjs_declaration *declarations;
    int err = declarations_parse(&declarations, texts, fault);
    if (!err)
        declarations_free(declarations, texts->count);
    return err;
}

/* Takes the declaration over. */
static int service_init(struct sockjs_service *service, const struct sockjs_declaration *declaration)
{
    service->declaration = *declaration;
    if (asprintf(&service->below_prefix, "%s/", declaration->prefix) < 0) {
        service->below_prefix = NULL;
        return -ENOMEM;
    }
    service->top = (struct route){.prefix = declaration->prefix,
                                  .methods = METHODS_ALL,
                                  .is_batch = true,
                                  .takes_changes = true,
                                  .handle = pages_handle,
                                  .elsewhere = "",
                                  .answers_options = true,
                                  .context = service};
    service->below = service->top;
    service->below.prefix = service->below_prefix;
    service->below.takes_name = true;
    int err = pages_make_iframe(service);
    if (!err)
        err = router_add(&service->top);
    return err ? err : router_add(&service->below);
}

static void service_deinit(struct sockjs_service *service)
{
    sockjs_declaration_deinit(&service->declaration);
    free(service->below_prefix);
    buf_deinit(&service->iframe);
}

static int services_init(struct sockjs_declaration *declarations, size_t count, char fault[SOCKJS_FAULT_MAX])
{
    int err = 0;
    while (!err && sockjs.count < count) {
        struct sockjs_service *service = &sockjs.services[sockjs.count];
        service->index = (unsigned)sockjs.count;
        err = service_init(service, &declarations[sockjs.count]);
        declarations[sockjs.count] = (struct sockjs_declaration){0};
        sockjs.count++;
        if (err)
            snprintf(fault, SOCKJS_FAULT_MAX, "sockjs %s: %s", service->declaration.prefix, strerror(-err));
    }
    return err;
}

int sockjs_open(const struct string_list *texts, struct shard_group *group, char fault[SOCKJS_FAULT_MAX])
{
    struct sockjs_declaration *declarations;
    int err = declarations_parse(&declarations, texts, fault);
    if (err)
        return err;
    sockjs.services = calloc(texts->count + 1, sizeof(*sockjs.services));
    sockjs.tables = calloc(group->count, sizeof(*sockjs.tables));
    sockjs.limits = connection_limits_new();
    if (!sockjs.services || !sockjs.tables || !sockjs.limits) {
        snprintf(fault, SOCKJS_FAULT_MAX, "sockjs: %s", strerror(ENOMEM));
        err = -ENOMEM;
    }
    for (unsigned i = 0; !err && i < group->count; i++)
        session_table_init(&sockjs.tables[i], &group->shards[i], sockjs.limits);
    if (!err)
        err = services_init(declarations, texts->count, fault);
    declarations_free(declarations, texts->count);
    return err;
}

void sockjs_close(void)
{
    for (size_t i = 0; i < sockjs.count; i++)
        service_deinit(&sockjs.services[i]);
    free(sockjs.services);
    free(sockjs.tables);
    connection_limits_free(sockjs.limits);
    sockjs.limits = NULL;
    sockjs.services = NULL;
    sockjs.tables = NULL;
    sockjs.count = 0;
}

struct session_table *session_table_of(const struct shard *shard)
{
    return &sockjs.tables[shard->index];
}

static bool path_is_known(const struct session_path *path)
{
    for (size_t i = 0; i < sockjs.count; i++)
        if (strcmp(sockjs.services[i].declaration.prefix, path->prefix) == 0)
            return true;
    return false;
}

struct shard *sockjs_home(const struct shard_group *group, struct text target)
{
    struct session_path path;
    const char *query = memchr(target.bytes, '?', target.len);
    if (query)
        target.len = (size_t)(query - target.bytes);
    if (!session_path_parse(&path, target) || path.carrier == CARRIER_WEBSOCKET || !path_is_known(&path))
        return NULL;
    return &group->shards[table_hash(path.session.bytes, path.session.len) % group->count];
}
