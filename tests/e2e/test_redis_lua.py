# SPDX-License-Identifier: MIT
"""sluice.lua by itself: what its functions answer, write and publish, and what they keep for how long."""

import re

import pytest
from support.lua import Library, Listener, feed_of, key_of, known, limits
from support.redis import RedisError, RedisServer, meta_key, stream_key
from support.server import wait_until

HOUR = 3_600_000
NOON = 1_700_000_000_000  # a time that a test sets


# Publishing.

def test_offsets_count_from_one_in_one_log(lua: Library, channel: str) -> None:
    lua.now_ms = NOON
    answers = lua.fill(channel, 5)
    epoch = answers[0].id.split("-")[0]
    assert [answer.id for answer in answers] == [known(epoch, offset) for offset in range(1, 6)]
    assert {(answer.time, answer.was_known) for answer in answers} == {(NOON, 0)}
    assert len(epoch) == 12 and not set(epoch) - set("0123456789abcdefghjkmnpqrstvwxyz")
    assert lua.publish(channel + "x").id.split("-")[0] != epoch


def test_keys_hold_what_the_manual_says(lua: Library, redis: RedisServer, channel: str) -> None:
    lua.now_ms = NOON
    epoch = lua.publish(channel, "plain").id.split("-")[0]
    lua.publish(channel, "{}", "goal", type="json", ttl=60, producer="me", mime="a/b", mark="node.1", key="k",
                limits=limits(7, 100_000, 50, 90_000))
    assert redis.client.hgetall(meta_key(channel)) == {
        b"epoch": epoch.encode(), b"offset": b"2", b"time": b"%d" % NOON, b"until": b"%d" % (NOON + 106_250),
        b"bytes": b"%d" % (2 * 64 + len("plain{}goalmea/b")), b"limits": b"7 100000 50 90000", b"run": b"a1", b"why": b"epoch", b"log": epoch.encode()} | (
            {b"before": b""} if redis.client.hexists(meta_key(channel), "before") else {})
    assert redis.client.xrange(stream_key(channel)) == [
        (b"1-0", {b"time": b"%d" % NOON, b"at": b"0", b"type": b"text", b"data": b"plain"}),
        (b"2-0", {b"time": b"%d" % NOON, b"at": b"69", b"type": b"json", b"data": b"{}", b"event": b"goal", b"ttl": b"60", b"producer": b"me",
                  b"mime": b"a/b", b"mark": b"node.1"})]
    assert redis.client.get(key_of(channel, "k")) == b"%s-2 %d node.1" % (epoch.encode(), NOON)


def test_nodes_are_told_of_messages_purges_failovers_and_new_logs(lua: Library, channel: str) -> None:
    lua.now_ms = NOON
    news = f"sluice:{{{channel.split('/')[0]}}}:n"
    with Listener(lua, feed_of(channel), news) as listener:
        epoch = lua.publish(channel, b"\0d", "goal", type="binary", ttl=9, producer="me", mime="a/b", limits=limits(5, 700_000)).id[:12]
        assert listener.hear() == (news, channel.encode())
        header = f"sluice2 message {epoch} 1 {NOON} 9 binary 4 2 3 700000 0 0\n"
        assert listener.hear() == (feed_of(channel), header.encode() + b"goalmea/b\0d")
        lua.publish(channel, "plain")
        assert listener.hear()[1] == f"sluice2 message {epoch} 2 {NOON} 0 text 0 0 0 700000 0 0\nplain".encode()
        lua.run = "b2"
        renewed = lua.open(channel).epoch
        assert listener.hear()[1] == f"sluice2 failover {renewed} 2 {NOON} 0 text 0 0 0 0 0 0\n".encode()
        lua.purge(channel)
        assert listener.hear() == (news, channel.encode())
        purged = lua.open(channel).epoch
        assert listener.hear()[1] == f"sluice2 purged {purged} 0 {NOON} 0 text 0 0 0 0 0 0\n".encode()
        assert len({epoch, renewed, purged}) == 3 and {one[:5] for one in (renewed, purged)} == {epoch[:5]}


