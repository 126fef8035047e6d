# SPDX-License-Identifier: MIT
"""NAME/** follows every channel below NAME, also those that come later, over every transport and on every node."""

import contextlib
import json
import os
import random
import re
import select
from collections.abc import Iterator

import pytest
from support.client import Connection, LineStream, get, path_of, publish, request
from support.commands import raw_commands
from support.readers import KINDS, LISTENERS, OBJECTS, Reader
from support.redis import KEEP_ALL, QUIET, RedisServer, nodes
from support.server import Server, wait_until
from support.sockjs_commands import Commands
from support.tcp import Raw, Resp, command, tcp_port
from support.tokens import bearer, make_token, secret_file
from support.websocket import WebSocket

OPTIONS = (*LISTENERS, "--legacy", "yes")


@pytest.fixture(scope="module")
def memory() -> Iterator[list[Server]]:
    with Server(*OPTIONS, "--shards", "2") as running:
        yield [running, running]


@pytest.fixture(scope="module")
def shared(redis: RedisServer) -> Iterator[list[Server]]:
    with nodes(2, redis, options=(*KEEP_ALL, *OPTIONS)) as running:
        yield running


@pytest.fixture(params=["memory", "redis"])
def both(request: pytest.FixtureRequest) -> list[Server]:
    """Where one reads, and where another one publishes."""
    return request.getfixturevalue("memory" if request.param == "memory" else "shared")


def publish_many(server: Server, names: list[str]) -> None:
    answer = request(server, "POST", "/channels", json.dumps([{"channel": name, "data": name} for name in names]))
    assert answer.status == 200 and not any("error" in each for each in answer.json), answer


@pytest.mark.parametrize("kind", KINDS)
def test_channels_that_are_there_and_that_come_later(both: list[Server], channel: str, kind: str) -> None:
    here, there = both
    publish(there, f"{channel}/old", "before")
    with Reader(here, kind, f"{channel}/**") as reader:
        if kind == "websocket-raw":  # which has no opening that would say so
            wait_until(lambda: follows(here, f"{channel}/old"))
        publish(there, f"{channel}/old", "one")
        publish(there, channel, "not below")
        publish(there, f"{channel}x/y", "beside")
        publish(there, f"{channel}/new/deep", "two")
        assert sorted(reader.take(2)) == ["one", "two"]
        publish(there, f"{channel}/new/deep", "three")
        told = reader.next()
        assert told["data"] == "three"
        if kind in OBJECTS:
            assert told["channel"] == f"{channel}/new/deep"


@pytest.mark.parametrize("kind", [*OBJECTS, "sse", "poll"])
def test_a_complete_cursor_tells_what_has_begun_since(both: list[Server], channel: str, kind: str) -> None:
    here, there = both
    for name in "abc":
        publish(here, f"{channel}/{name}", "before")
    with LineStream(here, path_of(f"{channel}/**")) as lines:
        opening = lines.next_line()
    assert opening["complete"] is True and opening["recovered"] is False
    assert len(opening["cursor"].split(".")) == 4
    publish(there, f"{channel}/a", "1")
    publish(there, f"{channel}/later", "2")
    publish(there, f"{channel}/later", "3")
    with Reader(there, kind, f"{channel}/**", since=opening["cursor"]) as reader:
        assert sorted(reader.take(3)) == ["1", "2", "3"]
        publish(here, f"{channel}/b", "4")
        told = reader.next()
        assert told["data"] == "4", (told, opening)


def test_a_poll_goes_on_from_an_empty_place(both: list[Server], channel: str) -> None:
    here, there = both
    empty = get(here, path_of(f"{channel}/**", wait=0))
    assert empty.status == 204 and re.fullmatch(r"[0-9a-z]{5}0{7}-0", empty.cursor)
    publish(there, f"{channel}/first", "begun since")
    told = get(there, path_of(f"{channel}/**"), If_None_Match=f'"{empty.cursor}"')
    assert (told.body, told.header("Sluice-Channel")) == (b"begun since", f"{channel}/first")
    assert get(here, path_of(f"{channel}/**", since=told.cursor, wait=0)).status == 204


