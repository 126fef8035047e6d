/* SPDX-License-Identifier: MIT */
#include "server/precheck.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/redis/trust.h"
#include "broker/redis/url.h"
#include "server/privileges.h"
#include "transport/sockjs/sockjs.h"

bool precheck_broker_is_memory(const struct options *options)
{
    return strncmp(options->broker, "memory:", strlen("memory:")) == 0;
}

static int precheck_trust(const struct options *options, char fault[PRECHECK_FAULT_MAX])
{
    static_assert(TRUST_FAULT_MAX <= PRECHECK_FAULT_MAX, "a fault of certificates fits");
    return trust_check(options, fault);
}

/* Whoever gives certificates believes that there is TLS. */
static int precheck_no_trust(const struct options *options, char fault[PRECHECK_FAULT_MAX])
{
    const char *option = trust_find_option(options);
    if (!option)
        return 0;
    snprintf(fault, PRECHECK_FAULT_MAX,
             "%s: the option broker has no TLS; it is rediss:// or rediss-sentinel:// with it", option);
    return -EINVAL;
}

int precheck_broker(const struct options *options, char fault[PRECHECK_FAULT_MAX])
{
    char why[URL_FAULT_MAX];
    struct url url;
    if (precheck_broker_is_memory(options))
        return precheck_no_trust(options, fault);
    /* It may hold a password, so it is not repeated. */
    if (url_parse(&url, options->broker, why)) {
        snprintf(fault, PRECHECK_FAULT_MAX, "broker: %s", why);
        return -EINVAL;
    }
    bool is_tls = url.is_tls;
    url_deinit(&url);
    return is_tls ? precheck_trust(options, fault) : precheck_no_trust(options, fault);
}

static int precheck_user(const struct options *options, char fault[PRECHECK_FAULT_MAX])
{
    char why[PRIVILEGES_FAULT_MAX];
    int err = options->user[0] ? privileges_check(options->user, why) : 0;
    if (err)
        snprintf(fault, PRECHECK_FAULT_MAX, "user = '%.128s': %s", options->user, why);
    return err;
}

int precheck_run(const struct configuration *configuration, const struct precheck_warnings *warnings,
                 struct listenings *listenings, char fault[PRECHECK_FAULT_MAX])
{
    configuration_visit_strays(configuration, warnings->stray);
    int err = configuration_check_static_dir(configuration, fault);
    if (err == -ENOENT) {
        warnings->no_static_dir(fault);
        err = 0;
    }
    if (!err)
        err = precheck_broker(configuration->options, fault);
    if (!err)
        err = precheck_user(configuration->options, fault);
    if (!err)
        err = sockjs_check(&configuration->options->sockjs, fault);
    return err ? err : listenings_parse(listenings, configuration->options, fault);
}
