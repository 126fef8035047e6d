/* SPDX-License-Identifier: MIT */
/* Where the bridge lives, while servers come and go. */

#include "broker/redis/bridge.h"

#include <string.h>

#include "broker/redis/broker.h"
#include "broker/redis/resident.h"
#include "broker/redis/server.h"
#include "config/options.h"
#include "unit.h"

static struct redis_broker broker;
static struct options options;
static char *items[] = {(char *)(uintptr_t) "news"};

/* A server whose feed takes what is subscribed. */
static struct redis_server *begin_server(const char *address)
{
    struct redis_server *server = server_new(&broker, address, false);
    assert_non_null(server);
    server->state = SERVER_UP;
    server->feed.state = LINK_CONNECTED;
    return server;
}

static int begin(void **state)
{
    (void)state;
    memset(&broker, 0, sizeof(broker));
    options.redis_subscribe.items = items;
    options.redis_subscribe.count = 1;
    broker.options = &options;
    timer_wheel_init(&broker.wheel, 0);
    link_set_init(&broker.links, -1, &broker.wheel, &broker.mailbox);
    list_init(&broker.servers);
    list_init(&broker.homeless);
    list_init(&broker.bridged_publishes);
    return bridge_init(&broker);
}

static int end(void **state)
{
    (void)state;
    servers_close(&broker);
    return 0;
}

static void test_the_bridge_lives_on_the_first_server_that_is_up(void **state)
{
    (void)state;
    struct redis_server *first = begin_server("127.0.0.1:1");
    struct redis_server *second = begin_server("127.0.0.1:2");
    assert_null(bridge_server(&broker));
    residents_up(&broker.homeless, first);
    residents_up(&broker.homeless, second);
    assert_ptr_equal(bridge_server(&broker), first);
    assert_false(list_is_empty(&first->feed.unsent));
    assert_true(list_is_empty(&second->feed.unsent));
}

static void test_another_server_takes_over_when_one_leaves_for_good(void **state)
{
    (void)state;
    struct redis_server *first = begin_server("127.0.0.1:1");
    struct redis_server *second = begin_server("127.0.0.1:2");
    residents_up(&broker.homeless, first);
    server_free(first);
    assert_ptr_equal(bridge_server(&broker), second);
    assert_false(list_is_empty(&second->feed.unsent));
}

static void test_the_bridge_ends_with_the_broker(void **state)
{
    (void)state;
    residents_up(&broker.homeless, begin_server("127.0.0.1:1"));
    servers_close(&broker);
    assert_null(broker.bridge);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static const struct CMUnitTest tests[] = {
    TEST(test_the_bridge_lives_on_the_first_server_that_is_up),
    TEST(test_another_server_takes_over_when_one_leaves_for_good),
    TEST(test_the_bridge_ends_with_the_broker),
};
UNIT_MAIN(tests)
