# SPDX-License-Identifier: MIT
"""sluice.lua by itself: what is read, looked at, purged and found, and which logs are begun anew or renewed."""

import pytest
from support.lua import Library, known, limits
from support.redis import RedisError, RedisServer, meta_key, stream_key

NOON = 1_700_000_000_000  # a time that a test sets


# open.

def test_open_begins_a_log(lua: Library, redis: RedisServer, channel: str) -> None:
    lua.now_ms = NOON
    opened = lua.open(channel, "", "", limits(5, 7000))
    assert opened[1:] == (0, 1, NOON, "epoch", [], 0, 7000, [])
    assert redis.client.hmget(meta_key(channel), "epoch", "offset", "run") == [opened.epoch.encode(), b"0", b"a1"]
    assert lua.publish(channel).id == known(opened.epoch, 1)
    again = lua.open(channel, "", "", limits(5, 7000))
    assert again[:8] == (opened.epoch, 1, 1, NOON, "epoch", [], NOON, 7000) and again.offsets == [1]


def test_the_part_of_an_epoch_that_is_the_names_may_be_given(lua: Library, channel: str) -> None:
    """It takes long to work out in Lua; the rest is another with each log."""
    part = lua.open(channel).epoch[:5]
    assert lua.open(channel + "x", "", "", limits(), 1, 1, lua.open(channel + "x").epoch[:5]).epoch[:5] != part
    lua.purge(channel)
    assert lua.open(channel, "", "", limits(), 1, 1, part).epoch[:5] == part
    assert lua.open(channel + "y", "", "", limits(), 1, 1, "abcde").epoch[:5] == "abcde"


def test_open_gives_what_follows_the_known_or_the_newest(lua: Library, channel: str) -> None:
    epoch = lua.fill(channel, 10)[0].id[:12]
    assert lua.open(channel, known(epoch, 4)).offsets == [5, 6, 7, 8, 9, 10]
    assert lua.open(channel, known(epoch, 4), most=3).offsets == [5, 6, 7]
    assert lua.open(channel, known(epoch, 10)).offsets == []
    for other in ("", known("0123456789ab", 4)):
        assert lua.open(channel, other).offsets == list(range(1, 11))
        assert lua.open(channel, other, most=3).offsets == [8, 9, 10]
        assert lua.open(channel, other, most=5).offsets == [6, 7, 8, 9, 10]
        assert lua.open(channel, other, most=0).offsets == []
    assert [entry.data for entry in lua.open(channel, most=2).entries] == ["9", "10"]


def test_pages_end_at_about_so_many_bytes(lua: Library, channel: str) -> None:
    for _ in range(40):
        lua.publish(channel, "x" * 5000)
    epoch = lua.open(channel).epoch
    for count in (1, 8, 20):
        size = 5064 * count
        for page in (lua.open(channel, known(epoch, 0), size=size), lua.read(channel, 1, 40, size=size)):
            assert page and page.offsets[0] == 1 and count <= len(page.offsets) <= count + 4, page.offsets
        tail = lua.open(channel, size=size)
        assert tail.offsets[-1] == 40 and count <= len(tail.offsets) <= count + 4
    assert lua.open(channel, known(epoch, 0), size=0).offsets == []


# Which master writes.

def test_the_same_master_or_one_that_is_not_said_keeps_the_epoch(lua: Library, redis: RedisServer, channel: str) -> None:
    epoch = lua.publish(channel).id[:12]
    for lua.run in ("a1", None, "a1"):
        assert lua.open(channel, known(epoch, 1)).epoch == epoch and lua.publish(channel).id[:12] == epoch, lua.run
    assert redis.client.hget(meta_key(channel), "run") == b"a1"


