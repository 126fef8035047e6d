# SPDX-License-Identifier: MIT
"""What an EventSource needs: it gives up for good at any status but 200, and libraries differ in what they take for an event."""

import contextlib
import json
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from support.client import Connection, EventStream, Response, path_of, publish, request, request_bytes
from support.redis import RedisServer, await_away, await_ready, metric, nodes
from support.server import Server, wait_until

WAYS = ("Accept", "transport")


@dataclass
class Sticky:
    """Decodes line by line, as httpx-sse does: once any id was seen, each empty line is an event, with data or without."""

    id: str = ""
    fields: dict[str, list[str]] = field(default_factory=dict)

    def decode(self, text: str) -> Iterator[tuple[str, str, str]]:
        for line in text.split("\n")[:-1]:
            name, _, value = line.partition(":")
            if line == "" and (self.fields or self.id):
                yield self.id, "".join(self.fields.get("event", [])), "\n".join(self.fields.get("data", []))
                self.fields = {}
            elif name == "id":
                self.id = value.removeprefix(" ")
            elif name:
                self.fields.setdefault(name, []).append(value.removeprefix(" "))


class Blocks:
    """Cuts at empty lines first and looks later, as sseclient does: each block is an event, whatever is in it."""

    def decode(self, text: str) -> Iterator[tuple[str, str, str]]:
        *blocks, _ = re.split(r"\r\n\r\n|\n\n|\r\r", text)
        for block in blocks:
            fields: dict[str, list[str]] = {}
            for line in block.splitlines():
                name, _, value = line.partition(":")
                fields.setdefault(name, []).append(value.removeprefix(" "))
            yield "".join(fields.get("id", [])), "".join(fields.get("event", [])), "\n".join(fields.get("data", []))


@pytest.mark.parametrize("decoder", [Sticky, Blocks])
def test_libraries_get_no_event_that_was_not_sent(channel: str, decoder: type[Sticky | Blocks]) -> None:
    with Server("--heartbeat", "0.2") as server:
        begun = publish(server, channel)
        stream = EventStream(server, path_of(channel, padding=3000))
        names = []
        for i in range(3):
            beats = stream.text.count(b"\n:\n")
            while stream.text.count(b"\n:\n") < beats + 2:
                assert stream.more()
            names.append(publish(server, channel, f"{i}\n\n{i}"))
        server.process.send_signal(signal.SIGTERM)
        while stream.more():
            pass
        stream.close()
    events = list(decoder().decode(stream.text.decode()))
    assert stream.ended_cleanly and b"\nretry: " in stream.text[-20:]
    assert [name for name, _, _ in events] == [begun, *names]
    assert [event for _, event, _ in events] == ["subscribed", "", "", ""]
    assert [data for _, _, data in events][1:] == ["0\n\n0", "1\n\n1", "2\n\n2"]


def ask(connection: Connection, channel: str, way: str) -> None:
    if way == "Accept":
        connection.send(request_bytes("GET", path_of(channel), Accept="text/event-stream"))
    else:
        connection.send(request_bytes("GET", path_of(channel, transport="sse")))


def check_refused(events: Response, others: Response, error: str) -> None:
    assert (events.status, events.header("Content-Type")) == (200, "text/event-stream")
    assert events.header("Cache-Control") == "no-store, no-transform"
    assert re.fullmatch(rb"retry: \d\d\d\d\n", events.body)
    assert (others.status, others.error) == (503, error) and others.header("Retry-After")


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_that_is_not_open_at_the_drain_is_told_to_come_back(channel: str, way: str) -> None:
    with RedisServer() as redis, nodes(1, redis) as (server,), Connection(server) as events, Connection(server) as lines:
        redis.kill()
        await_away(server)
        ask(events, channel, way)
        lines.send(request_bytes("GET", path_of(channel, transport="stream")))
        wait_until(lambda: metric(server, "subscribers_sse") == metric(server, "subscribers_stream") == 1)
        server.process.send_signal(signal.SIGTERM)
        check_refused(events.read_response(), lines.read_response(), "stopping")


