# SPDX-License-Identifier: MIT
"""What docs/PROTOCOL.md promises of the command protocol, sentence by sentence, over each transport that carries it, and docs/TCP.md of `FORMAT json`."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator

import pytest
from support.client import get, path_of, publish, request, subscribers
from support.commands import Commands, check_answer, check_request, raw_commands
from support.redis import RedisServer, await_away, await_ready
from support.server import SOURCE, Server, wait_until
from support.tcp import Raw
from support.websocket import WebSocket

HISTORY = 10
KIB = 1024
MESSAGE_SIZE = 64 * KIB
CRLF, NUL, LEN32, PINGS = range(4)
LISTENERS = ("framing=crlf", "framing=nul", "framing=len32", "framing=crlf ping=1")
CARRIERS = ("ws", "tcp", "sockjs")
DOCUMENTED = re.findall(r"^    (\{\"op\":.*\})$", (SOURCE / "docs/PROTOCOL.md").read_text(), re.M)
CODES = re.findall(r"^\| `([a-z-]+)` \| \d", (SOURCE / "docs/ERRORS.md").read_text(), re.M)
REQUESTS = ("subscribe", "unsubscribe", "publish", "history", "presence", "auth", "ping")

Connect = Callable[[], Commands]


def options() -> list[str]:
    return [word for text in LISTENERS for word in ("--tcp", f"127.0.0.1:0 {text}")]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("--history-size", str(HISTORY), "--message-size", str(MESSAGE_SIZE), "--history-bytes", "16MiB", *options()) as running:
        yield running


def over(socket: WebSocket) -> Commands:
    return Commands(socket.put_text, socket.take)


def opened(server: Server, carrier: str) -> tuple[WebSocket | Raw, Commands]:
    if carrier == "tcp":
        raw = Raw(server, CRLF)
        return raw, raw_commands(raw)
    socket = WebSocket(server, "/ws" if carrier == "ws" else "/sockjs/websocket")
    return socket, over(socket)


@pytest.fixture(params=CARRIERS)
def connect(server: Server, request: pytest.FixtureRequest) -> Iterator[Connect]:
    connections = []

    def connect() -> Commands:
        connection, commands = opened(server, request.param)
        connections.append(connection)
        return commands

    yield connect
    for connection in connections:
        connection.close()


@pytest.fixture
def client(connect: Connect) -> Commands:
    return connect()


@pytest.fixture
def ws(server: Server) -> Iterator[Commands]:
    """Where what carries the commands makes no difference."""
    with WebSocket(server, "/ws") as socket:
        yield over(socket)


def fill(server: Server, channel: str, count: int, size: int = 1) -> list[str]:
    return [publish(server, channel, f"{i}".ljust(size)) for i in range(count)]


# The documents' own examples


def test_every_example_of_the_documents_is_as_the_schemas_say() -> None:
    assert len(DOCUMENTED) >= 10
    for text in DOCUMENTED:
        example = json.loads(text)
        is_request = example["op"] in REQUESTS and not {"messages", "members"} & set(example)
        (check_request if is_request else check_answer)(example)


def test_every_example_is_answered_as_the_documents_say(client: Commands, server: Server) -> None:
    with WebSocket(server, "/ws") as socket:
        over(socket).publish("scores", "2:1", event="goal")
    for text in DOCUMENTED:
        example = json.loads(text)
        if example["op"] in REQUESTS and example["op"] not in ("auth", "presence") and "messages" not in example:  # there are no keys here
            answer = client.take(ref=example["ref"]) if client.put_text(text) is None else None
            expected = next(other for other in map(json.loads, DOCUMENTED) if other.get("ref") == example["ref"] and other != example)
            assert set(answer) - {"reset", "more", "duplicate"} == set(expected) - {"more"} and answer["op"] == expected["op"], answer


def test_the_example_of_raw_tcp(server: Server) -> None:
    publish(server, "updates", "follow the white rabbit")
    example = re.search(r"^    FORMAT json\n(    .*\n)+", (SOURCE / "docs/TCP.md").read_text(), re.M)
    assert example
    with Raw(server, CRLF) as raw:
        for line in (line.strip() for line in example[0].splitlines()):
            if line.startswith('{"op":"subscribe"') or not line.startswith(("{", "CONFIRMED")):
                raw.put(line.encode())
                continue
            answer = raw.take().decode()
            if line.startswith("{"):
                assert list(json.loads(answer)) == list(json.loads(line))
            else:
                assert answer == line


# Refs and answers


@pytest.mark.parametrize("ref", ["a", "", "gr\u00fcn \"'\\", "x" * 64, 0, -5, 2**53 - 1, 10**20])
def test_the_ref_of_a_command_is_that_of_its_answer(client: Commands, ref: str | int) -> None:
    client.put_text(json.dumps({"op": "ping", "ref": ref}, ensure_ascii=False))
    assert client.get() == {"op": "pong", "ref": ref}


def test_no_ref_no_ref(client: Commands, channel: str) -> None:
    assert client.ask_text('{"op":"ping"}') == {"op": "pong"}
    for text in (f'{{"op":"subscribe","channel":"{channel}"}}', f'{{"op":"publish","channel":"{channel}","data":1}}', '{"op":"fly"}',
                 f'{{"op":"history","channel":"{channel}"}}', '{"op":"unsubscribe"}'):
        assert "ref" not in client.ask_text(text)


@pytest.mark.parametrize("ref", ['"' + "x" * 65 + '"', "1" * 65, "1.5", "null", "true", "[1]", "{}"])
def test_what_cannot_be_a_ref_is_an_error_without_one(ws: Commands, ref: str) -> None:
    answer = ws.ask_text(f'{{"op":"ping","ref":{ref}}}')
    assert answer["op"] == "error" and answer["code"] == "bad-command" and "ref" not in answer
    assert ws.has_nothing()


def test_a_ref_has_64_bytes_as_it_is_written(ws: Commands) -> None:
    for ref in ("x" * 64, "\\u0041" * 10 + "xxxx", "gr\u00fcn" * 12 + "four"):
        ws.put_text(f'{{"op":"ping","ref":"{ref}"}}')
        assert ws.get() == {"op": "pong", "ref": json.loads(f'"{ref}"')}
        assert ws.ask_text(f'{{"op":"ping","ref":"{ref}x"}}')["code"] == "bad-command"


def test_the_answers_to_publishes_come_in_their_order(client: Commands, server: Server, channel: str) -> None:
    """More than are taken at once; whoever only writes is not read for ever, so the answers are read meanwhile."""
    count, refs = 1500, []
    writer = threading.Thread(target=lambda: refs.extend(client.put("publish", channel=f"{channel}/{i % 7}", data=i) for i in range(count)))
    writer.start()
    told = [client.take("published")["ref"] for _ in range(count)]
    writer.join()
    assert told == refs


# Subscribe


def test_the_answer_comes_before_anything_of_its_channels(client: Commands, server: Server, channel: str) -> None:
    fill(server, channel, 3)
    client.put("subscribe", channels=[channel], since="earliest")
    assert [client.get()["op"] for _ in range(4)] == ["subscribed", "message", "message", "message"]


@pytest.mark.parametrize(("members", "expected", "recovered"), [
    ({}, 0, False), ({"since": "now"}, 0, False), ({"since": "earliest"}, 5, False), ({"since": "last=2"}, 2, False), ({"last": 2}, 2, False),
    ({"last": 0}, 0, False), ({"since": "CURSOR"}, 3, True),
])
def test_where_a_subscription_begins(client: Commands, server: Server, channel: str, members: dict[str, object], expected: int,
                                     recovered: bool) -> None:
    names = fill(server, channel, 5)
    if "since" in members:
        members = {"since": str(members["since"]).replace("CURSOR", names[1])}
    answer = client.ask("subscribe", channel=channel, **members)
    assert answer["channels"] == [channel] and answer["recovered"] is recovered
    assert answer["cursor"] == names[4 - expected] if expected < 5 else answer["cursor"].endswith("-0")
    assert [client.next_message()["id"] for _ in range(expected)] == names[5 - expected:]
    assert client.has_nothing()


def test_who_comes_back_with_the_ids_joined_misses_nothing(connect: Connect, server: Server, channel: str) -> None:
    channels = [f"{channel}/{i}" for i in range(3)]
    first = connect()
    cursors = dict(zip(channels, first.subscribe(*channels)["cursor"].split("."), strict=True))
    for name in channels[:2]:
        publish(server, name, "told")
        message = first.next_message()
        cursors[message["channel"]] = message["id"]
    for name in channels:
        publish(server, name, "missed")
    second = connect()
    answer = second.subscribe(*channels, since=".".join(reversed(cursors.values())))
    assert answer["recovered"] is True
    assert sorted((message["channel"], message["data"]) for message in (second.next_message() for _ in channels)) == [
        (name, "missed") for name in channels]
    assert second.has_nothing()


def test_a_channel_that_the_cursor_does_not_name_begins_now(ws: Commands, server: Server, channel: str) -> None:
    name = publish(server, channel, "one")
    other = publish(server, f"{channel}/other", "not told")
    answer = ws.subscribe(channel, f"{channel}/other", since=name)
    assert answer["recovered"] is True and answer["cursor"] == f"{name}.{other}"
    assert ws.has_nothing()


def test_all_channels_are_subscribed_or_none(client: Commands, server: Server, channel: str) -> None:
    client.subscribe(channel)
    assert client.error("subscribe", channels=[f"{channel}/other", channel]) == "already-subscribed"
    assert client.ask_text(json.dumps({"op": "subscribe", "channels": [f"{channel}/other", "a//b"]}))["code"] == "bad-channel"
    assert subscribers(server, f"{channel}/other")["total"] == 0
    publish(server, f"{channel}/other", "not told")
    publish(server, channel, "told")
    assert client.next_data() == "told" and client.has_nothing()


def test_64_channels_in_a_command_and_1024_on_a_connection(client: Commands, channel: str) -> None:
    channels = [f"{channel}/{i}" for i in range(1025)]
    assert client.ask_text(json.dumps({"op": "subscribe", "channels": channels[:65]}))["code"] == "too-many-channels"
    for i in range(0, 1024, 64):
        client.subscribe(*channels[i:i + 64])
    assert client.error("subscribe", channel=channels[1024]) == "too-many-channels"
    assert client.ask("unsubscribe", channels=channels[:1024])["channels"] == channels[:1024]
    client.subscribe(channels[1024])


def test_a_gap_is_told_and_its_cursor_leads_on(client: Commands, server: Server, channel: str) -> None:
    names = fill(server, channel, HISTORY + 4)
    assert client.subscribe(channel, since=names[0])["recovered"] is False
    assert client.get() == {"op": "reset", "channel": channel, "reason": "trimmed", "missed": 3, "cursor": names[3]}
    assert [client.next_message()["id"] for _ in range(HISTORY)] == names[4:]
    request(server, "DELETE", f"/api/channels/{channel}")
    reset = client.take("reset")
    assert reset["reason"] == "purged"
    last = publish(server, channel, "after")
    assert client.next_message()["id"] == last
    client.ask("unsubscribe")
    client.subscribe(channel, since=reset["cursor"])
    assert client.next_message()["id"] == last


def test_a_channel_that_is_named_twice_is_an_error_that_says_so(ws: Commands, server: Server, channel: str) -> None:
    answer = ws.ask_text(json.dumps({"op": "subscribe", "channels": [channel, channel]}))
    assert answer["code"] == "already-subscribed" and answer["message"] == f"{channel} is subscribed to already, or named twice"
    assert subscribers(server, channel)["total"] == 0


# Unsubscribe


def test_nothing_of_a_channel_is_told_after_unsubscribed(client: Commands, server: Server, channel: str) -> None:
    client.subscribe(channel, f"{channel}/kept")
    assert client.ask("unsubscribe", channels=[channel, "never/was"])["channels"] == [channel, "never/was"]
    publish(server, channel, "not told")
    publish(server, f"{channel}/kept", "told")
    assert client.next_data() == "told" and client.has_nothing()
    assert client.ask("unsubscribe")["channels"] == [f"{channel}/kept"]
    assert client.ask("unsubscribe")["channels"] == []
    assert client.ask("unsubscribe", channel=channel)["channels"] == [channel]
    client.subscribe(channel, last=1)
    assert client.next_data() == "not told"


# Publish


@pytest.mark.parametrize(("members", "kept", "data"), [
    ({"data": "text"}, "text", "text"), ({"data": {"a": [1, None]}}, "json", {"a": [1, None]}), ({"data": None}, "json", None),
    ({"data": "a string", "type": "json"}, "json", "a string"), ({"data": "AP8=", "type": "binary"}, "binary", "AP8="),
    ({"data": "x", "event": "goal", "producer": "me", "ttl": 60}, "text", "x"),
])
def test_what_is_published_is_as_in_a_batch(client: Commands, server: Server, channel: str, members: dict[str, object], kept: str,
                                           data: object) -> None:
    client.subscribe(channel)
    answer = client.ask("publish", channel=channel, **members)
    message = client.next_message()
    assert answer == {"op": "published", "ref": 2, "channel": channel, "id": message["id"], "time": message["time"], "type": kept}
    assert (message["type"], message["data"]) == (kept, data)
    assert (message.get("event"), message.get("producer")) == (members.get("event"), members.get("producer"))
    body = get(server, path_of(channel, last=1)).body
    assert body == (base64.b64decode(str(data)) if kept == "binary" else str(data).encode() if kept == "text" else body)


def test_json_is_kept_byte_for_byte(client: Commands, server: Server, channel: str) -> None:
    data = '{"n": 1.0e+400,  "n":12345678901234567890123}'
    client.put_text(f'{{"op":"publish","channel":"{channel}","data":{data}}}')
    assert client.get()["type"] == "json"
    assert get(server, path_of(channel, last=1)).body.decode() == data


def test_a_repeated_key_is_answered_with_the_first_id(client: Commands, server: Server, channel: str) -> None:
    client.subscribe(channel)
    first = client.ask("publish", channel=channel, data="once", idempotency_key="k")
    again = client.ask("publish", channel=channel, data="twice", idempotency_key="k")
    assert "duplicate" not in first and again["duplicate"] is True and again["id"] == first["id"]
    assert client.next_data() == "once" and client.has_nothing()


def test_the_same_message_comes_over_all_transports(server: Server, channel: str) -> None:
    connections = [opened(server, carrier) for carrier in CARRIERS]
    for _, commands in connections:
        commands.subscribe(channel)
    connections[0][1].publish(channel, {"a": "\u2028</script>"}, event="e")
    messages = [commands.next_message() for _, commands in connections]
    assert messages[0] == messages[1] == messages[2]
    for connection, _ in connections:
        connection.close()


# History


def test_history_needs_no_subscription_and_begins_where_it_is_asked_to(client: Commands, server: Server, channel: str) -> None:
    names = fill(server, channel, 5)
    for members, expected in [({}, names), ({"since": names[1]}, names[2:]), ({"last": 2}, names[3:]), ({"since": "earliest"}, names),
                              ({"since": "now"}, []), ({"since": "last=1"}, names[4:]), ({"since": names[4]}, []), ({"last": 0}, [])]:
        answer = client.history(channel, **members)
        assert [message["id"] for message in answer["messages"]] == expected, members
        assert answer["cursor"] == names[4] and "more" not in answer and "reset" not in answer
    assert subscribers(server, channel)["total"] == 0


def test_limit_cuts_a_history_and_its_cursor_leads_on(client: Commands, server: Server, channel: str) -> None:
    names = fill(server, channel, 5)
    read, cursor, more = [], "earliest", True
    while more:
        answer = client.history(channel, since=cursor, limit=2)
        read += [message["id"] for message in answer["messages"]]
        cursor, more = answer["cursor"], answer.get("more", False)
    assert read == names
    assert "more" not in client.history(channel, limit=5)


def test_a_history_has_1_mib_at_most_or_one_that_is_larger(channel: str) -> None:
    with Server("--message-size", "2MiB", *options()) as server, WebSocket(server, "/ws") as socket:
        client = over(socket)
        names = [publish(server, channel, "x" * (size * KIB)) for size in (600, 600, 1500, 10)]
        cursor, sizes = "earliest", []
        for _ in names:
            answer = client.history(channel, since=cursor)
            sizes.append(len(answer["messages"]))
            cursor = answer["cursor"]
            if "more" not in answer:
                break
        assert sum(sizes) == 4 and sizes[0] == 1 and cursor == names[3] and len(sizes) >= 3


def test_a_gap_in_a_history_is_told(client: Commands, server: Server, channel: str) -> None:
    names = fill(server, channel, HISTORY + 4)
    answer = client.history(channel, since=names[0])
    assert answer["reset"] == {"channel": channel, "reason": "trimmed", "missed": 3, "cursor": names[3]}
    assert [message["id"] for message in answer["messages"]] == names[4:]
    assert "reset" not in client.history(channel)
    future = re.sub(r"\d+$", "999", names[0])
    assert client.history(channel, since=future)["reset"]["reason"] == "future"


# What is wrong


@pytest.mark.parametrize(("text", "code", "says"), [
    ('{"op":"fly"}', "bad-command", "subscribe"), ('{"channel":"a"}', "bad-command", '"op"'), ("{", "bad-json", "line 1"),
    ('{"op":"ping",}', "bad-json", "column"), ('{"op":"ping","x":1}', "bad-command", '"x"'), ('{"op":"ping","op":"ping"}', "bad-command", "twice"),
    ('{"op":"publish","channel":"a","data":1,"data":1}', "bad-command", '"data"'), ('{"op":"publish","channel":"a"}', "bad-command", '"data"'),
    ('{"op":"publish","data":1}', "bad-command", "channel"), ('{"op":"publish","channel":"a//b","data":1}', "bad-channel", "segment"),
    ('{"op":"publish","channel":"a","data":1,"event":"reset"}', "bad-option", "reset"),
    ('{"op":"publish","channel":"a","data":"x","type":"binary"}', "bad-command", "base64"),
    ('{"op":"publish","channel":"a","data":1,"ttl":0}', "bad-command", '"ttl"'), ('{"op":"subscribe"}', "bad-command", "channel"),
    ('{"op":"subscribe","channels":[]}', "bad-command", "channel"), ('{"op":"subscribe","channel":"a","since":"soon"}', "bad-cursor", "last=N"),
    ('{"op":"subscribe","channel":"a","last":-1}', "bad-option", '"last"'), ('{"op":"history","channel":"a","limit":0}', "bad-option", '"limit"'),
    ('{"op":"history"}', "bad-command", "channel"), ('{"op":"auth","token":"x"}', "bad-token", "token"),
    ('{"op":"presence","channel":"a"}', "no-presence", "presence is no"),
])
def test_what_is_wrong_is_answered_and_the_connection_stays(client: Commands, text: str, code: str, says: str) -> None:
    for marked in (text, text.replace("{", '{"ref":9,', 1) if text != "{" else text):
        answer = client.ask_text(marked)
        assert (answer["op"], answer["code"]) == ("error", code) and code in CODES and says in answer["message"], answer
        assert "ref" not in answer or answer["ref"] == 9 and marked != text
    assert client.has_nothing()


@pytest.mark.parametrize("text", ["", "[]", "5", '"ping"', "null", "nope"])
def test_what_is_no_object_is_an_error(ws: Commands, text: str) -> None:
    assert ws.ask_text(text)["code"] in ("bad-json", "bad-command")
    assert ws.has_nothing()


def test_a_publish_over_message_size_is_refused(client: Commands, server: Server, channel: str) -> None:
    client.publish(channel, "\u00e9" * (MESSAGE_SIZE // 2))  # six bytes a character as it is written
    assert client.error("publish", channel=channel, data="x" * (MESSAGE_SIZE + 1)) == "too-large"
    assert len(client.history(channel)["messages"]) == 1
    assert client.has_nothing()


def test_a_frame_over_what_a_command_may_have_ends_the_connection(server: Server) -> None:
    for target in ("/ws", "/sockjs/websocket"):
        with WebSocket(server, target) as socket:
            socket.put_text('{"op":"publish","channel":"a","data":"' + "x" * (6 * MESSAGE_SIZE + 32 * KIB) + '"}')
            assert socket.take_close()[0] == 1009


# A broker that is away


@pytest.mark.parametrize("carrier", CARRIERS)
def test_while_the_broker_is_away_publish_fails_and_the_rest_waits(carrier: str, channel: str) -> None:
    with RedisServer() as redis, Server("--broker", redis.url(), "--redis-timeout", "200ms", "--redis-probe-time", "200ms", *options()) as server:
        await_ready(server)
        redis.kill()
        await_away(server)
        connection, client = opened(server, carrier)
        with connection:
            subscribing = client.put("subscribe", channel=channel)
            reading = client.put("history", channel=f"{channel}/other")
            assert client.error("publish", channel=channel, data=1) == "broker-down"
            assert not client.kept
            redis.start()
            assert client.take(ref=subscribing)["op"] == "subscribed"
            assert client.take(ref=reading)["messages"] == []
            client.publish(channel, "back")
            assert client.next_data() == "back"


def test_a_subscribe_that_waits_goes_on_without_what_was_unsubscribed(channel: str) -> None:
    with RedisServer() as redis, Server("--broker", redis.url(), "--redis-timeout", "200ms", "--redis-probe-time", "200ms") as server:
        await_ready(server)
        redis.kill()
        await_away(server)
        with WebSocket(server, "/ws") as socket:
            client = over(socket)
            some = client.put("subscribe", channels=[channel, f"{channel}/gone"])
            none = client.put("subscribe", channel=f"{channel}/none")
            assert client.ask("unsubscribe", channels=[f"{channel}/gone", f"{channel}/none"])["op"] == "unsubscribed"
            assert client.take(ref=none)["code"] == "unsubscribed"
            redis.start()
            assert client.take(ref=some)["channels"] == [channel]


# FORMAT json


def test_lines_and_objects_mean_the_same_connection(server: Server, channel: str) -> None:
    with Raw(server, CRLF) as raw:
        assert raw.ask(f"SUBSCRIBE {channel}".encode()) == b"CONFIRMED"
        client = raw_commands(raw)
        assert client.error("subscribe", channel=channel) == "already-subscribed"
        publish(server, channel, "one")
        assert client.next_data() == "one"
        assert client.ask("unsubscribe")["channels"] == [channel]
        client.subscribe(channel)
        assert raw.ask(f"SUBSCRIBE {channel}".encode()) == b"ALREADY SUBSCRIBED"
        assert raw.ask(f"UNSUBSCRIBE {channel}".encode()) == b"CONFIRMED"
        client.subscribe(channel)
        assert raw.ask(b"FORMAT raw") == b"CONFIRMED"
        publish(server, channel, "two")
        assert raw.take() == b"two"
        assert raw.ask(b'{"op":"ping"}') == b"UNKNOWN COMMAND"
        assert raw.ask(b"QUIT") == b"CONFIRMED" and raw.is_closed()


@pytest.mark.parametrize(("listener", "ends"), [(CRLF, b"\r\n"), (NUL, b"\0"), (LEN32, None)])
def test_a_command_that_is_too_large_is_answered_by_an_error_object(server: Server, channel: str, listener: int, ends: bytes | None) -> None:
    with Raw(server, listener, ends) as raw:
        client = raw_commands(raw)
        client.publish(channel, "x" * MESSAGE_SIZE)
        raw.put(b'{"op":"publish","channel":"a","data":"' + b"x" * (6 * MESSAGE_SIZE + 32 * KIB) + b'"}')
        answer = client.get()
        assert (answer["op"], answer["code"]) == ("error", "too-large")
        assert raw.is_closed() if ends is None else client.has_nothing()


def test_a_listener_with_ping_says_pong_after_format_json(server: Server) -> None:
    with Raw(server, PINGS) as raw:
        client = raw_commands(raw)
        assert client.get() == {"op": "pong"}
