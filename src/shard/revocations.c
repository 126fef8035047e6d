/* SPDX-License-Identifier: MIT */
#include "shard/revocations.h"

#include <errno.h>
#include <string.h>

#include "auth/revoked.h"
#include "base/clock.h"
#include "base/log.h"
#include "shard/bearers.h"
#include "shard/shard.h"

static void revocations_heard(struct revocation_listener *listener, const struct revocation *revocation)
{
    struct shard *shard = container_of(listener, struct shard, revocations.listener);
    int err = revoked_add(shard->revoked, revocation, clock_wall_ms());
    if (err)
        log_event(
            LOG_ERROR, "revocation-forgotten",
            LOG_TEXT("reason", err == -ENOSPC ? "there are too many" : strerror(-err)),
            LOG_TEXT("action",
                     "the token is good again until it expires: change the key that it is signed with"));
    bearer_table_revoke(&shard->bearers, revocation);
}

static void revocations_listening(struct broker_request *request)
{
    if (request->error != ERROR_NONE && request->error != ERROR_STOPPING)
        log_event(LOG_ERROR, "revocations-unheard", LOG_TEXT("reason", error_text(request->error)),
                  LOG_TEXT("action", "tokens that are revoked stay good on this node: start it again"));
}

int revocations_begin(struct shard *shard)
{
    struct revocations_desk *desk = &shard->revocations;
    desk->listener.revoked = revocations_heard;
    desk->request.listener = &desk->listener;
    if (!hub_submit(&shard->hub, &desk->request.super, BROKER_LISTEN, revocations_listening))
        return 0;
    return desk->request.super.error == ERROR_NONE ? 0 : -ENOMEM;
}