@pytest.mark.parametrize("is_publish", [True, False])
def test_another_master_renews_the_epoch_and_keeps_messages(lua: Library, redis: RedisServer, channel: str, is_publish: bool) -> None:
    """Whatever is called first: a publish too, before any node is back."""
    epochs, before = [lua.fill(channel, 3)[0].id[:12]], []
    for top, lua.run in ((3, "b2"), (4, "c3")):
        epoch = lua.publish(channel).id[:12] if is_publish else lua.open(channel, known(epochs[0], top)).epoch
        assert epoch not in epochs and epoch[:5] == epochs[0][:5]
        if not is_publish:
            assert lua.publish(channel).id == known(epoch, top + 1)
        before.insert(0, known(epochs[0], top))
        opened = lua.open(channel)
        assert (opened.epoch, opened.why, opened.offset, opened.before) == (epoch, "epoch", top + 1, before)
        assert opened.offsets == list(range(1, top + 2))
        assert redis.client.hget(meta_key(channel), "run") == lua.run.encode()
        epochs.insert(0, epoch)


def test_forebears_are_those_of_the_hash_not_those_of_the_call_before(lua: Library, redis: RedisServer, channel: str) -> None:
    first = lua.publish(channel).id[:12]
    lua.run = "b2"
    second = lua.publish(channel).id[:12]
    assert lua.open(channel).before == [known(first, 1)]
    elder = known(first[:5] + "0123456", 1)
    redis.client.hset(meta_key(channel), "before", elder)  # as when the hash comes from another master
    lua.run = "c3"
    lua.publish(channel)
    assert lua.open(channel).before == [known(second, 2), elder]


def test_the_eight_forebears_before_are_remembered(lua: Library, channel: str) -> None:
    ids = [lua.publish(channel).id]
    for number in range(1, 11):
        lua.run = f"b{number}"
        opened = lua.open(channel)
        assert opened.before == [known(name[:12], number) for number, name in zip(range(number, 0, -1), ids)][:8]
        ids.insert(0, lua.publish(channel).id)
    page = lua.read(channel, 1, 9)
    assert page and len(page.before) == 8 and page.epoch == ids[0][:12] and len({name[:12] for name in ids}) == 11
    lua.purge(channel)
    assert lua.open(channel).before == []


def test_a_forebear_shares_no_more_than_those_after_it(lua: Library, redis: RedisServer, channel: str) -> None:
    first = lua.fill(channel, 3)[0].id[:12]
    copies = {key: redis.client.dump(key) for key in (meta_key(channel), stream_key(channel))}
    lua.fill(channel, 3)
    lua.run = "b2"
    second = lua.open(channel).epoch
    assert lua.open(channel).before == [known(first, 6)]
    # What the second master had is lost but for its hash's word of the first.
    redis.client.hset(meta_key(channel), "offset", 3)
    redis.client.restore(stream_key(channel), 300_000, copies[stream_key(channel)], replace=True)
    lua.run = "c3"
    assert lua.open(channel).before == [known(second, 3), known(first, 3)]


def test_what_follows_a_forebear_is_given_from_what_both_share(lua: Library, channel: str) -> None:
    old = lua.fill(channel, 5)[0].id[:12]
    lua.run = "b2"
    new = lua.publish(channel).id[:12]
    for begin, offsets in ((known(old, 2), [3, 4, 5, 6]), (known(old, 5), [6]), (known(old, 9), [6]), (known(new, 6), [])):
        assert lua.open(channel, begin).offsets == offsets, begin
    assert lua.open(channel, known(old, 2), most=2).offsets == [3, 4]