@pytest.mark.parametrize(("rest", "word"), [
    ([], "data is missing"), (["x", "", "colour", "red"], "unknown option colour"), (["x", "", "ttl"], "without a value"),
    (["x", "", "type"], "without a value"), (["x", "", "c" * 50, "x"], f"unknown option {'c' * 40},"),
    (["x", "", "ttl", "soon"], "whole number"), (["x", "", "ttl", "-1"], "whole number"), (["x", "", "ttl", "1.5"], "whole number"),
    (["x", "", "ttl", ""], "whole number"), (["x", "", "ttl", "100000000"], "whole number"), (["x", "", "ttl", "1\n"], "whole number"),
    (["x", "", "store", "maybe"], "store must be"), (["x", "", "type", "jpeg"], "type must be"), (["x", "", "type", ""], "type must be"),
    (["x", "e" * 256], "255 bytes"), (["x", "a\nb"], "control"), (["x", "a\x7fb"], "control"), (["x", "a\0b"], "control"),
    (["x", "reset"], "reset"),
    *((["x", "", name, value], name) for name in ("producer", "mime", "key", "conflate") for value in ("v" * 256, "a\nb", "\x1f", "\x7f")),
    *((["x", "", name, b"\xff"], "UTF-8") for name in ("producer", "mime", "key", "conflate")), (["x", b"\xff"], "UTF-8"),
    *((["x", "", "limits", text], "limits must be") for text in ("", "1 2 3", "1 2 3 4 5 6", "1 2 3 4 -5", "1 2 3 4 " + "9" * 14, "1 2 3 -4", "1.5 2 3 4", "1 2 3 " + "9" * 13)),
    ([b"\xff"], "UTF-8"), ([b"\xff", "", "type", "json"], "UTF-8"), (["{", "", "type", "json"], "not JSON"),
    (["", "", "type", "json"], "not JSON"), (["1 2", "", "type", "json"], "not JSON"),
])
def test_arguments_are_checked_before_anything_is_written(lua: Library, redis: RedisServer, channel: str,
                                                          rest: list[bytes | str], word: str) -> None:
    with pytest.raises(RedisError, match=f"^sluice: .*{word}"):
        lua.call("publish", channel, *rest)
    assert not redis.client.exists(meta_key(channel), stream_key(channel))


def test_a_publish_without_a_key_is_told_how_it_is_written(lua: Library) -> None:
    with pytest.raises(RedisError, match="^sluice: the channel is missing: sluice_publish 1 CHANNEL DATA"):
        lua.call("publish", [], "news", "x")


def test_the_longest_of_everything_is_taken(lua: Library, redis: RedisServer, channel: str) -> None:
    longest = "v" * 255
    answer = lua.publish(channel, "x", longest, producer=longest, mime=longest, key=longest, ttl="99999999")
    assert answer.id.endswith("-1")
    entry = lua.open(channel).entries[0]
    assert all(entry.fields[name] == longest.encode() for name in ("event", "producer", "mime"))
    assert redis.client.exists(key_of(channel, longest))
    assert lua.publish(channel.ljust(255, "n")).id.endswith("-1")


def test_data_of_64_mib_is_taken_and_one_byte_more_refused(lua: Library, redis: RedisServer, channel: str) -> None:
    data = b"x" * (64 << 20)
    assert lua.publish(channel, data, limits=limits(0)).id.endswith("-1")
    with pytest.raises(RedisError, match="64 MiB"):
        lua.publish(channel, data + b"x", limits=limits(0))


