/* SPDX-License-Identifier: MIT */
#include "broker/redis/resident.h"

#include "base/container.h"
#include "broker/redis/broker.h"
#include "broker/redis/server.h"

void resident_init(struct resident *resident, const struct resident_ops *ops, struct redis_broker *broker)
{
    *resident = (struct resident){.ops = ops, .broker = broker};
    list_init(&resident->link);
    list_append(&broker->homeless, &resident->link);
}

void resident_move(struct resident *resident, struct redis_server *server)
{
    if (resident->server == server)
        return;
    resident->server = server;
    list_remove(&resident->link);
    list_append(server ? &server->residents : &resident->broker->homeless, &resident->link);
}

void resident_deinit(struct resident *resident)
{
    list_remove(&resident->link);
}

void residents_up(struct list *residents, struct redis_server *server)
{
    list_for_each_safe (link, residents) {
        struct resident *resident = container_of(link, struct resident, link);
        if (resident->ops->up)
            resident->ops->up(resident, server);
    }
}

void residents_slots_changed(struct list *residents)
{
    list_for_each_safe (link, residents) {
        struct resident *resident = container_of(link, struct resident, link);
        if (resident->ops->slots_changed)
            resident->ops->slots_changed(resident);
    }
}

void residents_end(struct list *residents)
{
    list_drain (link, residents) {
        struct resident *resident = container_of(link, struct resident, link);
        resident->ops->ended(resident);
    }
}

void residents_lost(struct list *residents)
{
    list_for_each_safe (link, residents) {
        struct resident *resident = container_of(link, struct resident, link);
        resident->ops->lost(resident);
    }
}