@pytest.mark.parametrize("way", WAYS)
def test_a_kept_connection_gets_no_new_stream_while_draining(channel: str, way: str) -> None:
    server = Server("--drain-time", "5", "--shards", "1").start()
    with Connection(server) as events, Connection(server) as lines, EventStream(server, path_of(channel)):
        for connection in (events, lines):
            assert connection.request("GET", "/readyz").status == 200
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in server.log())
        ask(events, channel, way)
        lines.send(request_bytes("GET", path_of(channel, transport="stream")))
        check_refused(events.read_response(), lines.read_response(), "stopping")
    server.stop()
    server.folder.cleanup()


@pytest.mark.parametrize("way", WAYS)
def test_the_memory_limit_has_an_event_source_come_back(channel: str, way: str) -> None:
    held: list[EventStream] = []
    with Server("--memory-limit", "1MiB", "--history-bytes", "64MiB") as server, EventStream(server, path_of("held")):
        while request(server, "POST", path_of("held"), "x" * 100_000).status == 201:
            pass
        # A publish that is refused leaves some room, which channels that are in use then take.
        while not held or held[-1].response.header("Content-Length") is None:
            held.append(EventStream(server, path_of(f"{channel}/{len(held)}")))
        with Connection(server) as events, Connection(server) as lines:
            ask(events, channel, way)
            lines.send(request_bytes("GET", path_of(channel, transport="stream")))
            check_refused(events.read_response(), lines.read_response(), "memory-limit")
        for stream in held:
            stream.close()


def expect_refused_at_the_door(server: Server, channel: str, way: str, error: str) -> None:
    with Connection(server) as events, Connection(server) as lines:
        ask(events, channel, way)
        lines.send(request_bytes("GET", path_of(channel, transport="stream")))
        check_refused(events.read_response(), lines.read_response(), error)
        assert events.is_closed()
    with Connection(server) as silent:
        assert silent.is_closed(), "it may be an EventSource, which would give up at any status"
    with Connection(server) as foreign:
        foreign.send(request_bytes("GET", path_of(channel, transport="sse"), Origin="https://a.example"))
        assert foreign.is_closed(), "a page that may not read the answer would give up"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("option", "error"), [("--max-connections", "too-many-connections"), ("--max-connections-per-ip", "too-many-from-address")])
def test_a_limit_of_connections_has_an_event_source_come_back(channel: str, option: str, error: str, way: str) -> None:
    with (Server(option, "2", "--trusted-proxies", "") as server, EventStream(server, path_of(channel)),
          EventStream(server, path_of(channel))):
        expect_refused_at_the_door(server, channel, way, error)


@pytest.mark.parametrize("crowd", [1, 100])
def test_a_head_that_comes_late_is_waited_for_and_the_silent_do_not_fill_the_place(channel: str, crowd: int) -> None:
    with Server("--max-connections", "1", "--shards", "1") as server, EventStream(server, path_of(channel)):
        def come_late() -> bool:
            """In two pieces, behind a crowd. On a machine that is busy the second may come too late."""
            with contextlib.ExitStack() as stack:
                silent = [stack.enter_context(Connection(server)) for _ in range(crowd)]
                late = stack.enter_context(Connection(server))
                request = request_bytes("GET", path_of(channel), Accept="text/event-stream")
                late.send(request[:-4])
                if crowd > 64:
                    assert silent[0].is_closed()
                late.send(request[-4:])
                return late.read_response().status == 200

        wait_until(come_late)


@pytest.mark.parametrize("way", WAYS)
def test_a_process_without_descriptors_has_an_event_source_come_back(channel: str, way: str) -> None:
    with Server("--shards", "1", descriptors=64) as server:
        held: list[EventStream] = []
        while not held or held[-1].response.header("Content-Length") is None:
            held.append(EventStream(server, path_of(channel)))
        expect_refused_at_the_door(server, channel, way, "no-descriptors")
        for stream in held:
            stream.close()
        wait_until(lambda: request(server, "GET", "/healthz").status == 200)