@pytest.mark.parametrize("bytes_", [
    b"\xc2\x80", b"\xdf\xbf", b"\xe0\xa0\x80", b"\xe1\x80\x80", b"\xec\xbf\xbf", b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80", b"\xf1\x80\x80\x80", b"\xf3\xbf\xbf\xbf", b"\xf4\x8f\xbf\xbf", "a\u00e9\u20ac\U0001f407z\0".encode()])
def test_utf8_is_text(lua: Library, channel: str, bytes_: bytes) -> None:
    assert lua.publish(channel, bytes_ + b"a" + bytes_).id.endswith("-1")


@pytest.mark.parametrize("bytes_", [
    b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc2", b"\xc2\x7f", b"\xc2\xc0", b"\xdf\x7f", b"\xe0\x9f\xbf", b"\xe0\xa0",
    b"\xe1\x80\xc0", b"\xe1\x7f\x80", b"\xec\xc0\x80", b"\xed\xa0\x80", b"\xee\x80\x7f", b"\xef\xbf\xc0", b"\xf0\x8f\xbf\xbf",
    b"\xf0\x90\x80", b"\xf1\x80\x80\xc0", b"\xf3\xbf\x7f\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff", b"\xfe"])
def test_what_is_not_utf8_is_no_text(lua: Library, channel: str, bytes_: bytes) -> None:
    for data in (bytes_, "\u20ac".encode() + bytes_ + b"z"):
        with pytest.raises(RedisError, match="UTF-8"):
            lua.publish(channel, data)
        assert lua.publish(channel, data, type="binary")
        assert lua.publish(channel, data, mark="node.1"), "a node has checked what it marks"


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "./a", "a/.", "a/./b", "..", "a/../b", "a" * 256, "a b", "a\n", "caf\u00e9",
                                  "a?b", "a#b", "a%b", "a&b", "a[b", "a\\b", "a\"b", "a<b", "a|b", "a\0b", "{a", "{a}b}", "*", "**", "a/*", "a/**", "*/a", "a/**/b"])
def test_bad_names_are_refused_by_every_function(lua: Library, redis: RedisServer, name: str) -> None:
    before = redis.client.dbsize()
    for function, words in (("publish", ["x"]), ("open", ["", 0, "", limits(), 1, 1]), ("read", [1, 1, 1, 1]), ("inspect", []),
                            ("purge", []), ("find", [0, "mark"])):
        with pytest.raises(RedisError, match="a channel name is"):
            lua.call(function, name, *words)
    assert redis.client.dbsize() <= before


@pytest.mark.parametrize("name", ["a-Z_0.9~:@!$'()*+,;=", ".a/..b/...", "a*/**b/***", "x" * 255])
def test_names_of_every_character(lua: Library, redis: RedisServer, name: str) -> None:
    redis.client.delete(meta_key(name), stream_key(name))
    assert lua.publish(name).id.endswith("-1")
    assert redis.client.exists(meta_key(name), stream_key(name)) == 2


def test_a_key_names_the_channel_in_three_ways(lua: Library, channel: str) -> None:
    first, rest = channel.split("/")
    ways = [channel, f"{{{first}}}/{rest}", [meta_key(channel), stream_key(channel)]]
    assert [lua.publish(way).id.split("-")[1] for way in ways] == ["1", "2", "3"]
    assert all(lua.open(way if isinstance(way, str) else way[0]).offset == 3 for way in ways)


def test_a_key_without_a_channel_is_refused(lua: Library) -> None:
    with pytest.raises(RedisError, match="the channel is missing"):
        lua.call("publish", [])


# What is kept by count.

@pytest.mark.parametrize(("keep", "count", "oldest"), [(3, 2, 1), (3, 3, 1), (3, 4, 2), (3, 9, 7), (1, 1, 1), (1, 5, 5), (0, 4, 5)])
def test_exactly_as_many_are_kept_as_the_limit_says(lua: Library, channel: str, keep: int, count: int, oldest: int) -> None:
    lua.fill(channel, count, limits=limits(keep))
    offsets = list(range(oldest, count + 1))
    opened = lua.open(channel, with_limits=limits(keep))
    assert (opened.oldest, opened.offset, opened.offsets) == (oldest, count, offsets)
    followed = lua.open(channel, known(opened.epoch, 0), with_limits=limits(keep))
    assert (followed.oldest, followed.offsets) == (oldest, offsets)
    read = lua.read(channel, 1, count)
    assert read and (read.oldest, read.offsets) == (oldest, offsets)
    looked = lua.inspect(channel)
    assert looked and (looked.oldest, looked.offset) == (oldest, count)
    assert lua.purge(channel) == count + 1 - oldest


def test_what_nobody_keeps_is_not_stored(lua: Library, redis: RedisServer, channel: str) -> None:
    lua.now_ms = NOON
    assert [answer.id[-2:] for answer in lua.fill(channel, 3, limits=limits(0))] == ["-1", "-2", "-3"]
    assert not redis.client.exists(stream_key(channel))
    assert redis.client.hget(meta_key(channel), "until") == b"0"
    assert lua.open(channel, with_limits=limits(0)).offset == 3


