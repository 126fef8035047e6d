# SPDX-License-Identifier: MIT
"""The command protocol, over raw TCP after FORMAT json: every frame is checked against docs/schema by the client."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.client import publish, request, subscribers
from support.commands import FOLDER, Commands, check_answer, check_request, raw_commands, schema
from support.server import SOURCE, Server, wait_until
from support.tcp import Raw

CRLF, NUL, LEN32 = range(3)
ENDS = {CRLF: b"\r\n", NUL: b"\0", LEN32: None}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    options = [word for text in ("crlf", "nul", "len32") for word in ("--tcp", f"127.0.0.1:0 framing={text}")]
    with Server(*options, "--message-size", "2000000", "--history-size", "3000", "--shards", "2") as running:
        yield running


@contextmanager
def commands(server: Server, index: int = CRLF) -> Iterator[Commands]:
    with Raw(server, index, ENDS[index]) as raw:
        yield raw_commands(raw)


@pytest.mark.parametrize("index", [CRLF, NUL, LEN32])
def test_every_command_and_its_answer(server: Server, channel: str, index: int) -> None:
    with commands(server, index) as client:
        answer = client.subscribe(channel)
        assert answer["recovered"] is False and answer["cursor"].endswith("-0")
        name = client.publish(channel, "follow the white rabbit", event="hint", producer="trinity")
        message = client.next_message()
        assert message == {"op": "message", "channel": channel, "id": name, "time": message["time"], "event": "hint",
                           "producer": "trinity", "type": "text", "data": "follow the white rabbit"}
        del message["op"]
        assert client.history(channel) == {"op": "history", "ref": 3, "channel": channel, "messages": [message], "cursor": name}
        assert client.ask("unsubscribe", channels=[channel])["channels"] == [channel]
        publish(server, channel)
        assert client.has_nothing()


def test_the_documented_objects_fit_their_schemas() -> None:
    def answers(thing: dict[str, Any]) -> bool:
        """Commands whose answers have the same op."""
        return "messages" in thing or "members" in thing

    text = (SOURCE / "docs" / "PROTOCOL.md").read_text()
    section = text[text.index("\n## Commands\n"):text.index("\n## Look and manage\n")]
    objects = [json.loads(line) for line in section.splitlines() if line.startswith("    {")]
    asked = [thing["op"] for thing in objects if (FOLDER / "request" / f"{thing['op']}.json").exists() and not answers(thing)]
    answered = [thing["op"] for thing in objects if thing["op"] not in asked or answers(thing)]
    for thing in objects:
        (check_answer if thing["op"] in answered and (thing["op"] not in asked or answers(thing)) else check_request)(thing)
    assert set(asked) == {path.stem for path in (FOLDER / "request").glob("*.json")}
    assert set(answered) == {path.stem for path in (FOLDER / "answer").glob("*.json")}


# Answers and their order.


@pytest.mark.parametrize("ref", [0, -1, 2**53, 10**63, "", "a", 64 * "x", "ü\"\\\n\0", "\N{PILE OF POO}"], ids=repr)
def test_an_answer_has_the_ref_of_its_command(server: Server, ref: Any) -> None:
    with commands(server, NUL) as client:
        assert client.ask("ping", ref=ref) == {"op": "pong", "ref": ref}
        assert client.ask_text(json.dumps({"op": "publish", "channel": "a//b", "data": 1, "ref": ref}))["ref"] == ref


@pytest.mark.parametrize("ref", ["1.0", "1e3", "null", "true", "[1]", "{}", f'"{65 * "x"}"', "1" + 64 * "0", "-" + 64 * "1", '"' + 11 * "\\u0041" + '"'])
def test_a_bad_ref_is_refused_without_one(server: Server, ref: str) -> None:
    with commands(server) as client:
        answer = client.ask_text('{"op":"ping","ref":%s}' % ref)
        assert answer["code"] == "bad-command" and "ref" not in answer and '"ref"' in answer["message"]
        assert client.has_nothing()


def test_a_command_without_a_ref_is_answered_without_one(server: Server) -> None:
    with commands(server) as client:
        assert client.ask_text('{"op":"ping"}') == {"op": "pong"}
        assert "ref" not in client.ask_text('{"op":"fly"}')


@pytest.mark.parametrize(("text", "code", "says"), [
    ('{"op":"ping"', "bad-json", "line 1"),
    ('{"op":"ping"}}', "bad-json", "not JSON"),
    ('{"op":"\ud800"}'.encode("utf-8", "surrogatepass").decode("latin-1"), "bad-json", ""),
    ('{"ref":' + 3000 * "[" + 3000 * "]" + "}", "bad-json", ""),
    ('{"ref":1}', "bad-command", '"op" is missing'),
    ('{"op":7}', "bad-command", '"op" must be a string'),
    ('{"op":"fly"}', "bad-command", 'no such "op"'),
    ('{"op":"message"}', "bad-command", 'no such "op"'),
    ('{"op":"ping","channel":"a"}', "bad-command", 'ping has no member "channel"; it has op and ref'),
    ('{"op":"ping","x":1}', "bad-command", 'ping has no member "x"'),
    ('{"op":"ping","op":"ping"}', "bad-command", '"op" is given twice'),
    ('{"op":"ping","ref":1,"ref":2}', "bad-command", '"ref" is given twice'),
    ('{"op":"subscribe"}', "bad-command", "no channel is named"),
    ('{"op":"subscribe","channels":[]}', "bad-command", "no channel is named"),
    ('{"op":"unsubscribe","channels":[]}', "bad-command", "no channel is named"),
    ('{"op":"subscribe","channels":"a"}', "bad-command", "array of strings"),
    ('{"op":"subscribe","channels":["a",1]}', "bad-command", "array of strings"),
    ('{"op":"subscribe","channel":["a"]}', "bad-command", '"channel" must be a string'),
    ('{"op":"subscribe","channel":"a","channels":["b"]}', "bad-command", "not both"),
    ('{"op":"subscribe","channel":"a//b"}', "bad-channel", "segment"),
    ('{"op":"subscribe","channel":""}', "bad-channel", ""),
    ('{"op":"subscribe","channel":"a\\u0000b"}', "bad-channel", ""),
    ('{"op":"unsubscribe","channels":["a","b c"]}', "bad-channel", ""),
    ('{"op":"subscribe","channel":"a","since":7}', "bad-command", '"since" must be a string'),
    ('{"op":"subscribe","channel":"a","since":"nonsense"}', "bad-cursor", "EPOCH-OFFSET"),
    ('{"op":"subscribe","channel":"a","since":"now","last":1}', "bad-option", "not both"),
    ('{"op":"subscribe","channel":"a","last":-1}', "bad-option", '"last" must be a whole number'),
    ('{"op":"subscribe","channel":"a","last":1.5}', "bad-option", '"last"'),
    ('{"op":"subscribe","channel":"a","last":"1"}', "bad-option", '"last"'),
    ('{"op":"subscribe","channel":"a","last":18446744073709551616}', "bad-option", '"last"'),
    ('{"op":"history"}', "bad-command", "no channel is named"),
    ('{"op":"history","channels":["a"]}', "bad-command", 'history has no member "channels"'),
    ('{"op":"history","channel":"a","limit":0}', "bad-option", '"limit" must be a whole number from 1 on'),
    ('{"op":"publish","data":1}', "bad-command", '"channel" is missing'),
    ('{"op":"publish","channel":"a"}', "bad-command", '"data" is missing'),
    ('{"op":"publish","channel":"a b","data":1}', "bad-channel", ""),
    ('{"op":"publish","channel":"a","data":1,"since":"now"}', "bad-command", 'publish has no member "since"'),
    ('{"op":"publish","channel":"a","data":1,"ttl":0}', "bad-command", '"ttl"'),
    ('{"op":"publish","channel":"a","data":1,"type":"xml"}', "bad-command", '"type" must be text, json or binary'),
    ('{"op":"publish","channel":"a","data":"&","type":"binary"}', "bad-command", "not base64"),
    ('{"op":"publish","channel":"a","data":"AA\\u00e9","type":"binary"}', "bad-command", "not base64"),
    ('{"op":"publish","channel":"a","data":1,"event":"reset"}', "bad-option", "reset"),
    ('{"op":"publish","channel":"a","data":1,"idempotency_key":"a\\nb"}', "bad-option", "Idempotency-Key"),
    ('{"op":"auth"}', "bad-command", '"token" is missing'),
    ('{"op":"auth","token":"x"}', "bad-token", "the token"),
    ('{"op":"presence","channel":"a"}', "no-presence", "presence is no"),
])
def test_what_is_wrong_is_said_and_the_connection_goes_on(server: Server, text: str, code: str, says: str) -> None:
    if code in ("bad-command", "bad-cursor", "bad-channel", "bad-option") and not any(word in says for word in ("twice", "\"op\"", "base64")):
        thing = json.loads(text)
        assert thing.get("last") == 2**64 or not schema("request", thing["op"]).is_valid(thing), "the schema allows it"
    with Raw(server, NUL, b"\0") as raw:
        client = raw_commands(raw)
        raw.put(text.encode("latin-1"))
        answer = client.get()
        assert (answer["op"], answer["code"]) == ("error", code) and says in answer["message"], answer
        assert client.has_nothing()


def test_a_command_must_be_an_object(server: Server) -> None:
    """What does not begin with a brace is a command in words."""
    with Raw(server) as raw:
        raw_commands(raw)
        assert raw.ask(b"[1]") == b"UNKNOWN COMMAND"


def test_names_may_be_escaped(server: Server, channel: str) -> None:
    name = channel.replace("/", "\\/").replace("t", "\\u0074")
    with commands(server) as client:
        assert client.ask_text('{"o\\u0070":"sub\\u0073cribe","channels":["%s"]}' % name)["channels"] == [channel]
        assert client.ask_text('{"op":"publish","channel":"%s","data":"\\u00e9"}' % name)["channel"] == channel
        assert client.next_data() == "é"
        assert client.ask_text('{"op":"history","channel":"%s"}' % name)["channel"] == channel
        assert client.ask_text('{"op":"unsubscribe","channel":"%s"}' % name)["channels"] == [channel]


def test_the_largest_command_is_taken_and_one_byte_more_is_not() -> None:
    with Server("--tcp", "127.0.0.1:0 framing=crlf", "--message-size", "1000") as small, commands(small) as client:
        most = 6 * 1000 + 32768
        text = '{"op":"ping"%s}'
        room = most - len(text % "")
        assert client.ask_text(text % (room * " ")) == {"op": "pong"}
        answer = client.ask_text(text % ((room + 1) * " "))
        assert answer["code"] == "too-large" and str(most) in answer["message"]
        assert client.publish("a", 1000 * "\0")
        assert client.error("publish", channel="a", data=1001 * "x") == "too-large"
        assert client.has_nothing()


# Subscribing.


def test_subscribed_comes_before_messages_and_nothing_after_unsubscribed(server: Server, channel: str) -> None:
    for number in range(20):
        publish(server, channel, str(number))
    with commands(server) as client, commands(server) as other:
        for _ in range(10):
            client.put("subscribe", channel=channel, since="earliest")
            client.put("publish", channel=channel, data="x")
            client.put("unsubscribe", channel=channel)
            other.publish(channel, "y")
            client.put("ping")
            ops = [client.get()["op"] for _ in range(4)]
            while ops[-1] != "pong":
                ops.append(client.get()["op"])
            assert ops[0] == "subscribed" and "message" not in ops[ops.index("unsubscribed"):], ops
    wait_until(lambda: subscribers(server, channel)["total"] == 0)


def test_a_joined_cursor_goes_on_in_each_channel(server: Server, channel: str) -> None:
    names = [f"{channel}/{letter}" for letter in "abc"]
    with commands(server) as client:
        cursor = client.subscribe(*names)["cursor"]
        assert len(cursor.split(".")) == 3
        seen = {}
        for number in range(9):
            client.publish(names[number % 3], number)
            message = client.next_message()
            assert message["data"] == number
            seen[message["channel"]] = message["id"]
    for name in names:
        publish(server, name, "later")
    with commands(server) as client:
        assert client.subscribe(*reversed(names), since=".".join(seen.values()))["recovered"] is True
        assert sorted((client.next_message()["channel"]) for _ in names) == names
        assert client.has_nothing()
    with commands(server) as client:
        assert client.subscribe(*names, since=cursor)["recovered"] is True
        assert len([client.next_message() for _ in range(12)]) == 12
        assert client.has_nothing()
        assert client.subscribe(f"{channel}/elsewhere", since=cursor)["recovered"] is False


def test_the_cursor_of_the_answer_is_where_the_feed_begins(server: Server, channel: str) -> None:
    publish(server, channel, "1")
    with commands(server) as client:
        cursor = client.subscribe(channel, last=1)["cursor"]
        assert client.next_data() == "1"
    for since in (cursor, f"{cursor}~17"):  # an ETag of a long-poll may have a number behind it
        with commands(server) as client:
            assert client.subscribe(channel, since=since)["recovered"] is True
            assert client.next_data() == "1"


@pytest.mark.parametrize(("members", "data"), [
    ({}, []), ({"since": "now"}, []), ({"since": ""}, []), ({"last": 0}, []), ({"last": 2}, ["2", "3"]), ({"since": "last=1"}, ["3"]),
    ({"since": "earliest"}, ["1", "2", "3"]), ({"last": 2**64 - 1}, ["1", "2", "3"]),
])
def test_where_a_subscription_begins(server: Server, channel: str, members: dict[str, Any], data: list[str]) -> None:
    for text in "123":
        publish(server, channel, text)
    with commands(server) as client:
        assert client.subscribe(channel, **members)["recovered"] is False
        assert [client.next_data() for _ in data] == data
        assert client.has_nothing()


def test_what_was_missed_is_told(server: Server, channel: str) -> None:
    name = publish(server, channel, "1")
    request(server, "DELETE", f"/api/channels/{channel}")
    publish(server, channel, "2")
    with commands(server) as client:
        answer = client.subscribe(channel, f"{channel}/other", since=name)
        assert answer["recovered"] is False
        reset = client.get()
        assert reset["op"] == "reset" and reset["channel"] == channel and reset["reason"] in ("epoch", "purged")
        assert client.next_data() == "2"
        request(server, "DELETE", f"/api/channels/{channel}")
        assert client.take("reset")["reason"] == "purged"


def test_a_trimmed_and_a_future_cursor_are_told(server: Server, channel: str) -> None:
    with commands(server) as client:
        first = client.publish(channel, 0)
        for number in range(1, 3011):
            client.put("publish", channel=channel, data=number)
        for _ in range(3010):
            client.take("published")
        answer = client.subscribe(channel, since=first)
        assert answer["recovered"] is False
        reset = client.get()
        assert (reset["op"], reset["reason"], reset["missed"]) == ("reset", "trimmed", 10)
        assert client.next_data() == 11
        client.ask("unsubscribe", channel=channel)
        client.kept.clear()
        future = first.split("-")[0] + "-99999"
        assert client.subscribe(channel, since=future)["recovered"] is False
        assert client.take("reset")["reason"] == "future"


def test_a_channel_is_subscribed_once(server: Server, channel: str) -> None:
    other = f"{channel}/other"
    with commands(server) as client:
        client.subscribe(channel)
        assert client.error("subscribe", channel=channel) == "already-subscribed"
        answer = client.ask("subscribe", channels=[other, channel])
        assert answer["code"] == "already-subscribed" and channel in answer["message"]
        assert client.ask_text('{"op":"subscribe","channels":["%s","%s"]}' % (other, other))["code"] == "already-subscribed"
        wait_until(lambda: subscribers(server, other)["total"] == 0)
        client.publish(channel, "once")
        assert client.next_data() == "once"
        assert client.has_nothing()


def test_a_connection_has_so_many_channels(server: Server, channel: str) -> None:
    names = [f"{channel}/{number}" for number in range(1024)]
    with commands(server) as client:
        assert client.ask_text(json.dumps({"op": "subscribe", "channels": names[:65]}))["code"] == "too-many-channels"
        for at in range(0, 1024, 64):
            client.subscribe(*names[at:at + 64])
        assert client.error("subscribe", channel=channel) == "too-many-channels"
        client.publish(names[1000], "x")
        assert client.next_data() == "x"
        assert client.ask_text(json.dumps({"op": "unsubscribe", "channels": 1025 * ["a"]}))["code"] == "too-many-channels"
        assert client.ask("unsubscribe", channels=1024 * ["a"])["channels"] == 1024 * ["a"]
        assert sorted(client.ask("unsubscribe")["channels"]) == sorted(names)
        client.subscribe(channel)


def test_unsubscribing_names_what_is_not_subscribed_any_more(server: Server, channel: str) -> None:
    a, b = f"{channel}/a", f"{channel}/b"
    with commands(server) as client:
        client.subscribe(a, b)
        assert client.ask("unsubscribe", channels=[a, channel])["channels"] == [a, channel]
        assert client.ask("unsubscribe")["channels"] == [b]
        assert client.ask("unsubscribe")["channels"] == []
        publish(server, a)
        publish(server, b)
        assert client.has_nothing()


def test_words_and_json_have_the_same_subscriptions(server: Server, channel: str) -> None:
    name = channel.encode()
    with Raw(server) as raw:
        client = raw_commands(raw)
        client.subscribe(channel)
        assert raw.ask(b"SUBSCRIBE " + name) == b"ALREADY SUBSCRIBED"
        assert raw.ask(b"UNSUBSCRIBE " + name) == b"CONFIRMED"
        assert raw.ask(b"UNSUBSCRIBE " + name) == b"ALREADY UNSUBSCRIBED"
        assert raw.ask(b"SUBSCRIBE " + name) == b"CONFIRMED"
        assert client.error("subscribe", channel=channel) == "already-subscribed"
        publish(server, channel, "x")
        assert client.next_data() == "x"
        assert client.ask("unsubscribe")["channels"] == [channel]
        assert raw.ask(b"SUBSCRIBE " + name) == b"CONFIRMED"
        assert raw.ask(b"FORMAT raw") == b"CONFIRMED"
        publish(server, channel, "y")
        assert raw.take() == b"y"
        assert raw.ask(b'{"op":"ping"}') == b"UNKNOWN COMMAND"


def test_words_are_answered_behind_the_json_before_them(server: Server, channel: str) -> None:
    with Raw(server) as raw:
        raw_commands(raw)
        raw.put(*(json.dumps({"op": "publish", "channel": channel, "data": number}).encode() for number in range(50)),
                json.dumps({"op": "subscribe", "channel": channel, "since": "earliest"}).encode(), b"PING")
        answers = [raw.take() for _ in range(52)]
        answers += [raw.take() for _ in range(50)]
        assert [json.loads(answer)["op"] for answer in answers[:50]] == 50 * ["published"]
        assert answers.index(b"PONG") > [b'"subscribed"' in answer for answer in answers].index(True)


def test_a_listeners_feed_is_told_as_objects_too() -> None:
    with Server("--tcp", "127.0.0.1:0 framing=crlf feed=updates ping=1") as fed, Raw(fed) as raw:
        client = raw_commands(raw)
        publish(fed, "updates", "x")
        assert client.next_data() == "x"
        assert client.error("subscribe", channel="updates") == "already-subscribed"
        assert client.get() == {"op": "pong"}
        assert client.ask("unsubscribe")["channels"] == ["updates"]


# Publishing.


@pytest.mark.parametrize(("members", "type_", "data"), [
    ({"data": "x"}, "text", "x"), ({"data": {"a": [1, None]}}, "json", {"a": [1, None]}), ({"data": None}, "json", None),
    ({"data": "x", "type": "json"}, "json", "x"), ({"data": "AP8=", "type": "binary"}, "binary", "AP8="), ({"data": ""}, "text", ""),
])
def test_data_is_published_as_its_type_says(server: Server, channel: str, members: dict[str, Any], type_: str, data: Any) -> None:
    with commands(server, NUL) as client:
        client.subscribe(channel)
        answer = client.ask("publish", channel=channel, ttl=60, **members)
        assert answer["type"] == type_
        message = client.next_message()
        assert (message["type"], message["data"], message["id"], message["time"]) == (type_, data, answer["id"], answer["time"])


def test_a_repeated_key_is_answered_with_the_first_id(server: Server, channel: str) -> None:
    with commands(server) as client:
        first = client.ask("publish", channel=channel, data=1, idempotency_key="k")
        again = client.ask("publish", channel=channel, data=2, idempotency_key="k")
        assert again == {**first, "ref": again["ref"], "duplicate": True}
        assert len(client.history(channel)["messages"]) == 1


def test_publishes_are_answered_in_their_order(server: Server, channel: str) -> None:
    with commands(server) as client:
        refs = [client.put("publish", channel=f"{channel}/{number % 7}", data=number, ttl=60 if number % 5 else 2**70) for number in range(3000)]
        answers = [client.get() for _ in refs]
        assert [answer["ref"] for answer in answers] == refs
        assert [answer["op"] for answer in answers[:6]] == ["error", *(4 * ["published"]), "error"]


def test_large_publishes_wait_for_room(server: Server, channel: str) -> None:
    """Far more than a connection may have on its way."""
    with commands(server) as client:
        text = 1_500_000 * "x"
        sender = threading.Thread(target=lambda: [client.put("publish", channel=channel, data=text) for _ in range(8)])
        sender.start()
        assert [client.get()["op"] for _ in range(8)] == 8 * ["published"]
        sender.join()


# History.


def test_history_in_parts_is_the_whole(server: Server, channel: str) -> None:
    with commands(server) as client:
        names = [client.publish(channel, number) for number in range(700)]
        answer = client.history(channel, limit=300)
        seen = []
        while answer.get("more"):
            assert len(answer["messages"]) == 300 and answer["cursor"] == answer["messages"][-1]["id"]
            seen += answer["messages"]
            answer = client.history(channel, limit=300, since=answer["cursor"])
        seen += answer["messages"]
        assert [message["id"] for message in seen] == names and answer["cursor"] == names[-1]
        assert [message["data"] for message in client.history(channel, last=2)["messages"]] == [698, 699]
        exactly = client.history(channel, last=300, limit=300)
        assert len(exactly["messages"]) == 300 and "more" not in exactly
        now = client.history(channel, since="now")
        assert now["messages"] == [] and now["cursor"] == names[-1]


def test_an_answer_has_at_most_a_mebibyte_or_one_message(server: Server, channel: str) -> None:
    with commands(server) as client:
        for size in (400_000, 400_000, 400_000, 1_900_000, 10):
            client.publish(channel, size * "x")
        parts = []
        answer: dict[str, Any] = {"cursor": "earliest", "more": True}
        while answer.get("more"):
            answer = client.history(channel, since=answer["cursor"])
            parts.append([len(message["data"]) for message in answer["messages"]])
        assert parts == [[400_000, 400_000], [400_000], [1_900_000], [10]]


def test_many_histories_at_once_are_all_answered(server: Server, channel: str) -> None:
    with commands(server) as client:
        for _ in range(5):
            client.publish(channel, 200_000 * "x")
        refs = [client.put("history", channel=channel) for _ in range(60)]
        answers = [client.get() for _ in refs]
        assert sorted(answer["ref"] for answer in answers) == refs
        assert all(len(answer["messages"]) == 5 for answer in answers)


def test_a_gap_in_history_is_told(server: Server, channel: str) -> None:
    with commands(server) as client:
        name = client.publish(channel, 1)
        request(server, "DELETE", f"/api/channels/{channel}")
        assert client.history(channel)["messages"] == []
        second = client.publish(channel, 2)
        answer = client.history(channel, since=name)
        assert answer["reset"]["reason"] in ("epoch", "purged") and answer["reset"]["channel"] == channel
        assert [message["id"] for message in answer["messages"]] == [second] and answer["cursor"] == second
        assert "reset" not in client.history(channel, since=answer["reset"]["cursor"])
        only = client.history(channel, since=name, limit=1)
        assert "more" not in only and only["messages"] == answer["messages"]


def test_history_of_a_channel_that_nobody_uses(server: Server, channel: str) -> None:
    with commands(server) as client:
        assert client.history(channel)["messages"] == []
        wait_until(lambda: subscribers(server, channel)["total"] == 0)


# The end.


def test_a_half_closed_client_gets_every_answer(server: Server, channel: str) -> None:
    with Raw(server) as raw:
        client = raw_commands(raw)
        for number in range(100):
            client.put("publish", channel=channel, data=number)
        client.put("history", channel=channel)
        client.put("subscribe", channel=channel, since="earliest")
        client.put("ping")
        raw.socket.shutdown(socket.SHUT_WR)
        frames = [json.loads(line) for line in raw.read_to_end().split(b"\r\n") if line]
        ops = [frame["op"] for frame in frames]
        assert ops.count("published") == ops.count("message") == 100
        assert ops.count("history") == ops.count("subscribed") == ops.count("pong") == 1


def test_a_client_that_goes_in_the_middle_leaves_nothing(server: Server, channel: str) -> None:
    for _ in range(20):
        with commands(server) as client:
            for number in range(20):
                client.put("subscribe", channel=f"{channel}/{number}", since="earliest")
                client.put("publish", channel=f"{channel}/{number}", data=number)
                client.put("history", channel=f"{channel}/{number}")
    wait_until(lambda: all(subscribers(server, f"{channel}/{number}")["total"] == 0 for number in range(20)))
