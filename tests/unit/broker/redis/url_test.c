/* SPDX-License-Identifier: MIT */
#include "broker/redis/url.h"

#include <errno.h>
#include <string.h>

#include "unit.h"

static struct url parsed(const char *text)
{
    struct url url;
    char fault[URL_FAULT_MAX];
    assert_int_equal(url_parse(&url, text, fault), 0);
    return url;
}

static void assert_refused(const char *text, const char *why)
{
    struct url url;
    char fault[URL_FAULT_MAX];
    assert_int_equal(url_parse(&url, text, fault), -EINVAL);
    assert_non_null(strstr(fault, why));
}

static void test_a_server_with_everything(void **state)
{
    struct url url = parsed("redis://us%40er:p%3Aa%2Fss@example.org:7000/3");
    (void)state;
    assert_int_equal(url.kind, URL_SERVER);
    assert_string_equal(url.user, "us@er");
    assert_string_equal(url.password, "p:a/ss");
    assert_string_equal(url.addresses[0], "example.org:7000");
    assert_int_equal(url.db, 3);
    url_deinit(&url);
}

static void test_what_is_left_out_has_a_preset(void **state)
{
    struct url url = parsed("redis://:secret@[::1]");
    (void)state;
    assert_null(url.user);
    assert_string_equal(url.password, "secret");
    assert_string_equal(url.addresses[0], "[::1]:6379");
    assert_int_equal(url.db, 0);
    url_deinit(&url);
    url = parsed("redis://localhost/");
    assert_string_equal(url.addresses[0], "localhost:6379");
    url_deinit(&url);
}

static void test_several_servers_are_a_cluster(void **state)
{
    static const char *const texts[] = {
        "redis://:x@a:1,b:2,c:3/0", "redis://:x@a:1,redis://b:2,redis://c:3/0",
        "redis://:x@a:1,b:2,redis://c:3", "redis://:x@a:1/0,redis://b:2/0,redis://c:3/0"};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct url url = parsed(texts[i]);
        assert_int_equal(url.kind, URL_CLUSTER);
        assert_int_equal(url.count, 3);
        assert_string_equal(url.addresses[0], "a:1");
        assert_string_equal(url.addresses[2], "c:3");
        assert_string_equal(url.password, "x");
        url_deinit(&url);
    }
    assert_refused("redis://a,b/1", "Cluster");
}

static void test_tls_is_a_scheme(void **state)
{
    struct url url = parsed("rediss://:x@a:1,rediss://b:2,c/0");
    (void)state;
    assert_true(url.is_tls);
    assert_int_equal(url.kind, URL_CLUSTER);
    assert_string_equal(url.addresses[1], "b:2");
    assert_string_equal(url.addresses[2], "c:6379");
    url_deinit(&url);
    url = parsed("rediss-sentinel://a:1,b/main/3");
    assert_true(url.is_tls);
    assert_int_equal(url.kind, URL_SENTINEL);
    assert_int_equal(url.db, 3);
    url_deinit(&url);
    url = parsed("redis://a");
    assert_false(url.is_tls);
    url_deinit(&url);
    assert_refused("rediss://a:1,redis://b:2", "redis://b:2");
    assert_refused("redis://a:1,rediss://b:2", "rediss://b:2");
}

static void test_sentinels_have_a_login_of_their_own(void **state)
{
    struct url url = parsed("redis-sentinel://u:p@a/main/1?sentinel-user=w%40&sentinel-password=%3F%26%2F");
    (void)state;
    assert_string_equal(url.user, "u");
    assert_string_equal(url.password, "p");
    assert_string_equal(url.sentinel_user, "w@");
    assert_string_equal(url.sentinel_password, "?&/");
    assert_string_equal(url.master, "main");
    assert_int_equal(url.db, 1);
    url_deinit(&url);
    url = parsed("redis-sentinel://a,b:2/main?sentinel-password=x");
    assert_null(url.password);
    assert_null(url.sentinel_user);
    assert_string_equal(url.sentinel_password, "x");
    assert_string_equal(url.addresses[1], "b:2");
    url_deinit(&url);
    assert_refused("redis-sentinel://a/main/0?sentinel-user=x", "sentinel-password");
    assert_refused("redis-sentinel://a/main/0?password=x", "only ?sentinel-user");
    assert_refused("redis-sentinel://a/main/0?sentinel-password=x&sentinel-password=y",
                   "only ?sentinel-user");
    assert_refused("redis-sentinel://a/main/0?sentinel-password=%zz", "percent");
}

static void test_a_socket(void **state)
{
    struct url url = parsed("unix:///run/redis.sock?db=2");
    (void)state;
    assert_int_equal(url.kind, URL_UNIX);
    assert_string_equal(url.addresses[0], "/run/redis.sock");
    assert_int_equal(url.db, 2);
    url_deinit(&url);
    assert_refused("unix://run/redis.sock", "absolute");
    assert_refused("unix:///run/redis.sock?password=x", "only ?db=N");
}

static void test_sentinels(void **state)
{
    struct url url = parsed("redis-sentinel://u:p@s1,s2:5/my-master/4");
    (void)state;
    assert_int_equal(url.kind, URL_SENTINEL);
    assert_string_equal(url.addresses[0], "s1:26379");
    assert_string_equal(url.addresses[1], "s2:5");
    assert_string_equal(url.master, "my-master");
    assert_int_equal(url.db, 4);
    url_deinit(&url);
    assert_refused("redis-sentinel://s1:1", "master's name");
    assert_refused("redis-sentinel://s1:1//0", "master's name");
}

static void test_what_is_wrong_is_said(void **state)
{
    (void)state;
    assert_refused("http://x", "redis://host:port/db");
    assert_refused("redis://", "host is missing");
    assert_refused("redis://:6379", "host is missing");
    assert_refused("redis://user@host", "user:password");
    assert_refused("redis://:%zz@host", "percent");
    assert_refused("redis://host/x", "database");
    assert_refused("redis://host/99999999", "database");
    assert_refused("redis://a,,b", "host is missing");
    assert_refused("redis://:secret@host:abc", "host:abc: the port must be a number");
    assert_refused("redis://host:", "the port must be a number");
    assert_refused("redis://a:1,b:65536/0", "b:65536: the port must be a number");
    assert_refused("redis-sentinel://s1:1x/master", "s1:1x: the port must be a number");
    assert_refused("redis://::1", "goes in brackets");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_server_with_everything),
    cmocka_unit_test(test_what_is_left_out_has_a_preset),
    cmocka_unit_test(test_several_servers_are_a_cluster),
    cmocka_unit_test(test_tls_is_a_scheme),
    cmocka_unit_test(test_sentinels_have_a_login_of_their_own),
    cmocka_unit_test(test_a_socket),
    cmocka_unit_test(test_sentinels),
    cmocka_unit_test(test_what_is_wrong_is_said),
};
UNIT_MAIN(tests)