def test_a_node_tells_of_an_epoch_that_was_lost_with_the_word_of_it(lua: Library, redis: RedisServer, channel: str) -> None:
    """A change of master that was not on disk yet when the next one came."""
    keys = (meta_key(channel), stream_key(channel))
    first = lua.fill(channel, 3)[0].id[:12]
    copies = {key: redis.client.dump(key) for key in keys}
    lua.run = "b2"
    lost = lua.fill(channel, 2)[0].id[:12]
    lua.run = "c3"
    lost_too = lua.publish(channel).id[:12]
    for key in keys:
        redis.client.restore(key, 300_000, copies[key], replace=True)
    lua.run = "d4"
    opened = lua.open(channel, known(lost_too, 6), f"{lost}-5 {first}-3")
    assert (opened.offset, opened.offsets) == (3, [])
    assert opened.before == [known(lost_too, 3), known(lost, 3), known(first, 3)]
    assert lua.open(channel, known(lost_too, 6), f"{lost}-5 {first}-3") .before == opened.before, "once"
    assert lua.publish(channel).id == known(opened.epoch, 4)
    assert lua.open(channel, known(lost, 5)).offsets == [4]


@pytest.mark.parametrize("forebears", ["", "garbage", "0123456789ab-3", "-", "x" * 5000, "a1a1a1a1 b2b2b2b2", "{}"])
def test_an_epoch_that_shares_nothing_known_is_learnt_from_nobody(lua: Library, redis: RedisServer, channel: str, forebears: str) -> None:
    epoch = lua.fill(channel, 3)[0].id[:12]
    opened = lua.open(channel, known("0123456789ac", 9), forebears.format(epoch))
    assert (opened.epoch, opened.before, opened.offsets) == (epoch, [], [1, 2, 3])


def test_a_hash_of_version_2_goes_on(lua: Library, redis: RedisServer, channel: str) -> None:
    """Its forebears say no offset; a log that an application began says no master."""
    epoch = lua.fill(channel, 3)[0].id[:12]
    redis.client.hset(meta_key(channel), mapping={"run": "", "why": "failover", "before": "0123456789ab 0123456789ac"})
    page = lua.read(channel, 1, 1)
    assert page and (page.why, page.before) == ("epoch", ["0123456789ab", "0123456789ac"])
    opened = lua.open(channel, known(epoch, 3))
    assert opened.before == [known(epoch, 3), "0123456789ab", "0123456789ac"] and opened.offset == 3
    lua.run = "b2"
    assert lua.open(channel).before == [known(opened.epoch, 3), known(epoch, 3), "0123456789ab", "0123456789ac"]
    assert lua.publish(channel).id.endswith("-4")


@pytest.mark.parametrize("before", ["x", "0123456789ab-", "0123456789ab--5", " 0123456789ab-5 ", "0123456789ab-5 " * 99, "0123456789iu-5",
                                    "0123456789ab-99999999999999999999", "\0\xff", "a" * 100_000])
def test_forebears_that_others_wrote_are_given_as_we_write_them(lua: Library, redis: RedisServer, channel: str, before: str) -> None:
    lua.publish(channel)
    redis.client.hset(meta_key(channel), "before", before)
    assert set(lua.open(channel).before) <= {"0123456789ab", "0123456789ab-5"} and len(lua.open(channel).before) <= 8
    lua.run = "b2"
    assert lua.publish(channel).id.endswith("-2")


def test_a_log_that_is_not_sound_is_not_renewed_but_begun_anew(lua: Library, redis: RedisServer, channel: str) -> None:
    lua.fill(channel, 3)
    redis.client.hset(meta_key(channel), "offset", 4)
    lua.run = "b2"
    assert lua.publish(channel).id.endswith("-1") and lua.open(channel).before == []


def test_a_hash_that_was_copied_from_another_channel_is_not_believed(lua: Library, redis: RedisServer, channel: str) -> None:
    """No cursor of this channel would be found by the other's part of the epoch."""
    mine, other = lua.open(channel).epoch, lua.publish(channel + "x").id[:12]
    for key in (meta_key, stream_key):
        redis.client.copy(key(channel + "x"), key(channel), replace=True)
    assert lua.open(channel, "", "", limits(), 1, 1, other[:5]).epoch == other
    assert lua.publish(channel, part=mine[:5]).id[:5] == mine[:5]
    assert lua.open(channel, "", "", limits(), 1, 1, other[:5]).epoch[:5] == other[:5]


