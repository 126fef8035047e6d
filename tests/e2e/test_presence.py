# SPDX-License-Identifier: MIT
"""Presence and channel events, as one client after another sees them, over the memory broker and over two nodes with Redis."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from support.client import Connection, EventStream, LineStream, Response, get, path_of, publish, request, request_bytes
from support.cluster import Cluster
from support.redis import RedisServer, nodes
from support.reloading import Reloading
from support.server import PATIENCE, Server, wait_until
from support.tcp import Raw, Resp, command
from support.tokens import bearer, make_token, secret_file
from support.websocket import WebSocket

GRACE = ("--presence", "yes", "--events", "yes", "--presence-grace", "200ms")
TCP = ("--tcp", "127.0.0.1:0 framing=crlf")


@pytest.fixture(scope="module", params=["memory", "redis"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Server]]:
    """Two servers that know of each other; in memory the same one twice."""
    if request.param == "memory":
        with Server(*GRACE, *TCP) as server:
            yield server, server
    else:
        with RedisServer() as redis, nodes(2, redis, options=(*GRACE, *TCP)) as (here, there):
            yield here, there


def listed(server: Server, channel: str, **query: Any) -> Any:
    answer = get(server, f"/api/channels/{quote(channel)}/presence" + ("?" + "&".join(f"{key}={quote(str(value))}" for key, value in query.items()) if query else ""))
    assert answer.status == 200, answer
    return answer.json


def names(server: Server, channel: str) -> list[str]:
    return [member["name"] for member in listed(server, channel, limit=1000)["members"]]


class Watcher(EventStream):
    """Reads NAME/$presence; what it has seen, event by event and member by member."""

    def __init__(self, server: Server, channel: str) -> None:
        super().__init__(server, path_of(channel + "/$presence"))
        assert self.next_block().event == "subscribed"
        self.pending: list[tuple[str, dict[str, Any]]] = []

    def next_change(self) -> tuple[str, dict[str, Any]]:
        while not self.pending:
            event = self.next_event()
            self.pending += [(event.event, member) for member in json.loads(event.data)["members"]]
        return self.pending.pop(0)

    def sees(self, *changes: tuple[str, str]) -> None:
        assert [(word, member["name"]) for word, member in (self.next_change() for _ in changes)] == list(changes)


def test_who_is_there_is_listed(pair: tuple[Server, Server], channel: str) -> None:
    here, there = pair
    with LineStream(here, path_of(channel, **{"as": "ann", "info": '{"n": 1}'})) as ann, EventStream(there, path_of(channel, **{"as": "bob"})) as bob, \
            LineStream(there, path_of(channel)) as nobody:
        ann.next_line(), bob.next_block(), nobody.next_line()
        for server in pair:
            found = wait_until(lambda server=server: (seen := listed(server, channel))["count"] == 2 and seen["anonymous"] == 1 and seen)
            assert [member["name"] for member in found["members"]] == ["ann", "bob"] and found["channel"] == channel
            assert found["members"][0]["info"] == {"n": 1} and "info" not in found["members"][1]
            assert [member["transport"] for member in found["members"]] == ["stream", "sse"]
            assert all(member["since"] > 1_500_000_000_000 for member in found["members"])
            assert (found["members"][0]["node"] == found["members"][1]["node"]) == (here is there)
    wait_until(lambda: listed(here, channel)["count"] == 0 and listed(there, channel)["anonymous"] == 0)


def test_joins_and_leaves_are_told_once_for_each_person(pair: tuple[Server, Server], channel: str) -> None:
    here, there = pair
    with Watcher(there, channel) as watcher:
        with LineStream(here, path_of(channel, **{"as": "ann"})) as first:
            first.next_line()
            watcher.sees(("join", "ann"))
            with LineStream(here, path_of(channel, **{"as": "ann"})) as second, LineStream(there, path_of(channel, **{"as": "ann"})) as third:
                second.next_line(), third.next_line()
            with LineStream(there, path_of(channel, **{"as": "bob"})) as bob:
                bob.next_line()
                watcher.sees(("join", "bob"))
            watcher.sees(("leave", "bob"))
        watcher.sees(("leave", "ann"))


def test_a_reload_within_the_grace_is_no_leave(channel: str) -> None:
    with Server("--presence", "yes", "--presence-grace", "60s") as server, Watcher(server, channel) as watcher:
        for _ in range(3):
            with LineStream(server, path_of(channel, **{"as": "ann"})) as stream:
                stream.next_line()
        assert names(server, channel) == ["ann"]
        with LineStream(server, path_of(channel, **{"as": "bob"})) as stream:
            stream.next_line()
            watcher.sees(("join", "ann"), ("join", "bob"))


def test_info_that_changes_is_told(pair: tuple[Server, Server], channel: str) -> None:
    here, there = pair
    with Watcher(there, channel) as watcher, WebSocket(here, "/ws") as socket:
        socket.put_json({"op": "subscribe", "ref": 1, "channel": channel, "as": "ann", "info": {"mood": "good"}})
        assert socket.take_json()["op"] == "subscribed"
        word, member = watcher.next_change()
        assert (word, member["name"], member["info"], member["transport"]) == ("join", "ann", {"mood": "good"}, "websocket")
        socket.put_json({"op": "presence", "ref": 2, "channel": channel, "info": {"mood": "bad"}})
        assert (answer := socket.take_json())["op"] == "presence" and answer["ref"] == 2
        word, member = watcher.next_change()
        assert (word, member["name"], member["info"]) == ("update", "ann", {"mood": "bad"})
        assert wait_until(lambda: listed(there, channel)["members"])[0]["info"] == {"mood": "bad"}
        socket.put_json({"op": "presence", "ref": 3, "channel": channel})
        assert wait_until(lambda: socket.take_json()["members"])[0]["info"] == {"mood": "bad"}


def test_a_name_that_changes_is_a_join_and_a_leave(pair: tuple[Server, Server], channel: str) -> None:
    here, there = pair
    with Watcher(there, channel) as watcher, WebSocket(here, "/ws") as socket:
        socket.put_json({"op": "subscribe", "ref": 1, "channel": channel, "as": "ann"})
        watcher.sees(("join", "ann"))
        socket.put_json({"op": "presence", "ref": 2, "channel": channel, "as": "anna"})
        watcher.sees(("join", "anna"), ("leave", "ann"))
        assert names(there, channel) == ["anna"]


@pytest.mark.parametrize("what", ["info", "as"])
def test_a_client_that_changes_in_a_loop_is_bounded(server_of_presence: Server, channel: str, what: str) -> None:
    with WebSocket(server_of_presence, "/ws") as socket:
        socket.put_json({"op": "subscribe", "ref": 0, "channel": channel, "as": "ann"})
        assert socket.take_json()["op"] == "subscribed"
        answers = []
        for i in range(40):
            socket.put_json({"op": "presence", "ref": i, "channel": channel, what: str(i)})
            answers.append(socket.take_json())
        refused = [answer for answer in answers if answer["op"] == "error"]
        assert refused and {answer["code"] for answer in refused} == {"presence-rate"} and len(answers) - len(refused) >= 9
        socket.put_json({"op": "presence", "ref": 99, "channel": channel})
        assert socket.take_json()["op"] == "presence"  # saying nothing new is free
        codes = set()
        for i in range(40):
            socket.put_json({"op": "subscribe", "ref": i, "channel": f"{channel}/{i}", what: f"other {i}"})
            codes.add(socket.take_json().get("code"))
        assert "presence-rate" in codes, "a subscription says something new, too"


@pytest.fixture(scope="module")
def server_of_presence() -> Iterator[Server]:
    with Server(*GRACE, *TCP) as server:
        yield server


@pytest.mark.parametrize("query", ["as=", "as=" + "x" * 256, "as=%00", "as=a%0ab", "as=%1b", "as=%ff", "as=%7f", "as=a%c2%80", "as=a%c2%9bb", "as=a&info=x", "as=a&info=%7b", "as=a&info=",
                                   "info=" + quote('"' + "x" * 1023 + '"')])
def test_bad_names_and_infos_are_refused(server_of_presence: Server, channel: str, query: str) -> None:
    answer = get(server_of_presence, f"/channels/{channel}?wait=0&{query}")
    assert answer.status == 400, answer
    if "%00" not in query:
        assert answer.error == "bad-option"


@pytest.mark.parametrize("name", ["x" * 255, "äöü 中文 🎈", "a\u00a0\u0900", "$presence", "../..", "<script>", '"\\', "a,b;c=d", "\u2028", " "])
def test_hostile_names_come_out_as_they_went_in(pair: tuple[Server, Server], channel: str, name: str) -> None:
    here, there = pair
    with Watcher(there, channel) as watcher, LineStream(here, f"/channels/{channel}?as={quote(name)}") as stream:
        stream.next_line()
        watcher.sees(("join", name))
        assert names(there, channel) == [name]


def test_headers_say_it_too(server_of_presence: Server, channel: str) -> None:
    with Connection(server_of_presence) as connection:
        connection.send(request_bytes("GET", path_of(channel, transport="sse"), **{"Sluice-As": "ann", "Sluice-Info": "[1,\t2]"}))
        connection.read_head()
        (member,) = wait_until(lambda: listed(server_of_presence, channel)["members"])
        assert (member["name"], member["info"]) == ("ann", [1, 2])


def test_raw_tcp_says_who_with_as(server_of_presence: Server, channel: str) -> None:
    with Raw(server_of_presence) as raw:
        assert raw.ask(b'AS ann {"a": "b c"}') == b"CONFIRMED"
        assert raw.ask(f"SUBSCRIBE {channel}".encode()) == b"CONFIRMED"
        (member,) = listed(server_of_presence, channel)["members"]
        assert (member["name"], member["info"], member["transport"]) == ("ann", {"a": "b c"}, "tcp")
        assert raw.ask(b"AS bob x").startswith(b"ERROR bad-option")
        assert raw.ask(b"AS").startswith(b"ERROR bad-command")


def test_long_pollers_stay_between_their_polls(server_of_presence: Server, channel: str) -> None:
    with Watcher(server_of_presence, channel) as watcher:
        for _ in range(5):
            assert get(server_of_presence, path_of(channel, wait=0, **{"as": "ann"})).status == 204
        watcher.sees(("join", "ann"), ("leave", "ann"))


def test_a_list_goes_on_behind_a_name(pair: tuple[Server, Server], channel: str) -> None:
    here, there = pair
    wanted = sorted(f"p{i}" for i in range(25))
    with contextlib.ExitStack() as stack:
        for i, name in enumerate(wanted):
            stack.enter_context(LineStream(pair[i % 2], path_of(channel, **{"as": name}))).next_line()
        wait_until(lambda: listed(here, channel)["count"] == 25)
        found, after = [], ""
        while True:
            page = listed(here, channel, limit=10, after=after)
            found += [member["name"] for member in page["members"]]
            if not (after := page.get("next", "")):
                break
        assert found == wanted
        assert get(here, f"/api/channels/{channel}/presence?limit=0").status == 400
        assert get(here, f"/api/channels/{channel}/presence?limit=1001").status == 400
        assert get(here, f"/api/channels/{channel}/presence?odd=1").status == 400


def test_rights_are_those_to_subscribe(channel: str) -> None:
    with Server(*GRACE, "--jwt-key", f"HS256:{secret_file()}") as server:
        path = f"/api/channels/{channel}/presence"
        assert get(server, path).status == 401
        assert (refused := get(server, path, **bearer(make_token(["other"])))).status == 403 and refused.error == "forbidden-channel"
        assert get(server, path, **bearer(make_token([channel]))).status == 200
        assert get(server, path, **bearer(make_token(admin=True))).status == 200
        with WebSocket(server, "/ws", **bearer(make_token(["other"]))) as socket:
            socket.put_json({"op": "presence", "ref": 1, "channel": channel})
            assert socket.take_json()["code"] == "forbidden-channel"


def test_the_subject_of_a_token_wins(channel: str) -> None:
    with Server(*GRACE, "--jwt-key", f"HS256:{secret_file()}") as server:
        token = make_token([channel], sub="carl")
        with LineStream(server, path_of(channel, **{"as": "ann", "info": "1"}), **bearer(token)) as stream:
            stream.next_line()
            (member,) = listed_with(server, channel, token)
            assert (member["name"], member["info"]) == ("carl", 1)
        with WebSocket(server, "/ws", **bearer(token)) as socket:
            socket.put_json({"op": "subscribe", "ref": 1, "channel": channel, "as": "ann"})
            assert socket.take_json()["op"] == "subscribed"
            socket.put_json({"op": "auth", "ref": 2, "token": (other := make_token([channel], sub="dora"))})
            assert socket.take_json()["op"] == "authenticated"
            wait_until(lambda: [member["name"] for member in listed_with(server, channel, other)] == ["dora"])


def listed_with(server: Server, channel: str, token: str) -> Any:
    return get(server, f"/api/channels/{channel}/presence", **bearer(token)).json["members"]


def test_channels_without_presence_say_so(server: Server, channel: str) -> None:
    with LineStream(server, path_of(channel, **{"as": "ann"})) as stream:
        stream.next_line()
        answer: Response = get(server, f"/api/channels/{channel}/presence")
        assert (answer.status, answer.error) == (404, "no-presence")
    with WebSocket(server, "/ws") as socket:
        socket.put_json({"op": "presence", "ref": 1, "channel": channel})
        assert socket.take_json()["code"] == "no-presence"


def test_a_history_is_nobodys_presence(server_of_presence: Server, channel: str) -> None:
    with WebSocket(server_of_presence, "/ws") as socket, Raw(server_of_presence) as raw:
        socket.put_json({"op": "history", "ref": 1, "channel": channel})
        assert socket.take_json()["op"] == "history"
        raw.put(f"HISTORY {channel}".encode())
        assert raw.take() == b"CONFIRMED"
        assert listed(server_of_presence, channel)["anonymous"] == 0


def test_what_happens_to_a_channel_is_told(pair: tuple[Server, Server], channel: str) -> None:
    here, there = pair
    with EventStream(there, path_of("$channel/" + channel)) as one, EventStream(there, path_of("$channel")) as every:
        one.next_block(), every.next_block()

        def tells(*words: str) -> None:
            for stream in (one, every):
                for word in words:
                    event = stream.next_event()
                    while json.loads(event.data)["channel"] != channel:
                        event = stream.next_event()
                    assert (event.event, json.loads(event.data)) == (word, {"channel": channel})

        assert request(here, "POST", path_of(channel), "x").status == 201
        tells("created")
        with LineStream(here, path_of(channel)) as first, LineStream(there, path_of(channel)) as second:
            first.next_line(), second.next_line()
            tells("occupied")
        tells("vacated")
        assert request(here, "DELETE", f"/api/channels/{channel}").status == 200
        tells("purged")


def test_a_channel_that_is_forgotten_is_told(channel: str) -> None:
    with Server("--events", "yes", "--channel-ttl", "1s", "--history-ttl", "100ms") as server, EventStream(server, path_of("$channel")) as events:
        events.next_block()
        assert request(server, "POST", path_of(channel), "x").status == 201
        assert [(event.event, json.loads(event.data)["channel"]) for event in (events.next_event(), events.next_event())] == \
            [("created", channel), ("forgotten", channel)]


def test_sections_say_where_there_is_presence(channel: str) -> None:
    with Reloading(f'[channel "{channel}"]\npresence = yes\n') as server:
        with LineStream(server, path_of(channel, **{"as": "ann"})) as one, LineStream(server, path_of(channel + "/x", **{"as": "ann"})) as other:
            one.next_line(), other.next_line()
            assert names(server, channel) == ["ann"]
            assert get(server, f"/api/channels/{channel}/x/presence").error == "no-presence"
        server.reload(f'[channel "{channel}/*"]\npresence = yes\n')
        with LineStream(server, path_of(channel + "/x", **{"as": "ann"})) as other:
            other.next_line()
            assert names(server, channel + "/x") == ["ann"]
        assert get(server, f"/api/channels/{channel}/presence").error == "no-presence"


def test_who_follows_all_channels_below_a_prefix_is_not_told_of_presence(channel: str) -> None:
    with Server(*GRACE, "--tcp", "127.0.0.1:0 framing=resp") as server, Resp(server) as reader, Watcher(server, channel + "/x") as watcher:
        reader.send(command("PSUBSCRIBE", channel + "/*"))
        assert reader.reply() == [b"psubscribe", f"{channel}/*".encode(), 1]
        with LineStream(server, path_of(channel + "/x", **{"as": "ann"})) as stream:
            stream.next_line()
            watcher.sees(("join", "ann"))
            publish(server, channel + "/x", "news")
            assert reader.reply() == [b"pmessage", f"{channel}/*".encode(), f"{channel}/x".encode(), b"news"]


def test_what_others_write_for_events_is_not_told(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis, options=GRACE) as (server,), Watcher(server, channel) as watcher:
        client = redis.connect()
        topic = f"sluice:{{{channel.split('/')[0]}}}:p:{channel}/$presence"
        for text in ("presence1 fly 1\n{}", "presence1 join 1\n{", "presence1 join x\n{}", "presence1 join 1", "presence1 ", "presence1 join 99999999999999999999\n{}"):
            assert client.execute_command("SPUBLISH", topic, text) == 1
        with LineStream(server, path_of(channel, **{"as": "ann"})) as stream:
            stream.next_line()
            watcher.sees(("join", "ann"))


def test_a_redis_cluster_tells_of_presence_and_who_occupies_a_channel(channel: str) -> None:
    with Cluster() as cluster, nodes(2, cluster.url(), options=GRACE) as (here, there):
        with Watcher(there, channel) as watcher, EventStream(there, path_of("$channel")) as events:
            events.next_block()
            with LineStream(here, path_of(channel, **{"as": "ann"})) as stream:
                stream.next_line()
                watcher.sees(("join", "ann"))
                assert names(there, channel) == ["ann"]
            watcher.sees(("leave", "ann"))
            assert {events.next_event().event for _ in range(2)} == {"created", "occupied"}  # they are told in different slots
            assert events.next_event().event == "vacated"
