# SPDX-License-Identifier: MIT
"""Nonsense in Sluice's own keys, and functions that answer nonsense: an error or a reset for that channel, and nothing for any other."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from redis.exceptions import ResponseError
from support.client import Connection, LineStream, get, path_of, publish, request
from support.follow import join_all, run_all
from support.redis import RedisServer, await_ready, complaints, meta_key, nodes, stream_key
from support.server import Server, wait_until

# Another channel's epoch, of which no cursor would be found by this channel's name.
FOREIGN = "zzzzzaaaaaaa"


@pytest.fixture(scope="module")
def node(redis: RedisServer) -> Iterator[Server]:
    with nodes(1, redis) as (running,):
        yield running


def key_key(channel: str) -> str:
    return f"sluice:{{{channel.split('/')[0]}}}:k:{channel}#key"


@pytest.mark.parametrize("nonsense", [
    {"epoch": "garbage"}, {"epoch": ""}, {"epoch": "k3q9xm2ab7zu"}, {"epoch": "x" * 100_000}, {"epoch": FOREIGN},
    {"offset": ""}, {"offset": "-1"}, {"offset": "1.5"}, {"offset": "nan"}, {"offset": "0x10"}, {"offset": "1e300"},
    {"offset": "99999999999999999999"}, {"offset": "123456789012345"}, {"epoch": "garbage", "offset": "99"},
])
def test_a_log_that_cannot_be_read_is_begun_anew(redis: RedisServer, node: Server, channel: str, nonsense: dict[str, str]) -> None:
    with LineStream(node, path_of(channel)) as lines:
        lines.next_line()
        old = publish(node, channel, "old")
        assert lines.next_line()["id"] == old
        redis.client.hset(meta_key(channel), mapping=nonsense)
        reset = lines.next_line()["reset"]
        assert reset["reason"] == "epoch"
        new = publish(node, channel, "new")
        assert lines.next_line()["id"] == new and new.endswith("-1")
    assert new[:5] == old[:5] and new[:12] != old[:12]
    answer = get(node, path_of(channel, since=old))
    assert answer.body == b"new" and (answer.header("Sluice-Reset") or "").startswith("epoch;")
    assert get(node, f"/api/channels/{channel}").json["newest"] == new


@pytest.mark.parametrize("look", [
    lambda node, channel: publish(node, channel), lambda node, channel: get(node, path_of(channel, since="earliest", wait=0)),
    lambda node, channel: request(node, "DELETE", f"/api/channels/{channel}"),
])
def test_whoever_writes_to_an_unreadable_log_mends_it(redis: RedisServer, node: Server, channel: str,
                                                       look: Callable[[Server, str], object]) -> None:
    redis.client.hset(meta_key(channel), mapping={"epoch": "garbage", "offset": "x"})
    refused = get(node, f"/api/channels/{channel}")
    assert (refused.status, refused.error) == (503, "broker-refused")
    assert meta_key(channel) in str(complaints(node)[-1]) and "publish" in complaints(node)[-1]["action"]
    look(node, channel)
    assert get(node, f"/api/channels/{channel}").status == 200


@pytest.mark.parametrize("nonsense", [
    {"limits": "garbage"}, {"limits": "9999999999999 1 1 1"}, {"limits": "1 2 3"}, {"limits": ""}, {"time": "garbage"},
    {"time": "99999999999999999999"}, {"until": "inf"}, {"why": "x" * 1_000_000}, {"why": "trimmed"}, {"log": "\0" * 1000},
    {"before": "garbage " * 1000}, {"before": " "}, {"before": FOREIGN}, {"more": "of it"},
])
def test_what_else_a_hash_holds_is_not_believed(redis: RedisServer, node: Server, channel: str, nonsense: dict[str, str]) -> None:
    names = [publish(node, channel, "0")]
    redis.client.hset(meta_key(channel), mapping=nonsense)
    names.append(redis.publish(channel, "1"))
    names.append(publish(node, channel, "2"))
    assert [name.split("-")[1] for name in names] == ["1", "2", "3"] and len({name[:12] for name in names}) == 1
    messages = get(node, path_of(channel, since="earliest"), Accept="application/json").json["messages"]
    assert [message["id"] for message in messages] == names


@pytest.mark.parametrize("fields", [
    {"x": "y"}, {"time": "garbage", "data": "x", "type": "text"}, {"time": "99999999999999999999", "data": "x"}, {"data": "x"},
    {"time": "1", "data": "x", "type": "nonsense"}, {"time": "1", "data": "x", "event": "reset"},
    {f"field {i}": "x" for i in range(1000)}, {"data": "x", "event": "\n" * 1000},
])
def test_an_entry_that_is_no_message(redis: RedisServer, node: Server, channel: str, fields: dict[str, str]) -> None:
    """Somebody has added it, and counted it: it is passed over, what stands before and behind it comes."""
    first = publish(node, channel, "first")
    redis.client.xadd(stream_key(channel), fields, id="2-0")
    redis.client.hset(meta_key(channel), "offset", "2")
    last = publish(node, channel, "last")
    assert last == first.replace("-1", "-3")
    for since in ("earliest", first):
        with LineStream(node, path_of(channel, since=since)) as lines:
            lines.next_line()
            seen = [lines.next_line()]
            while seen[-1].get("id") != last:
                seen.append(lines.next_line())
        assert all(line.get("event") != "reset" for line in seen)
        assert [line["data"] for line in seen if line.get("id") in (first, last)] == ["first", "last"][since == first:]


def test_a_stream_that_somebody_else_has_added_to(redis: RedisServer, node: Server, channel: str) -> None:
    for name in ("*", "18446744073709551615-18446744073709551615", "99999999999999999999-1"[:19] + "-1"):
        with LineStream(node, path_of(channel)) as lines:
            lines.next_line()
            publish(node, channel, "old")
            assert lines.next_line()["data"] == "old"
            redis.client.xadd(stream_key(channel), {"x": "y"}, id=name)
            new = publish(node, channel, "new")
            assert new.endswith("-1"), "no offset is given twice"
            assert lines.next_line()["reset"]["reason"] == "epoch"
            assert lines.next_line()["id"] == new


@pytest.mark.parametrize("value", ["garbage", "", "x-1 1 ", "{log}-9 1 ", "{log}-0 1 ", "{log}-1 x ", "{log}-99999999999999999999 1 ",
                                   "{log}-1 99999999999999999999 "])
def test_an_idempotency_key_that_says_nonsense(redis: RedisServer, node: Server, channel: str, value: str) -> None:
    first = publish(node, channel, "first")
    log = (redis.client.hget(meta_key(channel), "log") or b"").decode()
    redis.client.set(key_key(channel), value.replace("{log}", log))
    said = request(node, "POST", path_of(channel), "second", Idempotency_Key="key")
    assert (said.status, said.json["id"]) == (201, first.replace("-1", "-2"))


def test_an_idempotency_key_of_another_type(redis: RedisServer, node: Server, channel: str) -> None:
    redis.client.hset(key_key(channel), "a", "b")
    refused = request(node, "POST", path_of(channel), "x", Idempotency_Key="key")
    assert (refused.status, refused.error) == (503, "broker-refused")
    assert key_key(channel) in str(complaints(node)[-1])
    assert publish(node, channel).endswith("-1")


@pytest.mark.parametrize("limits", ["garbage", "", "1 2 3", "1 2 3 4 5 6", "-1 2 3 4", "1e3 2 3 4", "9999999999999 2 3 4"])
def test_bad_limits_of_fcall_change_nothing(redis: RedisServer, channel: str, limits: str) -> None:
    with pytest.raises(ResponseError, match="limits"):
        redis.publish(channel, "x", "", "limits", limits)
    with pytest.raises(ResponseError, match="limits"):
        redis.client.execute_command("FCALL", "sluice_open", 1, channel, "", "0", "", limits, "10", "1000", "")
    assert redis.client.keys(f"*{channel}*") == []


def test_one_bad_channel_does_not_hide_the_others_from_the_list(redis: RedisServer, node: Server) -> None:
    names = [publish(node, f"listed/{i}").split("-")[0] for i in range(5)]
    redis.client.set(meta_key("listed/7"), "mine")
    redis.client.hset(meta_key("listed/8"), mapping={"epoch": "garbage", "offset": "1"})
    redis.client.hset(meta_key("listed/9"), mapping={"epoch": FOREIGN, "offset": "1"})
    publish(node, "listed/x")
    redis.client.delete(stream_key("listed/x"))
    redis.client.set(stream_key("listed/x"), "mine")
    answer = get(node, "/api/channels?prefix=listed/")
    assert answer.status == 200, answer
    assert [entry["channel"] for entry in answer.json["channels"]] == [f"listed/{i}" for i in range(5)]
    assert [entry["newest"].split("-")[0] for entry in answer.json["channels"]] == names
    told = str(complaints(node))
    assert all(key in told for key in (meta_key("listed/7"), meta_key("listed/8"), "listed/9", stream_key("listed/x"))), told
    count = len(complaints(node))
    assert get(node, "/api/channels?prefix=listed/").status == 200
    assert len(complaints(node)) == count, "what goes on is not told with every call"


ANSWERS = ["nil", "7", "-1", "''", "'garbage'", "{}", "{{}}", "{ok='OK'}", "{err='ERR nonsense'}", "{err='nonsense'}", "true", "1e300",
           "{1, 2, 3}", "{false, 1, 1}", f"{{'{FOREIGN}-1', 1, 0}}", "{'', '', '', '', '', '', '', '', ''}",
           f"{{'{FOREIGN}', 1, 1, 1, '', '', 1, 1, {{}}}}", f"{{'{FOREIGN}', 1, 1, 1, 1}}", "{{{{{{{1}}}}}}}"]


@pytest.mark.parametrize("answer", ANSWERS)
def test_functions_that_answer_nonsense(channel: str, answer: str) -> None:
    lua = "#!lua name=sluice\n" + "".join(
        f"redis.register_function('sluice_{name}', function() return {'2' if name == 'version' else answer} end)\n"
        for name in ("version", "open", "read", "inspect", "find", "purge", "publish"))
    with RedisServer() as redis, nodes(1, redis) as (server,):
        with LineStream(server, path_of(channel)) as lines:
            lines.next_line()
            names = [publish(server, channel, str(i)) for i in range(3)]
            redis.client.execute_command("FUNCTION", "LOAD", "REPLACE", lua)
            for target, method in ((path_of(channel), "POST"), (path_of(channel + "/new"), "POST"), (path_of(channel + "/new", wait=0), "GET"),
                                   (f"/api/channels/{channel}", "GET"), (f"/api/channels/{channel}", "DELETE"), ("/api/channels", "GET")):
                said = request(server, method, target, "x" if method == "POST" else None)
                assert said.status in (200, 204, 404, 503), f"{method} {target}: {said}"
                assert said.status != 503 or said.error in ("broker-refused", "broker-down"), said
            assert request(server, "POST", path_of(channel), "x").status == 503
            assert get(server, "/readyz").status == get(server, "/healthz").status == 200
            redis.client.execute_command("FUNCTION", "DELETE", "sluice")
            name = wait_until(lambda: (said := request(server, "POST", path_of(channel), "after")).status == 201 and said.json["id"])
            assert name == names[0].replace("-1", "-4")
            assert [lines.next_line()["id"] for _ in range(4)] == [*names, name]


class Vandal:
    """Writes random things of random types to all keys of some channels."""

    FIELDS = ("epoch", "offset", "time", "until", "limits", "run", "why", "log", "before", "data", "type", "event", "ttl", "mark", "x")

    def __init__(self, redis: RedisServer, channels: list[str], seed: int) -> None:
        self.redis, self.channels, self.random = redis, channels, random.Random(seed)

    def value(self) -> bytes:
        choice = self.random
        return choice.choice([
            b"", b"garbage", b"-1", b"0", b"1", b"2", b"7", b"1e308", b"nan", b"99999999999999", b"9" * 30, b"failover", b"text", b"json",
            b"1 2 3 4", b"0 0 0 0", b"100 300000 3600000 120000", FOREIGN.encode(), FOREIGN.encode() + b"-1 1 ", b"x" * 70_000,
            choice.randbytes(choice.randrange(40)), str(int(time.time() * 1000)).encode(),
            self.real_value(),
        ])

    def real_value(self) -> bytes:
        try:
            return self.redis.client.hget(meta_key(self.random.choice(self.channels)), self.random.choice(self.FIELDS)) or b""
        except ResponseError:
            return b""

    def write(self) -> None:
        choice, client = self.random, self.redis.client
        channel = choice.choice(self.channels)
        key = choice.choice([meta_key, meta_key, stream_key, stream_key, key_key])(channel)
        fields = {choice.choice(self.FIELDS): self.value() for _ in range(choice.randrange(1, 5))}
        writes: list[Callable[[], object]] = [
            lambda: client.set(key, self.value()), lambda: client.rpush(key, self.value()), lambda: client.sadd(key, self.value()),
            lambda: client.zadd(key, {self.value(): 1}), lambda: client.hset(key, mapping=fields), lambda: client.hset(key, mapping=fields),
            lambda: client.hset(key, mapping=fields), lambda: client.delete(key), lambda: client.delete(key),
            lambda: client.xadd(key, fields, id=choice.choice(["*", f"{choice.randrange(1, 20)}-{choice.randrange(3)}"])),
            lambda: client.xadd(key, fields), lambda: client.xtrim(key, choice.randrange(3)),
            lambda: client.rename(key, choice.choice([meta_key, stream_key, key_key])(choice.choice(self.channels))),
            lambda: client.pexpire(key, choice.randrange(1, 50)),
        ]
        try:
            choice.choice(writes)()
        except ResponseError:
            pass  # of another type, no such key, an id that is too small

    def clean(self) -> None:
        self.redis.client.delete(*[of(channel) for of in (meta_key, stream_key, key_key) for channel in self.channels])


def act(server: Server, channel: str, choice: random.Random) -> None:
    method, target, body, headers = choice.choice([
        ("POST", path_of(channel), "x", {}), ("POST", path_of(channel), "x", {"Idempotency_Key": "key"}),
        ("GET", path_of(channel, since="earliest", wait=0), None, {}), ("GET", path_of(channel, last=3, wait=0), None, {}),
        ("GET", path_of(channel, since=f"{FOREIGN}-1", wait=0), None, {"Accept": "application/json"}),
        ("GET", f"/api/channels/{channel}", None, {}), ("DELETE", f"/api/channels/{channel}", None, {}), ("GET", "/api/channels", None, {}),
    ])
    with Connection(server) as connection:
        said = connection.request(method, target, body, **headers)
    assert said.status in (200, 201, 204, 404, 503), f"{method} {target}: {said}"
    if said.status == 503:
        assert said.error == "broker-refused" and said.header("Retry-After") and said.json["message"], f"{method} {target}: {said}"
    if target == "/api/channels":
        assert said.status == 200, "one channel hides all others"


def test_whatever_stands_in_some_channels_keys_the_others_work() -> None:
    seed = int(os.environ.get("SLUICE_SEED") or random.randrange(1 << 30))
    print(f"seed {seed}")
    broken = [f"broken/{i}" for i in range(4)]
    choice, is_over = random.Random(seed), threading.Event()
    with RedisServer() as redis, nodes(2, redis, options=("--linger-time", "100ms", "--redis-check-time", "200ms")) as servers:
        vandal = Vandal(redis, broken, seed)

        def publish_and_follow() -> None:
            with LineStream(servers[1], path_of("sound")) as lines:
                lines.next_line()
                while not is_over.is_set():
                    name = publish(servers[0], "sound")
                    assert lines.next_line()["id"] == name

        streams = [LineStream(server, path_of(channel)) for server in servers for channel in broken]
        try:
            others = run_all([publish_and_follow])
            for _ in range(600):
                vandal.write()
                act(choice.choice(servers), choice.choice(broken), choice)
            is_over.set()
            join_all(others)
            vandal.clean()
            for server in servers:
                await_ready(server)
            for stream in streams:
                channel = broken[streams.index(stream) % len(broken)]
                text = f"at last {streams.index(stream)}"
                wait_until(lambda: request(servers[0], "POST", path_of(channel), text, Content_Type="text/plain").status == 201)
                while stream.next_line().get("data") != text:
                    pass
        finally:
            is_over.set()
            for stream in streams:
                stream.close()