def test_the_stream_is_cut_in_redis_too(lua: Library, redis: RedisServer, channel: str) -> None:
    lua.fill(channel, 400, limits=limits(10))
    assert 10 <= redis.client.xlen(stream_key(channel)) <= 10 + 100


def test_the_last_limits_said_hold(lua: Library, redis: RedisServer, channel: str) -> None:
    lua.fill(channel, 5, limits=limits(3))
    lua.publish(channel)
    assert redis.client.hget(meta_key(channel), "limits") == limits(3).encode()
    assert lua.read(channel, 1, 9).oldest == 4  # type: ignore[union-attr]
    assert lua.open(channel, with_limits=limits(2)).oldest == 5
    assert redis.client.hget(meta_key(channel), "limits") == limits(2).encode()
    assert lua.inspect(channel).oldest == 5  # type: ignore[union-attr]


def test_without_limits_a_hundred_are_kept_for_five_minutes(lua: Library, redis: RedisServer, channel: str) -> None:
    lua.fill(channel, 101, key="")
    assert lua.inspect(channel).oldest == 2  # type: ignore[union-attr]
    assert lua.read(channel, 1, 1).keep_ms == 300_000  # type: ignore[union-attr]
    assert 300_000 < redis.client.pttl(stream_key(channel)) <= 310_000
    assert 300_000 + HOUR < redis.client.pttl(meta_key(channel)) <= 310_000 + HOUR


def test_keys_outlive_each_publish_and_are_told_so_now_and_then(lua: Library, redis: RedisServer, channel: str) -> None:
    lua.now_ms = NOON
    lua.publish(channel)
    redis.client.pexpire(stream_key(channel), 20_000)
    redis.client.pexpire(meta_key(channel), 20_000)
    for later in (1, 10_000):  # the lives that they were given last
        lua.now_ms = NOON + later
        lua.publish(channel)
        assert redis.client.hget(meta_key(channel), "until") == b"%d" % (NOON + 310_000)
        assert max(redis.client.pttl(key) for key in (stream_key(channel), meta_key(channel))) <= 20_000
    for now_ms in (NOON + 10_001, NOON - HOUR):  # too short, and far too long because the clock was set back
        lua.now_ms = now_ms
        redis.client.pexpire(stream_key(channel), 20_000)
        lua.publish(channel)
        assert redis.client.hget(meta_key(channel), "until") == b"%d" % (now_ms + 310_000)
        assert 300_000 < redis.client.pttl(stream_key(channel)) <= 310_000
        assert 300_000 + HOUR < redis.client.pttl(meta_key(channel)) <= 310_000 + HOUR
    lua.publish(channel, limits=limits(100, 299_000))
    assert redis.client.pttl(stream_key(channel)) <= 309_000, "other limits hold at once"


# What is kept by age.

def test_a_message_is_kept_until_its_last_millisecond(lua: Library, channel: str) -> None:
    kept = limits(100, 1000)
    for number in range(20):
        lua.now_ms = NOON + 100 * number
        lua.publish(channel, limits=limits(100, 1_000_000))
    lua.open(channel, with_limits=kept)
    for oldest in range(1, 21):
        age_ends = NOON + 100 * (oldest - 1) + 1000
        for lua.now_ms, expected in ((age_ends - 1, oldest), (age_ends, oldest + 1)):
            read = lua.read(channel, 1, 100)
            assert read and (read.oldest, read.offsets) == (expected, list(range(expected, 21)))
            assert lua.inspect(channel).oldest == expected  # type: ignore[union-attr]
            assert lua.open(channel, with_limits=kept).offsets == list(range(expected, 21))


def test_expired_entries_go_with_each_thirty_second_message(lua: Library, redis: RedisServer, channel: str) -> None:
    kept = limits(1000, HOUR)
    lua.now_ms = NOON
    lua.fill(channel, 20, limits=kept)
    lua.now_ms = NOON + 1000
    lua.fill(channel, 10, limits=kept)
    lua.now_ms = NOON + HOUR
    lua.publish(channel, limits=kept)
    assert [offset for offset, _ in redis.entries(channel)] == list(range(1, 32))
    lua.publish(channel, limits=kept)
    assert [offset for offset, _ in redis.entries(channel)] == list(range(21, 33))
    lua.now_ms = NOON + 3 * HOUR
    lua.fill(channel, 32, limits=kept)
    assert [offset for offset, _ in redis.entries(channel)] == list(range(33, 65))


