# SPDX-License-Identifier: MIT
"""What docs/PRESENCE.md says of who is in a channel and of what happens to it, and PROTOCOL.md, TCP.md and CHANNELS.md where they speak of that: each
sentence, on every transport that it names, in memory and over two nodes with Redis."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from support.client import Connection, EventStream, LineStream, get, path_of, publish, request, request_bytes
from support.commands import raw_commands
from support.readers import KINDS, LISTENERS, REDIS_CLIENTS, Reader
from support.reloading import Reloading
from support.server import SOURCE, Server, wait_until
from support.sockjs_commands import Commands
from support.tcp import Raw
from support.tokens import bearer, make_token, secret_file
from support.ways import TCP, Place, kept

PAGE = (SOURCE / "docs" / "PRESENCE.md").read_text()
SECTIONS = """
[channel "rooms/**"]
presence = yes
events = yes
presence-grace = 300ms
[channel "slow/**"]
presence = yes
presence-grace = 1m
"""
# What stands in the list, and in /api/channels/NAME, for each kind.
TRANSPORTS = {"stream": "stream", "sse": "sse", "sse-objects": "sse", "poll": "poll", "json": "poll", "websocket": "websocket", "websocket-raw": "websocket",
              "ws": "websocket", "sockjs-xhr": "sockjs", "sockjs-websocket": "sockjs", "sockjs-eventsource": "sockjs", "lines": "tcp", "tcp-crlf": "tcp",
              "tcp-nul": "tcp", "tcp-len32": "tcp", "resp": "tcp", "resp-3": "tcp"}
BY_HTTP = ("stream", "sse", "sse-objects", "poll", "json", "websocket", "websocket-raw")
BY_COMMAND = ("ws", "sockjs-xhr", "sockjs-websocket", "sockjs-eventsource", "lines")
BY_LINE = ("tcp-crlf", "tcp-nul", "tcp-len32")
assert set(BY_HTTP) | set(BY_COMMAND) | set(BY_LINE) == set(KINDS)


@pytest.fixture
def room(channel: str) -> str:
    return channel.replace("test/", "rooms/")


def listed(server: Server, room: str, query: str = "", **headers: str) -> Any:
    answer = get(server, f"/api/channels/{room}/presence{query}", **headers)
    assert answer.status == 200, answer
    return answer.json


def names(server: Server, room: str) -> list[str]:
    return [member["name"] for member in listed(server, room, "?limit=1000")["members"]]


@contextlib.contextmanager
def present(server: Server, kind: str, room: str, name: str, info: Any = None) -> Iterator[Any]:
    """Subscribed by this name, as the table of the page has it for the kind."""
    words = {"as": name, **({} if info is None else {"info": json.dumps(info)})}
    if kind in BY_HTTP:
        # A poll that only looks is a subscription too, and over when it is answered.
        with Reader(server, kind, room, query=tuple(words.items())) as reader:
            yield reader
        return
    if kind in BY_LINE:
        index = BY_LINE.index(kind)
        with Raw(server, index, (b"\r\n", b"\0", None)[index]) as client:
            assert client.ask(f"AS {name} {words.get('info', '')}".rstrip().encode()) == b"CONFIRMED"
            assert client.ask(f"SUBSCRIBE {room}".encode()) == b"CONFIRMED"
            yield client
        return
    if kind == "lines":
        with Raw(server, TCP) as client:
            commands = raw_commands(client)
            commands.subscribe(room, **{"as": name}, **({} if info is None else {"info": info}))
            yield commands
        return
    with Commands(server, kind.removeprefix("sockjs-")) as commands:
        commands.subscribe(room, **{"as": name}, **({} if info is None else {"info": info}))
        yield commands


class Watcher(EventStream):
    """Reads NAME/$presence: event by event and member by member."""

    def __init__(self, server: Server, room: str) -> None:
        super().__init__(server, path_of(room + "/$presence"))
        assert self.next_block().event == "subscribed"
        self.pending: list[tuple[str, dict[str, Any]]] = []

    def next_change(self) -> tuple[str, dict[str, Any]]:
        while not self.pending:
            event = self.next_event()
            assert set(json.loads(event.data)) == {"members"}, event
            self.pending += [(event.event, member) for member in json.loads(event.data)["members"]]
        return self.pending.pop(0)


# Who.

@pytest.mark.parametrize("kind", KINDS)
def test_each_transport_says_who_in_its_own_words(place: Place, room: str, kind: str) -> None:
    with Watcher(place.there, room) as watcher:
        with present(place.here, kind, room, "ann", {"mood": "good"}):
            word, told = watcher.next_change()
            assert word == "join" and set(told) == {"name", "info", "since", "node", "transport"}
            assert (told["name"], told["info"], told["transport"]) == ("ann", {"mood": "good"}, TRANSPORTS[kind])
            assert abs(told["since"] - time.time() * 1000) < 600_000
            found = listed(place.there, room)
            assert (found["channel"], found["members"], found["count"]) == (room, [told], 1)
        assert watcher.next_change() == ("leave", {"name": "ann"}), "a leave has the name only"
        assert listed(place.there, room)["members"] == []


@pytest.mark.parametrize("kind", [kind for kind in (*KINDS, *REDIS_CLIENTS) if kind not in ("poll", "json")])
def test_without_a_name_one_is_counted(place: Place, room: str, kind: str) -> None:
    with Reader(place.here, kind, room):
        found = wait_until(lambda: (seen := listed(place.there, room))["anonymous"] == 1 and seen)
        assert found["members"] == [] and found["count"] == 0
        assert get(place.here, f"/api/channels/{room}").json["subscribers"][TRANSPORTS[kind]] == 1
    wait_until(lambda: listed(place.there, room)["anonymous"] == 0)


def test_a_poll_that_waits_without_a_name_is_counted(place: Place, room: str) -> None:
    with Connection(place.here) as connection:
        connection.send(request_bytes("GET", path_of(room)))
        wait_until(lambda: listed(place.there, room)["anonymous"] == 1)


@pytest.mark.parametrize("target", ["?transport=sse", "?transport=stream", "?transport=json", "", "?transport=xhr", "?transport=multipart"])
def test_headers_say_who_over_http(place: Place, room: str, target: str) -> None:
    with Connection(place.here) as connection:
        connection.send(request_bytes("GET", path_of(room) + target, **{"Sluice-As": "änn".encode().decode("latin-1"), "Sluice-Info": '{"n": 1}'}))
        found = wait_until(lambda: listed(place.there, room)["members"])
        assert (found[0]["name"], found[0]["info"]) == ("änn", {"n": 1})
        assert found[0]["transport"] == {"sse": "sse", "stream": "stream", "json": "poll", "": "poll"}.get(target[11:], "legacy")


def test_what_a_command_says_counts_for_what_the_connection_subscribes_to_later(place: Place, room: str) -> None:
    with Commands(place.here, "ws") as client:
        client.subscribe(room, **{"as": "ann"}, info=1)
        client.subscribe(room + "/b")
        assert wait_until(lambda: [(each["name"], each["info"]) for each in listed(place.there, room + "/b")["members"]]) == [("ann", 1)]
    with Commands(place.here, "raw") as client:
        client.ask("presence", channel=room, **{"as": "bob"})
        assert "bob" not in names(place.there, room), "who is not subscribed is not present"
        client.subscribe(room + "/c")
        assert wait_until(lambda: names(place.there, room + "/c")) == ["bob"]


def test_one_name_is_one_person_however_many_transports_and_nodes(place: Place, room: str) -> None:
    with Watcher(place.there, room) as watcher, contextlib.ExitStack() as stack:
        stack.enter_context(present(place.here, "stream", room, "ann", 1))
        assert watcher.next_change()[0] == "join"
        since = listed(place.there, room)["members"][0]["since"]
        for kind in KINDS:
            stack.enter_context(present(place.there, kind, room, "ann"))
        found = wait_until(lambda: listed(place.there, room)["members"])
        assert len(found) == 1 and (found[0]["info"], found[0]["since"]) == (1, since), "who gives none leaves it as it was; since he came by any connection"
        if place.redis:
            node = found[0]["node"]
            with present(place.there, "sse", room, "zoe"):
                assert watcher.next_change()[1]["node"] == node, "that of the node that he has come to last"
            assert watcher.next_change()[0] == "leave"
        else:
            assert found[0]["transport"] == TRANSPORTS[KINDS[-1]], "that of the newest connection"
        stack.enter_context(present(place.here, "stream", room, "zoe"))
        word, told = watcher.next_change()
        assert (word, told["name"]) == ("join", "zoe"), "nothing else was told"


def test_the_info_given_last_counts(place: Place, room: str) -> None:
    with Watcher(place.there, room) as watcher, present(place.here, "stream", room, "ann", "first"):
        assert watcher.next_change()[1]["info"] == "first"
        with present(place.there, "ws", room, "ann", "second") as client:
            word, told = watcher.next_change()
            assert (word, told["info"]) == ("update", "second")
            client.ask("presence", channel=room, info=["third", 3])
            assert watcher.next_change()[1]["info"] == ["third", 3]


@pytest.mark.parametrize("text", ["{}", "[ 1 ,\t2 ]", "null", '"\\u00e4"', '"' + "x" * 1022 + '"', "1e400", "123456789012345678901234567890", '{"a":1,"a":2}'], ids=lambda text: text[:9])
def test_infos_of_any_json(place: Place, room: str, text: str) -> None:
    with LineStream(place.here, f"/channels/{room}?as=ann&info={quote(text)}") as stream:
        stream.next_line()
        answer = wait_until(lambda: (seen := get(place.there, f"/api/channels/{room}/presence")).json["count"] and seen)
        shown = re.search(r'"info":(.*),"since"', answer.body.decode())
        assert shown and re.sub(r"\s", "", shown[1]) == re.sub(r"\s", "", text)


@pytest.mark.parametrize(("name", "is_taken"), [("x" * 255, True), ("x" * 256, False), ("é" * 127, True), ("é" * 128, False), ("", False), ("a\tb", False), ("a\x7f", False), ("a\x85b", False), ("a b", True)],
                         ids=lambda value: repr(value)[:9])
def test_names_of_1_to_255_bytes_on_every_transport(memory: Place, room: str, name: str, is_taken: bool) -> None:
    answer = get(memory.here, f"/channels/{room}?wait=0&as={quote(name)}")
    assert answer.status == (204 if is_taken else 400) and (is_taken or answer.error == "bad-option")
    for kind in ("ws", "xhr"):
        with Commands(memory.here, kind) as client:
            for op in ("subscribe", "presence"):
                told = client.ask_text(json.dumps({"op": op, "channel": room, "as": name})) if op == "subscribe" else None
                if told is None:
                    client.put_text(json.dumps({"op": op, "channel": room, "as": name}))
                    told = client.take("presence", "error")
                assert (told["op"] != "error") is is_taken and (is_taken or told["code"] == "bad-option"), (kind, op, told)
    with Raw(memory.here, TCP) as client:
        told = client.ask(b"AS " + name.encode())
        assert told == b"CONFIRMED" if is_taken and " " not in name else told.startswith(b"ERROR bad-")


def test_one_stays_for_the_grace_and_comes_back_without_a_word(place: Place, channel: str) -> None:
    room = channel.replace("test/", "slow/")
    with Watcher(place.there, room) as watcher:
        for kind in ("stream", "sse", "poll", "ws", "tcp-crlf"):
            with present(place.here, kind, room, "ann"):
                pass
        assert names(place.there, room) == ["ann"]
        with present(place.here, "stream", room, "bob"):
            assert [watcher.next_change()[1]["name"] for _ in range(2)] == ["ann", "bob"]


@pytest.mark.parametrize("kind", ["ws", "sockjs-xhr", "lines"])
def test_a_history_makes_nobody_present(place: Place, room: str, kind: str) -> None:
    publish(place.here, room, "x")
    with present(place.here, kind, room + "/other", "ann") as client:
        client.history(room)
        client.ask("presence", channel=room)
        found = listed(place.there, room)
        assert (found["count"], found["anonymous"]) == (0, 0)


def test_who_unsubscribes_is_not_present_any_more(place: Place, room: str) -> None:
    with Watcher(place.there, room) as watcher, present(place.here, "ws", room, "ann") as client:
        assert watcher.next_change()[0] == "join"
        client.ask("unsubscribe", channel=room)
        assert watcher.next_change() == ("leave", {"name": "ann"})


def test_who_follows_all_below_is_in_each_of_the_channels(place: Place, room: str) -> None:
    publish(place.here, f"{room}/a", "x")
    with LineStream(place.here, path_of(f"{room}/**", **{"as": "ann"})) as stream:
        stream.next_line()
        assert wait_until(lambda: names(place.there, f"{room}/a")) == ["ann"]


# Tokens.

def test_a_token_s_subject_wins_and_one_without_it_may_use_any_name(room: str) -> None:
    with Server("--presence", "yes", "--jwt-key", f"HS256:{secret_file()}", *LISTENERS) as server:
        own, nameless = make_token([room], sub="carl"), make_token([room])
        with LineStream(server, path_of(room, **{"as": "ann"}), **bearer(own)) as one, LineStream(server, path_of(room, **{"as": "dora"}), **bearer(nameless)) as other, \
                Raw(server, TCP) as raw:
            one.next_line(), other.next_line()
            assert raw.ask(b"AS eve") == b"CONFIRMED" and raw.ask(b"AUTH " + own.encode()) == b"CONFIRMED" and raw.ask(f"SUBSCRIBE {room}".encode()) == b"CONFIRMED"
            found = listed(server, room, **bearer(nameless))
            assert [each["name"] for each in found["members"]] == ["carl", "dora"]


def test_the_list_is_for_who_may_subscribe_and_for_administrators(room: str) -> None:
    with Server("--presence", "yes", "--jwt-key", f"HS256:{secret_file()}", "--admin", "127.0.0.1:0") as server:
        path = f"/api/channels/{room}/presence"
        for token, status in ((make_token([room]), 200), (make_token(["rooms/**"]), 200), (make_token(admin=True), 200), (make_token(publish=[room]), 403), (make_token(["x"]), 403)):
            assert get(server, path, **bearer(token)).status == status
            may_subscribe = get(server, path_of(room, wait=0), **bearer(token)).status == 204
            assert (get(server, path_of(room + "/$presence", wait=0), **bearer(token)).status == 204) is may_subscribe
        assert get(server, path).error == "no-token"
        assert get(server.at(server.listeners("admin")[0]), path).status == 200


# The list.

def test_a_list_is_by_name_byte_by_byte_and_goes_on(place: Place, room: str) -> None:
    wanted = sorted(["b", "a", "ab", "B", "ä", "z", "中", "10", "9"], key=str.encode)
    with contextlib.ExitStack() as stack:
        for i, name in enumerate(wanted):
            stack.enter_context(LineStream((place.here, place.there)[i % 2], f"/channels/{room}?as={quote(name)}")).next_line()
        wait_until(lambda: listed(place.there, room)["count"] == len(wanted))
        assert names(place.there, room) == wanted
        page = listed(place.here, room, "?limit=4")
        assert ([each["name"] for each in page["members"]], page["next"], page["count"]) == (wanted[:4], wanted[3], len(wanted))
        rest = listed(place.here, room, f"?after={quote(page['next'])}")
        assert [each["name"] for each in rest["members"]] == wanted[4:] and "next" not in rest
        with Commands(place.here, "ws") as client:
            answer = client.ask("presence", channel=room, limit=4, after=wanted[3])
            assert [each["name"] for each in answer["members"]] == wanted[4:8] and answer["next"] == wanted[7]
    for query in ("?limit=0", "?limit=1001", "?limit=x", "?afer=a"):
        assert get(place.here, f"/api/channels/{room}/presence{query}").error == "bad-option", query


def test_a_list_has_at_most_256_kib(place: Place, room: str) -> None:
    info = quote(json.dumps("i" * 1000))
    with contextlib.ExitStack() as stack:
        for i in range(300):
            stack.enter_context(Connection(place.here)).send(request_bytes("GET", f"/channels/{room}?transport=sse&as=p{i:03}&info={info}"))
        wait_until(lambda: listed(place.there, room, "?limit=1")["count"] == 300)
        answer = get(place.there, f"/api/channels/{room}/presence?limit=1000")
        assert 240 << 10 < len(answer.body) <= 257 << 10 and answer.json["next"] == answer.json["members"][-1]["name"]
        rest = listed(place.there, room, f"?limit=1000&after={answer.json['next']}")
        assert len(answer.json["members"]) + len(rest["members"]) == 300


def test_what_ends_in_presence_is_found_in_the_list_of_all(memory: Place, room: str) -> None:
    publish(memory.here, f"{room}/presence", "x")
    assert "members" in get(memory.here, f"/api/channels/{room}/presence").json
    assert [each["channel"] for each in get(memory.here, f"/api/channels?prefix={room}").json["channels"]][-1] == f"{room}/presence"


def test_a_channel_without_the_option_says_so_everywhere(memory: Place, channel: str) -> None:
    assert get(memory.here, f"/api/channels/{channel}/presence").error == "no-presence"
    for kind in ("ws", "xhr", "raw"):
        with Commands(memory.here, kind) as client:
            assert client.error("presence", channel=channel) == "no-presence"
    with Raw(memory.here, TCP) as raw:
        assert raw_commands(raw).error("presence", channel=channel) == "no-presence"


@pytest.mark.parametrize("kind", ["ws", "sockjs-websocket", "sockjs-xhr", "lines"])
def test_ten_new_things_at_once_and_then_twice_a_second(memory: Place, room: str, kind: str) -> None:
    with present(memory.here, kind, room, "ann") as client:
        answers = [client.ask("presence", channel=room, info=i) for i in range(14)]
        assert all(answer["op"] == "presence" for answer in answers[:9]), "what the subscription said may be one of the ten"
        wait_until(lambda: client.ask("presence", channel=room, info="more").get("code") == "presence-rate")
        wait_until(lambda: client.ask("presence", channel=room, info="later")["op"] == "presence")


# What changes.

@pytest.mark.parametrize("kind", [kind for kind in (*KINDS, *REDIS_CLIENTS) if kind not in ("poll", "json")])
def test_changes_are_told_over_any_transport(place: Place, room: str, kind: str) -> None:
    with Reader(place.there, kind, f"{room}/$presence") as reader:
        if kind == "websocket-raw":
            wait_until(lambda: get(place.there, f"/api/channels/{room}/$presence").json["subscribers"]["websocket"] == 1)
        with present(place.here, "stream", room, "ann", 1):
            told = reader.next()
            data = json.loads(told["data"]) if isinstance(told["data"], (str, bytes)) else told["data"]
            assert [(each["name"], each["info"], each["transport"]) for each in data["members"]] == [("ann", 1, "stream")]
            assert told.get("event", "join") == "join" and told.get("stored", False) is False


def test_a_poll_that_waits_is_told_a_change(place: Place, room: str) -> None:
    with Connection(place.there) as connection:
        connection.send(request_bytes("GET", path_of(f"{room}/$presence")))
        wait_until(lambda: get(place.there, f"/api/channels/{room}/$presence").json.get("subscribers", {}).get("poll") == 1)
        with present(place.here, "stream", room, "ann"):
            answer = connection.read_response()
            assert (answer.header("Sluice-Event"), answer.header("Sluice-Store")) == ("join", "no")
            assert answer.json["members"][0]["name"] == "ann"


def test_nothing_of_the_changes_is_kept(place: Place, room: str) -> None:
    with Watcher(place.there, room) as watcher, present(place.here, "stream", room, "ann"):
        watcher.next_change()
        assert kept(place.there, f"{room}/$presence") == []


def test_a_name_that_is_too_long_for_events_has_the_list(memory: Place) -> None:
    for size, is_told in ((245, True), (246, False)):
        name = "rooms/" + "n" * (size - 6)
        answer = get(memory.here, path_of(f"{name}/$presence", wait=0))
        assert answer.status == (204 if is_told else 400)
        with present(memory.here, "stream", name, "ann"):
            assert names(memory.here, name) == ["ann"]


def test_the_three_steps_of_the_page_miss_nobody(place: Place, room: str) -> None:
    with contextlib.ExitStack() as stack:
        for i in range(5):
            stack.enter_context(present(place.here, "stream", room, f"early{i}"))
        watcher = stack.enter_context(Watcher(place.there, room))
        for i in range(5):
            stack.enter_context(present(place.here, "stream", room, f"late{i}"))
        people = {each["name"] for each in listed(place.there, room)["members"]}
        wanted = {f"{word}{i}" for word in ("early", "late") for i in range(5)}
        while people != wanted:
            word, member = watcher.next_change()
            people = people - {member["name"]} if word == "leave" else people | {member["name"]}


# Channel events.

@pytest.mark.parametrize("kind", [kind for kind in (*KINDS, *REDIS_CLIENTS) if kind not in ("poll", "json")])
def test_what_happens_to_a_channel_is_told_over_any_transport(place: Place, room: str, kind: str) -> None:
    with Reader(place.there, kind, f"$channel/{room}") as reader:
        if kind == "websocket-raw":
            wait_until(lambda: get(place.there, f"/api/channels/$channel/{room}").json["subscribers"]["websocket"] == 1)

        def told() -> tuple[str | None, Any]:
            message = reader.next()
            return message.get("event"), json.loads(message["data"]) if isinstance(message["data"], (str, bytes)) else message["data"]

        says_event = kind in ("stream", "sse", "sse-objects", "websocket", "ws", "lines") or kind.startswith("sockjs")
        publish(place.here, room, "x")
        assert told() == ("created" if says_event else None, {"channel": room})
        with LineStream(place.here, path_of(room)) as stream, LineStream(place.there, path_of(room)) as other:
            stream.next_line(), other.next_line()
            assert told()[0] in ("occupied", None)
        assert told()[0] in ("vacated", None)
        assert request(place.here, "DELETE", f"/api/channels/{room}").status == 200
        assert told() == ("purged" if says_event else None, {"channel": room})


def test_a_subscription_creates_a_channel_too_and_all_are_told_on_channel(place: Place, room: str) -> None:
    with EventStream(place.there, path_of("$channel")) as events:
        events.next_block()
        with LineStream(place.here, path_of(room)) as stream:
            stream.next_line()
            told = []
            while len(told) < 2:
                event = events.next_event()
                if json.loads(event.data)["channel"] == room:
                    told.append(event.event)
            assert told == ["created", "occupied"]


def test_channels_without_the_option_tell_nothing(place: Place, channel: str, room: str) -> None:
    with EventStream(place.there, path_of("$channel")) as events:
        events.next_block()
        publish(place.here, channel, "x")
        publish(place.here, room, "x")
        while (data := json.loads(events.next_event().data)["channel"]) != room:
            assert data != channel


def test_where_keys_are_the_events_want_a_grant_that_begins_with_a_dollar() -> None:
    with Reloading('subscribe = anyone\nevents = yes\n', "--jwt-key", f"HS256:{secret_file()}") as server:
        assert get(server, path_of("x", wait=0)).status == 204
        for name in ("$channel", "$channel/x"):
            assert get(server, path_of(name, wait=0)).error == "no-token"
            assert get(server, path_of(name, wait=0), **bearer(make_token(["**"]))).error == "forbidden-channel"
            assert get(server, path_of(name, wait=0), **bearer(make_token(["$channel", "$channel/**"]))).status == 204
    with Reloading('events = yes\n[channel "$channel/**"]\nsubscribe = anyone\n', "--jwt-key", f"HS256:{secret_file()}") as server:
        assert get(server, path_of("$channel/x", wait=0)).status == 204
        assert get(server, path_of("$channel", wait=0)).error == "no-token"


# Redis, reloads, the page itself.

def test_the_keys_of_who_is_present(shared: Place, room: str) -> None:
    assert shared.redis
    with Watcher(shared.there, room), present(shared.here, "stream", room, "ann", {"mood": "good"}), Reader(shared.here, "stream", room):
        wait_until(lambda: listed(shared.there, room)["count"] == 1)
        client, key = shared.redis.client, "sluice:{rooms}:%s:" + room
        people = client.hgetall(key % "h")
        assert list(people) == [b"ann"] and people[b"ann"].split(b"\n")[1] == b'{"mood": "good"}' and b"stream" in people[b"ann"]
        assert client.zrange(key % "a", 0, -1) == [b"ann"]
        assert len(client.hgetall(key % "l")) >= 1
        assert 0 < client.hlen("sluice:{$channel}:o") and 0 < client.hlen("sluice:{$channel}:l")


def test_a_reload_turns_it_on_from_the_next_connection_on(channel: str) -> None:
    with Reloading("history-size = 10\n") as server:
        with present(server, "stream", channel, "early"):
            assert get(server, f"/api/channels/{channel}/presence").error == "no-presence"
            server.reload("history-size = 10\npresence = yes\n")
            with present(server, "stream", channel, "late"):
                assert names(server, channel) == ["late"]


def test_the_page_s_own_section_is_taken() -> None:
    section, = re.findall(r'^    \[channel "rooms/\*\*"\]\n(?:    .+\n)+', PAGE, re.MULTILINE)
    with Reloading(re.sub(r"^    ", "", section, flags=re.MULTILINE)) as server, present(server, "stream", "rooms/a", "ann"):
        assert names(server, "rooms/a") == ["ann"]
        assert get(server, "/api/channels/rooms/a").json["options"] | {"presence": "yes", "events": "yes", "presence-grace": "5s"} == \
            get(server, "/api/channels/rooms/a").json["options"]
