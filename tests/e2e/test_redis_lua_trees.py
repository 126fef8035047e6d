# SPDX-License-Identifier: MIT
"""sluice.lua by itself: one publish into the logs of several trees, messages that are not kept, and logs that are cut by bytes."""

import pytest
from support.lua import Library, Listener, feed_of, known, limits, trees
from support.redis import RedisError, RedisServer, meta_key, stream_key


def fields(lua: Library, channel: str, offset: int) -> dict[str, bytes]:
    reading = lua.read(channel, offset, offset)
    assert reading
    return reading.entries[0].fields


# Trees.

def test_one_publish_is_appended_to_every_log(lua: Library, channel: str) -> None:
    leaf, other = f"{channel}/b/c", f"{channel}/d"
    names = [channel, f"{channel}/b"]
    first = lua.publish(leaf, "one", "e", trees=trees(*names), conflate="k", mark="m.1", producer="p", ttl=9)
    lua.publish(other, "two", trees=trees(channel))
    third = lua.publish(leaf, "three", trees=trees(*names))
    assert [lua.inspect(name).offset for name in (leaf, other, *names)] == [2, 1, 3, 2]
    assert [lua.read(name, 1, 9).entries[0].data for name in (leaf, *names)] == ["one"] * 3
    assert [entry.fields["channel"].decode() for entry in lua.read(channel, 1, 9).entries] == [leaf, other, leaf]
    assert [entry.data for entry in lua.read(channel, 1, 9).entries] == ["one", "two", "three"]
    assert "channel" not in fields(lua, leaf, 1) and "mark" not in fields(lua, channel, 1)
    common = {"event": b"e", "key": b"k", "producer": b"p", "ttl": b"9", "data": b"one", "type": b"text"}
    for name in (leaf, *names):
        assert common.items() <= fields(lua, name, 1).items()
    epochs = [lua.open(name).epoch for name in names]
    assert len({first.id[:12], *epochs}) == 3
    assert first.trees == tuple(known(epoch, 1) for epoch in epochs)
    assert third.trees == (known(epochs[0], 3), known(epochs[1], 2))


def test_each_tree_has_limits_and_a_life_of_its_own(lua: Library, redis: RedisServer, channel: str) -> None:
    leaf = f"{channel}/b"
    for number in range(10):
        lua.publish(leaf, str(number), limits=limits(3), trees=trees(channel, with_limits=limits(5)))
    assert lua.inspect(leaf).oldest == 8 and lua.inspect(channel).oldest == 6
    lua.purge(leaf)
    assert lua.publish(leaf, "x", trees=trees(channel)).trees[0].endswith("-11")
    lua.purge(channel)
    said = lua.publish(leaf, "y", trees=trees(channel))
    assert said.id.endswith("-2") and said.trees[0].endswith("-1")
    redis.client.delete(stream_key(channel))
    assert lua.publish(leaf, "z", trees=trees(channel)).trees[0].endswith("-1")  # evicted: another log


def test_it_is_in_all_logs_or_in_none(lua: Library, redis: RedisServer, channel: str) -> None:
    leaf, middle = f"{channel}/b/c", f"{channel}/b"
    lua.publish(leaf, "before", trees=trees(channel, middle))
    for name in (channel, middle):
        redis.client.rename(stream_key(name), stream_key(name) + "away")
        redis.client.hset(meta_key(name), "until", 0)
        redis.client.set(stream_key(name), "in the way")
        for _ in range(2):
            with pytest.raises(RedisError, match="WRONGTYPE|not a stream"):
                lua.publish(leaf, "refused", trees=trees(channel, middle))
        redis.client.rename(stream_key(name) + "away", stream_key(name))
    said = lua.publish(leaf, "after", trees=trees(channel, middle))
    assert said.id.endswith("-2") and all(tree.endswith("-2") for tree in said.trees)
    for name in (leaf, middle, channel):
        assert [entry.data for entry in lua.open(name).entries] == ["before", "after"]


def test_what_is_refused_at_first_leaves_no_stream(lua: Library, redis: RedisServer, channel: str) -> None:
    redis.client.set(stream_key(channel), "in the way")
    with pytest.raises(RedisError, match="not a stream"):
        lua.publish(f"{channel}/b", "x", trees=trees(channel))
    assert not redis.client.exists(stream_key(f"{channel}/b"))


def test_whoever_names_no_trees_gets_those_that_nodes_know(lua: Library, redis: RedisServer, channel: str) -> None:
    leaf = f"{channel}/b/c"
    assert lua.publish(leaf, "x").trees == ()
    lua.call("open", channel, "", 0, "", limits(), 1, 1, "", 1)
    assert len(lua.publish(leaf, "y").trees) == 1
    lua.publish(leaf, "z", trees=trees(f"{channel}/b"))
    assert len(lua.publish(leaf, "w").trees) == 2
    assert lua.publish(leaf, "none", trees="").trees == ()
    lua.call("open", channel, "", 0, "", limits(), 1, 1, "", 0)
    assert len(lua.publish(leaf, "v").trees) == 1
    assert [entry.data for entry in lua.open(f"{channel}/b").entries] == ["z", "w", "v"]


@pytest.mark.parametrize("text", ["1 x 1 2 3 4\n", "99 x 1 2 3 4\n", "0 x 1 2 3 4\n", "4 x 1 2 3\n", "3 x 1 2 3 4\n",
                                  "4 x 3 60000 60000 1000\n4 x 3 60000 60000 1000\n"])