def test_a_tail_that_is_gone_renews_the_epoch_of_the_same_master(lua: Library, channel: str) -> None:
    """It was restored: who has more than it has is told."""
    epoch = lua.fill(channel, 3)[0].id[:12]
    assert lua.open(channel, known(epoch, 3)).epoch == epoch
    renewed = lua.open(channel, known(epoch, 4))
    assert (renewed.epoch != epoch, renewed.before, renewed.offset) == (True, [known(epoch, 3)], 3)


def test_more_known_of_another_log_is_nothing_to_this_one(lua: Library, channel: str) -> None:
    epoch = lua.open(channel).epoch
    assert lua.open(channel, known("0123456789ab", 99)).epoch == epoch


def test_a_log_whose_stream_was_evicted_is_begun_anew(lua: Library, redis: RedisServer, channel: str) -> None:
    lua.now_ms = NOON
    old = lua.fill(channel, 3)[0].id[:12]
    redis.client.delete(stream_key(channel))
    lua.now_ms = NOON + 299_999
    opened = lua.open(channel)
    assert opened.epoch != old and (opened.offset, opened.oldest, opened.why) == (0, 1, "epoch")
    lua.fill(channel, 3)
    redis.client.delete(stream_key(channel))
    assert lua.publish(channel).id.endswith("-1")


def test_a_stream_that_ended_in_time_is_no_loss(lua: Library, redis: RedisServer, channel: str) -> None:
    lua.now_ms = NOON
    old = lua.fill(channel, 3)[0].id[:12]
    redis.client.delete(stream_key(channel))
    lua.now_ms = NOON + 310_000  # keys live some seconds longer than what is in them
    assert lua.open(channel)[:3] == (old, 3, 4)
    assert lua.publish(channel).id == known(old, 4)


@pytest.mark.parametrize("offset", [2, 4])
def test_a_hash_and_a_stream_that_do_not_fit_are_not_mixed(lua: Library, redis: RedisServer, channel: str, offset: int) -> None:
    old = lua.fill(channel, 3)[0].id[:12]
    redis.client.hset(meta_key(channel), "offset", offset)
    opened = lua.open(channel)
    assert opened.epoch != old and (opened.offset, opened.entries) == (0, [])


def test_a_publish_behind_the_stream_begins_anew(lua: Library, redis: RedisServer, channel: str) -> None:
    old = lua.fill(channel, 3)[0].id[:12]
    redis.client.hset(meta_key(channel), "offset", 1)
    answer = lua.publish(channel, "new")
    assert answer.id.endswith("-1") and answer.id[:12] != old
    assert redis.entries(channel) == [(1, b"new")]


# read.

def test_read_gives_from_to(lua: Library, channel: str) -> None:
    assert lua.read(channel, 1, 9) is None
    lua.now_ms = NOON
    epoch = lua.fill(channel, 10, limits=limits(8, 5000))[0].id[:12]
    page = lua.read(channel, 4, 6)
    assert page and page[:8] == (epoch, 10, 3, NOON, "epoch", [], NOON, 5000) and [entry.data for entry in page.entries] == ["4", "5", "6"]
    for begin, end, most, offsets in ((1, 4, 99, [3, 4]), (9, 99, 99, [9, 10]), (4, 9, 2, [4, 5]), (4, 9, 5, [4, 5, 6, 7, 8]), (4, 4, 99, [4]),
                                      (5, 4, 99, []), (11, 20, 99, []), (1, 2, 99, []), (1, 9, 0, [])):
        page = lua.read(channel, begin, end, most)
        assert page and page.offsets == offsets, (begin, end, most)


def test_reading_and_looking_write_nothing(lua: Library, redis: RedisServer, channel: str) -> None:
    for reading in (lambda: lua.read(channel, 1, 9), lambda: lua.inspect(channel), lambda: lua.find(channel, 0, "mark")):
        reading()
        assert not redis.client.exists(meta_key(channel), stream_key(channel))
    lua.publish(channel)
    redis.client.pexpire(meta_key(channel), 5000)
    lua.read(channel, 1, 9), lua.inspect(channel), lua.find(channel, 0, "mark")
    assert redis.client.pttl(meta_key(channel)) <= 5000


