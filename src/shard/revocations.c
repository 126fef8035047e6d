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

static void revocations_note_complete(struct shard *shard)
{
    shard->revocations.are_known = true;
    atomic_fetch_add_explicit(&shard->group->knowing, 1, memory_order_release);
}

static void revocations_complete(struct revocation_listener *listener)
{
    revocations_note_complete(container_of(listener, struct shard, revocations.listener));
}

static void revocations_listening(struct broker_request *request)
{
    if (request->error != ERROR_NONE && request->error != ERROR_STOPPING)
        log_event(LOG_ERROR, "revocations-unheard", LOG_TEXT("reason", error_text(request->error)),
                  LOG_TEXT("action", "no token is good on this node: start it again"));
}

int revocations_begin(struct shard *shard)
{
    struct revocations_desk *desk = &shard->revocations;
    desk->listener.revoked = revocations_heard;
    desk->listener.complete = revocations_complete;
    desk->request.listener = &desk->listener;
    if (!hub_submit(&shard->hub, &desk->request.super, BROKER_LISTEN, revocations_listening))
        return 0;
    if (desk->request.super.error != ERROR_NONE)
        return -ENOMEM;
    revocations_note_complete(shard);
    return 0;
}

bool revocations_are_known(const struct shard_group *group)
{
    return atomic_load_explicit(&group->knowing, memory_order_acquire) == group->count;
}