def test_more_channels_than_a_cursor_names(both: list[Server], channel: str) -> None:
    here, there = both
    names = [f"{channel}/{number}" for number in range(200)]
    publish_many(here, names[:100])
    with LineStream(here, path_of(f"{channel}/**")) as lines:
        assert lines.next_line()["complete"] is False
        publish_many(there, names)
        told = [lines.next_line() for _ in range(200)]
    assert sorted(line["data"] for line in told) == sorted(names)
    cursor = told[-1]["cursor"]
    assert len(cursor.split(".")) == 65 and f"{channel}/**"
    assert max(int(entry.split("-")[1]) for entry in cursor.split(".")) == 200
    publish(there, names[0], "missed or not")
    with LineStream(there, path_of(f"{channel}/**", since=cursor)) as lines:
        opening = lines.next_line()
        assert opening["complete"] is False and opening["recovered"] is False
        assert lines.next_line()["reset"]["reason"] == "incomplete"
        publish(here, f"{channel}/new", "goes on")
        wait_until(lambda: lines.next_line()["data"] == "goes on")


def test_a_poll_with_an_incomplete_cursor_waits_for_a_message(both: list[Server], channel: str) -> None:
    """Told of the reset alone it would come back at once, and be told again."""
    here, there = both
    publish_many(here, [f"{channel}/{number}" for number in range(80)])
    for accept in ("application/json", "text/plain"):
        cursor = get(here, path_of(f"{channel}/**", wait=0)).cursor
        assert get(here, path_of(f"{channel}/**", since=cursor, wait=0.2), Accept=accept).status == (
            204), "nothing but the reset to tell"
        with Connection(here) as connection:
            connection.send(f"GET {path_of(f'{channel}/**', since=cursor)} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode())
            wait_until(lambda: follows(here, f"{channel}/0"))
            publish(there, f"{channel}/new", "news")
            answer = connection.read_response()
        if accept == "text/plain":
            assert answer.body == b"news" and (answer.header("Sluice-Reset") or "").startswith("incomplete")
        else:
            assert [each["data"] for each in answer.json["messages"]] == ["news"]
            assert [each["reason"] for each in answer.json["reset"]] == ["incomplete"]


def test_names_and_wild_names_in_one_subscription(both: list[Server], channel: str) -> None:
    here, there = both
    publish(here, f"{channel}/a/1", "before")
    target = path_of(channel) + "".join(f"?&"[i > 0] + f"channel={channel}/{name}" for i, name in enumerate(("a/**", "b/**", "a/1")))
    with LineStream(here, target) as lines:
        cursor = lines.next_line()["cursor"]
        sent = [channel, f"{channel}/a/1", f"{channel}/a/2", f"{channel}/b/1"]
        for name in sent:
            publish(there, name, name)
        publish(there, f"{channel}/c/1", "not asked for")
        assert sorted(lines.next_line()["channel"] for _ in sent) == sorted(sent)
    with LineStream(here, f"{target}&since={cursor}") as lines:
        assert lines.next_line()["recovered"] is True
        assert sorted(lines.next_line()["channel"] for _ in sent) == sorted(sent)


@pytest.fixture(params=["memory", "redis"])
def noticing(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that tells of people and channels on reserved names."""
    options = ("--presence", "yes", "--events", "yes")
    if request.param == "memory":
        with Server(*options) as server:
            yield server
        return
    with nodes(1, request.getfixturevalue("redis"), options=options) as (server,):
        yield server


def test_reserved_segments_are_not_followed(noticing: Server, channel: str) -> None:
    room, events = f"{channel}/room", f"$channel/{channel}/room"
    with Reader(noticing, "stream", f"{channel}/**") as reader, Reader(noticing, "stream", events) as occupied, \
            Reader(noticing, "stream", f"{room}/$presence") as people, Reader(noticing, "stream", f"{channel}/$presence"):
        with Reader(noticing, "stream", room, query=(("as", "ann"),)):
            assert people.next()["event"] == "join" and occupied.next()["event"]
        assert people.next()["event"] == "leave"
        # What was told on reserved names came before this: whoever followed them would be told it first.
        publish(noticing, f"{channel}/z", "one")
        assert reader.take(1) == ["one"]
        with LineStream(noticing, path_of(f"{channel}/**")) as lines:
            assert len(lines.next_line()["cursor"].split(".")) == 1 + 2  # the pattern, room and z
    answer = get(noticing, path_of(f"{channel}/**", last=100, wait=0), Accept="application/json")
    assert [message["channel"] for message in answer.json["messages"]] == [f"{channel}/z"]


@pytest.mark.parametrize("name", ["**", "a/*", "a/**/b", "*/**", "a//**", "/**", "a/**/**", "n" * 253 + "/**"])
def test_other_patterns_are_refused(memory: list[Server], name: str) -> None:
    answer = get(memory[0], "/channels/x?channel=" + name.replace("/", "%2F"))
    assert (answer.status, answer.error) == (400, "bad-channel")
    with Reader(memory[0], "ws", "x") as reader:
        assert reader.client.ask_text(json.dumps({"op": "subscribe", "channel": name}))["code"] == "bad-channel"


def test_a_subscription_has_so_many_wild_names(memory: list[Server], channel: str) -> None:
    names = [f"{channel}/{number}/**" for number in range(9)]
    answer = get(memory[0], f"/channels/{channel}?" + "&".join("channel=" + name for name in names))
    assert (answer.status, answer.error) == (400, "too-many-channels")
    with Reader(memory[0], "ws", "x") as reader:
        assert reader.client.ask_text(json.dumps({"op": "subscribe", "channels": names}))["code"] == "too-many-channels"
        assert reader.client.ask("subscribe", channels=names[1:])["op"] == "subscribed"


@pytest.mark.parametrize("target", ["/channels/a/**?last=2", "/api/channels/a/**"])
def test_nothing_is_published_to_what_is_below(memory: list[Server], target: str) -> None:
    assert request(memory[0], "POST", "/channels/a/**", "x").error == "bad-channel"


def test_a_feed_publishes_to_a_channel_only(memory: list[Server], channel: str) -> None:
    with WebSocket(memory[0], path_of(f"{channel}/**", format="json")) as feed:
        assert feed.take_json()["complete"] is True
        feed.put_text("x")
        assert feed.take_json()["error"] == "bad-channel"
        publish(memory[0], f"{channel}/a", "goes on")
        assert feed.take_json()["data"] == "goes on"


def test_the_last_of_each(both: list[Server], channel: str) -> None:
    here, there = both
    for number in range(3):
        for name in "ab":
            publish(there, f"{channel}/{name}", f"{name}{number}")
    with LineStream(here, path_of(f"{channel}/**", last=2)) as lines:
        lines.next_line()
        assert sorted(lines.next_line()["data"] for _ in range(4)) == ["a1", "a2", "b1", "b2"]


def test_old_streams_say_whether_they_are_complete(memory: list[Server], channel: str) -> None:
    with Connection(memory[0]) as connection:
        connection.send(f"GET /channels/{channel}/**?transport=multipart HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert b"Sluice-Complete: true" in connection.read_until(b"Complete: true")
    with Connection(memory[0]) as connection:
        connection.send(f"GET /channels/{channel}/**?transport=htmlfile&callback=f HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        connection.read_until(b'"complete":true')
    with Connection(memory[0]) as connection:
        connection.send(f"GET /channels/{channel}/**?transport=xhr HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        connection.read_until(b'"complete":true')


def test_a_restart_without_memory_of_the_logs(channel: str) -> None:
    """Another memory: what had an entry is reset, what has none is told from its beginning."""
    with Server() as server:
        publish(server, f"{channel}/a", "before")
        cursor = get(server, path_of(f"{channel}/**", wait=0)).cursor
    with Server() as server:
        publish(server, f"{channel}/a", "1")
        publish(server, f"{channel}/b", "2")
        with Reader(server, "stream", f"{channel}/**", since=cursor) as reader:
            assert sorted(reader.take(3)) == ["1", "2", "epoch"]


def test_over_redis_after_a_restart_and_a_lost_link(channel: str) -> None:
    with RedisServer(aof=True) as redis, nodes(1, redis, options=KEEP_ALL) as (server,):
        publish(server, f"{channel}/a", "before")
        with LineStream(server, path_of(f"{channel}/**")) as lines:
            lines.next_line()
            redis.kill_clients("pubsub")
            redis.fcall(f"{channel}/b", "while away")
            assert lines.next_line()["data"] == "while away"
    with RedisServer(aof=True) as redis:
        with nodes(1, redis, options=KEEP_ALL) as (server,):
            publish(server, f"{channel}/a", "before")
            cursor = get(server, path_of(f"{channel}/**", wait=0)).cursor
        redis.restart()
        redis.fcall(f"{channel}/b", "while away")
        with nodes(1, redis, options=KEEP_ALL) as (server,), Reader(server, "stream", f"{channel}/**", since=cursor) as reader:
            assert reader.take(1) == ["while away"]


# Limits.

@pytest.mark.parametrize("kind", ["stream", "websocket", "ws", "tcp-crlf", "sse"])
def test_more_channels_than_a_connection_may_have(channel: str, kind: str) -> None:
    with Server(*LISTENERS, "--max-channels-per-connection", "5") as server:
        with Reader(server, kind, f"{channel}/**") as reader:
            for number in range(8):
                publish(server, f"{channel}/{number}", str(number))
            told = reader.take(5)
            assert told.count("too-many-channels") == 1 and len(set(told) & set("01234567")) == 4
            followed = min(set(told) - {"too-many-channels"})
            publish(server, f"{channel}/{followed}", "goes on")
            assert reader.take(1) == ["goes on"]


# Rights.

def test_each_channel_is_looked_at_for_itself(channel: str) -> None:
    top = channel.replace("/", "-")
    with Server("--jwt-key", f"HS256:{secret_file()}", *LISTENERS) as server:
        write = bearer(make_token(publish=["**"]))
        some = make_token(subscribe=[f"{top}/a/**"])
        publish(server, f"{top}/a/1", "x", **write)
        refused = get(server, path_of(f"{top}/**"))
        assert (refused.status, refused.error) == (401, "no-token")
        with LineStream(server, path_of(f"{top}/**"), **bearer(some)) as lines:
            lines.next_line()
            publish(server, f"{top}/b/1", "hidden", **write)
            publish(server, f"{top}/a/1", "one", **write)
            publish(server, f"{top}/a/2", "two", **write)
            assert sorted(lines.next_line()["data"] for _ in range(2)) == ["one", "two"]


def test_another_token_renews_what_is_followed(channel: str) -> None:
    top = channel.replace("/", "-")
    with Server("--jwt-key", f"HS256:{secret_file()}") as server:
        write = bearer(make_token(publish=["**"]))
        for name in "ab":
            publish(server, f"{top}/{name}", "before", **write)
        with WebSocket(server, "/ws") as socket:
            def ask(**members: object) -> dict[str, object]:
                socket.put_json(members)
                return socket.take_json()

            assert ask(op="auth", token=make_token(subscribe=[f"{top}/a"]))["op"] == "authenticated"
            assert ask(op="subscribe", channel=f"{top}/**")["complete"] is True
            assert ask(op="auth", token=make_token(subscribe=[f"{top}/b", f"{top}/c"]))["op"] == "authenticated"
            publish(server, f"{top}/a", "not any more", **write)
            publish(server, f"{top}/b", "now", **write)
            assert socket.take_json()["data"] == "now"
            publish(server, f"{top}/c", "new", **write)
            assert socket.take_json()["data"] == "new"


class Renewal:
    """Two nodes, what `first` allows and what `more` does; `say` tells once, and is kept nowhere, what only `more` allows to hear."""

    def __init__(self, servers: list[Server], top: str) -> None:
        self.here, self.there = servers
        self.top, self.write = top, bearer(make_token(publish=["**"]))
        self.first = make_token(subscribe=[f"{top}/a", f"{top}-lost"])
        self.more = make_token(subscribe=[f"{top}/a", f"{top}/b"])
        publish(self.there, f"{top}/b", "before", **self.write)

    def say(self) -> None:
        path = path_of(f"{self.top}/b", store="no")
        assert request(self.there, "POST", path, "now", Content_Type="text/plain", **self.write).status == 201

    def has_said_nothing(self, raw: Raw) -> bool:
        """What came in before has been looked at by the time that two requests are answered."""
        assert all(get(self.here, "/healthz").status == 200 for _ in range(2))
        return not raw.buffer and not select.select([raw.socket], [], [], 0)[0]


@pytest.fixture
def renewal(redis: RedisServer, channel: str) -> Iterator[Renewal]:
    with nodes(2, redis, options=("--jwt-key", f"HS256:{secret_file()}", "--shards", "1", *LISTENERS, *QUIET)) as servers:
        yield Renewal(servers, channel.replace("/", "-"))


@pytest.mark.parametrize("kind", ["ws", "websocket", "lines"])
def test_a_token_is_answered_when_what_it_adds_is_followed(renewal: Renewal, redis: RedisServer, kind: str) -> None:
    top = renewal.top
    commands = raw_commands(Raw(renewal.here)) if kind == "lines" else Commands(renewal.here, kind)
    assert commands.ask("auth", token=renewal.first)["op"] == "authenticated"
    commands.subscribe(f"{top}/**", f"{top}-lost")
    with redis.stopped():
        refs = [commands.put("auth", token=renewal.more)]
        assert commands.has_nothing()
        refs.append(commands.put("auth", token=renewal.more))
    told = [commands.get() for _ in range(3)]
    assert [(each["op"], each.get("ref", each.get("channel"))) for each in told] == [
        ("authenticated", refs[0]), ("error", f"{top}-lost"), ("authenticated", refs[1])]
    renewal.say()
    assert commands.next_data() == "now"


def test_a_token_is_confirmed_when_what_it_adds_is_followed(renewal: Renewal, redis: RedisServer) -> None:
    top = renewal.top
    raw = Raw(renewal.here)
    for words in (f"AUTH {renewal.first}", f"SUBSCRIBE {top}/**", f"SUBSCRIBE {top}-lost"):
        assert raw.ask(words.encode()) == b"CONFIRMED"
    with redis.stopped():
        raw.put(f"AUTH {renewal.more}".encode(), b"PING")
        assert renewal.has_said_nothing(raw)
    assert raw.take() == b"CONFIRMED"
    assert re.fullmatch(rb"ERROR forbidden-channel .* %s-lost" % top.encode(), raw.take())
    assert raw.take() == b"PONG"
    renewal.say()
    assert b"now" in raw.take()


def test_a_password_is_confirmed_when_what_it_adds_is_followed(renewal: Renewal, redis: RedisServer) -> None:
    top = renewal.top.encode()
    client = Resp(renewal.here, 3)
    assert client.run("AUTH", renewal.first) == "+OK"
    assert client.run("PSUBSCRIBE", top + b"/*") == [b"psubscribe", top + b"/*", 1]
    assert client.run("SUBSCRIBE", top + b"-lost") == [b"subscribe", top + b"-lost", 2]
    with redis.stopped():
        client.send(command("AUTH", renewal.more) + command("PING"))
        assert renewal.has_said_nothing(client)
    assert [client.reply() for _ in range(3)] == ["+OK", [b"unsubscribe", top + b"-lost", 1], [b"pong", b""]]
    renewal.say()
    assert client.reply() == [b"pmessage", top + b"/*", top + b"/b", b"now"]


def test_a_token_is_answered_at_once_while_the_broker_is_away(renewal: Renewal, redis: RedisServer) -> None:
    commands = Commands(renewal.here, "ws")
    assert commands.ask("auth", token=renewal.first)["op"] == "authenticated"
    commands.subscribe(f"{renewal.top}/**")
    redis.kill()
    try:
        wait_until(lambda: get(renewal.here, "/readyz").status == 503)
        assert commands.ask("auth", token=renewal.more)["op"] == "authenticated"
    finally:
        redis.start()


def follows(server: Server, name: str) -> bool:
    answer = get(server, f"/api/channels/{name}", **bearer(make_token(admin=True)))
    return sum(answer.json["subscribers"].values()) > 0


# Against a model.

@pytest.mark.parametrize("size", [0, 10])
@pytest.mark.parametrize("broker", ["memory", "redis"])
def test_what_a_new_channel_does_not_keep_any_more_is_told_as_missing(broker: str, size: int, channel: str) -> None:
    """It is found when it has been published to; and who was away with a complete cursor finds it then."""
    options = (*OPTIONS, "--history-size", str(size))
    items = [{"channel": f"{channel}/new", "data": i} for i in range(50)]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(nodes(1, stack.enter_context(RedisServer()), options=options))[0] if broker == "redis" else stack.enter_context(Server(*options))
        lines = stack.enter_context(LineStream(server, path_of(f"{channel}/**")))
        complete = lines.next_line()["cursor"]
        assert request(server, "POST", "/channels", json.dumps(items)).status == 200
        away = stack.enter_context(LineStream(server, path_of(f"{channel}/**", since=complete)))
        assert away.next_line()["recovered"] is False
        for each in (away, lines):  # some of it may be told while the rest comes
            missed = told = 0
            while missed + told < len(items):
                if reset := (line := each.next_line()).get("reset"):
                    assert (reset["channel"], reset["reason"]) == (f"{channel}/new", "trimmed")
                    missed += reset["missed"]
                else:
                    assert line["data"] == missed + told
                    told += 1
            assert each is lines or told == size
        publish(server, f"{channel}/new", "next")
        assert [each.next_line()["data"] for each in (lines, away)] == ["next", "next"]


@pytest.mark.parametrize("kind", ["stream", "json"])
def test_whoever_is_cut_at_random_misses_nothing(both: list[Server], channel: str, kind: str) -> None:
    """Up to 60 channels, so that every cursor is complete: each message is told once and in order, whatever is cut."""
    seed = int(os.environ.get("SLUICE_SEED", random.randrange(1 << 30)))
    print("SLUICE_SEED", seed)
    chance, sent, heard = random.Random(seed), {}, {}
    target = f"{channel}/**"
    cursor = get(both[0], path_of(target, wait=0)).cursor
    total = told = 0
    for _ in range(12):
        reader = Reader(chance.choice(both), kind, target, since=cursor)
        for _ in range(chance.randrange(40)):
            name = f"{channel}/{chance.randrange(60)}"
            sent.setdefault(name, []).append(str(total))
            publish(chance.choice(both), name, str(total))
            total += 1
        for _ in range(chance.randrange(total - told + 1)):
            message = reader.next()
            assert "reset" not in message, message
            heard.setdefault(message["channel"], []).append(message["data"])
            told += 1
            if kind == "stream":
                cursor = message["cursor"]
        if kind == "json":
            while reader.waiting:
                message = reader.next()
                heard.setdefault(message["channel"], []).append(message["data"])
                told += 1
            cursor = reader.cursor
        reader.__exit__()
    with Reader(both[1], kind, target, since=cursor) as reader:
        while told < total:
            message = reader.next()
            heard.setdefault(message["channel"], []).append(message["data"])
            told += 1
    assert heard == sent