# inspect and purge.

def test_inspect_tells_of_the_log(lua: Library, channel: str) -> None:
    assert lua.inspect(channel) is None
    lua.now_ms = NOON
    epoch = lua.fill(channel, 5, limits=limits(3))[0].id[:12]
    looked = lua.inspect(channel)
    assert looked and looked[:3] == (epoch, 5, 3) and looked.published == NOON
    lua.publish(channel, "x" * 10_000)
    grown = lua.inspect(channel)
    assert grown and grown.size >= looked.size + 5000 > 5000


def test_purge_drops_messages_and_begins_anew(lua: Library, redis: RedisServer, channel: str) -> None:
    assert lua.purge(channel) is None and not redis.client.exists(meta_key(channel))
    old = lua.fill(channel, 5)[0].id[:12]
    assert lua.purge(channel) == 5
    assert not redis.client.exists(stream_key(channel))
    opened = lua.open(channel, known(old, 5))
    assert opened.epoch != old and (opened.offset, opened.oldest, opened.why) == (0, 1, "purged")
    assert lua.purge(channel) == 0
    assert lua.publish(channel).id.endswith("-1")


# find.

def test_find_tells_which_marks_are_in_the_log(lua: Library, channel: str) -> None:
    lua.now_ms = NOON
    epoch = lua.publish(channel, mark="a").id[:12]
    for number in range(200):
        lua.publish(channel, mark=f"m{number}", limits=limits(1000))
    lua.now_ms = NOON + 5
    lua.publish(channel, mark="b")
    assert lua.find(channel, NOON, "b", "a", "m77") == [1, f"{epoch}-202 {NOON + 5}", f"{epoch}-1 {NOON}", f"{epoch}-79 {NOON}"]
    assert lua.find(channel, NOON + 6, "b") == [1, f"{epoch}-202 {NOON + 5}"]
    assert lua.find(channel, 0) == [1]


def test_find_says_whether_it_saw_all_of_the_time(lua: Library, redis: RedisServer, channel: str) -> None:
    lua.now_ms = NOON
    assert lua.find(channel, 0, "a", "b") == [1, "", ""], "nothing was ever published"
    for number in range(3):
        lua.now_ms = NOON + number
        lua.publish(channel, mark=f"m{number}")
    assert lua.find(channel, 0, "gone") == [1, ""], "the log was seen from its beginning"
    assert redis.client.xdel(stream_key(channel), "1-0") == 1
    assert lua.find(channel, NOON + 2, "gone") == [1, ""], "an entry of before ends the search"
    assert lua.find(channel, NOON + 1, "gone") == [0, ""], "there may have been one before the oldest that is kept"
    assert lua.find(channel, NOON + 1, "gone", "m1") == [0, "", f"{lua.open(channel).epoch}-2 {NOON + 1}"]
    redis.client.delete(stream_key(channel))
    assert lua.find(channel, NOON, "m2") == [0, ""]


def test_version(lua: Library) -> None:
    assert isinstance(lua.call("version", []), int)


def test_functions_that_only_read_may_be_called_read_only(lua: Library, channel: str) -> None:
    if lua.is_script:
        return
    lua.publish(channel)
    assert lua.client.execute_command("FCALL_RO", "sluice_read", 1, channel, 1, 9, 9, 999)[1] == 1
    assert lua.client.execute_command("FCALL_RO", "sluice_inspect", 1, channel)[1] == 1
    assert lua.client.execute_command("FCALL_RO", "sluice_find", 1, channel, 0, "x") == [1, b""]
    for name in ("publish", "open", "purge"):
        with pytest.raises(RedisError):
            lua.client.execute_command("FCALL_RO", f"sluice_{name}", 1, channel, "x")