def test_keys_expire_and_being_used_puts_that_off(lua: Library, redis: RedisServer, channel: str) -> None:
    times = limits(100, 48_000, 70_000)  # and 3 s more
    for number in range(2):
        lua.now_ms = NOON + number * 4000
        lua.publish(channel, limits=times)
        assert 48_000 < redis.client.pttl(stream_key(channel)) <= 51_000
        assert 118_000 < redis.client.pttl(meta_key(channel)) <= 121_000
        redis.client.pexpire(stream_key(channel), 5000)
        redis.client.pexpire(meta_key(channel), 5000)
    lua.open(channel, with_limits=times)
    assert 118_000 < redis.client.pttl(meta_key(channel)) <= 121_000
    assert redis.client.pttl(stream_key(channel)) <= 5000, "only a message keeps the stream"
    redis.client.pexpire(meta_key(channel), 5000)
    lua.purge(channel)
    assert 115_000 < redis.client.pttl(meta_key(channel)) <= 121_000
    lua.open(channel + "new", with_limits=times)
    assert 118_000 < redis.client.pttl(meta_key(channel + "new")) <= 121_000


def test_a_hash_without_expiry_gets_one(lua: Library, redis: RedisServer, channel: str) -> None:
    lua.now_ms = NOON
    lua.publish(channel)
    redis.client.persist(meta_key(channel))
    lua.now_ms = NOON + 20_000
    lua.publish(channel)
    assert redis.client.pttl(meta_key(channel)) > 0


def test_the_counter_outlives_the_messages_and_ends_with_the_channel(lua: Library, redis: RedisServer, channel: str) -> None:
    short = limits(100, 30, HOUR)
    first = lua.publish(channel, limits=short).id
    wait_until(lambda: not redis.client.exists(stream_key(channel)))
    opened = lua.open(channel, with_limits=short)
    assert (opened.oldest, opened.offset, opened.entries, opened.epoch) == (2, 1, [], first[:12])
    assert lua.publish(channel, limits=short).id == known(first[:12], 2)
    redis.client.pexpire(meta_key(channel), 1)
    wait_until(lambda: not redis.client.exists(meta_key(channel)))
    again = lua.publish(channel, limits=short).id
    assert again.endswith("-1") and again[:12] != first[:12] and again[:5] == first[:5]


# Idempotency keys.

def test_a_key_is_answered_as_the_first_time(lua: Library, channel: str) -> None:
    lua.now_ms = NOON
    first = lua.publish(channel, "one", key="k", mark="node.1")
    lua.publish(channel, "between")
    lua.now_ms = NOON + 5
    assert lua.publish(channel, "two", key="k")[:3] == (first.id, NOON, 1)
    assert lua.publish(channel, "two", key="k", mark="node.2")[:3] == (first.id, NOON, 1)
    assert lua.publish(channel, "one", key="k", mark="node.1")[:3] == (first.id, NOON, 0), "the same publish, whose answer was lost"
    assert lua.publish(channel, "other", key="l").id == known(first.id[:12], 3)
    assert lua.publish(channel + "x", "other", key="k").was_known == 0
    assert lua.open(channel).offsets == [1, 2, 3]


def test_two_without_marks_are_not_the_same_publish(lua: Library, channel: str) -> None:
    lua.publish(channel, key="k")
    assert lua.publish(channel, key="k").was_known == 1


def test_a_key_is_forgotten_after_its_time(lua: Library, redis: RedisServer, channel: str) -> None:
    lua.publish(channel, key="long", limits=limits(key_ms=50_000))
    assert 45_000 < redis.client.pttl(key_of(channel, "long")) <= 50_000
    lua.publish(channel, key="short", limits=limits(key_ms=20))
    wait_until(lambda: not redis.client.exists(key_of(channel, "short")))
    assert lua.publish(channel, key="short").was_known == 0
    for offset in (4, 5):
        assert lua.publish(channel, key="never", limits=limits(key_ms=0)).id.endswith(f"-{offset}")
    assert not redis.client.exists(key_of(channel, "never"))