def test_a_stream_opens_while_the_broker_is_away_and_goes_on_once_it_is_back(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis, options=("--heartbeat", "0.3")) as (server,):
        redis.kill()
        await_away(server)
        with EventStream(server, path_of(channel)) as stream, EventStream(server, path_of(channel + "/ended")) as ended:
            assert stream.response.status == 200
            assert [stream.until(b"\n") for _ in range(2)] == [b":", b":"]
            redis.start()
            await_ready(server)
            first = stream.next_block()
            assert first and first.event == "subscribed" and json.loads(first.data or "")["cursor"] == first.id
            name = publish(server, channel)
            assert stream.next_event().id == name
            redis.kill()
            await_away(server)
            ended.close()
            with EventStream(server, path_of(channel + "/other")) as other:
                server.process.send_signal(signal.SIGTERM)
                assert other.next_block() is None and other.ended_cleanly
                assert re.fullmatch(rb"(:\n)*retry: \d+\n", other.text)


def test_an_id_is_repeated_over_several_reconnects(server: Server, channel: str) -> None:
    publish(server, channel, "seen")
    with EventStream(server, path_of(channel)) as stream:
        seen = stream.next_block()
    assert seen and seen.id
    for _ in range(4):
        with EventStream(server, path_of(channel), Last_Event_ID=seen.id) as stream:
            again = stream.next_block()
            assert again and again.id == seen.id and json.loads(again.data or "")["recovered"] is True
    name = publish(server, channel, "missed")
    for _ in range(3):
        with EventStream(server, path_of(channel), Last_Event_ID=seen.id) as stream:
            assert stream.next_event().id == name
    with EventStream(server, path_of(channel), Last_Event_ID=name) as stream:
        last = publish(server, channel, "live")
        assert stream.next_event().id == last


def test_a_stream_that_is_cut_at_any_byte_goes_on_after_the_last_whole_event(server: Server, channel: str) -> None:
    with EventStream(server, path_of(channel)) as stream:
        names = [publish(server, channel, text) for text in ("é€🐇", "two\r\nlines\n", "\u2028")]
        while stream.text.count(b"\n\n") < 4:
            assert stream.more()
    for cut in range(len(stream.text) + 1):
        whole = stream.text[:cut].rpartition(b"\n\n")[0]
        ids = re.findall(rb"^id: (.+)$", whole, re.MULTILINE)
        seen = [name for name in names if name.encode() in ids]
        if ids:
            with EventStream(server, path_of(channel), Last_Event_ID=ids[-1].decode()) as again:
                assert [again.next_event().id for _ in names[len(seen):]] == names[len(seen):]


@pytest.mark.parametrize("name", ["lastEventId", "evs_last_event_id"])
def test_a_library_may_say_in_the_query_what_it_has_seen(channel: str, name: str) -> None:
    """As event-source-polyfill and amvtek's EventSource do on a reconnect, with what else they add."""
    with Server() as server:
        seen = [publish(server, channel, str(i)) for i in range(3)]
        libraries = {"r": "7319", "evs_preamble": "2048", "_": "1700000000000"}
        with EventStream(server, path_of(channel, **{name: ""}, **libraries)) as stream:
            opening = stream.next_block()
            assert opening and json.loads(opening.data or "") == {"cursor": seen[2], "recovered": False}
        with EventStream(server, path_of(channel, **{name: seen[0]}, **libraries)) as stream:
            opening = stream.next_block()
            assert opening and json.loads(opening.data or "") == {"cursor": seen[0], "recovered": True}
            assert [stream.next_event().data for _ in range(2)] == ["1", "2"]
        with EventStream(server, path_of(channel, **{name: "of another server"})) as stream:
            opening, reset = stream.next_block(), stream.next_block()
            assert opening and reset and json.loads(reset.data or "")["reason"] == "unknown-id"
        with EventStream(server, path_of(channel, **{name: seen[0]}), Last_Event_ID=seen[1]) as stream:
            opening = stream.next_block()
            assert opening and opening.id == seen[1], "the header counts first"
