/* SPDX-License-Identifier: MIT */
/* Publishes whose answer was lost, while servers come and go. */

#include "broker/redis/in_doubt.h"

#include <stdlib.h>
#include <string.h>

#include "broker/redis/publish.h"
#include "broker/redis/resident.h"
#include "broker/redis/server.h"
#include "config/options.h"
#include "core/hub.h"
#include "unit.h"

static struct redis_broker broker;
static struct options options;
static struct mailbox mailbox;
static struct hub hub;
static struct redis_server loser;
static struct redis_server heir;
static struct publish_request request;
static struct publish_item item;
static unsigned answers;

static void note_answer(struct broker_request *super)
{
    (void)super;
    answers++;
}

static const struct link_ops no_ops = {0};

static void begin_server(struct redis_server *server, uint64_t id)
{
    *server = (struct redis_server){.broker = &broker, .id = id, .state = SERVER_UP, .has_functions = true};
    link_init(&server->commands, &broker.links, &no_ops);
    list_init(&server->link);
    list_init(&server->residents);
    list_append(&broker.servers, &server->link);
    in_doubt_init(server);
}

/* A publish of which `loser` took the command and owes the answer. */
static void lose_publish(void)
{
    const struct message_parts parts = {.data = "x", .size = 1};
    item = (struct publish_item){
        .channel = (char *)(uintptr_t) "a", .channel_len = 1, .message = message_new(&parts)};
    request = (struct publish_request){
        .super = {.reply_to = &mailbox, .hub = &hub, .done = note_answer}, .count = 1, .items = &item};
    struct publish *publish = calloc(1, sizeof(*publish));
    request.remaining = 1;
    request.known = publish;
    publish->request = &request;
    publish->item = &item;
    publish->call.broker = &broker;
    list_init(&publish->link);
    timer_init(&publish->echo, NULL);
    timer_init(&publish->call.timer, NULL);
    strcpy(publish->mark, "mark");
    publish->call.server = &loser;
    assert_true(in_doubt_keep(publish));
}

static int begin(void **state)
{
    (void)state;
    memset(&broker, 0, sizeof(broker));
    answers = 0;
    hub.requests_pending = 1;
    broker.options = &options;
    timer_wheel_init(&broker.wheel, 0);
    link_set_init(&broker.links, -1, &broker.wheel, &broker.mailbox);
    list_init(&broker.servers);
    list_init(&broker.homeless);
    begin_server(&loser, 1);
    begin_server(&heir, 2);
    /* The slot has moved to the heir, whose link takes the question. */
    for (unsigned i = 0; i < REDIS_SLOTS; i++)
        broker.slots[i] = &heir;
    heir.commands.state = LINK_CONNECTED;
    loser.commands.state = LINK_CONNECTED;
    return mailbox_init(&mailbox);
}

static int end(void **state)
{
    (void)state;
    link_close(&loser.commands);
    mailbox_deinit(&mailbox);
    return 0;
}

static struct resident *only_resident(const struct redis_server *server)
{
    struct list *link = list_first(&server->residents);
    assert_non_null(link);
    assert_ptr_equal(link->next, &server->residents);
    return container_of(link, struct resident, link);
}

static void bring_up(struct redis_server *server)
{
    only_resident(server)->ops->up(only_resident(server), server);
}

static void end_for_good(struct redis_server *server)
{
    server->state = SERVER_GONE;
    list_remove(&server->link);
    only_resident(server)->ops->lost(only_resident(server));
    assert_true(list_is_empty(&server->residents));
    mailbox_drain(&mailbox);
}

static void test_a_server_at_the_place_of_one_that_is_gone_is_another(void **state)
{
    (void)state;
    lose_publish();
    bring_up(&loser);
    assert_false(list_is_empty(&heir.commands.unsent));
    /* The Cluster knows the loser no more; a new server is made in the same memory. */
    end_for_good(&loser);
    assert_int_equal(answers, 0);
    begin_server(&loser, 3);
    link_close(&heir.commands);
    mailbox_drain(&mailbox);
    assert_true(list_is_empty(&loser.in_doubt.publishes));
    assert_int_equal(answers, 1);
    assert_int_equal(item.error, ERROR_BROKER_DOWN);
}

static void test_what_is_lost_again_stays_with_its_server(void **state)
{
    (void)state;
    lose_publish();
    bring_up(&loser);
    link_close(&heir.commands);
    mailbox_drain(&mailbox);
    assert_int_equal(answers, 0);
    end_for_good(&loser);
    assert_int_equal(answers, 1);
    assert_int_equal(item.error, ERROR_BROKER_DOWN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static const struct CMUnitTest tests[] = {
    TEST(test_a_server_at_the_place_of_one_that_is_gone_is_another),
    TEST(test_what_is_lost_again_stays_with_its_server),
};
UNIT_MAIN(tests)