def test_a_key_is_forgotten_with_a_purge(lua: Library, channel: str) -> None:
    first = lua.publish(channel, "one", key="k")
    assert lua.purge(channel) == 1
    lua.publish(channel, "another with the offset of the first")
    again = lua.publish(channel, "one", key="k")
    assert again.was_known == 0 and again.id.endswith("-2") and again.id[:12] != first.id[:12]
    assert lua.publish(channel, "one", key="k")[:3] == (again.id, again.time, 1)


def test_a_key_is_known_after_a_failover_under_the_new_epoch(lua: Library, channel: str) -> None:
    first = lua.publish(channel, "one", key="k")
    lua.run = "b2"
    renewed = lua.open(channel).epoch
    assert renewed != first.id[:12]
    assert lua.publish(channel, "one", key="k")[:3] == (known(renewed, 1), first.time, 1)


def test_a_key_of_a_lost_log_is_not_believed(lua: Library, redis: RedisServer, channel: str) -> None:
    lua.publish(channel, "one", key="k")
    redis.client.delete(meta_key(channel), stream_key(channel))
    lua.publish(channel, "another with the offset of the first")
    assert lua.publish(channel, "one", key="k").was_known == 0


# Time.

def test_a_clock_set_back_loses_nothing(lua: Library, channel: str) -> None:
    lua.now_ms = NOON
    lua.fill(channel, 3)
    for lua.now_ms in (NOON - HOUR, NOON - 24 * HOUR, NOON - 24 * HOUR + 5):
        lua.fill(channel, 3)
    opened = lua.open(channel)
    assert (opened.oldest, opened.offsets) == (1, list(range(1, 13)))
    assert opened.entries[0].fields["time"] == b"%d" % NOON and opened.published == NOON - 24 * HOUR + 5


def test_a_clock_that_leaps_ahead_and_back_keeps_what_is_new(lua: Library, channel: str) -> None:
    lua.now_ms = NOON
    lua.fill(channel, 2)
    lua.now_ms = NOON + 24 * HOUR
    lua.fill(channel, 2)
    assert lua.open(channel).offsets == [3, 4]
    lua.now_ms = NOON + 1
    assert lua.publish(channel).id.endswith("-5")
    assert lua.open(channel).offsets[-3:] == [3, 4, 5]


# Keys that are not ours.

@pytest.mark.parametrize(("key", "kind"), [(meta_key, "hash"), (stream_key, "stream")])
def test_a_key_of_another_type_is_named_and_left_alone(lua: Library, redis: RedisServer, channel: str, key: type, kind: str) -> None:
    lua.publish(channel)
    redis.client.delete(key(channel))
    redis.client.set(key(channel), "mine")
    for function, words in (("publish", ["x"]), ("open", ["", 0, "", limits(), 1, 1]), ("read", [1, 9, 9, 999]), ("inspect", []),
                            ("purge", []), ("find", [0, "mark"])):
        with pytest.raises(RedisError, match=re.escape(f"WRONGTYPE key {key(channel)} is not a {kind}")):
            lua.call(function, channel, *words)
    assert redis.client.get(key(channel)) == b"mine"


def test_an_append_that_fails_is_no_publish(lua: Library, redis: RedisServer, channel: str) -> None:
    """Whoever may not append is told, and neither the counter nor any node hears of a message."""
    before = lua.publish(channel).id
    redis.client.execute_command("ACL", "SETUSER", "reader", "on", "nopass", "~*", "&*", "+@all", "-xadd")
    connection = redis.client.connection_pool.make_connection()
    connection.connect()
    connection.send_command("AUTH", "reader", "x")
    connection.read_response()
    words = ["EVALSHA", lua.script, 1, channel, "publish"] if lua.is_script else ["FCALL", "sluice_publish", 1, channel]
    connection.send_command(*words, "x", "", "key", "k")
    with pytest.raises(RedisError):
        connection.read_response()
    connection.disconnect()
    assert redis.client.hget(meta_key(channel), "offset") == b"1" and not redis.client.exists(key_of(channel, "k"))
    assert lua.publish(channel, key="k")[:3] == (known(before[:12], 2), lua.open(channel).published, 0)