def test_trees_that_are_none_are_refused(lua: Library, channel: str, text: str) -> None:
    with pytest.raises(RedisError, match="trees are"):
        lua.publish("abcd/efg", "x", trees=text)


def test_nine_trees_are_too_many(lua: Library, redis: RedisServer, channel: str) -> None:
    names = [channel + "/a" * depth for depth in range(10)]
    assert len(lua.publish(names[8], "x", trees=trees(*names[:8])).trees) == 8
    with pytest.raises(RedisError, match="at most 8"):
        lua.publish(names[9], "x", trees=trees(*names[:9]))
    lua.call("open", names[8], "", 0, "", limits(), 1, 1, "", 1)
    with pytest.raises(RedisError, match="more than 8 trees"):
        lua.publish(names[9], "x")
    assert not redis.client.exists(stream_key(names[9]))


def test_another_master_renews_the_logs_of_the_trees_too(lua: Library, channel: str) -> None:
    leaf = f"{channel}/b"
    before = lua.publish(leaf, "x", trees=trees(channel))
    lua.run = "b2"
    after = lua.publish(leaf, "y", trees=trees(channel))
    assert after.id[:12] != before.id[:12] and after.trees[0][:12] != before.trees[0][:12]
    assert lua.open(channel).before == [before.trees[0]] and after.trees[0].endswith("-2")


def test_a_repeated_key_is_appended_nowhere(lua: Library, channel: str) -> None:
    leaf = f"{channel}/b"
    first = lua.publish(leaf, "x", key="k", trees=trees(channel))
    again = lua.publish(leaf, "x", key="k", trees=trees(channel))
    assert (again.id, again.was_known, again.trees) == (first.id, 1, ())
    assert lua.inspect(channel).offset == 1


# What is not kept.

def test_what_is_not_stored_is_told_and_leaves_no_trace(lua: Library, redis: RedisServer, channel: str) -> None:
    leaf = f"{channel}/b"
    kept = lua.publish(leaf, "kept", trees=trees(channel))
    with Listener(lua, feed_of(leaf), feed_of(channel)) as listener:
        said = lua.publish(leaf, "typing", "t", store="no", conflate="anna", trees=trees(channel))
        assert (said.id, said.trees) == (kept.id, kept.trees)
        (to, first), (above, second) = listener.hear(), listener.hear()
        assert (to, above) == (feed_of(leaf), feed_of(channel))
        header, _, rest = first.partition(b"\n")
        assert header.startswith(f"sluice2 transient {kept.id[:12]} 1 ".encode()) and rest == b"tannatyping"
        header, _, rest = second.partition(b"\n")
        assert header.startswith(f"sluice2 transient {kept.trees[0][:12]} 1 ".encode())
        assert rest == b"tanna" + leaf.encode() + b"typing"
    assert lua.publish(leaf, "next", trees=trees(channel)).id.endswith("-2")
    assert [entry.data for entry in lua.open(channel).entries] == ["kept", "next"]


def test_the_first_message_may_be_one_that_is_not_stored(lua: Library, redis: RedisServer, channel: str) -> None:
    said = lua.publish(channel, "x", store="no", key="k")
    assert said.id.endswith("-0") and not redis.client.exists(stream_key(channel))
    assert lua.open(channel, said.id).offset == 0
    assert lua.publish(channel, "x", store="no", key="k")[:3] == (said.id, said.time, 1)
    assert redis.client.pttl(meta_key(channel)) > 3_600_000
    assert lua.publish(channel, "y").id == known(said.id[:12], 1)


# Bytes.

def test_a_log_is_cut_by_bytes(lua: Library, redis: RedisServer, channel: str) -> None:
    for number in range(1, 101):
        lua.publish(channel, f"{number:036}", limits=limits(1000, size=1000))
    # Each counts 36 and 64.
    assert lua.inspect(channel).oldest == 91
    assert [entry.offset for entry in lua.open(channel, with_limits=limits(1000, size=1000)).entries] == list(range(91, 101))
    assert redis.client.xlen(stream_key(channel)) <= 20
    assert lua.open(channel, with_limits=limits(1000, size=350)).oldest == 98


def test_the_newest_is_kept_however_large_it_is(lua: Library, channel: str) -> None:
    lua.publish(channel, "small", limits=limits(size=500))
    lua.publish(channel, "x" * 5000)
    assert lua.open(channel, with_limits=limits(size=500)).offsets == [2]
    lua.publish(channel, "small again")
    assert lua.open(channel, with_limits=limits(size=500)).offsets == [3]


def test_no_bytes_are_no_log(lua: Library, redis: RedisServer, channel: str) -> None:
    assert lua.publish(channel, "x", limits=limits(size=0)).id.endswith("-1")
    assert not redis.client.exists(stream_key(channel))


def test_what_an_older_sluice_has_written_is_not_cut_by_bytes(lua: Library, redis: RedisServer, channel: str) -> None:
    lua.fill(channel, 3)
    redis.client.hset(meta_key(channel), "limits", "100 300000 3600000 120000")
    redis.client.hdel(meta_key(channel), "bytes")
    assert lua.publish(channel, "x").id.endswith("-4")
    assert lua.inspect(channel).oldest == 1
